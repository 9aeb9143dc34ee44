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

SHAPE = [4, 1, 8, 8, 3]
SIZE = math.prod(SHAPE)
ABOUT = {"shape": SHAPE, "clips": [[0, 1], [2, 3]], "frames": 9, "fps": 25.0, "salvaged": False}
ABOUT |= {"frames_declared": None, "first_clip": 0}
DONE = {"done": {"cpu_seconds": 0.5, "info": None, "doubt": ""}}


def command() -> tuple[str, ...]:
    """The command line of such a process."""
    return (sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()")


def views(size: Any = SIZE, sent: int | None = None, **about: Any) -> Callable[[Channel], None]:
    """Announce views of a size, send other ones, and be done."""

    def tell(channel: Channel) -> None:
        channel.send({"views": {**ABOUT, **about}, "size": size, "cpu_seconds": 0.1})
        channel.receive()
        channel.send_pixels(memoryview(bytes(SIZE if sent is None else sent)))
        channel.send(DONE)

    return tell


def message(message: dict[str, Any]) -> Callable[[Channel], None]:
    return lambda channel: channel.send(message)


def raw(data: bytes) -> Callable[[Channel], None]:
    return lambda channel: channel.send_bytes(data)


def shrinking(channel: Channel) -> None:
    """Pixels in a file that is cut off as soon as they are taken."""
    channel.send({"views": ABOUT, "size": SIZE, "cpu_seconds": 0.1})
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
    "size_none": views(math.nan),
    "size_infinite": views(math.inf),
    "size_negative": views(-SIZE),
    "size_zero": views(0),
    "size_words": views("many"),
    "size_huge": views(1 << 62),
    "size_large": views(1 << 40),
    "size_smaller_than_shape": views(SIZE // 2),
    "shape_of_pixels": views(shape=[SIZE]),
    "shape_negative": views(shape=[-1, 1, 8, 8, 3][::-1]),
    "clips_beyond": views(clips=[[0, 4]]),
    "clips_before": views(clips=[[0, -1]]),
    "clips_none": views(clips=[]),
    "clips_words": views(clips=[["a", "b"]]),
    "clips_ragged": views(clips=[[0], [1, 2]]),
    "frames_words": views(frames="many"),
    "fps_words": views(fps={}),
    "first_clip_later": views(first_clip=7),
    "done_at_once": message(DONE),
    "done_and_no_more": message({"done": {}}),
    "failed_no_error": message({"failed": {"what": 1}}),
    "allow_words": message({"allow": "an hour"}),
    "allow_none": message({"allow": math.nan}),
    "allow_for_ever": message({"allow": math.inf}),
    "allow_less_than_no_time": message({"allow": -1e9}),
    "unfit": message({"unfit": {"where": "the GPU", "expected": "a GPU", "found": "none", "do": "Give up."}}),
    "nothing": message({}),
    "a_list": raw(b"[1, 2]"),
    "deep": raw(b"[" * 1_000_000),
    "bytes": raw(b"\xff\x00\xff"),
    "long": lambda channel: channel._send(b"\xff" * 4, None),
}
OTHERS: dict[str, Callable[[Channel], None]] = {
    "honest": views(),
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
        name = Path(channel.receive()["path"]).stem
        {**LIES, **OTHERS}[name](channel)
