"""The frames that decode of a broken video.

Errors of the decoder are skipped, and so are frames of which it concealed a part. Frame i is the i-th of the remaining
ones. This is only done on request: see `--on-corrupt salvage`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from vidfeat.errors import VideoError
from vidfeat.video.info import VideoInfo
from vidfeat.video.probe import describe_stream, frame_clock
from vidfeat.video.source import OpenVideo, check_frame_size, open_video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def salvage(path: str | os.PathLike[str]) -> VideoInfo:
    """Describe what decodes of a video that `probe` or `decode` refused, by decoding all of it.

    The same bytes give the same frames every time, and `decode` gives those that are counted here.

    Returns:
        The video, with `frames_from` set to `salvage`, `frames` and `timeline` to the frames that decode, and
        `frames_declared` to the number that the container declares.

    Raises:
        VideoError: of stage `decode`. `corrupt`: no frame decodes. And those of `probe` about files that cannot be
            opened, or must not be.
    """
    where = os.fspath(path)
    with open_video(path, "decode") as video:
        declared = _frames_declared(video)
        clock = frame_clock(video)
        frames = decodable_frames(video, where)
        first = next(frames, None)
        if first is None:
            raise VideoError(
                where,
                stage="decode",
                kind="corrupt",
                expected="at least one frame that decodes",
                found="none, even where errors are skipped",
                hint="Download or copy the video again.",
            )
        start = clock(first.pts)
        rest = np.fromiter((clock(frame.pts) for frame in frames), np.float64)
        info = describe_stream(video, where, first, np.append(start, rest), "salvage")
    return dataclasses.replace(info, frames_declared=declared)


def decodable_frames(video: OpenVideo, path: str) -> Iterator[VideoFrame]:
    """The frames that decode without an error, in the decoder's order, as far as the container can be read."""
    from av.error import FFmpegError

    context = video.stream.codec_context
    for packet in _readable_packets(video):
        try:
            frames = context.decode(packet)
        except FFmpegError:
            continue
        for frame in frames:
            check_frame_size(frame.width, frame.height, path, "decode")
            if not frame.is_corrupt:
                yield frame


def _readable_packets(video: OpenVideo) -> Iterator[Packet[VideoStream] | None]:
    """The complete packets, then None, which drains the decoder."""
    from av.error import FFmpegError

    gaps_are_marked = "mpegts" in video.container.format.name  # see `probe`
    packets = video.container.demux(video.stream)
    with contextlib.suppress(FFmpegError):
        for packet in packets:
            # An empty packet would end the decoder. PyAV sends one after the last, some writers one for a dropped
            # frame.
            if packet.size and (gaps_are_marked or not packet.is_corrupt):
                yield packet
    yield None


def _frames_declared(video: OpenVideo) -> int | None:
    stream = video.stream
    if stream.frames > 0:
        return stream.frames
    rate = stream.average_rate or stream.guessed_rate
    if not rate or video.container.duration is None:
        return None
    return round(video.container.duration / 1_000_000 * float(rate))
