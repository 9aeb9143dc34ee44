"""Damaged streams: leaving packets out must not give pixels that a decode from the start would not give."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from video.video_files import pixels_of, plain_linear_decode, write_video
from vidfeat.errors import VideoError
from vidfeat.video import VideoInfo, decode, probe

Packets = list[bytearray]


def flip(packets: Packets, rng: random.Random) -> None:
    data = rng.choice(packets)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_header(packets: Packets, rng: random.Random) -> None:
    data = rng.choice(packets)
    data[rng.randrange(min(12, len(data)))] ^= 1 << rng.randrange(8)


def overwrite(packets: Packets, rng: random.Random) -> None:
    data = rng.choice(packets)
    at = rng.randrange(len(data))
    data[at : at + 30] = rng.randbytes(len(data[at : at + 30]))


def drop(packets: Packets, rng: random.Random) -> None:
    packets.pop(rng.randrange(1, len(packets)))


def double(packets: Packets, rng: random.Random) -> None:
    at = rng.randrange(1, len(packets))
    packets[at] = packets[at - 1]


def swap(packets: Packets, rng: random.Random) -> None:
    at = rng.randrange(1, len(packets))
    packets[at - 1], packets[at] = packets[at], packets[at - 1]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0"}
    return write_video(tmp_path_factory.mktemp("clip") / "a.mp4", frames=60, options=options)


def damaged(source: Path, target: Path, harm: Callable[[Packets, random.Random], None], rng: random.Random) -> Path:
    """A copy with the bytes of some packets harmed; their times stay."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = reading.streams.video[0]
        copy = writing.add_stream_from_template(stream)
        packets = [packet for packet in reading.demux(stream) if packet.size]
        data = [bytearray(memoryview(packet)) for packet in packets]
        harm(data, rng)
        for packet, content in zip(packets, data, strict=False):
            sent = av.Packet(bytes(content))
            sent.pts, sent.dts, sent.time_base = packet.pts, packet.dts, packet.time_base
            sent.is_keyframe = packet.is_keyframe
            sent.stream = copy
            writing.mux(sent)
    return target


def frames_or_error(path: Path, wanted: list[int], info: VideoInfo) -> dict[int, np.ndarray] | None:
    try:
        return pixels_of(decode(path, wanted, info))
    except VideoError:
        return None


def plain_frames(path: Path) -> dict[int, np.ndarray]:
    """None of them where the decoder gives up on the way."""
    try:
        return dict(enumerate(plain_linear_decode(path)))
    except av.error.FFmpegError:
        return {}


@pytest.mark.parametrize("harm", [flip, flip_header, overwrite, drop, double, swap])
def test_frames_of_a_damaged_stream(clip: Path, tmp_path: Path, harm: Callable[[Packets, random.Random], None]) -> None:
    sound = plain_frames(clip)
    for seed in range(12):
        rng = random.Random(seed)
        path = damaged(clip, tmp_path / f"{seed}.mp4", harm, rng)
        try:
            info = probe(path)
        except VideoError:
            continue
        wanted = sorted(rng.sample(range(info.frames), 3))
        little = frames_or_error(path, wanted, info)
        all_of_it = frames_or_error(path, wanted, dataclasses.replace(info, packets=None))
        if little is None:
            assert all_of_it is None, seed
            continue
        # What is refused as a whole because of damage elsewhere still has to give frames that it plainly gives, or that
        # it gave before: after damage FFmpeg disturbs sound pictures too.
        truths = [all_of_it] if all_of_it else [plain_frames(path), sound]
        for index, frame in little.items():
            assert any(index in truth and np.array_equal(frame, truth[index]) for truth in truths), (seed, index)
