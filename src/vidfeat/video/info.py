"""What is known of a video without its pixels: the one object that travels from the probe to the output."""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidfeat.video.packets import PacketTable

FramesFrom = Literal["packets", "decoding", "estimate", "salvage"]


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each frame of a video is shown.

    Attributes:
        pts_seconds: float64 `[N]`, rising: frame i is shown from `pts_seconds[i]` on, in the presentation time of the
            file. Where the stream has no presentation times, frame i has `i / fps`.
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
        """Of `frames` frames at a constant rate, from 0 on; at one frame per second where the rate is unknown."""
        return cls(np.arange(frames, dtype=np.float64) / (fps or 1.0), fps, duration_seconds)

    @property
    def end_seconds(self) -> npt.NDArray[np.float64]:
        """float64 `[N]`: when each frame stops being shown; for the last one, after the duration of a typical frame."""
        last = 1.0 / self.fps if self.fps else float(np.median(np.diff(self.pts_seconds))) if len(self) > 1 else 0.0
        return np.append(self.pts_seconds[1:], self.pts_seconds[-1:] + last)


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
            the container, but this format or file may give another number; plan with it and decode `to_end`, or call
            `with_exact_frames` first. `salvage`: the file is broken, and only the frames that decode all the same
            count; see `vidfeat.video.salvage`.
        timeline: when each of the `frames` frames is shown.
        frames_declared: for `salvage`, the number of frames that the container announces, or that follows from its
            duration; None where it gives neither, and for videos that are not broken.
        packets: what the packets say, with which `decode` skips some of them; None where that is not clear, and in
            other processes than the one that probed.
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
    packets: PacketTable | None = field(default=None, repr=False, compare=False, metadata={"travels": False})

    @property
    def frames_exact(self) -> bool:
        """Whether a plan may rest on `frames`."""
        return self.frames_from != "estimate"

    @property
    def salvaged(self) -> bool:
        """Whether the video is broken, and `frames` counts those that decode all the same."""
        return self.frames_from == "salvage"

    @property
    def stamp(self) -> tuple[int, int | None]:
        """Size and modification time: what tells that the file is still the same."""
        return self.bytes, self.modified_ns

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON data, but for those that stay in this process. Times are base64 of float64, little endian."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata.get("travels", True)}
        times = base64.b64encode(self.timeline.pts_seconds.astype("<f8", copy=False).tobytes()).decode("ascii")
        return {**data, "timeline": {**vars(self.timeline), "pts_seconds": times}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VideoInfo:
        """The inverse of `to_json`.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        timeline = dict(data["timeline"])
        pts = np.frombuffer(base64.b64decode(timeline.pop("pts_seconds"), validate=True), "<f8")
        return cls(**{**data, "timeline": Timeline(pts, **timeline)})
