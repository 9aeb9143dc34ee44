"""Probing a video: size, frame rate and the time of every frame, from its packets and its first frame."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from vidfeat.video.bitstream import picture_reader
from vidfeat.video.info import FrameClock, FramesFrom, Timeline, VideoInfo
from vidfeat.video.packets import PacketIndex, PacketTable, TableBuilder
from vidfeat.video.remote import RemoteFile
from vidfeat.video.source import OpenVideo, broken, check_frame_size, open_file, open_video
from vidfeat.video.truncation import End, find_truncation

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNCOMPRESSED = frozenset("rawvideo r210 r10k avrp v210 v308 v408 v410 y41p yuv4 ayuv bitpacked".split())
"""Codecs in which a black picture may consist of zero bytes."""

_FRAMES_UP_TO_THE_END = frozenset(("yuv4mpegpipe", "dv"))
"""Containers that are nothing but frames of one size."""

_ONE_PACKET_PER_FRAME = frozenset(
    (container, codec)
    for container in ("mov", "matroska")
    for codec in ("h264", "hevc", "vp8", "vp9", "av1", "mjpeg", "prores")
)
"""Container and codec pairs whose specifications put one shown picture into one packet, except hidden VP8 ones."""


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Describe a video: read all packets of its video stream and decode the first frame.

    The stream is the one that FFmpeg considers the best; cover pictures do not count. The timeline consists of the
    presentation times of the packets that give frames.

    Raises:
        VideoError: of stage `open`. `missing`, `empty` or `io`: there is nothing to read. `blocked_format`: a playlist
            or a reference to other files. `no_video`: no video stream. `too_large`: beyond `MAX_PIXELS` or
            `MAX_STREAMS`. `truncated`: the container declares more than the file holds. `corrupt`: anything else that
            FFmpeg cannot read.
    """
    where = os.fspath(path)
    with open_file(path, "open") as file:
        missing, end = find_truncation(cast("BinaryIO", file), file.bytes)
    if missing is not None:
        raise broken(where, "open", "truncated", "all that the container declares", missing)
    with open_video(path, "open") as video:
        listed = _check_index(video, where)
        packets, first = _read_packets(video, where)
        if packets.count == 0 or first is None:
            raise broken(where, "open", "corrupt", "at least one frame", "none that decodes")
        verified = _check_length(video, packets, listed, end, where)
        exact = (_family(video), codec_name(video.stream)) in _ONE_PACKET_PER_FRAME and packets.each_gives_a_frame
        seconds = packets.frame_seconds(frame_clock(video))
        info = describe_stream(video, where, first, seconds, "packets" if exact else "estimate")
        table = packets.table() if exact else None
        return dataclasses.replace(info, packets=table, length_verified=verified)


def gives_frame(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet should give a frame: it is not discarded by an edit list and not a hidden reference picture."""
    if packet.is_discard or packet.size == 0:
        return False
    # VP8 stores pictures that are only referred to as packets of their own; bit 4 of the frame header says "shown".
    return codec != "vp8" or bool(memoryview(packet)[0] & 0x10)


def codec_name(stream: VideoStream) -> str:
    """The codec's name, whichever decoder reads it: `av1`, never `libdav1d`."""
    return stream.codec_context.codec.canonical_name


def frame_clock(video: OpenVideo) -> FrameClock:
    """A clock for the frames of a stream, from the first one on."""
    # AVI stores no presentation times. FFmpeg derives some from the order of the packets, wrong ones for B-frames.
    time_base = None if _family(video) == "avi" else video.stream.time_base
    return FrameClock(time_base, _frame_rate(video.stream))


def to_upright(frame: VideoFrame) -> tuple[int, bool]:
    """What makes a decoded frame stand upright, as its display matrix says.

    Of a matrix that is neither a rotation by quarter turns nor one after mirroring, the angle goes to the nearest
    quarter turn, and scale and shear are ignored.

    Returns:
        Quarter turns counterclockwise, 0 to 3, and whether the frame is mirrored from left to right before them.
    """
    from av.sidedata.sidedata import SideDataContainer

    # Not `frame.side_data`: frame and container would refer to each other, and the frame would stay in memory.
    container: Any = SideDataContainer
    matrix = container(frame).get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    mirrored = a * d < b * c
    # The angle by which the first row of the matrix turns; as in FFmpeg's autorotation, of columns of equal length.
    turns = round(2 / math.pi * -math.atan2(b * math.hypot(a, c), a * math.hypot(b, d))) % 4
    return (turns + 2 * mirrored) % 4, mirrored


def upright(pixels: npt.NDArray[Any], turns: int, mirrored: bool) -> npt.NDArray[np.uint8]:
    """The pixels `[H, W, 3]` of a frame, mirrored and turned by `to_upright`; C-contiguous."""
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if mirrored else pixels, turns))


