"""Make hundreds of broken or odd videos out of a few sound ones. Usage: make_broken_corpus.py FOLDER [CLIP ...]

Without CLIPs it starts from the ones that `examples/render_clips.py` renders. The first 1.6 seconds of the first two
clips are encoded into every container and codec below; then files are cut, bits flipped, packets dropped, doubled and
swapped, headers zeroed, suffixes changed, and odd but valid streams made. Prints one JSON line per file:
`{"file", "group"}`. The same clips and the same FFmpeg give the same files.
"""

from __future__ import annotations

import functools
import json
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.stream import Disposition

RATE = 25
FRAMES = 40
WIDTH, HEIGHT = 128, 96
Picture = npt.NDArray[np.uint8]

QUIET = {"x265-params": "log-level=none"}
ENCODINGS: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
    "h264.mp4": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "h264_faststart.mp4": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {"movflags": "faststart"}),
    "h264_fragments.mp4": ("libx264", "yuv420p", {"g": "10"}, {"movflags": "frag_keyframe+empty_moov"}),
    "h264.mkv": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "h264.ts": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "h264.flv": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "h264.avi": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "h264.mov": ("libx264", "yuv420p", {"g": "12"}, {}),
    "hevc.mp4": ("libx265", "yuv420p", {"x265-params": "log-level=none:keyint=12"}, {}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "mpeg4.mp4": ("mpeg4", "yuv420p", {"g": "12"}, {}),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", {"g": "12"}, {}),
    "vp8.webm": ("libvpx", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}, {}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"lag-in-frames": "16", "cpu-used": "8"}, {}),
    "wmv2.wmv": ("wmv2", "yuv420p", {"g": "12"}, {}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}, {}),
}
"""Name -> codec, pixel format, options of the codec, options of the container."""

MORE_ENCODINGS: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
    "raw.avi": ("rawvideo", "yuv420p", {}, {}),
    "raw.mkv": ("rawvideo", "yuv420p", {}, {}),
    "raw.mov": ("rawvideo", "rgb24", {}, {}),
    "ffv1.mkv": ("ffv1", "yuv420p", {}, {}),
    "hevc.mkv": ("libx265", "yuv420p", QUIET, {}),
    "mpeg4.mkv": ("mpeg4", "yuv420p", {"g": "12"}, {}),
    "h264.asf": ("libx264", "yuv420p", {"g": "12"}, {}),
    "flv1.flv": ("flv1", "yuv420p", {}, {}),
    "vp8.ivf": ("libvpx", "yuv420p", {"cpu-used": "8"}, {}),
    "vp9.ivf": ("libvpx-vp9", "yuv420p", {"cpu-used": "8"}, {}),
    "vp8.ogv": ("libvpx", "yuv420p", {"cpu-used": "8"}, {}),
    "mpeg2.mxf": ("mpeg2video", "yuv422p", {"g": "12"}, {}),
    "h264.mxf": ("libx264", "yuv420p", {"g": "12"}, {}),
    "animation.gif": ("gif", "rgb8", {}, {}),
    "dash.mp4": ("libx264", "yuv420p", {"g": "10"}, {"movflags": "frag_keyframe+empty_moov+dash+global_sidx"}),
    "no_index.mp4": ("libx264", "yuv420p", {"g": "10"}, {"movflags": "frag_keyframe+empty_moov+skip_trailer"}),
    "live.mkv": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {"live": "1"}),
    "live.webm": ("libvpx", "yuv420p", {"cpu-used": "8"}, {"live": "1"}),
    "live.flv": ("libx264", "yuv420p", {"g": "12"}, {"flvflags": "no_duration_filesize"}),
    "h264.m2ts": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "mpeg1.mpg": ("mpeg1video", "yuv420p", {"g": "12"}, {}),
    "h264.nut": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "raw.y4m": ("wrapped_avframe", "yuv420p", {}, {}),
    "raw.h264": ("libx264", "yuv420p", {"bf": "2", "g": "12"}, {}),
    "raw.hevc": ("libx265", "yuv420p", QUIET, {}),
    "raw.h263": ("h263", "yuv420p", {}, {}),
    "raw.m1v": ("mpeg1video", "yuv420p", {"g": "12"}, {}),
    "raw.m2v": ("mpeg2video", "yuv420p", {"g": "12"}, {}),
    "raw.mjpeg": ("mjpeg", "yuvj420p", {}, {}),
    "raw.obu": ("libsvtav1", "yuv420p", {"preset": "13", "svtav1-params": "lp=1"}, {}),
    "raw.dv": ("dvvideo", "yuv420p", {}, {}),
}
"""More containers, for files that are cut or end in zeros."""

