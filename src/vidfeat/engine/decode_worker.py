"""A process that decodes videos: requests come in and clips go out over the Unix socket that is its standard input.

Whatever happens in here, a crash or a hang in a decoder, ends with this process, which its parent kills and replaces.
It never imports torch, and so starts quickly and stays small.

After a first message with the limits and the pickled `PreprocessSpec`s and NVDEC decoder, each request is one message,
`{"video": {...}, "specs": [positions], "on_corrupt": ..., "probe": bool}`, answered by any number of

    {"allow": seconds}                 this much more time is justified: the file is large, the video long
    {"info": {...}}                    the video is planned: a `VideoInfo`. Clips that were sent before are void
    {"clips": {...}, "size": bytes, "cpu_seconds": so far}
                                       the next clips; their pixels follow once the parent says `{"go": true}`

and then by one of

    {"done": {"cpu_seconds": in all, "fallback": why PyAV took over from NVDEC, or ""}}
    {"failed": {...}}                  the fields of a `VideoError`
    {"unfit": {...}}                   those of a `DeviceError`: this machine can decode no video so
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
from vidfeat.preprocessing.clips import ClipBatch, PreprocessSpec, read_clips
from vidfeat.storage import bytes_on_disk, is_uri, stamp
from vidfeat.video import Nvdec, VideoInfo, probe
from vidfeat.videos import VideoRef

BYTES_PER_SECOND = 1e6
"""A file of this size is allowed one more second: a fraction of the speed of the slowest disks and networks in use."""

PIXELS_PER_SECOND = 20e6
"""So much video is allowed one more second: a tenth of what one core decodes, as cores are shared and some videos have
to be decoded twice, once to count their frames."""


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What a decode process does with every video. Trusted: it comes from the parent, pickled.

    Attributes:
        specs: one for each encoder.
        nvdec: decodes what it can; None leaves everything to PyAV.
    """

    specs: tuple[PreprocessSpec, ...] = ()
    nvdec: Nvdec | None = None


def main() -> None:
    """Serve one parent, to its end."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes at a terminal; the parent decides
    channel = Channel(socket.socket(fileno=os.dup(0)))
    with contextlib.suppress(ClosedError):
        limits = channel.receive()
        assignment: Assignment = pickle.loads(channel.receive_bytes())  # in the other direction nothing is unpickled
        # CUDA reserves more addresses than there is memory, and has to; what it fills counts as before.
        kind = resource.RLIMIT_AS if assignment.nvdec is None else resource.RLIMIT_DATA
        limit_memory(limits["memory_bytes"], kind)
        try:
            if assignment.nvdec is not None:
                assignment.nvdec.start()
            channel.send({"ready": True})
        except DeviceError as error:
            channel.send({"unfit": _fields(error)})
        while True:
            answer(channel, assignment, channel.receive())


def answer(channel: Channel, assignment: Assignment, request: dict[str, Any]) -> None:
    """Decode or probe one video, and send the parent all of it.

    Raises:
        ClosedError: the parent is gone.
    """
    start, video = time.process_time(), VideoRef.from_json(request["video"])
    try:
        channel.send({"allow": size_of(video.uri, ask=True) / BYTES_PER_SECOND})
        if request["probe"]:
            channel.send({"info": probe(video.uri).to_json()})
        else:
            for position, clips in _clips_of(channel, assignment, video, request):
                _send_clips(channel, request["specs"][position], clips, time.process_time() - start)
                del clips  # or they would be in memory beside the next ones
    except ClosedError:
        raise
    except DeviceError as error:
        channel.send({"unfit": _fields(error)})
    except Exception as error:
        failure = as_video_error(video.uri, "decode", error)
        channel.send({"failed": {**_fields(failure), "stage": failure.stage, "kind": failure.kind}})
    else:
        fallback = assignment.nvdec.fallback_reason if assignment.nvdec is not None else ""
        channel.send({"done": {"cpu_seconds": time.process_time() - start, "fallback": fallback}})


def _clips_of(channel: Channel, assignment: Assignment, video: VideoRef, request: dict[str, Any]) -> Any:
    return read_clips(
        [assignment.specs[position] for position in request["specs"]],
        video,
        on_corrupt=request["on_corrupt"],
        nvdec=assignment.nvdec,
        on_info=lambda info: channel.send({"allow": _seconds(info)}),
        on_plan=lambda info, plans: channel.send({"info": info.to_json()}),
    )


def limit_memory(limit: int, kind: int = resource.RLIMIT_AS) -> None:
    """Bound the address space, in bytes, so that a video that asks for too much gets an error and not the machine."""
    with contextlib.suppress(ValueError, OSError):  # a lower limit is set already, or the system knows none
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def size_of(uri: str, *, ask: bool = False) -> int:
    """Bytes of a video's file that lie on the disk, which of a sparse one are few; 0 where there is none.

    Args:
        uri: the file, or an object in a store.
        ask: whether to ask a store for the size of an object; it is 0 otherwise.
    """
    if is_uri(uri):
        with contextlib.suppress(OSError, VidfeatError):
            return stamp(uri)[0] if ask else 0
        return 0
    try:
        status = os.stat(uri)  # noqa: PTH116
    except (OSError, ValueError):
        return 0  # the decoder reports what is wrong, better
    return bytes_on_disk(status)


def _seconds(info: VideoInfo) -> float:
    return float(info.frames * info.width * info.height / PIXELS_PER_SECOND)


def _send_clips(channel: Channel, encoder: int, batch: ClipBatch, cpu_seconds: float) -> None:
    about = {
        "encoder": encoder,
        "shape": batch.pixels.shape,
        "dtype": batch.pixels.dtype.name,
        "clips": batch.clips.tolist(),
        "first_clip": batch.first_clip,
        "start_seconds": batch.start_seconds.tolist(),
        "end_seconds": batch.end_seconds.tolist(),
    }
    channel.send({"clips": about, "size": batch.pixels.nbytes, "cpu_seconds": cpu_seconds})
    channel.receive()  # go: there is room for them
    channel.send_pixels(batch.pixels.data.cast("B"))


def _fields(error: VidfeatError) -> dict[str, str]:
    return {"where": error.where, "expected": error.expected, "found": error.found, "hint": error.hint}


if __name__ == "__main__":
    main()
