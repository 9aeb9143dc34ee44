"""Where the rows of a grid lie, as loaders count: the numbers that their configs need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidfeat.errors import UsageError
from vidfeat.recipe import TimeGrid
from vidfeat.video import Timeline

_PROBED_FRAMES = (1_000, 20_000, 200_000)
_PROBED_ROWS = 4
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

    @property
    def in_strides(self) -> bool:
        """Whether the centre of row k lies in the k-th stride of the video, in seconds."""
        return self.stride_seconds is not None and 0 <= self.centre <= self.stride_seconds * (self.fps or _USUAL_FPS)

    def __str__(self) -> str:
        if self.stride is None:
            return f"a row every {self.stride_seconds:g} s"
        rate = "of each video" if self.fps is None else f"at {self.fps:g} fps"
        return (
            f"a row every {self.stride:g} frames {rate}, of windows of {self.span:g}, the first from {self.start:g} on"
        )


def _measure(grid: TimeGrid, fps: float) -> tuple[float, float, float, float]:
    """Stride, centre, start and span, in frames."""
    for frames in _PROBED_FRAMES:  # more, where the video was too short, or strides are rounded to frames
        plan = grid.plan(Timeline.of_rate(frames, fps))
        middle = np.arange(len(plan) // 4, len(plan) * 3 // 4)
        if len(middle) >= _PROBED_ROWS:
            centre = plan.frame_index[middle].mean(axis=1) + 0.5
            if np.ptp(np.diff(centre)) == 0:
                break
    if len(middle) < _PROBED_ROWS:
        raise UsageError("grid.stride", expected=f"{2 * _PROBED_ROWS} rows in {frames:,} frames", found=f"{len(plan)}")
    start, end = plan.start_seconds[middle] * fps, plan.end_seconds[middle] * fps
    stride = np.polyfit(middle, centre, 1)[0]
    at_first = (np.mean(at - middle * stride) for at in (centre, start))
    stride, centre_0, start_0, span = (
        round(float(fact), _DIGITS) for fact in (stride, *at_first, np.mean(end - start))
    )
    return stride, centre_0 + 0.0, start_0 + 0.0, span  # no negative zeros