SIZES = {"raw.h263": (176, 144), "raw.dv": (720, 576)}
"""Sizes of the formats that do not have every size; `WIDTH` and `HEIGHT` otherwise."""


def never_closed(name: str, data: bytearray) -> None:
    """Take out what a writer adds to a file when it is done: the lengths, the durations and the indexes."""
    if name.endswith(".avi"):
        del data[data.index(b"idx1") :]
        for place in (4, data.index(b"movi") - 4, data.index(b"avih") + 24, data.index(b"strh") + 40):
            data[place : place + 4] = bytes(4)
    elif name.endswith(".ivf"):
        data[24:28] = bytes(4)
    elif name.endswith(".wmv"):
        properties, packets = data.index(b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11"), data.index(b"\x36\x26\xb2\x75")
        for place in (properties + 40, properties + 56, properties + 64, packets + 16):
            data[place : place + 8] = bytes(8)
    elif name.endswith(".mxf"):
        data[0x2C:0x34] = bytes(8)
        data[:] = data.replace(b"\2\2\0\x08" + FRAMES.to_bytes(8, "big"), b"\2\2\0\x08" + b"\xff" * 8)


NEVER_CLOSED = ("mpeg4.avi", "vp8.ivf", "wmv2.wmv", "mpeg2.mxf")


@dataclass(frozen=True)
class Case:
    """One file to make.

    Attributes:
        name: of the file.
        group: what kind of breakage or oddity it is.
        write: makes it.
        frames: number of frames of the intact video, where this is a part of one.
    """

    name: str
    group: str
    write: Callable[[Path], None]
    frames: int | None = None


# --- sound files ------------------------------------------------------------------------------------------------------


def pictures_of(clip: Path, count: int = FRAMES) -> list[Picture]:
    """The first pictures of a clip, small."""
    pictures: list[Picture] = []
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            pictures.append(frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray())
            if len(pictures) == count:
                break
    return pictures


def encode(
    path: Path,
    pictures: Sequence[Picture],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    ticks: Sequence[int] | None = None,
    sound: bool = False,
    cover: bool = False,
    video: bool = True,
) -> None:
    """Write a video; `ticks` are its frames' times in 1/25 s."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        picture_stream = container.add_stream("mjpeg", rate=RATE) if cover else None
        stream = container.add_stream(codec, rate=RATE, options=options or {}) if video else None
        if stream is not None:
            stream.width, stream.height = size
            stream.pix_fmt = pixel_format
        sound_stream = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        if picture_stream is not None:
            picture_stream.width, picture_stream.height, picture_stream.pix_fmt = 64, 64, "yuvj420p"
            picture_stream.disposition = Disposition.attached_pic.value
            container.mux(picture_stream.encode(av.VideoFrame(64, 64, "yuvj420p")))
            container.mux(picture_stream.encode(None))
        if stream is not None:
            container.start_encoding()
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(*size, pixel_format)
                frame.pts, frame.time_base = ticks[number] if ticks else number, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if sound_stream is not None:
            _mux_noise(container, sound_stream)


def _mux_noise(container: Any, stream: Any) -> None:
    noise = np.random.default_rng(0)
    for start in range(0, 8000, 1000):
        frame = av.AudioFrame.from_ndarray(noise.uniform(-0.2, 0.2, (1, 1000)).astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 8000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


# --- bytes ------------------------------------------------------------------------------------------------------------


def damaged(source: Path, change: Callable[[bytearray, random.Random], None], seed: str) -> Callable[[Path], None]:
    """A writer of a copy of `source` that `change` was let loose on."""

    def write(path: Path) -> None:
        data = bytearray(source.read_bytes())
        change(data, random.Random(seed))
        path.write_bytes(data)

    return write


def cut_to(percent: float) -> Callable[[bytearray, random.Random], None]:
    """Keep the first `percent` of the bytes."""

    def change(data: bytearray, chance: random.Random) -> None:
        del data[int(len(data) * percent / 100) :]

    return change


def flip(count: int, begin: float = 0.0, end: float = 1.0) -> Callable[[bytearray, random.Random], None]:
    """Flip `count` bits between two places given as shares of the file."""

    def change(data: bytearray, chance: random.Random) -> None:
        for _ in range(count):
            at = chance.randrange(int(len(data) * begin), int(len(data) * end))
            data[at] ^= 1 << chance.randrange(8)

    return change


def zero_from(percent: float) -> Callable[[bytearray, random.Random], None]:
    """Zero all but the first `percent` of the bytes: space was reserved for the file, and the copy broke off."""

    def change(data: bytearray, chance: random.Random) -> None:
        at = int(len(data) * percent / 100)
        data[at:] = bytes(len(data) - at)

    return change


def zero(size: int, begin: float) -> Callable[[bytearray, random.Random], None]:
    """Zero a block."""

    def change(data: bytearray, chance: random.Random) -> None:
        at = int(len(data) * begin)
        data[at : at + size] = bytes(len(data[at : at + size]))

    return change


def remove_block(data: bytearray, chance: random.Random) -> None:
    """Take out a block of bytes from the middle."""
    at = chance.randrange(len(data) // 3, len(data) * 2 // 3)
    del data[at : at + chance.choice([1, 7, 188, 1000])]


def double_block(data: bytearray, chance: random.Random) -> None:
    """Write a block of bytes twice."""
    at = chance.randrange(len(data) // 3, len(data) * 2 // 3)
    data[at:at] = data[at : at + chance.choice([1, 188, 1000])]


def swap_blocks(data: bytearray, chance: random.Random) -> None:
    """Swap two blocks of bytes."""
    size = len(data) // 10
    first, second = size * chance.randrange(2, 5), size * chance.randrange(5, 9)
    data[first : first + size], data[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )


def append_noise(data: bytearray, chance: random.Random) -> None:
    """Garbage after the end."""
    data += chance.randbytes(500)


def prepend_noise(data: bytearray, chance: random.Random) -> None:
    """Garbage before the start."""
    data[0:0] = chance.randbytes(chance.choice([1, 100, 5000]))


# --- packets ----------------------------------------------------------------------------------------------------------


def remuxed(source: Path, change: Callable[[list[Any], random.Random], list[Any]], seed: str) -> Callable[[Path], None]:
    """A writer of a copy of `source` with its packets changed; times are given anew, rising, where they would not."""

    def write(path: Path) -> None:
        with av.open(str(source)) as reading, av.open(str(path), "w") as writing:
            stream = reading.streams.video[0]
            copy = writing.add_stream_from_template(stream)
            packets = [packet for packet in reading.demux(stream) if packet.size]
            times = [packet.dts if packet.dts is not None else number for number, packet in enumerate(packets)]
            base = stream.time_base
            step = times[1] - times[0]
            last = None
            for number, (data, shift, key) in enumerate(change(packets, random.Random(seed))):
                packet = av.Packet(data)
                dts = times[number] if number < len(times) else times[-1] + step * (number - len(times) + 1)
                last = dts = dts if last is None else max(dts, last + 1)
                packet.dts, packet.pts, packet.time_base = dts, dts + max(0, shift), base
                packet.is_keyframe = key
                packet.stream = copy
                writing.mux(packet)

    return write


def _plain(packets: list[Any]) -> list[Any]:
    return [
        (bytes(packet), (packet.pts - packet.dts) if packet.pts is not None and packet.dts is not None else 0,
         packet.is_keyframe)
        for packet in packets
    ]  # fmt: skip


def drop_packets(packets: list[Any], chance: random.Random) -> list[Any]:
    """Leave out a few, never the first."""
    gone = set(chance.sample(range(1, len(packets)), 4))
    return [packet for number, packet in enumerate(_plain(packets)) if number not in gone]


def drop_first_packet(packets: list[Any], chance: random.Random) -> list[Any]:
    """Leave out the key frame that all begins with."""
    return _plain(packets)[1:]


def double_packets(packets: list[Any], chance: random.Random) -> list[Any]:
    """Write a few twice."""
    twice = set(chance.sample(range(len(packets)), 4))
    return [packet for number, packet in enumerate(_plain(packets)) for _ in range(2 if number in twice else 1)]


def swap_packets(packets: list[Any], chance: random.Random) -> list[Any]:
    """Swap neighbours."""
    plain = _plain(packets)
    for number in chance.sample(range(1, len(plain) - 1), 4):
        plain[number], plain[number + 1] = plain[number + 1], plain[number]
    return plain


def damage_packets(packets: list[Any], chance: random.Random) -> list[Any]:
    """Noise in the middle of a few, in a sound container."""
    plain = _plain(packets)
    for number in chance.sample(range(1, len(plain)), 3):
        data, shift, key = plain[number]
        middle = len(data) // 2
        noise = chance.randbytes(min(20, len(data) - middle))
        plain[number] = (data[:middle] + noise + data[middle + 20 :], shift, key)
    return plain


def shorten_packets(packets: list[Any], chance: random.Random) -> list[Any]:
    """Cut a few to half their length, in a sound container."""
    plain = _plain(packets)
    for number in chance.sample(range(1, len(plain)), 3):
        data, shift, key = plain[number]
        plain[number] = (data[: max(1, len(data) // 2)], shift, key)
    return plain


# --- odd but valid ----------------------------------------------------------------------------------------------------


def rotate(source: Path, matrix: tuple[int, int, int, int]) -> Callable[[Path], None]:
    """A writer of a copy with another display matrix."""

    def write(path: Path) -> None:
        data = bytearray(source.read_bytes())
        a, b, c, d = (value << 16 for value in matrix)
        struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(data)

    return write


def cut_by_copy(source: Path, first: int, shift: int = 0) -> Callable[[Path], None]:
    """A writer of the packets from the `first` on, earlier by `shift` of their own frames: gives edit lists in MP4."""

    def write(path: Path) -> None:
        with av.open(str(source)) as reading, av.open(str(path), "w") as writing:
            stream = reading.streams.video[0]
            copy = writing.add_stream_from_template(stream)
            packets = [packet for packet in reading.demux(stream) if packet.size][first:]
            origin = packets[min(shift, len(packets) - 1)].pts or 0
            for packet in packets:
                packet.pts = None if packet.pts is None else packet.pts - origin
                packet.dts = None if packet.dts is None else packet.dts - origin
                packet.stream = copy
                writing.mux(packet)

    return write


def pack_b_frames(source: Path) -> Callable[[Path], None]:
    """A writer of an AVI in DivX's manner: a P and the B after it in one packet, then a packet that holds nothing."""

    def write(path: Path) -> None:
        with av.open(str(source)) as reading, av.open(str(path), "w") as writing:
            stream = reading.streams.video[0]
            copy = writing.add_stream_from_template(stream)
            waiting = [bytes(packet) for packet in reading.demux(stream) if packet.size]
            packed: list[bytes] = []
            while waiting:
                data = waiting.pop(0)
                if waiting and _is_b_frame(waiting[0]):
                    packed += [data + waiting.pop(0), b"\x00\x00\x01\xb6\x50\x00\x7f"]
                else:
                    packed.append(data)
            packed[0] = b"\x00\x00\x01\xb2DivX503b1393p" + packed[0]
            for number, data in enumerate(packed):
                packet = av.Packet(data)
                packet.dts = packet.pts = number
                packet.time_base = Fraction(1, RATE)
                packet.is_keyframe = number == 0
                packet.stream = copy
                writing.mux(packet)

    return write


def _is_b_frame(data: bytes) -> bool:
    at = data.find(b"\x00\x00\x01\xb6")
    return at >= 0 and data[at + 4] >> 6 == 2


def joined(*sources: Path) -> Callable[[Path], None]:
    """A writer of the files' bytes one after the other."""
    return lambda path: (path.write_bytes(b"".join(source.read_bytes() for source in sources)), None)[1]


def without_ts_packets(source: Path, period: int) -> Callable[[Path], None]:
    """A writer of a transport stream of which every `period`-th 188 bytes were lost."""

    def write(path: Path) -> None:
        data = source.read_bytes()
        packets = [data[start : start + 188] for start in range(0, len(data), 188)]
        path.write_bytes(b"".join(packet for number, packet in enumerate(packets) if number < 20 or number % period))

    return write


def still_picture(path: Path) -> None:
    """One still picture."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress((b"\0" + b"\x40" * 24) * 8)), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(png)


# --- the corpus -------------------------------------------------------------------------------------------------------


def sound_files(folder: Path, clips: Sequence[Path]) -> dict[str, Path]:
    """Every encoding of the first clip, and two of the second."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [pictures_of(clip) for clip in clips[:2]]
    files = {}
    for name, (codec, pixel_format, options, container_options) in ENCODINGS.items():
        files[name] = folder / name
        encode(folder / name, pictures[0], codec, pixel_format, options, container_options)
    for name in ("h264.mp4", "h264.ts"):
        files[f"second_{name}"] = folder / f"second_{name}"
        encode(folder / f"second_{name}", pictures[-1], "libx264", "yuv420p", {"bf": "2", "g": "12"}, size=(96, 128))
    return files


def more_files(folder: Path, files: dict[str, Path], pictures: list[Picture]) -> dict[str, Path]:
    """`MORE_ENCODINGS` of the first clip, files that were never closed, and one that ends in black."""
    more = {}
    for name, (codec, pixel_format, options, container_options) in MORE_ENCODINGS.items():
        more[name] = folder / name
        size = SIZES.get(name, (WIDTH, HEIGHT))
        encode(folder / name, pictures, codec, pixel_format, options, container_options, size=size)
    for name in NEVER_CLOSED:
        data = bytearray({**files, **more}[name].read_bytes())
        never_closed(name, data)
        more[f"open_{name}"] = folder / f"open_{name}"
        more[f"open_{name}"].write_bytes(data)
    more["black.mov"] = folder / "black.mov"
    black = [*pictures[:-1], np.zeros_like(pictures[0])]
    encode(folder / "black.mov", black, "rawvideo", "rgb24", {}, {"movflags": "faststart"})
    return more


def cases(folder: Path, clips: Sequence[Path]) -> Iterator[Case]:
    """All cases, in an order that is always the same; `folder` takes the sound files that they are made of."""
    files = sound_files(folder, clips)
    pictures = pictures_of(clips[0])
    yield from _broken_bytes(files)
    yield from _broken_ends(files, more_files(folder, files, pictures))
    yield from _broken_packets(files)
    yield from _wrong_names(files)
    yield from _odd_streams(files, pictures)


def _broken_bytes(files: dict[str, Path]) -> Iterator[Case]:
    for name, source in files.items():
        stem, suffix = source.stem, source.suffix
        for percent in (1, 5, 10, 25, 40, 50, 60, 75, 90, 95, 97, 99):
            yield Case(f"{stem}_cut{percent:02d}{suffix}", "truncated", damaged(source, cut_to(percent), ""))
        for count in (1, 8, 64):
            yield Case(f"{stem}_bits{count:02d}{suffix}", "bit flips", damaged(source, flip(count), f"{name}{count}"))
        yield Case(f"{stem}_bitshead{suffix}", "bit flips", damaged(source, flip(6, 0, 0.02), name))
        yield Case(f"{stem}_zerohead{suffix}", "zeroed header", damaged(source, zero(64, 0.0), ""))
        yield Case(f"{stem}_zerohead4k{suffix}", "zeroed header", damaged(source, zero(4096, 0.0), ""))
        yield Case(f"{stem}_zeromiddle{suffix}", "zeroed block", damaged(source, zero(1024, 0.5), ""))
        yield Case(f"{stem}_zeroend{suffix}", "zeroed block", damaged(source, zero(700, 0.95), ""))
        for change in (remove_block, double_block, swap_blocks, append_noise, prepend_noise):
            yield Case(f"{stem}_{change.__name__}{suffix}", "moved bytes", damaged(source, change, name))


def _broken_ends(files: dict[str, Path], more: dict[str, Path]) -> Iterator[Case]:
    for name, source in {**files, **more}.items():
        for percent in (20, 45, 50, 70, 90):
            for how, change in (("zeros", zero_from), ("cut", cut_to)):
                if how == "zeros" or name in more:  # the others are cut in `_broken_bytes`
                    write = damaged(source, change(percent), "")
                    yield Case(f"{source.stem}_{how}{percent}{source.suffix}", f"{how} at the end", write, FRAMES)


def _broken_packets(files: dict[str, Path]) -> Iterator[Case]:
    changes = (drop_packets, drop_first_packet, double_packets, swap_packets, damage_packets, shorten_packets)
    sources = "h264.mp4 h264.mkv h264.ts hevc.mp4 mpeg4.avi mpeg4.mp4 vp8.webm vp9.webm mjpeg.avi"
    for name in sources.split():
        for change in changes:
            source = files[name]
            yield Case(f"{source.stem}_{change.__name__}{source.suffix}", "packets", remuxed(source, change, name))


def _wrong_names(files: dict[str, Path]) -> Iterator[Case]:
    for name, wrong in (
        ("h264.mp4", "avi"), ("h264.mkv", "mp4"), ("h264.ts", "mp4"), ("mpeg4.avi", "mkv"), ("vp9.webm", "mp4"),
        ("h264.flv", "mov"), ("mpeg2.mpg", "ts"), ("wmv2.wmv", "mp4"), ("h264.mov", "txt"), ("mjpeg.avi", "jpg"),
    ):  # fmt: skip
        yield Case(f"{name}_as.{wrong}", "wrong suffix", joined(files[name]))
    texts = {"html": b"<!DOCTYPE html><p>404", "text": b"words\n" * 200, "zip": b"PK\x03\x04" + bytes(60),
             "zeros": bytes(5000), "empty": b"", "json": b'{"error": "gone"}', "hls": b"#EXTM3U\n#EXTINF:1,\na.ts\n",
             "concat": b"ffconcat version 1.0\nfile 'a.mp4'\n"}  # fmt: skip
    for what, data in texts.items():
        yield Case(f"{what}_as.mp4", "no video at all", functools.partial(_write, data))
    yield Case("png_as.mp4", "no video at all", still_picture)


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _odd_streams(files: dict[str, Path], pictures: list[Picture]) -> Iterator[Case]:
    def made(name: str, group: str, /, *arguments: Any, count: int = FRAMES, **options: Any) -> Case:
        return Case(name, group, lambda path: encode(path, pictures[:count], *arguments, **options))

    uneven = [number * number // 8 + number for number in range(FRAMES)]
    for suffix in ("mp4", "mkv", "ts"):
        yield made(f"vfr.{suffix}", "variable rate", "libx264", "yuv420p", {"bf": "2"}, ticks=uneven)
        yield made(f"late.{suffix}", "late start", ticks=[number + 500 for number in range(FRAMES)])
        yield made(f"b_pyramid.{suffix}", "b-pyramid", "libx264", "yuv420p", {"bf": "5", "b-pyramid": "normal"})
        params = {"bf": "3", "x264-params": "open-gop=1:keyint=10:b-adapt=0:scenecut=0"}
        yield made(f"open_gop.{suffix}", "open GOP", "libx264", "yuv420p", params)
        yield made(f"sound.{suffix}", "sound", sound=True)
        for frames in (1, 2, 3):
            yield made(f"frames{frames}.{suffix}", "few frames", count=frames)
        for frames in (1, 2):
            yield made(f"b_frames{frames}.{suffix}", "few frames", "libx264", "yuv420p", {"bf": "2"}, count=frames)
    for number, matrix in enumerate([(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (7, 3, -3, 7)]):
        yield Case(f"rotated{number}.mp4", "rotation", rotate(files["h264.mp4"], matrix))
    for size in ((127, 95), (17, 9), (128, 1), (1, 96), (2, 2), (16, 400)):
        name = f"{size[0]}x{size[1]}"
        yield made(f"h264_{name}.mp4", "odd size", "libx264", "yuv444p", size=size)
        yield made(f"mpeg4_{name}.avi", "odd size", "mpeg4", "yuv420p", {"strict": "-2"}, size=size)
        yield made(f"vp9_{name}.webm", "odd size", "libvpx-vp9", "yuv420p", {"cpu-used": "8"}, size=size)
    yield made("h264_10.mp4", "10 bits", "libx264", "yuv420p10le")
    yield made("h264_422_10.mp4", "10 bits", "libx264", "yuv422p10le")
    yield made("hevc_10.mp4", "10 bits", "libx265", "yuv420p10le", QUIET)
    yield made("full.mp4", "full range", "libx264", "yuvj420p")
    yield made("grey.mp4", "grey", "libx264", "gray")
    yield made("interlaced.mp4", "interlaced", "libx264", "yuv420p", {"x264-params": "interlaced=1"})
    yield made("interlaced.mpg", "interlaced", "mpeg2video", "yuv420p", {"flags": "+ildct+ilme"})
    yield made("lossless.mkv", "other codecs", "ffv1", "yuv420p")
    yield made("raw.avi", "other codecs", "rawvideo", "yuv420p")
    yield made("animation.gif", "other codecs", "gif", "rgb8")
    yield made("prores.mov", "other codecs", "prores_ks", "yuv422p10le")
    yield made("msmpeg4.avi", "other codecs", "msmpeg4v3", "yuv420p")
    yield made("flv1.flv", "other codecs", "flv1", "yuv420p")
    yield made("av1.mkv", "other codecs", "libsvtav1", "yuv420p", {"preset": "13", "svtav1-params": "lp=1"}, count=8)
    yield made("cover.mp4", "cover art", sound=True, cover=True)
    yield made("song_with_cover.mp4", "cover art", sound=True, cover=True, video=False)
    yield made("song.mp4", "only sound", sound=True, video=False)
    yield made("song.mkv", "only sound", sound=True, video=False)
    for suffix in ("mp4", "mkv", "avi", "ts", "flv"):
        yield made(f"no_frames.{suffix}", "no frames", count=0)
    yield from _edit_lists_and_gaps(files)


def _edit_lists_and_gaps(files: dict[str, Path]) -> Iterator[Case]:
    for first, shift in ((0, 3), (0, 13), (12, 0), (5, 0), (5, 4), (24, 6), (39, 0)):
        for name in ("h264.mp4", "h264.mkv", "hevc.mp4", "h264.ts"):
            source = files[name]
            writer = cut_by_copy(source, first, shift)
            yield Case(f"{source.stem}_from{first}_{shift}{source.suffix}", "edit lists and copies", writer)
    with_b_frames = files["mpeg4.avi"]
    yield Case("packed_b_frames.avi", "packed B-frames", pack_b_frames(with_b_frames))
    ts, second = files["h264.ts"], files["second_h264.ts"]
    yield Case("joined.ts", "discontinuities", joined(ts, ts))
    yield Case("joined_other_size.ts", "discontinuities", joined(ts, second))
    yield Case("joined_other_codec.ts", "discontinuities", joined(ts, files["mpeg2.ts"]))
    for period in (23, 50, 97):
        yield Case(f"lost{period}.ts", "discontinuities", without_ts_packets(ts, period))
        yield Case(f"lost{period}_mpeg2.ts", "discontinuities", without_ts_packets(files["mpeg2.ts"], period))
    yield Case("joined.mp4", "joined", joined(files["h264.mp4"], files["second_h264.mp4"]))
    yield Case("joined.mkv", "joined", joined(files["h264.mkv"], files["h264.mkv"]))
    yield Case("joined.avi", "joined", joined(files["mpeg4.avi"], files["mpeg4.avi"]))
    yield Case("joined.mpg", "joined", joined(files["mpeg2.mpg"], files["mpeg2.mpg"]))


def make(folder: Path, intact: Path, clips: Sequence[Path], *, every: int = 1) -> list[Case]:
    """Write the corpus, or of each group every `every`-th file and at least one; returns what was written.

    The files that it is made of are in the folder `intact` afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen: list[Case] = []
    seen: dict[str, int] = {}
    for case in cases(intact, clips):
        number = seen.get(case.group, 0)
        seen[case.group] = number + 1
        if number % every == 0:
            case.write(folder / case.name)
            chosen.append(case)
    return chosen


def main(folder: str, *clips: str) -> int:
    """Write the corpus and print its manifest."""
    with tempfile.TemporaryDirectory() as rendered:
        if not clips:
            renderer = Path(__file__).resolve().parents[1] / "examples" / "render_clips.py"
            subprocess.run([sys.executable, str(renderer), rendered, "2"], check=True, stdout=subprocess.DEVNULL)
            clips = tuple(map(str, sorted(Path(rendered).rglob("*.mp4"))))
        for case in make(Path(folder), Path(rendered) / "intact", [Path(clip) for clip in clips]):
            print(json.dumps({"file": case.name, "group": case.group}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
