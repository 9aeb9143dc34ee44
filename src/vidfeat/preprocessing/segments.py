"""Given segments: a row for each part of a video that a list names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vidfeat.errors import UsageError
from vidfeat.preprocessing.grid import ClipPlan, FrameIndex, Grid
from vidfeat.video import Timeline
from vidfeat.videos import Cut, has_rows, ranges_of

_LONG = 1_000_000
"""Frames of a video in which no grid leaves clips out."""


@dataclass(frozen=True, kw_only=True)
class Segments(Grid):
    """A row for each of `VideoRef.segments`, from the clips that an encoder takes of a whole video.

    The clips of each row are those of a video that consists of the segment's frames alone: the frames that begin in it,
    or the frame that is shown where none does.

    Attributes:
        clip_len: frames of a clip, as `of` has it.
        of: the encoder's own grid, which it sets when it takes this one.
    """

    clip_len: int = 0
    of: Grid | None = None

    dense: ClassVar[bool] = True

    @property
    def clips_per_row(self) -> int:
        """See `Grid.clips_per_row`."""
        return len(self._own.frame_index(_LONG))

    @property
    def frame_interval(self) -> int | None:
        """Frames from one frame of a clip to the next, where the encoder's grid has it."""
        return getattr(self.of, "frame_interval", None)

    def of_clip(self, length: int, interval: int | None, own: Any) -> Segments:
        """See `Grid.of_clip`."""
        own = own.of if isinstance(own, Segments) else own
        if own.dense:
            raise UsageError("grid", expected="an encoder that takes a video as a whole", found=f"one with {own}")
        return dataclasses.replace(self, clip_len=own.clip_len, of=own)

    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """See `Grid.frame_index`; of one segment, which is the whole video."""
        return self._own.frame_index(frames, fps)

    def plan(self, timeline: Timeline, segment: Cut | None = None) -> ClipPlan:
        """See `Grid.plan`.

        Args:
            timeline: the times of the video's frames.
            segment: `VideoRef.cut` of a video with segments.

        Raises:
            UsageError: the video has none.
            ValueError: no frame is shown in one of them.
        """
        if segment is None or not has_rows(segment):
            raise UsageError("videos", expected="videos with segments", found="one without")
        clips = self.clips_per_row
        rows = [timeline.shown(*part) for part in ranges_of(segment)]
        if not all(rows):
            raise ValueError(f"a segment in which no frame is shown; {segment = }")
        plans = [
            self._own.plan(timeline, (timeline.pts_seconds[row[0]], timeline.end_seconds[row[-1]])) for row in rows
        ]
        # A grid may take fewer clips of a short video: they stand for all.
        index = [plan.frame_index[np.arange(clips) % len(plan)] for plan in plans]
        first, last = np.array([[row[0], row[-1]] for row in rows]).T
        return ClipPlan(
            np.concatenate(index),
            timeline.pts_seconds[first].repeat(clips),
            timeline.end_seconds[last].repeat(clips),
        )

    @property
    def _own(self) -> Grid:
        if self.of is None:
            raise UsageError("grid", expected="the grid of an encoder: `Segments` after `with_grid`", found="none")
        return self.of
