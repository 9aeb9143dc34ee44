"""What a video is, found out without decoding it: size, frame rate, number of frames."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from vidfeat.errors import Kind, VideoError
from vidfeat.video.bitstream import picture_reader
from vidfeat.video.extent import find_truncation
from vidfeat.video.packets import PacketTable, TableBuilder
from vidfeat.video.source import OpenVideo, check_frame_size, open_file, open_video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FramesFrom = Literal["packets", "decoding", "estimate", "salvage"]

_ONE_PACKET_PER_FRAME = frozenset(
    (container, codec)
    for container in ("mov", "matroska")
    for codec in ("h264", "hevc", "vp8", "vp9", "av1", "mjpeg", "prores")
)
"""Container and codec pairs whose specifications put one shown picture into one packet, hidden VP8 ones aside."""


@dataclass(frozen=True)
class VideoInfo:
    """One video, before it is decoded.

    Attributes:
        path: the file, as it was given.
        bytes: its size.
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
            `decode` watches that this holds. `decoding`: all frames were decoded and counted. `estimate`: counted in
            the container, but this format or file may give another number; plan with it and decode `to_end`, or call
            `with_exact_frames` first. `salvage`: the file is broken, and only the frames that decode all the same
            count; see `vidfeat.video.salvage`.
        frames_declared: for `salvage`, the number of frames that the container announces, or that follows from its
            duration; None where it tells neither, and for videos that are not broken.
        packets: what the packets say, with which `decode` spares itself some of them; None where that is not clear.
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
    frames_declared: int | None = None
    packets: PacketTable | None = field(default=None, repr=False, compare=False)

    @property
    def frames_exact(self) -> bool:
        """Whether a plan may rest on `frames`."""
        return self.frames_from != "estimate"


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Describe a video: read all packets of its video stream and decode the first frame.

    The stream is the one that FFmpeg calls the best; cover pictures do not count.

    Raises:
        VideoError: of stage `open`. `missing`, `empty` or `io`: there is nothing to read. `blocked_format`: a playlist
            or a reference to other files. `no_video`: no video stream. `too_large`: beyond `MAX_PIXELS` or
            `MAX_STREAMS`. `truncated`: the container declares more than the file holds. `corrupt`: anything else that
            FFmpeg cannot read.
    """
    where = os.fspath(path)
    with open_file(path, "open") as file:
        size = os.fstat(file.fileno()).st_size
        shortfall = find_truncation(file, size)
    if shortfall is not None:
        raise _broken(where, "truncated", "all that the container declares", shortfall)
    with open_video(path, "open") as video:
        _check_index(video.stream, where, size)
        packets, first = _read_packets(video, where)
        if packets.count == 0 or first is None:
            raise _broken(where, "corrupt", "at least one frame", "none that decodes")
        sure = (_family(video), codec_name(video.stream)) in _ONE_PACKET_PER_FRAME and packets.each_gives_a_frame
        info = describe_stream(video, where, first, frames=packets.count, frames_from="packets" if sure else "estimate")
        return dataclasses.replace(info, packets=packets.builder.table()) if sure else info


def with_exact_frames(info: VideoInfo) -> VideoInfo:
    """The same video with a number of frames that a plan may rest on: `info` itself, or all frames counted by decoding.

    Raises:
        VideoError: of stage `decode`, as `count_frames` does.
    """
    return info if info.frames_exact else recount(info)


def recount(info: VideoInfo, frames: int | None = None) -> VideoInfo:
    """The same video with the number of frames that decoding gives.

    Args:
        info: the video as it was thought to be.
        frames: the number where it is known already, as `FrameCountError.frames`; None counts by decoding all.
    """
    from vidfeat.video.decode import count_frames

    frames = count_frames(info.path) if frames is None else frames
    return dataclasses.replace(info, frames=frames, frames_from="decoding")


def gives_frame(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet should give a frame: not cut off by an edit list, and no hidden reference picture."""
    if packet.is_discard or packet.size == 0:
        return False
    # VP8 stores pictures that are only referred to as packets of their own; bit 4 of the frame header says "shown".
    return codec != "vp8" or bool(memoryview(packet)[0] & 0x10)


