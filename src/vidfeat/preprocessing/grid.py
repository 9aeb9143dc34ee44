"""The time grid: which frames make which clip of a video, and when they are shown.

A new grid is a subclass of `Grid` in a file of its own, and a line in `GRIDS`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from vidfeat.errors import UsageError
from vidfeat.recipe import TimeGrid
from vidfeat.video import Timeline
from vidfeat.videos import Cut, has_rows, ranges_of

FrameIndex = npt.NDArray[np.int64]

PADDING = -1
"""The index of a black frame in a `ClipPlan`, where a grid fills windows up."""

GRIDS = {
    "SegmentSampling": "vidfeat.preprocessing.sampling",
    "DenseSampling": "vidfeat.preprocessing.sampling",
    "SpreadSampling": "vidfeat.preprocessing.sampling",
    "UniformSampling": "vidfeat.preprocessing.sampling",
    "WindowSampling": "vidfeat.preprocessing.sampling",
    "Windows": "vidfeat.preprocessing.windows",
    "Segments": "vidfeat.preprocessing.segments",
}
"""The module of each grid, by the name that recipes as JSON have for it."""


def grid_types() -> tuple[type[Grid], ...]:
    """All grids."""
    return tuple(getattr(importlib.import_module(module), name) for name, module in GRIDS.items())


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """The clips of a video.

    Attributes:
        frame_index: int64 `[clips, clip_len]`, the frames of each clip, counted from 0 in the whole video; or
            `PADDING`.
        start_seconds: float64 `[clips]`, presentation time of the clip's first-shown frame.
        end_seconds: float64 `[clips]`, end of its last-shown frame, which is the start of the frame after it.
    """

    frame_index: FrameIndex
    start_seconds: npt.NDArray[np.float64]
    end_seconds: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.frame_index)

    def frames(self, timeline: Timeline) -> ClipPlan:
        """Each frame that is in a clip as a clip of its own, once."""
        frames = np.unique(self.frame_index)
        return ClipPlan(frames[:, None], timeline.pts_seconds[frames], timeline.end_seconds[frames])


@dataclass(frozen=True)
class Grid(ABC):
    """Which frames make which clip: pure arithmetic.

    Attributes:
        clip_len: frames of a clip.
    """

    clip_len: int

    dense: ClassVar[bool] = False
    """Whether each clip is a window with rows of its own; else the clips together stand for the whole video."""

    @property
    def clips_per_row(self) -> int | None:
        """How many clips make a row of their own; None where the pooling of views decides."""
        return None

    def of_clip(self, length: int, interval: int | None, own: TimeGrid) -> Grid:
        """The grid for an encoder, which calls this when it takes one; most are the same for all.

        Args:
            length: frames that the encoder sees together.
            interval: frames between neighbouring ones; None for single frames, and where the video's length decides.
            own: its own grid.

        Raises:
            UsageError: the encoder cannot take it, or more has to be known.
        """
        return self

    @abstractmethod
    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """The frames of every clip of a video.

        Args:
            frames: number of frames in the video, at least 1.
            fps: average frames per second; None where it is unknown.

        Returns:
            int64 `[clips, clip_len]`, values in `[0, frames)`. A video shorter than one clip has its frames repeated.
        """

    def plan(self, timeline: Timeline, segment: Cut | None = None) -> ClipPlan:
        """The clips of a video and their times.

        Args:
            timeline: the times of the video's frames.
            segment: half-open range `(start, end)` in seconds; the clips are made only of the frames shown from
                `start` on and before `end`, as if the video consisted of them. None takes the whole video.

        Raises:
            ValueError: there is no frame, in the video or in the segment.
        """
        frames = self.frames_of(timeline, segment)
        frame_index = self.frame_index(len(frames), timeline.fps) + frames.start
        return ClipPlan(
            frame_index,
            timeline.pts_seconds[frame_index.min(axis=1)],
            timeline.end_seconds[frame_index.max(axis=1)],
        )

    @staticmethod
    def frames_of(timeline: Timeline, segment: Cut | None) -> range:
        """The frames that clips are made of, as `plan` has it.

        Raises:
            ValueError: there is none.
        """
        if segment is not None and has_rows(segment):
            raise UsageError("grid", expected="`Segments`, for a video with segments", found="another")
        frames = range(len(timeline)) if segment is None else timeline.within(*ranges_of(segment)[0])
        if not frames:
            raise ValueError(f"frames must be at least 1; {frames = }")
        return frames