@dataclass
class _Packets:
    """What the packets of a stream say.

    Attributes:
        builder: takes all of them.
        index: what stands in for their contents where they are not to be read.
        pts: presentation times of those that give frames, as far as they have one.
        count: number of those that give frames.
        discarded: number of those that an edit list cuts off.
        starts_with_key: whether the first that gives a frame is a key frame.
        spans: for each stream of the file, by its index: when the first packet begins, but at most 0, and when the last
            one ends; in units of its time base.
        end_byte: where the last packet of the video ends in the file; 0 where that is unknown.
        filled: number of those that hold anything.
        zeros: number of those that consist of zero bytes.
        ends_in_zeros: whether the last one does.
    """

    builder: TableBuilder
    index: PacketIndex | None = None
    pts: array[int] = field(default_factory=lambda: array("q"))
    count: int = 0
    discarded: int = 0
    starts_with_key: bool = False
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    end_byte: int = 0
    filled: int = 0
    zeros: int = 0
    ends_in_zeros: bool = False

    def note_time(self, packet: Packet[Any]) -> None:
        """Extend the time that a stream covers."""
        at = packet.dts if packet.pts is None else packet.pts
        if at is not None:
            begin, end = self.spans.get(packet.stream_index, (0, 0))
            self.spans[packet.stream_index] = min(begin, at), max(end, at + (packet.duration or 0))

    def seconds(self, streams: Iterable[Any]) -> float:
        """The time that the file covers; 0 where that is unknown."""
        spans = [(*self.spans[s.index], float(s.time_base)) for s in streams if s.index in self.spans and s.time_base]
        begin = min((begin * base for begin, _, base in spans), default=0.0)
        return max((end * base for _, end, base in spans), default=0.0) - begin

    def add(self, packet: Packet[VideoStream], codec: str) -> None:
        pts = packet.pts
        if packet.is_discard:
            self.discarded += 1
        if packet.size:
            if packet.has_sidedata("new_extradata"):  # the codec is reconfigured
                self.builder.give_up()
            self.builder.add(memoryview(packet), pts)
            self.ends_in_zeros = self.index is None and not any(memoryview(packet))
            self.filled += 1
            self.zeros += self.ends_in_zeros
            self.end_byte = max(self.end_byte, (packet.pos or 0) + packet.size)
        if not gives_frame(packet, codec):
            return
        if self.count == 0:
            self.starts_with_key = packet.is_keyframe
        self.count += 1
        if pts is not None:
            self.pts.append(pts)

    def table(self) -> PacketTable | None:
        """The packets; None where anything about them is not certain."""
        return self.builder.table() if self.index is None else self.index.table(np.array(self.pts, np.int64))

    @property
    def each_gives_a_frame(self) -> bool:
        """Nothing is discarded, a key frame comes first, none is shown before it, and no two at one time."""
        pts = np.array(self.pts, np.int64)
        clean = self.discarded == 0 and self.starts_with_key and len(pts) == self.count
        return clean and len(np.unique(pts)) == self.count and bool(pts.min() == pts[0])

    def frame_seconds(self, clock: FrameClock) -> npt.NDArray[np.float64]:
        """float64 `[count]`: presentation time of each frame; at a constant rate from 0 on where any has none."""
        if len(self.pts) == self.count:
            return clock.of_sorted(np.sort(np.array(self.pts, np.int64)))
        return np.fromiter((clock(None) for _ in range(self.count)), np.float64, self.count)


def _read_packets(video: OpenVideo, where: str) -> tuple[_Packets, VideoFrame | None]:
    codec = codec_name(video.stream)
    reader = picture_reader(codec, video.stream.codec_context.extradata)
    index = _index_of(video) if reader is not None else None
    packets = _Packets(TableBuilder(reader if index is None else None), index)
    first: VideoFrame | None = None
    of_all_streams: Any = video.container.demux()
    for packet in of_all_streams:
        packets.note_time(packet)
        if packet.stream_index != video.stream.index:
            continue
        if packet.is_corrupt and "mpegts" not in video.container.format.name:
            # FFmpeg marks a packet in which the file ends so; in transport streams also one after a gap, which decodes.
            raise broken(where, "open", "truncated", "whole packets", f"one cut short after packet {packets.count}")
        packets.add(packet, codec)
        if first is None:
            first = next(iter(packet.decode()), None)
            if first is not None and index is not None and isinstance(video.file, RemoteFile):
                video.file.only(index.places[:0])  # the rest of what probing needs is in the index
    return packets, first