def codec_name(stream: VideoStream) -> str:
    """The codec's name, whichever decoder reads it: `av1`, never `libdav1d`."""
    return stream.codec_context.codec.canonical_name


def upright_quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns counterclockwise, 0 to 3, after which a decoded frame stands upright.

    Angles between quarter turns go to the nearest one.
    """
    return round(frame.rotation / 90) % 4


@dataclass
class _Packets:
    """What the packets of a stream tell."""

    builder: TableBuilder
    count: int = 0
    cut: int = 0
    starts_with_key: bool = False
    pts: list[int | None] = field(default_factory=list)

    def add(self, packet: Packet[VideoStream], codec: str) -> None:
        if packet.is_discard:
            self.cut += 1
        if packet.size:
            self._describe(packet)
        if not gives_frame(packet, codec):
            return
        if self.count == 0:
            self.starts_with_key = packet.is_keyframe
        self.count += 1
        self.pts.append(packet.pts)

    def _describe(self, packet: Packet[VideoStream]) -> None:
        if packet.has_sidedata("new_extradata"):  # the codec is configured anew
            self.builder.give_up()
        self.builder.add(memoryview(packet), packet.pts)

    @property
    def each_gives_a_frame(self) -> bool:
        """Nothing cut by an edit list, a key frame first, none shown before it, and no two at one time."""
        times = [pts for pts in self.pts if pts is not None]
        return self.cut == 0 and self.starts_with_key and len(set(times)) == self.count and min(times) == self.pts[0]


def _read_packets(video: OpenVideo, where: str) -> tuple[_Packets, VideoFrame | None]:
    codec = codec_name(video.stream)
    video.stream.codec_context.thread_count = 1
    reader = picture_reader(codec, video.stream.codec_context.extradata)
    packets = _Packets(TableBuilder(reader, _seconds(video.stream, 1)))
    first = None
    for packet in video.container.demux(video.stream):
        if packet.is_corrupt and "mpegts" not in video.container.format.name:
            # FFmpeg's mark for a packet that the file ends in; in transport streams also for a gap, which decodes.
            raise _broken(where, "truncated", "whole packets", f"one cut short after packet {packets.count}")
        packets.add(packet, codec)
        if first is None:
            first = next(iter(packet.decode()), None)
    return packets, first


def _check_index(stream: VideoStream, where: str, size: int) -> None:
    """Containers with an index say where each packet lies."""
    end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if end > size:
        raise _broken(where, "truncated", f"at least {end} bytes, as its index says", f"{size} bytes")


def describe_stream(
    video: OpenVideo, where: str, first: VideoFrame, *, frames: int, frames_from: FramesFrom
) -> VideoInfo:
    """What an open video says of itself, with its first frame and the number of frames from whoever counted them."""
    check_frame_size(first.width, first.height, where, "open")
    stream = video.stream
    turns = upright_quarter_turns(first)
    width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
    rate = stream.average_rate or stream.guessed_rate
    return VideoInfo(
        path=where,
        bytes=video.container.size,
        container=video.container.format.name,
        codec=codec_name(stream),
        pixel_format=first.format.name,
        width=width,
        height=height,
        rotation=turns * 90,
        fps=float(rate) if rate else None,
        start_seconds=_seconds(stream, stream.start_time),
        duration_seconds=_duration_seconds(video),
        frames=frames,
        frames_from=frames_from,
    )


def _family(video: OpenVideo) -> str:
    return video.container.format.name.split(",")[0]


def _duration_seconds(video: OpenVideo) -> float | None:
    own = _seconds(video.stream, video.stream.duration)
    if own is not None or video.container.duration is None:
        return own
    return video.container.duration / 1_000_000  # the container's own clock counts microseconds


def _seconds(stream: VideoStream, ticks: int | None) -> float | None:
    return None if ticks is None or stream.time_base is None else float(ticks * stream.time_base)


def _broken(where: str, kind: Kind, expected: str, found: str) -> VideoError:
    hint = "Copy or download it again." if kind == "truncated" else "Check that it plays, or encode it again."
    return VideoError(where, stage="open", kind=kind, expected=expected, found=found, hint=hint)
