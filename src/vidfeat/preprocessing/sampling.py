"""Which frames make which clip, and when they are shown: arithmetic on NumPy arrays, no I/O.

The indices are exactly those of MMAction2's test pipelines (`mmaction/datasets/pipelines/loading.py` of branch 0.x,
`mmaction/datasets/transforms/loading.py` of 1.x): features of released checkpoints are only reproduced from the same
frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfeat.recipe import (
    DenseSampling,
    Sampling,
    SegmentSampling,
    SpreadSampling,
    UniformSampling,
    WindowSampling,
)
from vidfeat.video import Timeline

FrameIndex = npt.NDArray[np.int64]
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """The clips of a video.

    Attributes:
        frame_index: int64 `[clips, clip_len]`, the frames of each clip, counted from 0 in the whole video.
        start_seconds: float64 `[clips]`, presentation time of the clip's first-shown frame.
        end_seconds: float64 `[clips]`, end of its last-shown frame, which is the start of the frame after it.
    """

    frame_index: FrameIndex
    start_seconds: npt.NDArray[np.float64]
    end_seconds: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.frame_index)


def plan(grid: Sampling, timeline: Timeline, segment: tuple[float, float] | None = None) -> ClipPlan:
    """The clips of a video and their times. Also callable as `grid.plan(timeline)`.

    Args:
        grid: the sampling.
        timeline: the times of the video's frames.
        segment: half-open range `(start, end)` in seconds; the clips are made only of the frames shown from `start` on
            and before `end`, as if the video consisted of them. None takes the whole video.

    Raises:
        ValueError: there is no frame, in the video or in the segment.
    """
    frames = range(len(timeline)) if segment is None else timeline.within(*segment)
    frame_index = plan_clips(len(frames), grid, timeline.fps) + frames.start
    return ClipPlan(
        frame_index,
        timeline.pts_seconds[frame_index.min(axis=1)],
        timeline.end_seconds[frame_index.max(axis=1)],
    )


def plan_clips(frames: int, sampling: Sampling, fps: float | None = None) -> FrameIndex:
    """The frames of every clip of a video.

    Args:
        frames: number of frames in the video, at least 1.
        sampling: the strategy.
        fps: average frames per second; only `SpreadSampling.target_fps` uses it, and has no effect without.

    Returns:
        int64 `[clips, clip_len]`, values in `[0, frames)`. A video shorter than one clip has its frames repeated, as
        the strategy says.

    Example:
        25 one-frame clips, each in the middle of a 25th of the video:

        >>> plan_clips(100, SegmentSampling(clip_len=1, num_clips=25)).ravel()[:4].tolist()
        [2, 6, 10, 14]

    Raises:
        ValueError: `frames` is below 1.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1; {frames = }")
    if isinstance(sampling, UniformSampling):
        return _uniform(frames, sampling)
    if isinstance(sampling, WindowSampling):
        return _windows(frames, sampling)
    within_clip: _Numbers = np.arange(sampling.clip_len, dtype=np.float64) * sampling.frame_interval
    if isinstance(sampling, SpreadSampling):
        if sampling.target_fps:
            within_clip = _resampled(sampling, fps)
        starts = _spread_starts(frames, sampling, fps)
    elif isinstance(sampling, DenseSampling):
        starts = _dense_starts(frames, sampling)
    else:
        starts = _segment_starts(frames, sampling)
    index = starts[:, None] + within_clip[None, :]
    if sampling.out_of_bound == "loop":
        index = np.mod(index, frames)
    else:
        index = _repeat_last(index, frames)
    # Truncated only here: starts may carry fractions up to this point.
    return index.astype(np.int64)


def _segment_starts(frames: int, sampling: SegmentSampling) -> _Numbers:
    """First frame of each clip; fractions where `twice_sample` adds the unshifted starts."""
    span = sampling.clip_len * sampling.frame_interval
    if frames < span:
        # `twice_sample` adds nothing here: the original returns one set of zeros.
        return np.zeros(sampling.num_clips)
    segment = (frames - span + 1) / float(sampling.num_clips)
    left = np.arange(sampling.num_clips) * segment
    middle = np.trunc(left + segment / 2.0)
    return np.concatenate([middle, left]) if sampling.twice_sample else middle


def _dense_starts(frames: int, sampling: DenseSampling) -> _Numbers:
    """First frame of each clip, position by position."""
    last_position = max(1, 1 + frames - sampling.sample_range) - 1
    positions = np.linspace(0, last_position, num=sampling.num_sample_positions, dtype=int)
    offsets = np.arange(sampling.num_clips) * (sampling.sample_range // sampling.num_clips)
    starts = (positions[:, None] + offsets[None, :]) % frames
    return starts.ravel().astype(np.float64)


def _spread_starts(frames: int, sampling: SpreadSampling, fps: float | None) -> _Numbers:
    """First frame of each clip; fractions for single frames, and where the frame rate is converted."""
    if sampling.clip_len == 1:
        part = frames / float(sampling.num_clips)
        left: _Numbers = np.arange(sampling.num_clips, dtype=np.float64) * part
        middle = left + part / 2.0
        return np.concatenate([middle, left]) if sampling.twice_sample else middle
    room = max(frames - _span(sampling, fps), 0)
    clips = sampling.num_clips * (2 if sampling.twice_sample else 1)
    if clips == 1:
        return np.array([room // 2], dtype=np.float64)
    step = room / float(sampling.num_clips - 1)
    number: _Numbers = np.arange(clips, dtype=np.float64)
    return number * np.floor(step) if sampling.target_fps else np.round(number * step)


def _span(sampling: SpreadSampling, fps: float | None) -> float:
    """Frames from the first to the last of a clip; an interval more where the rate is converted, as in the original."""
    if not sampling.target_fps:
        return (sampling.clip_len - 1) * sampling.frame_interval + 1
    ratio = fps / sampling.target_fps if fps else 1.0
    return max(1.0, sampling.clip_len * sampling.frame_interval * ratio)


def _resampled(sampling: SpreadSampling, fps: float | None) -> _Numbers:
    """Frames of a clip, from its start, spread over the time that it takes at the target rate."""
    return np.linspace(0, _span(sampling, fps) - 1, sampling.clip_len).astype(np.int64).astype(np.float64)


def _uniform(frames: int, sampling: UniformSampling) -> FrameIndex:
    part = (frames - 1) / sampling.clip_len
    starts = np.round(part * np.arange(sampling.clip_len)).astype(np.int64)
    offsets = (part / (sampling.num_clips + 1) * np.arange(1, sampling.num_clips + 1)).astype(np.int64)
    return offsets[:, None] + starts[None, :]


def _windows(frames: int, sampling: WindowSampling) -> FrameIndex:
    first = sampling.clip_interval // 2
    if first >= frames:
        first = frames // 2
    centres = np.arange(first, frames, sampling.clip_interval, dtype=np.int64)
    around = (np.arange(sampling.clip_len) - sampling.clip_len // 2) * sampling.frame_interval
    index: FrameIndex = np.clip(centres[:, None] + around[None, :], 0, frames - 1)
    return index


def _repeat_last(index: _Numbers, frames: int) -> _Numbers:
    """Replace indices past the end by the last index of the same clip that exists, or by 0 where none does."""
    exists = index < frames
    last = np.where(exists, index, 0).max(axis=1, keepdims=True)
    return np.where(exists, index, last)
