"""Windows: rows at equal distances over a video, whatever encoder looks at them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from vidfeat.errors import UsageError
from vidfeat.preprocessing.grid import PADDING, ClipPlan, FrameIndex, Grid
from vidfeat.recipe import TimeGrid
from vidfeat.video import Timeline
from vidfeat.videos import Cut

Placement = Literal["start", "centre"]
Tail = Literal["drop", "pad", "clamp"]

MOST_ROWS = 10_000_000
"""Of a video: more would come of times that a broken file makes up."""

_MOST = {"": 1e6, "s": 1e5}
_LEAST = {"": 1, "s": 1e-3}
_TOLERANCE = 1e-6
"""In frames: what is nearer to the next frame belongs to it."""

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Windows(Grid):
    """A window every `stride`, and the frames of each that an encoder looks at.

    Window k starts at `k * stride`; with `placement="centre"` its centre lies at `stride / 2 + k * stride`, rounded
    down to a whole frame, as MMAction2 has it. Everything counts from the first frame. Lengths are whole numbers of
    frames, such as 16, or text with a number of seconds, such as "2s". A window of n frames always has n frames;
    bounds in seconds are rounded to the nearest start of a frame, so that no rounding adds up.

    An encoder looks at `clip_len` frames of a window: those at the starts of `clip_len` equal parts of it, parts with
    equal numbers of frames where the window is given in frames, of equal time where it is given in seconds. So an
    encoder with a clip of 8 frames, 8 apart, looks at just those in a window of 64.

    Rows have the times of the window: from the start of its first frame to the end of its last, inside the video.

    Attributes:
        clip_len: frames that an encoder looks at; 0 takes all of them, for encoders of single frames. An encoder that
            takes the grid sets it.
        stride: distance between windows.
        window: length of a window; None is the encoder's own clip: its length times its interval, one frame for
            encoders of single frames.
        fps: frames per second to which videos are resampled first, as FFmpeg's filter `fps` does by default: frame j
            is shown at `j / fps`, on the axis of presentation times, and is the last frame of the video whose own time
            rounds to that or an earlier one. Its content is at most half a frame of this rate late. None takes frames
            as they are.
        placement: whether `k * stride` is where a window starts, or where the cell of its centre does.
        tail: what becomes of windows that reach past the end: left out, filled with black frames, or with the last
            frame. Those that begin past the end, or have their centre there, are always left out. Before the first
            frame is the first frame, or black under "pad".

    A video gives one row at least: where no window is whole, the first one with its last frame repeated; where it ends
    before the first centre, one in its middle.

    Raises:
        UsageError: a value is impossible.

    Examples:
        >>> Windows(clip_len=4, window=4, stride=2).frame_index(9).tolist()
        [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    """

    clip_len: int = 0
    stride: int | str
    window: int | str | None = None
    fps: float | None = None
    placement: Placement = "start"
    tail: Tail = "drop"

    dense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride", _length("grid.stride", self.stride))
        if self.window is not None:
            object.__setattr__(self, "window", _length("grid.window", self.window))
        fps = self.fps
        if fps is not None and not (isinstance(fps, int | float) and not isinstance(fps, bool) and 1e-3 <= fps <= 1e3):
            raise UsageError("grid.fps", expected="frames per second, from 0.001 to 1000", found=repr(fps))
        object.__setattr__(self, "fps", None if fps is None else float(fps))
        for name, choices in (("placement", Placement), ("tail", Tail)):
            if getattr(self, name) not in get_args(choices):
                expected = " or ".join(get_args(choices))
                raise UsageError(f"grid.{name}", expected=expected, found=repr(getattr(self, name)))
        if self.clip_len < 0:
            raise UsageError("grid.clip_len", expected="a number of frames, or 0", found=f"{self.clip_len}")

    @property
    def clips_per_row(self) -> int:
        """See `Grid.clips_per_row`."""
        return 1

    @property
    def frame_interval(self) -> int | None:
        """Frames from one frame of a clip to the next; None where that is no whole number, or depends on the video."""
        if isinstance(self.window, int) and self.clip_len > 0 and self.window % self.clip_len == 0:
            return self.window // self.clip_len
        return None

    def of_clip(self, length: int, interval: int | None, own: TimeGrid | None = None) -> Windows:
        """See `Grid.of_clip`; `own` does not matter.

        Raises:
            UsageError: neither the grid nor the encoder says how long a window is.
        """
        window = self.window
        if window is None:
            if length > 1 and interval is None:
                raise UsageError(
                    "grid.window",
                    expected=f"the length of a window, in which this encoder looks at {length} frames",
                    found="None, and its own clip is as long as the video",
                )
            window = length * (interval or 1)
        return replace(self, clip_len=length if length > 1 else 0, window=window)

    def frame_index(self, frames: int, fps: float | None = None) -> FrameIndex:
        """See `Grid.frame_index`; of a video of constant rate. `PADDING` stands for black frames."""
        return self.plan(Timeline.of_rate(frames, fps)).frame_index

    def plan(self, timeline: Timeline, segment: Cut | None = None) -> ClipPlan:
        """See `Grid.plan`. `PADDING` stands for black frames.

        Raises:
            ValueError: there is no frame, or there are more than `MOST_ROWS` rows.
        """
        frames = self.frames_of(timeline, segment)
        pts, end = timeline.pts_seconds[frames.start : frames.stop], float(timeline.end_seconds[frames.stop - 1])
        axis = _Axis(pts, end) if self.fps is None else _ResampledAxis(pts, end, self.fps)
        first, stop = self._windows(axis)
        if self.tail == "drop":
            whole = stop <= axis.frames
            whole[0] |= not whole.any()
            first, stop = first[whole], stop[whole]
        index = self._frames_in(axis, first, stop)
        inside = (index >= 0) & (index < axis.frames)
        source = axis.source(np.clip(index, 0, axis.frames - 1)) + frames.start
        pad = self.tail == "pad" and inside.any()  # of nothing but black frames nobody knows the size
        return ClipPlan(
            np.where(inside, source, PADDING) if pad else source,
            axis.seconds(np.clip(first, 0, axis.frames - 1)),
            axis.seconds(np.clip(stop, 1, axis.frames)),
        )

    def _windows(self, axis: _Axis) -> tuple[FrameIndex, FrameIndex]:
        """First frame of each window, and the one after its last; some lie outside of the video."""
        centred = self.placement == "centre"
        shift = 0.5 if centred else 0.0
        unit, stride = _split(self.stride)
        rows = (axis.frames if unit == "" else axis.end - axis.begin) / stride
        if rows > MOST_ROWS:
            raise ValueError(f"at most {MOST_ROWS:,} windows of a video; {rows = :,.0f}")
        number = np.arange(math.ceil(rows) + 1)
        if unit == "":
            anchor: FrameIndex = number * int(stride) + (int(stride) // 2 if centred else 0)
            seconds = axis.seconds(anchor)
        else:
            seconds = axis.begin + (number + shift) * np.float64(stride)
            anchor = np.floor(axis.position(seconds)).astype(np.int64) if centred else axis.nearest(seconds)
        inside = anchor < axis.frames
        if inside.any():
            anchor, seconds = anchor[inside], seconds[inside]
        else:
            anchor = np.array([axis.frames // 2])
            seconds = axis.seconds(anchor)
        window_unit, window = _split(self.window or 1)
        if window_unit == "":
            first = anchor - (int(window) // 2 if centred else 0)
            return first, first + int(window)
        begin = seconds - (window / 2 if centred else 0.0)
        first = axis.nearest(begin)
        return first, np.maximum(axis.nearest(begin + window), first + 1)

    def _frames_in(self, axis: _Axis, first: FrameIndex, stop: FrameIndex) -> FrameIndex:
        """int64 `[windows, clip_len]`: the frames of each window that are looked at; some lie outside of the video."""
        unit, window = _split(self.window or 1)
        clip_len = self.clip_len or max(1, round(float((stop - first).mean())))
        part = np.arange(clip_len) / clip_len
        if unit == "":
            index: FrameIndex = first[:, None] + np.floor(part * window + _TOLERANCE).astype(np.int64)
            return index
        begin, end = axis.seconds(first)[:, None], axis.seconds(stop)[:, None]
        shown = np.floor(axis.position(begin + part * (end - begin))).astype(np.int64)
        return np.clip(shown, first[:, None], stop[:, None] - 1)


class _Axis:
    """The frames of a video, or a segment, on the axis of time; also past its ends, where frames are alike.

    Args:
        pts: float64 `[N]`, seconds.
        end: of the last frame, seconds.

    Attributes:
        frames: how many.
        begin, end: seconds.
    """

    def __init__(self, pts: _Numbers, end: float) -> None:
        self._bounds = np.append(pts, end)
        self.frames, self.begin, self.end = len(pts), float(pts[0]), end

    def position(self, seconds: _Numbers) -> _Numbers:
        """In frames, 2.5 for the middle of frame 2; a little more, so that rounding never makes a whole number less."""
        at = np.interp(seconds, self._bounds, np.arange(self.frames + 1.0)) + _TOLERANCE
        return at + (np.minimum(seconds - self.begin, 0) + np.maximum(seconds - self.end, 0)) / self._frame_seconds

    def seconds(self, frame: FrameIndex) -> _Numbers:
        """When frames start."""
        at: _Numbers = self._bounds[np.clip(frame, 0, self.frames)]
        return at + (np.minimum(frame, 0) + np.maximum(frame - self.frames, 0)) * self._frame_seconds

    def source(self, frame: FrameIndex) -> FrameIndex:
        """The frames of the video that are shown; those asked for lie inside."""
        return frame

    def nearest(self, seconds: _Numbers) -> FrameIndex:
        """The frame whose start is nearest; of two the later."""
        nearest: FrameIndex = np.floor(self.position(seconds) + 0.5).astype(np.int64)
        return nearest

    @property
    def _frame_seconds(self) -> float:
        return max(float(self._bounds[-1] - self._bounds[-2]), 1e-6)


class _ResampledAxis(_Axis):
    """The same with the frames that FFmpeg's filter `fps` chooses."""

    def __init__(self, pts: _Numbers, end: float, fps: float) -> None:
        self._fps = fps
        self._tick = _round(pts * fps)
        self._first = int(self._tick[0])
        # The filter puts nothing out for a video that is shorter than half a frame; here it has one.
        self.frames = max(1, int(_round(np.array([end * fps]))[0]) - self._first)
        self.begin, self.end = self._first / fps, (self._first + self.frames) / fps

    def position(self, seconds: _Numbers) -> _Numbers:
        return seconds * self._fps - self._first + _TOLERANCE

    def seconds(self, frame: FrameIndex) -> _Numbers:
        return (frame + self._first) / self._fps

    def source(self, frame: FrameIndex) -> FrameIndex:
        return np.searchsorted(self._tick, frame + self._first, side="right") - 1


def _round(ticks: _Numbers) -> FrameIndex:
    """To the nearest, halves away from zero as in FFmpeg; what is a half but for the last bits of a float, too."""
    away: FrameIndex = (np.sign(ticks) * np.floor(np.abs(ticks) + 0.5 + 1e-8)).astype(np.int64)
    return away


_LENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s?)")


def _length(where: str, given: int | str) -> int | str:
    """A length in its one form: frames as a whole number, seconds as text."""
    found = _LENGTH.fullmatch(f"{given}".strip()) if isinstance(given, int | str) else None
    number, unit = (float(found[1]), found[2]) if found else (math.nan, "")
    if isinstance(given, bool) or not _LEAST[unit] <= number <= _MOST[unit] or (unit == "" and number % 1):
        raise UsageError(
            where,
            expected=f"frames, from 1 to {_MOST['']:,.0f}, such as 16, or seconds, from {_LEAST['s']} to "
            f"{_MOST['s']:,.0f}, such as 2s",
            found=f"{given}" if isinstance(given, int) else repr(given),
        )
    return f"{number:.12g}s" if unit else int(number)


def _split(length: int | str) -> tuple[str, float]:
    """Unit and number of a length in its one form."""
    return ("", length) if isinstance(length, int) else ("s", float(length[:-1]))
