"""What is known about a video without its pixels: `VideoInfo`, which is passed from the probe to the output."""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from vidfeat.video.packets import PacketTable

FramesFrom = Literal["packets", "decoding", "estimate", "salvage"]

OnCorrupt = Literal["fail", "salvage"]
"""What to do with a video that is truncated or corrupt: raise, or take the frames that decode."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each frame of a video is shown.

    Attributes:
        pts_seconds: float64 `[N]`, strictly rising: frame i is shown from `pts_seconds[i]` on, in the presentation time
            of the file, which need not start at 0. See `FrameClock` for streams with missing or repeated times.
        fps: average frame rate in frames per second; None where the container gives none.
        duration_seconds: of the stream as the container declares it, where it does.
    """

    pts_seconds: npt.NDArray[np.float64]
    fps: float | None = None
    duration_seconds: float | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.pts_seconds)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Timeline)
            and np.array_equal(self.pts_seconds, other.pts_seconds)
            and (self.fps, self.duration_seconds) == (other.fps, other.duration_seconds)
        )

    @classmethod
    def of_rate(cls, frames: int, fps: float | None, duration_seconds: float | None = None) -> Timeline:
        """`frames` frames at a constant rate, from 0 on; one frame per second where the rate is unknown."""
        return cls(np.arange(frames, dtype=np.float64) / (fps or 1.0), fps, duration_seconds)

    @property
    def end_seconds(self) -> npt.NDArray[np.float64]:
        """float64 `[N]`: when each frame stops being shown; for the last one, after the duration of a typical frame."""
        last = 1.0 / self.fps if self.fps else float(np.median(np.diff(self.pts_seconds))) if len(self) > 1 else 0.0
        return np.append(self.pts_seconds[1:], self.pts_seconds[-1:] + last)

    def within(self, start_seconds: float, end_seconds: float) -> range:
        """The frames with `start_seconds <= pts_seconds < end_seconds`; empty where there are none."""
        start, end = np.searchsorted(self.pts_seconds, (start_seconds, end_seconds)).tolist()
        return range(start, end)

    def shown(self, start_seconds: float, end_seconds: float) -> range:
        """The frames `within` a range; where none begins in it, the one that is shown at its start, if one is."""
        frames = self.within(start_seconds, end_seconds)
        if frames or not self.pts_seconds[0] <= start_seconds < min(end_seconds, self.end_seconds[-1]):
            return frames
        return range(frames.start - 1, frames.start)


