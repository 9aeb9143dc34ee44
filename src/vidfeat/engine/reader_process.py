"""A process that reads videos: jobs come in and pixels go out over the Unix socket that is its standard input.

Whatever happens in here, a crash or a hang in a decoder, ends with this process, which its parent kills and replaces.
It never imports torch, and so starts quickly and stays small.

After a first message with the limits and a pickled `ViewSpec`, each job is one message, `{"path": ...}`, answered by
any number of

    {"allow": seconds}                 this much more time is justified: the file is large, the video long
    {"views": {...}, "size": bytes}    the next views; their pixels follow once the parent says `{"go": true}`

and then by one of

    {"done": true}
    {"failed": {...}}                  the fields of a `VideoError`
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import signal
import socket
import sys
from typing import Any

from vidfeat.engine.channel import Channel, ClosedError
from vidfeat.engine.faults import as_video_error
from vidfeat.errors import VideoError
from vidfeat.views import Views, ViewSpec, read_chunks

BYTES_PER_SECOND = 1e6
"""A file of this size is allowed one more second; an nth of the speed of the slowest disks and networks in use."""

PIXELS_PER_SECOND = 20e6
"""So much video is allowed one more second: a tenth of what one core decodes, as cores are shared and some videos have
to be decoded twice, once to count their frames."""

NICENESS = 5
"""What the network waits for should not wait for what is read ahead."""

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve one parent, to its end."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes at a terminal; the parent decides
    os.nice(NICENESS)
    channel = Channel(socket.socket(fileno=os.dup(0)))
    with contextlib.suppress(ClosedError):
        limits = channel.receive()
        limit_memory(limits["memory_bytes"])
        # Trusted: it comes from the parent. In the other direction nothing is unpickled.
        spec = pickle.loads(channel.receive_bytes())
        channel.send({"ready": True})
        while True:
            answer(channel, spec, channel.receive()["path"])


def answer(channel: Channel, spec: ViewSpec, path: str) -> None:
    """Read one video, and tell the parent all about it.

    Raises:
        ClosedError: the parent is gone.
    """
    try:
        channel.send({"allow": _size(path) / BYTES_PER_SECOND})
        for views in read_chunks(spec, path, on_info=lambda info: channel.send({"allow": _seconds(info)})):
            _send_views(channel, views)
    except ClosedError:
        raise
    except Exception as error:
        channel.send({"failed": _fields(as_video_error(path, "decode", error))})
    else:
        channel.send({"done": True})


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends, however that ends, and even if this process hangs.

    Only Linux can. Elsewhere the closed socket tells, once the decoder has returned.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(limit: int) -> None:
    """Bound the address space, in bytes, so that a video that asks for too much gets an error and not the machine."""
    with contextlib.suppress(ValueError, OSError):  # a lower limit is set already, or the system knows none
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except (OSError, ValueError):
        return 0  # the reader will say what is wrong, better


def _seconds(info: Any) -> float:
    return float(info.frames * info.width * info.height / PIXELS_PER_SECOND)


def _send_views(channel: Channel, views: Views) -> None:
    about = {
        "shape": views.pixels.shape,
        "clips": views.clips.tolist(),
        "frames": views.frames,
        "fps": views.fps,
        "salvaged": views.salvaged,
        "frames_declared": views.frames_declared,
        "first_clip": views.first_clip,
    }
    channel.send({"views": about, "size": views.pixels.nbytes})
    channel.receive()  # go: there is room for them
    channel.send_pixels(views.pixels.data)


def _fields(error: VideoError) -> dict[str, str]:
    return {
        "where": error.where,
        "stage": error.stage,
        "kind": error.kind,
        "expected": error.expected,
        "found": error.found,
        "do": error.do,
    }


if __name__ == "__main__":
    main()