def _check_length(video: OpenVideo, packets: _Packets, listed: int, end: End, where: str) -> bool:
    """Compare the packets with what the container declares; returns whether it declares anything.

    Durations are written in advance, rounded, or measured by a clock. Where the structure of the file shows that
    nothing is missing, only a great difference counts.
    """
    if packets.filled < listed:
        raise broken(where, "open", "truncated", f"{listed} packets, as its index says", f"{packets.filled}")
    codec = codec_name(video.stream)
    if packets.zeros and codec not in _UNCOMPRESSED:
        raise broken(
            where, "open", "truncated", f"packets of {codec}", f"{packets.zeros} of {packets.count} with only zeros"
        )
    if _family(video) in _FRAMES_UP_TO_THE_END and packets.end_byte < video.file.bytes:
        found = f"a part of one, from byte {packets.end_byte} to {video.file.bytes}"
        raise broken(where, "open", "truncated", "whole frames", found)
    declared = 0.0 if end == "open" else _duration_seconds(video) or 0.0
    there = packets.seconds(video.container.streams)
    if declared > 0 and there > 0:
        marked_tolerance, frames_tolerance = max(2.0, declared / 10), 3 / (_frame_rate(video.stream) or 1.0)
        if declared - there > (marked_tolerance if end == "marked" else max(0.5, frames_tolerance)):
            raise broken(where, "open", "truncated", f"{declared:.3f} s, as its header says", f"{there:.3f} s")
    return (end == "marked" or (declared > 0 and there > 0)) and not packets.ends_in_zeros


def _check_index(video: OpenVideo, where: str) -> int:
    """Containers with an index say where each packet lies. Returns how many AVI lists; others list key frames only."""
    end = max((entry.pos + entry.size for entry in video.stream.index_entries), default=0)
    if end > video.file.bytes:
        raise broken(
            where, "open", "truncated", f"at least {end} bytes, as its index says", f"{video.file.bytes} bytes"
        )
    return sum(entry.size > 0 for entry in video.stream.index_entries) if _family(video) == "avi" else 0


def _index_of(video: OpenVideo) -> PacketIndex | None:
    """The container's index; None where the packets have to be read.

    They need not be read in a large MP4 file in object storage whose index is complete, and whose parameter sets are
    all in its header, as the sample entries "avc1" and "hvc1" require (ISO/IEC 14496-15, 5.4.2.1 and 8.4.1.1).
    """
    stream, entries = video.stream, video.stream.index_entries
    worth_it = isinstance(video.file, RemoteFile) and not video.file.in_memory
    tag = getattr(stream.codec_context, "codec_tag", "")
    if not worth_it or _family(video) != "mov" or tag not in ("avc1", "hvc1") or stream.frames != len(entries):
        return None
    places = np.array([(entry.pos, entry.pos + entry.size) for entry in entries], np.int64).reshape(-1, 2)
    return PacketIndex(places, np.array([entry.is_keyframe for entry in entries], np.bool_))


def describe_stream(
    video: OpenVideo, where: str, first: VideoFrame, pts_seconds: npt.NDArray[np.float64], frames_from: FramesFrom
) -> VideoInfo:
    """Describe an open video by its headers, its first frame, and the times of its frames."""
    check_frame_size(first.width, first.height, where, "open")
    stream = video.stream
    turns, mirrored = to_upright(first)
    width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
    fps, duration_seconds = _frame_rate(stream), _duration_seconds(video)
    return VideoInfo(
        path=where,
        bytes=video.file.bytes,
        modified_ns=video.file.modified_ns,
        container=video.container.format.name,
        codec=codec_name(stream),
        pixel_format=first.format.name,
        width=width,
        height=height,
        rotation=turns * 90,
        mirrored=mirrored,
        fps=fps,
        start_seconds=_seconds(stream, stream.start_time),
        duration_seconds=duration_seconds,
        frames=len(pts_seconds),
        frames_from=frames_from,
        timeline=Timeline(pts_seconds, fps, duration_seconds),
    )


def _frame_rate(stream: VideoStream) -> float | None:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def _family(video: OpenVideo) -> str:
    return video.container.format.name.split(",")[0]


def _duration_seconds(video: OpenVideo) -> float | None:
    own = _seconds(video.stream, video.stream.duration)
    if own is not None or video.container.duration is None:
        return own
    return video.container.duration / 1_000_000  # in microseconds, whatever the stream's time base


def _seconds(stream: VideoStream, ticks: int | None) -> float | None:
    return None if ticks is None or stream.time_base is None else float(ticks * stream.time_base)
