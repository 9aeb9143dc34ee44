"""A real decode process with faults in it: what a video does to its decoder depends on the video's name."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vidfeat.engine import decode_worker
from vidfeat.preprocessing.clips import ClipBatch, PreprocessSpec, read_clips
from vidfeat.video import VideoInfo, probe
from vidfeat.videos import VideoRef

FAULTS: dict[str, Callable[[], object]] = {
    "abort": os.abort,
    "exit": lambda: os._exit(7),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": lambda: bytearray(1 << 45),
    "raise": lambda: 1 // 0,
    "loop": lambda: re.match(r"(a+)+$", "a" * 60 + "b"),  # in C, with the interpreter lock held, for centuries
    "pause": lambda: ctypes.PyDLL(None).pause(),  # so that not even a signal handler of Python would run
    "slow": lambda: time.sleep(3600),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "talk": lambda: os.write(0, b"\xff" * 100),  # on the socket
}


def command(*limits: str) -> tuple[str, ...]:
    """The command line of such a process; `limits` are names of the module `resource`, to be set to 0."""
    script = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
    return (sys.executable, "-c", script, *limits)


def read_with_faults(
    specs: Sequence[PreprocessSpec], video: VideoRef, **options: Any
) -> Iterator[tuple[int, ClipBatch]]:
    """The clips of a video: `abort_0.mp4` is fatal before its first chunk, `abort_2.mp4` before its third.

    Where a file `only_once` lies beside it, that happens once, which takes away the file `once`.
    """
    for number, clips in enumerate([None, *read_clips(specs, video, **options)]):
        fail_before(video.uri, number)
        if clips is not None:
            yield clips


def probe_with_faults(path: str | Path) -> VideoInfo:
    """A probe to which `abort_0.mp4` is fatal."""
    fail_before(path, 0)
    return probe(path)


def fail_before(path: str | Path, number: int) -> None:
    """Do what the video's name says, if it says it of chunk `number`."""
    name, _, position = Path(path).stem.partition("_")
    once, only_once = Path(path).with_name("once"), Path(path).with_name("only_once")
    if name in FAULTS and int(position) == number and (once.exists() or not only_once.exists()):
        once.unlink(missing_ok=True)
        FAULTS[name]()


def main() -> None:
    for name in sys.argv[1:]:
        resource.setrlimit(getattr(resource, name), (0, 0))
    decode_worker.read_clips = read_with_faults  # type: ignore[assignment]
    decode_worker.probe = probe_with_faults
    decode_worker.main()
