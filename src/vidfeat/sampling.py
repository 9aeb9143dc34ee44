"""Which frames make which clip: index arithmetic on NumPy arrays, no I/O.

The arithmetic is that of MMAction2 0.x's test pipelines (`mmaction/datasets/pipelines/loading.py`, branch 0.x), to the
last index: features of released checkpoints are only reproduced from the same frames.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidfeat.recipe import DenseSampling, Sampling, SegmentSampling

FrameIndex = npt.NDArray[np.int64]


def plan_clips(frames: int, sampling: Sampling) -> FrameIndex:
    """The frames of every clip of a video.

    Args:
        frames: number of frames in the video, at least 1.
        sampling: the strategy.

    Returns:
        int64 array of shape `[clips, clip_len]`, values in `[0, frames)`. A video shorter than one clip has its
        frames used again as `sampling.out_of_bound` says.

    Example:
        25 one-frame clips, each in the middle of a 25th of the video:

        >>> plan_clips(100, SegmentSampling(clip_len=1, num_clips=25)).ravel()[:4].tolist()
        [2, 6, 10, 14]

    Raises:
        ValueError: `frames` is below 1.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1; {frames = }")
    if isinstance(sampling, DenseSampling):
        starts = _dense_starts(frames, sampling)
    else:
        starts = _segment_starts(frames, sampling)
    within_clip = np.arange(sampling.clip_len) * sampling.frame_interval
    index = starts[:, None] + within_clip[None, :]
    if sampling.out_of_bound == "loop":
        index = np.mod(index, frames)
    else:
        index = _repeat_last(index, frames)
    # Truncated only here: with `twice_sample` the starts carry fractions up to this point.
    return index.astype(np.int64)


def _segment_starts(frames: int, sampling: SegmentSampling) -> npt.NDArray[np.float64]:
    """First frame of each clip; fractions where `twice_sample` adds the unshifted starts."""
    span = sampling.clip_len * sampling.frame_interval
    if frames < span:
        # `twice_sample` adds nothing here: the original returns one set of zeros.
        return np.zeros(sampling.num_clips)
    segment = (frames - span + 1) / float(sampling.num_clips)
    left = np.arange(sampling.num_clips) * segment
    middle = np.trunc(left + segment / 2.0)
    return np.concatenate([middle, left]) if sampling.twice_sample else middle


def _dense_starts(frames: int, sampling: DenseSampling) -> npt.NDArray[np.float64]:
    """First frame of each clip, position by position."""
    last_position = max(1, 1 + frames - sampling.sample_range) - 1
    positions = np.linspace(0, last_position, num=sampling.num_sample_positions, dtype=int)
    offsets = np.arange(sampling.num_clips) * (sampling.sample_range // sampling.num_clips)
    starts = (positions[:, None] + offsets[None, :]) % frames
    return starts.ravel().astype(np.float64)


def _repeat_last(index: npt.NDArray[np.float64], frames: int) -> npt.NDArray[np.float64]:
    """Replace indices past the end by the last index of the same clip that exists, or by 0 where none does."""
    exists = index < frames
    last = np.where(exists, index, 0).max(axis=1, keepdims=True)
    return np.where(exists, index, last)
