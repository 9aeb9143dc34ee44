"""Frames of a video as RGB arrays.

Frame i is the i-th frame that the decoder puts out when the whole stream is decoded from its start: never the result of
a seek, a time stamp or a header.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfeat.errors import UsageError, VideoError
from vidfeat.video.probe import VideoInfo, codec_name, gives_frame, probe, upright_quarter_turns
from vidfeat.video.source import OpenVideo, check_frame_size, open_video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

Frame = npt.NDArray[np.uint8]
"""uint8 RGB [H, W, 3], C-contiguous."""


class FrameCountError(VideoError):
    """The stream does not give one frame per packet, although `VideoInfo.frames_from` was `packets`.

    The video may be sound: plan again with `recount(info)`, and drop the frames already taken.
    """


def decode(
    path: str | os.PathLike[str],
    frame_index: Iterable[int] | npt.NDArray[np.integer],
    info: VideoInfo | None = None,
    *,
    threads: int = 1,
) -> Iterator[tuple[int, Frame]]:
    """Decode the wanted frames of a video.

    Args:
        path: the file.
        frame_index: the wanted frames, counted from 0, in any order, shape and with repetitions.
        info: what `probe` said; probed again where it is None.
        threads: decoder threads; 1 is best where many videos are decoded at once. The frames are the same.

    Yields:
        `(index, frame)` by rising index, each wanted index once; `frame` is uint8 RGB [H, W, 3], upright. H and W are
        those of `info`, unless the stream itself changes its size. Decoding ends after the last wanted frame.

    Raises:
        UsageError: at once, for an index below 0 or one that is no whole number.
        FrameCountError: `info.frames` turns out to be wrong.
        VideoError: of stage `decode`. `corrupt`: the decoder reports an error up to the last wanted frame.
            `truncated`: the stream ends before it. And those of `probe`.
    """
    wanted = _sorted_indices(frame_index)
    return _decode(os.fspath(path), wanted, info, threads) if wanted else iter(())


def count_frames(path: str | os.PathLike[str], *, threads: int = 1) -> int:
    """Number of frames that the video gives when all of it is decoded.

    Raises:
        VideoError: of stage `decode`, as `decode` does.
    """
    with open_video(path, "decode") as video:
        return sum(1 for _ in _all_frames(video, os.fspath(path), threads))


def _sorted_indices(frame_index: Iterable[int] | npt.NDArray[np.integer]) -> list[int]:
    """Each index once, rising."""
    indices = np.asarray(frame_index if isinstance(frame_index, np.ndarray) else list(frame_index))
    if indices.size == 0:
        return []
    if not np.issubdtype(indices.dtype, np.integer):
        raise UsageError("frame_index", expected="whole numbers", found=f"an array of {indices.dtype}")
    if indices.min() < 0:
        raise UsageError("frame_index", expected="indices of at least 0", found=str(indices.min()))
    return [int(index) for index in np.unique(indices)]


def _decode(path: str, wanted: list[int], info: VideoInfo | None, threads: int) -> Iterator[tuple[int, Frame]]:
    from av.video.reformatter import VideoReformatter

    info = info or probe(path)
    reformatter = VideoReformatter()
    remaining = iter(wanted)
    target = next(remaining)
    index = -1
    with open_video(path, "decode") as video:
        order = _PacketOrder(video, path) if info.frames_from == "packets" else None
        for index, frame in enumerate(_all_frames(video, path, threads, order)):
            if index != target:
                continue
            yield index, _to_rgb(frame, reformatter, path)
            if index == wanted[-1]:
                return
            target = next(remaining)
    raise _missing_frame(path, target, index + 1, info)


def _missing_frame(path: str, target: int, frames: int, info: VideoInfo) -> VideoError:
    error = FrameCountError if frames != info.frames and info.frames_from == "packets" else VideoError
    return error(
        path, stage="decode", kind="truncated", expected=f"frame {target}", found=f"a video of {frames} frames"
    )


def _all_frames(video: OpenVideo, path: str, threads: int, order: _PacketOrder | None = None) -> Iterator[VideoFrame]:
    context = video.stream.codec_context
    context.thread_count = threads
    if threads != 1:
        context.thread_type = "AUTO"
    index = 0
    for packet in video.container.demux(video.stream):
        if order is not None:
            order.feed(packet)
        for frame in packet.decode():
            if frame.is_corrupt:
                raise VideoError(
                    path,
                    stage="decode",
                    kind="corrupt",
                    expected="a stream that decodes without errors",
                    found=f"frame {index}, of which the decoder had to make up a part",
                    do="Check that it plays, or encode it again.",
                )
            if order is not None:
                order.check(frame, index)
            yield frame
            index += 1


class _PacketOrder:
    """Holds the decoder to one frame per packet: what comes out is what waits longest by presentation time.

    A frame that the decoder drops, or a packet that gives none, shows at the next frame.
    """

    def __init__(self, video: OpenVideo, path: str) -> None:
        self._codec = codec_name(video.stream)
        self._path = path
        self._waiting: list[int] = []

    def feed(self, packet: Packet[VideoStream]) -> None:
        if gives_frame(packet, self._codec) and packet.pts is not None:
            heapq.heappush(self._waiting, packet.pts)

    def check(self, frame: VideoFrame, index: int) -> None:
        if self._waiting and heapq.heappop(self._waiting) == frame.pts:
            return
        raise FrameCountError(
            self._path,
            stage="decode",
            kind="corrupt",
            expected="one frame per packet",
            found=f"another order at frame {index}",
            do="Count its frames by decoding, and plan again.",
        )


def _to_rgb(frame: VideoFrame, reformatter: VideoReformatter, path: str) -> Frame:
    check_frame_size(frame.width, frame.height, path, "decode")
    rgb = np.asarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), dtype=np.uint8)
    return np.ascontiguousarray(np.rot90(rgb, upright_quarter_turns(frame)))
