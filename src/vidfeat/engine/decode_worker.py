"""A process that reads videos: jobs come in and pixels go out over the Unix socket that is its standard input.

Whatever happens in here, a crash or a hang in a decoder, ends with this process, which its parent kills and replaces.
It never imports torch, and so starts quickly and stays small.

After a first message with the limits and a pickled `PreprocessSpec`, each job is one message, `{"path": ...}`,
answered by any number of

    {"allow": seconds}                 this much more time is justified: the file is large, the video long
    {"views": {...}, "size": bytes, "cpu_seconds": so far}
                                       the next views; their pixels follow once the parent says `{"go": true}`

and then by one of

    {"done": {"cpu_seconds": in all, "info": null, "doubt": why PyAV took over from NVDEC, or ""}}
    {"failed": {...}}                  the fields of a `VideoError`
    {"unfit": {...}}                   those of a `DeviceError`: this machine can decode no video so

Where None stands for the `PreprocessSpec`, videos are only probed: `info` then has the fields of a `VideoInfo`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import resource
import signal
import socket
import time
from typing import Any

from vidfeat.engine.channel import Channel, ClosedError
from vidfeat.engine.faults import as_video_error
from vidfeat.engine.subprocesses import die_with_parent
from vidfeat.errors import DeviceError, VidfeatError
from vidfeat.preprocessing.clips import PreprocessSpec, Views, read_chunks
from vidfeat.video import VideoInfo, probe

BYTES_PER_SECOND = 1e6
"""A file of this size is allowed one more second; an nth of the speed of the slowest disks and networks in use."""

PIXELS_PER_SECOND = 20e6
"""So much video is allowed one more second: a tenth of what one core decodes, as cores are shared and some videos have
to be decoded twice, once to count their frames."""


def main() -> None:
    """Serve one parent, to its end."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes at a terminal; the parent decides
    channel = Channel(socket.socket(fileno=os.dup(0)))
    with contextlib.suppress(ClosedError):
        limits = channel.receive()
        # Trusted: it comes from the parent. In the other direction nothing is unpickled.
        spec: PreprocessSpec | None = pickle.loads(channel.receive_bytes())
        nvdec = None if spec is None else spec.nvdec
        # CUDA reserves more addresses than there is memory, and has to; what it fills counts as before.
        limit_memory(limits["memory_bytes"], resource.RLIMIT_AS if nvdec is None else resource.RLIMIT_DATA)
        try:
            if nvdec is not None:
                nvdec.start()
            channel.send({"ready": True})
        except DeviceError as error:
            channel.send({"unfit": _fields(error)})
        while True:
            answer(channel, spec, channel.receive()["path"])


def answer(channel: Channel, spec: PreprocessSpec | None, path: str) -> None:
    """Read or probe one video, and tell the parent all about it.

    Raises:
        ClosedError: the parent is gone.
    """
    start, info = time.process_time(), None
    try:
        channel.send({"allow": size_of(path) / BYTES_PER_SECOND})
        if spec is None:
            info = _info(probe(path))
        else:
            for views in read_chunks(spec, path, on_info=lambda info: channel.send({"allow": _seconds(info)})):
                _send_views(channel, views, time.process_time() - start)
    except ClosedError:
        raise
    except DeviceError as error:
        channel.send({"unfit": _fields(error)})
    except Exception as error:
        failure = as_video_error(path, "decode", error)
        channel.send({"failed": {**_fields(failure), "stage": failure.stage, "kind": failure.kind}})
    else:
        doubt = spec.nvdec.doubt if spec is not None and spec.nvdec is not None else ""
        channel.send({"done": {"cpu_seconds": time.process_time() - start, "info": info, "doubt": doubt}})


def limit_memory(limit: int, kind: int = resource.RLIMIT_AS) -> None:
    """Bound the address space, in bytes, so that a video that asks for too much gets an error and not the machine."""
    with contextlib.suppress(ValueError, OSError):  # a lower limit is set already, or the system knows none
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes of a video's file; 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except (OSError, ValueError):
        return 0  # the reader will say what is wrong, better


def _seconds(info: VideoInfo) -> float:
    return float(info.frames * info.width * info.height / PIXELS_PER_SECOND)


def _send_views(channel: Channel, views: Views, cpu_seconds: float) -> None:
    about = {
        "shape": views.pixels.shape,
        "clips": views.clips.tolist(),
        "frames": views.frames,
        "fps": views.fps,
        "salvaged": views.salvaged,
        "frames_declared": views.frames_declared,
        "first_clip": views.first_clip,
    }
    channel.send({"views": about, "size": views.pixels.nbytes, "cpu_seconds": cpu_seconds})
    channel.receive()  # go: there is room for them
    channel.send_pixels(views.pixels.data)


def _info(info: VideoInfo) -> dict[str, Any]:
    """All that a probe tells, save the packets, which only this process could use."""
    names = [field.name for field in dataclasses.fields(info) if field.name != "packets"]
    return {name: getattr(info, name) for name in names}


def _fields(error: VidfeatError) -> dict[str, str]:
    return {"where": error.where, "expected": error.expected, "found": error.found, "hint": error.hint}


if __name__ == "__main__":
    main()
