"""The grids of MMAction2's test pipelines: index arithmetic on NumPy arrays, no I/O.

The indices are exactly those of MMAction2 (`mmaction/datasets/pipelines/loading.py` of branch 0.x,
`mmaction/datasets/transforms/loading.py` of 1.x): features of released checkpoints are only reproduced from the same
frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from vidfeat.preprocessing.grid import FrameIndex, Grid

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SegmentSampling(Grid):
    """`num_clips` clips spread evenly, each in the middle of its segment (MMAction2's `SampleFrames`, test mode).

    Attributes:
        clip_len: frames per clip.
        frame_interval: distance between neighbouring frames of a clip, in frames.
        num_clips: clips per video; doubled by `twice_sample`.
        twice_sample: also take the clips at the start of each segment.
        out_of_bound: what stands in for frames past the end of a short video: the video from its start again, or the
            clip's last frame that exists.
    """

    frame_interval: int = 1
    num_clips: int = 1
    twice_sample: bool = False
    out_of_bound: Literal["loop", "repeat_last"] = "loop"

    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """See `Grid.frame_index`.

        Examples:
            25 one-frame clips, each in the middle of a 25th of the video:

            >>> SegmentSampling(clip_len=1, num_clips=25).frame_index(100).ravel()[:4].tolist()
            [2, 6, 10, 14]
        """
        within_clip = _within_clip(self)
        span = self.clip_len * self.frame_interval
        if frames < span:
            # `twice_sample` adds nothing here: the original returns one set of zeros.
            return _clips(frames, np.zeros(self.num_clips), within_clip, self.out_of_bound)
        segment = (frames - span + 1) / float(self.num_clips)
        left = np.arange(self.num_clips) * segment
        middle = np.trunc(left + segment / 2.0)
        starts = np.concatenate([middle, left]) if self.twice_sample else middle
        return _clips(frames, starts, within_clip, self.out_of_bound)


@dataclass(frozen=True)
class DenseSampling(Grid):
    """`num_clips` clips inside `sample_range` frames, at `num_sample_positions` places (`DenseSampleFrames`).

    Attributes:
        clip_len, frame_interval, num_clips, out_of_bound: as in `SegmentSampling`; `num_clips` is per position.
        sample_range: length of the range, in frames.
        num_sample_positions: start positions of the range, spread evenly over the video.
    """

    frame_interval: int = 1
    num_clips: int = 1
    sample_range: int = 64
    num_sample_positions: int = 10
    out_of_bound: Literal["loop", "repeat_last"] = "loop"

    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """See `Grid.frame_index`; position by position."""
        last_position = max(1, 1 + frames - self.sample_range) - 1
        positions = np.linspace(0, last_position, num=self.num_sample_positions, dtype=int)
        offsets = np.arange(self.num_clips) * (self.sample_range // self.num_clips)
        starts = (positions[:, None] + offsets[None, :]) % frames
        return _clips(frames, starts.ravel().astype(np.float64), _within_clip(self), self.out_of_bound)


@dataclass(frozen=True)
class SpreadSampling(Grid):
    """`num_clips` clips spread from the first frame to the last (`SampleFrames` of MMAction2 1.x, test mode).

    Single frames lie in the middle of equal parts of the video; longer clips start at equal distances, the first with
    the first frame and the last so that it ends with the last frame. One longer clip lies in the middle.

    Attributes:
        clip_len, frame_interval, num_clips, out_of_bound: as in `SegmentSampling`.
        twice_sample: single frames are taken at the start of each part, too; of longer clips there are twice as many
            at the same distances, the second half past the end.
        target_fps: frames per second that `frame_interval` refers to: in a video of another rate the clip covers the
            same time. None takes frames as they come.
    """

    frame_interval: int = 1
    num_clips: int = 1
    twice_sample: bool = False
    out_of_bound: Literal["loop", "repeat_last"] = "loop"
    target_fps: float | None = None

    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """See `Grid.frame_index`."""
        within_clip = _within_clip(self)
        if self.target_fps:  # the clip is spread over the time that it takes at the target rate
            spread = np.linspace(0, self._span(fps) - 1, self.clip_len)
            within_clip = spread.astype(np.int64).astype(np.float64)
        return _clips(frames, self._starts(frames, fps), within_clip, self.out_of_bound)

    def _starts(self, frames: int, fps: float | None) -> _Numbers:
        """First frame of each clip; fractions for single frames, and where the frame rate is converted."""
        if self.clip_len == 1:
            part = frames / float(self.num_clips)
            left: _Numbers = np.arange(self.num_clips, dtype=np.float64) * part
            middle = left + part / 2.0
            return np.concatenate([middle, left]) if self.twice_sample else middle
        room = max(frames - self._span(fps), 0)
        clips = self.num_clips * (2 if self.twice_sample else 1)
        if clips == 1:
            return np.array([room // 2], dtype=np.float64)
        step = room / float(self.num_clips - 1)
        number: _Numbers = np.arange(clips, dtype=np.float64)
        return number * np.floor(step) if self.target_fps else np.round(number * step)

    def _span(self, fps: float | None) -> float:
        """Frames from the first to the last of a clip; an interval more where the rate is converted, as originally."""
        if not self.target_fps:
            return (self.clip_len - 1) * self.frame_interval + 1
        ratio = fps / self.target_fps if fps else 1.0
        return max(1.0, self.clip_len * self.frame_interval * ratio)


@dataclass(frozen=True)
class UniformSampling(Grid):
    """Clips that each span the whole video, a frame from each of `clip_len` equal parts (`UniformSample`, test mode).

    Attributes:
        clip_len: frames per clip.
        num_clips: clips per video; in each part they take frames at equal distances.
    """

    num_clips: int = 1

    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """See `Grid.frame_index`."""
        part = (frames - 1) / self.clip_len
        starts = np.round(part * np.arange(self.clip_len)).astype(np.int64)
        offsets = (part / (self.num_clips + 1) * np.arange(1, self.num_clips + 1)).astype(np.int64)
        return offsets[:, None] + starts[None, :]


@dataclass(frozen=True)
class WindowSampling(Grid):
    """A clip every `clip_interval` frames, as many as the video has room for (`UntrimmedSampleFrames`).

    Window k, from 0, has its *centre* (frame `clip_len // 2` of the clip) at frame
    `clip_interval // 2 + k * clip_interval`. Frames before the first and past the last are replaced by those. A video
    too short for the first centre has one window in its middle.

    Attributes:
        clip_len: frames per clip.
        clip_interval: distance between neighbouring centres, in frames.
        frame_interval: distance between neighbouring frames of a clip, in frames.
    """

    clip_interval: int
    frame_interval: int = 1

    dense: ClassVar[bool] = True

    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """See `Grid.frame_index`."""
        first = self.clip_interval // 2
        if first >= frames:
            first = frames // 2
        centres = np.arange(first, frames, self.clip_interval, dtype=np.int64)
        around = (np.arange(self.clip_len) - self.clip_len // 2) * self.frame_interval
        index: FrameIndex = np.clip(centres[:, None] + around[None, :], 0, frames - 1)
        return index


def _within_clip(sampling: SegmentSampling | DenseSampling | SpreadSampling) -> _Numbers:
    """Frames of a clip, from its start."""
    return np.arange(sampling.clip_len, dtype=np.float64) * sampling.frame_interval


def _clips(frames: int, starts: _Numbers, within_clip: _Numbers, out_of_bound: str) -> FrameIndex:
    """The frames of each clip, with others in place of those past the end."""
    index = starts[:, None] + within_clip[None, :]
    if out_of_bound == "loop":
        index = np.mod(index, frames)
    else:  # the last index of the same clip that exists, or 0 where none does
        exists = index < frames
        index = np.where(exists, index, np.where(exists, index, 0).max(axis=1, keepdims=True))
    # Truncated only here: starts may carry fractions up to this point.
    return index.astype(np.int64)


Sampling: TypeAlias = Union[SegmentSampling, DenseSampling, SpreadSampling, UniformSampling, WindowSampling]
"""The grids of MMAction2."""