class FrameClock:
    """Presentation times of the frames of a stream, in the order in which the decoder puts them out.

    A frame is shown at its `pts`. A frame without one, or whose `pts` is not later than the time of the frame before,
    is shown `1 / fps` after the frame before; the first one at 0. So times always rise, and in a stream without any
    presentation times frame i has `i / fps`.

    Args:
        time_base: seconds per unit of `pts`; None where the container has no presentation times, whatever `pts` says.
        fps: frames per second; 1 where it is unknown.
    """

    def __init__(self, time_base: Fraction | None, fps: float | None) -> None:
        self._time_base = time_base
        self._fps = fps or 1.0
        self._anchor, self._frames_since, self._last = 0.0, -1, -math.inf

    def __call__(self, pts: int | None) -> float:
        """Seconds of the next frame.

        Examples:
            >>> clock = FrameClock(Fraction(1, 10), fps=10.0)
            >>> [clock(pts) for pts in (3, 4, None, 2, 8)]
            [0.3, 0.4, 0.5, 0.6, 0.8]
        """
        base = self._time_base
        seconds = -math.inf if pts is None or base is None else pts * base.numerator / base.denominator
        if seconds > self._last:
            self._anchor, self._frames_since = seconds, 0
        else:
            self._frames_since += 1  # counted from the last true time, so that no rounding accumulates
            seconds = max(self._anchor + self._frames_since / self._fps, math.nextafter(self._last, math.inf))
        self._last = seconds
        return seconds

    def of_sorted(self, pts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Seconds of all frames of a stream, of which the `pts` are known and sorted."""
        if self._time_base is not None:
            seconds = pts * self._time_base.numerator / self._time_base.denominator
            if (np.diff(seconds) > 0).all():
                return seconds
        return np.fromiter(map(self, pts.tolist()), np.float64, len(pts))


@dataclass(frozen=True)
class VideoInfo:
    """One video, before it is decoded.

    Attributes:
        path: the file, as it was given.
        bytes: its size when it was opened.
        modified_ns: its modification time when it was opened, in nanoseconds since 1970; None where it has none.
        container: FFmpeg's name of the container, such as `mov,mp4,m4a,3gp,3g2,mj2`.
        codec: name of the video codec, such as `h264`.
        pixel_format: FFmpeg's name, such as `yuv420p`.
        width, height: of the upright first frame, in pixels, that is with `rotation` applied.
        rotation: degrees by which decoded frames are turned counterclockwise to stand upright: 0, 90, 180 or 270.
        fps: average frame rate in frames per second; None where the container gives none.
        start_seconds: presentation time of the first frame, where given.
        duration_seconds: as the container declares it, where it does.
        frames: number of frames that decoding gives, as far as it is known; at least 1.
        frames_from: how `frames` is known. `packets`: counted in the container, for formats with one frame per packet;
            `decode` checks that this holds. `decoding`: all frames were decoded and counted. `estimate`: counted in
            the container, but decoding may give another number in this format or file; plan with it and decode
            `to_end`, or call `with_exact_frames` first. `salvage`: the file is broken, and only the frames that
            decode are counted; see `vidfeat.video.salvage`.
        timeline: when each of the `frames` frames is shown; as exact as `frames`.
        frames_declared: for `salvage`, the number of frames that the container declares, or that follows from its
            duration; None where it declares neither, and for videos that are not broken.
        mirrored: whether decoded frames are mirrored from left to right before they are turned by `rotation`.
        length_verified: whether the frames were compared with the end, the duration or the number of frames that the
            container declares. False where it declares none: the file may have been cut between two packets.
        packets: the packets of the stream, with which `decode` skips some of them; None where their structure is not
            certain, and in other processes than the one that probed.
    """

    path: str
    bytes: int
    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation: int
    fps: float | None
    start_seconds: float | None
    duration_seconds: float | None
    frames: int
    frames_from: FramesFrom
    timeline: Timeline
    modified_ns: int | None = None
    frames_declared: int | None = None
    mirrored: bool = False
    length_verified: bool = False
    packets: PacketTable | None = field(default=None, repr=False, compare=False, metadata={"travels": False})

    @property
    def frames_exact(self) -> bool:
        """Whether a plan may rest on `frames`."""
        return self.frames_from != "estimate"

    @property
    def salvaged(self) -> bool:
        """Whether the video is broken, and `frames` counts only those that decode."""
        return self.frames_from == "salvage"

    @property
    def stamp(self) -> tuple[int, int | None]:
        """Size and modification time, by which a file that has changed is recognised."""
        return self.bytes, self.modified_ns

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON data, except those that stay in this process. Times: base64 of little-endian float64."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata.get("travels", True)}
        times = base64.b64encode(self.timeline.pts_seconds.astype("<f8", copy=False).tobytes()).decode("ascii")
        return {**data, "timeline": {**vars(self.timeline), "pts_seconds": times}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VideoInfo:
        """The inverse of `to_json`. The data may come from a process that a video has taken over, and is checked.

        Data of a manifest has no presentation times: `timeline` is empty then.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        timeline = dict(data["timeline"])
        pts = np.frombuffer(base64.b64decode(timeline.pop("pts_seconds"), validate=True), "<f8")
        info = cls(**{**data, "timeline": Timeline(pts, **timeline)})
        for part in (info, info.timeline):
            _require_types(part)
        if (
            info.frames < 1
            or len(pts) not in (0, info.frames)
            or not np.isfinite(pts).all()
            or (np.diff(pts) < 0).any()
        ):
            raise ValueError(f"a video of {info.frames} frames has as many times, which rise; {len(pts) = }")
        return info


_hints_of = functools.cache(get_type_hints)
"""Evaluating annotations takes ten times as long as all else of an object, of which there may be a million."""


def _class_of(hint: Any) -> Any:
    """The class of a hint. `NDArray` is an alias that has to be resolved, since NumPy 2.5 on Python 3.12 and later."""
    found = get_origin(hint) or hint
    aliased = getattr(found, "__value__", None)
    return found if aliased is None else _class_of(aliased)


def _require_types(part: Any) -> None:
    """Compare the values of a dataclass with its annotations."""
    kind: Any = type(part)
    for name, hint in _hints_of(kind).items():
        value = getattr(part, name)
        if get_origin(hint) is Literal:
            fits = value in get_args(hint)
        else:
            kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (_class_of(hint),)
            fits = isinstance(value, (*kinds, int) if float in kinds else kinds)
            fits = fits and isinstance(value, bool) == (bool in kinds)
        if not fits:
            raise ValueError(f"{name} is of another type: {value!r:.100}")
