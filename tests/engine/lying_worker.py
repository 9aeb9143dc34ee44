"""A decode process that a video has taken over: it answers with whatever the video's name says."""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidfeat.engine.channel import Channel
from vidfeat.video import Timeline, VideoInfo

SHAPE = [4, 1, 8, 8, 3]
SIZE = math.prod(SHAPE)
ABOUT = {"encoder": 0, "shape": SHAPE, "dtype": "uint8", "clips": [[0, 1], [2, 3]], "first_clip": 0}
ABOUT |= {"start_seconds": [0.0, 0.4], "end_seconds": [0.4, 0.8]}
INFO = VideoInfo(
    path="honest.mp4",
    bytes=100,
    container="mov",
    codec="h264",
    pixel_format="yuv420p",
    width=8,
    height=8,
    rotation=0,
    fps=5.0,
    start_seconds=0.0,
    duration_seconds=0.8,
    frames=4,
    frames_from="packets",
    timeline=Timeline.of_rate(4, 5.0),
).to_json()
DONE = {"done": {"cpu_seconds": 0.5, "fallback": ""}}


def command() -> tuple[str, ...]:
    """The command line of such a process."""
    return (sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()")


def clips(size: Any = SIZE, sent: int | None = None, **about: Any) -> Callable[[Channel], None]:
    """Announce clips of a size, send other ones, and be done."""

    def send(channel: Channel) -> None:
        channel.send({"info": INFO})
        channel.send({"clips": {**ABOUT, **about}, "size": size, "cpu_seconds": 0.1})
        channel.receive()
        channel.send_pixels(memoryview(bytes(SIZE if sent is None else sent)))
        channel.send(DONE)

    return send


def info(**values: Any) -> Callable[[Channel], None]:
    """Say something impossible of the video, and go on as if it were true."""

    def send(channel: Channel) -> None:
        channel.send({"info": {**INFO, **values}})
        clips()(channel)

    return send


def message(message: dict[str, Any]) -> Callable[[Channel], None]:
    return lambda channel: channel.send(message)


def raw(data: bytes) -> Callable[[Channel], None]:
    return lambda channel: channel.send_bytes(data)


def shrinking(channel: Channel) -> None:
    """Pixels in a file that is cut off as soon as they are taken."""
    channel.send({"info": INFO})
    channel.send({"clips": ABOUT, "size": SIZE, "cpu_seconds": 0.1})
    channel.receive()
    file = os.memfd_create("shrinks")
    os.truncate(file, SIZE)
    channel.send({"shared": True})
    socket.send_fds(channel._connection, [b"."], [file])
    taken = channel.receive()["mapped"]
    os.truncate(file, 0)
    if not taken:
        channel._send(bytes(SIZE), None)
    channel.send(DONE)


LIES: dict[str, Callable[[Channel], None]] = {
    "size_none": clips(math.nan),
    "size_infinite": clips(math.inf),
    "size_negative": clips(-SIZE),
    "size_zero": clips(0),
    "size_words": clips("many"),
    "size_huge": clips(1 << 62),
    "size_large": clips(1 << 40),
    "size_smaller_than_shape": clips(SIZE // 2),
    "shape_of_pixels": clips(shape=[SIZE]),
    "shape_negative": clips(shape=[-1, 1, 8, 8, 3][::-1]),
    "dtype_of_more_bytes": clips(dtype="float32"),
    "dtype_object": clips(dtype="object"),
    "dtype_words": clips(dtype=["uint8"]),
    "clips_beyond": clips(clips=[[0, 4]]),
    "clips_before": clips(clips=[[0, -1]]),
    "clips_none": clips(clips=[]),
    "clips_words": clips(clips=[["a", "b"]]),
    "clips_ragged": clips(clips=[[0], [1, 2]]),
    "encoder_none": clips(encoder=1),
    "encoder_words": clips(encoder={}),
    "times_words": clips(start_seconds=["a", "b"]),
    "times_few": clips(end_seconds=[0.4]),
    "frames_words": info(frames="many"),
    "frames_many": info(frames=9),
    "fps_words": info(fps={}),
    "info_more": info(colour="red"),
    "info_none": info(timeline=None),
    "info_times": info(timeline={"pts_seconds": "AAAA", "fps": None, "duration_seconds": None}),
    "first_clip_later": clips(first_clip=7),
    "done_at_once": message(DONE),
    "done_and_no_more": message({"done": {}}),
    "failed_no_error": message({"failed": {"what": 1}}),
    "allow_words": message({"allow": "an hour"}),
    "allow_none": message({"allow": math.nan}),
    "allow_for_ever": message({"allow": math.inf}),
    "allow_less_than_no_time": message({"allow": -1e9}),
    "unfit": message({"unfit": {"where": "the GPU", "expected": "a GPU", "found": "none", "hint": "Give up."}}),
    "nothing": message({}),
    "a_list": raw(b"[1, 2]"),
    "deep": raw(b"[" * 1_000_000),
    "bytes": raw(b"\xff\x00\xff"),
    "long": lambda channel: channel._send(b"\xff" * 4, None),
}
OTHERS: dict[str, Callable[[Channel], None]] = {
    "honest": clips(),
    "shrinking": shrinking,
    "real_time": lambda _: os.kill(os.getpid(), 40),
    "sleep": lambda _: time.sleep(600),
}


def main() -> None:
    channel = Channel(socket.socket(fileno=os.dup(0)))
    channel.receive()
    channel.receive_bytes()
    channel.send({"ready": True})
    while True:
        name = Path(channel.receive()["video"]["uri"]).stem
        {**LIES, **OTHERS}[name](channel)
