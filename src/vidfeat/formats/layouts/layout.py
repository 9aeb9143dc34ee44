"""What a layout is: how the code that trains on features wants their files, and which rows it counts on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from vidfeat.features import VideoFeatures
from vidfeat.formats.video_file import NPY, FileFormat
from vidfeat.recipe import TimeGrid
from vidfeat.video import Timeline
from vidfeat.videos import VIDEO_SUFFIXES

_PROBED_SECONDS = 600
_USUAL_FPS = 30.0
_DIGITS = 4


@dataclass(frozen=True)
class RowGrid:
    """Where the rows of a grid lie, as loaders count: in frames at `fps`.

    Measured on the plan of a long video of constant rate, away from its ends, where no frame is clamped.

    Attributes:
        grid: whose rows.
        fps: the rate that the grid resamples to; None where frames are those of each video.
        stride: frames from one row to the next, the mean where that varies by a frame; None where it depends on the
            frame rate of the video, as for a stride in seconds without a rate.
        stride_seconds: the same in seconds; None where that depends on the frame rate of the video.
        centre: of the frames that row 0 is made of, from the start of the video: 8.0 for frames 0 to 15, 28.5 for 0, 8,
            ... 56.
        start, span: first frame and length of the window of row 0: where its time begins, and how long it is.
    """

    grid: TimeGrid
    fps: float | None
    stride: float | None
    stride_seconds: float | None
    centre: float
    start: float
    span: float

    @classmethod
    def of(cls, grid: TimeGrid) -> RowGrid:
        """Measure a dense grid."""
        fps: float | None = getattr(grid, "fps", None)
        stride, *others = _measure(grid, fps or _USUAL_FPS)
        if fps is not None:
            return cls(grid, fps, stride, stride / fps, *others)
        if _measure(grid, 2 * _USUAL_FPS)[0] == stride:
            return cls(grid, None, stride, None, *others)
        return cls(grid, None, None, stride / _USUAL_FPS, *others)

    def rows(self, frames: int, fps: float) -> int:
        """How many rows a video has."""
        return len(self.grid.plan(Timeline.of_rate(frames, fps)))

    def __str__(self) -> str:
        if self.stride is None:
            return f"a row every {self.stride_seconds:g} s"
        rate = "of each video" if self.fps is None else f"at {self.fps:g} fps"
        return (
            f"a row every {self.stride:g} frames {rate}, of windows of {self.span:g}, the first from {self.start:g} on"
        )


def _measure(grid: TimeGrid, fps: float) -> tuple[float, float, float, float]:
    """Stride, centre, start and span, in frames."""
    plan = grid.plan(Timeline.of_rate(round(_PROBED_SECONDS * fps), fps))
    middle = np.arange(len(plan) // 4, max(len(plan) * 3 // 4, len(plan) // 4 + 2))
    centre = plan.frame_index[middle].mean(axis=1) + 0.5
    start, end = plan.start_seconds[middle] * fps, plan.end_seconds[middle] * fps
    stride = np.polyfit(middle, centre, 1)[0]
    facts = (stride, *(np.mean(at - middle * stride) for at in (centre, start)), np.mean(end - start))
    return tuple(round(float(fact), _DIGITS) for fact in facts)


@dataclass(frozen=True)
class Output:
    """The output of one encoder, as the lines of a config name it.

    Attributes:
        encoder: its name.
        folder: where the files are.
        size: numbers of a row, C.
    """

    encoder: str
    folder: str
    size: int


def stem(key: str) -> str:
    """The name of a video without its folders and its suffix: `a/clip.mp4` gives `clip`, `v1.5` stays."""
    path = PurePosixPath(key)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


@dataclass(frozen=True)
class Layout:
    """How one consumer wants features.

    A new layout is a file with one of these, and a line in `vidfeat.formats.layouts.LAYOUTS`.

    Attributes:
        name: what `--layout` calls it.
        lines: from the rows and the outputs of a run, in the order of its encoders, to what its config needs.
        needs: the rows that the consumer counts on, in words.
        fits: whether a grid gives those rows.
        hint: what gives them.
        file: the format of the file of a video.
        name_of: from the key of a video to the name by which the consumer knows it, that of its file.
        folder: of the files, below the output; with its slash.
        tail: of the names of files, before the suffix.
        views_kept: whether rows have an axis of views: `[T, views, C]`.
        convert: from rows as they are computed to rows as files hold them: others, or with other values.
        listing: name and lines of a file with all videos, of their keys and files; None where there is none.
    """

    name: str
    lines: Callable[[RowGrid, Sequence[Output]], str]
    needs: str = "a stride in frames, the same for all videos"
    fits: Callable[[RowGrid], bool] = lambda grid: grid.stride is not None
    hint: str = "Give `stride` in frames, or `fps` with it."
    file: FileFormat = NPY
    name_of: Callable[[str], str] = stem
    folder: str = ""
    tail: str = ""
    views_kept: bool = False
    convert: Callable[[VideoFeatures], VideoFeatures] | None = None
    listing: tuple[str, Callable[[str, str], str]] | None = None
