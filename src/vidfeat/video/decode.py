"""Frames of a video as RGB arrays.

Frame i is the i-th frame that the decoder puts out when the whole stream is decoded from its start: never the result of
a seek, a time stamp or a header. Where it is certain that the same frames come out, packets that the wanted frames do
not need are left out (see `vidfeat.video.packets`); on any doubt the stream is decoded again, from its start.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfeat.errors import Kind, UsageError, VideoError
from vidfeat.video.packets import FeedPlan, plan_feed
from vidfeat.video.probe import VideoInfo, codec_name, gives_frame, probe, upright_quarter_turns
from vidfeat.video.salvage import sound_frames
from vidfeat.video.source import OpenVideo, check_frame_size, open_video
from vidfeat.video.sparse import NeedsLinearDecodeError, needed_frames

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

Frame = npt.NDArray[np.uint8]
"""uint8 RGB [H, W, 3], C-contiguous."""


class FrameCountError(VideoError):
    """`VideoInfo.frames` is not the number of frames that decoding gives.

    The video may be sound: plan again with `recount(info, error.frames)`, and drop the frames already taken.

    Args:
        where, kind, expected, found, hint: as in `VideoError`; the stage is `decode`.
        frames: the true number, where all of the stream was decoded.
    """

    def __init__(
        self, where: str, *, kind: Kind, expected: str, found: str, hint: str = "", frames: int | None = None
    ) -> None:
        self.frames = frames
        super().__init__(where, stage="decode", kind=kind, expected=expected, found=found, hint=hint)


def decode(
    path: str | os.PathLike[str],
    frame_index: Iterable[int] | npt.NDArray[np.integer],
    info: VideoInfo | None = None,
    *,
    threads: int = 1,
    to_end: bool = False,
) -> Iterator[tuple[int, Frame]]:
    """Decode the wanted frames of a video, and of the others only those that they depend on.

    Args:
        path: the file.
        frame_index: the wanted frames, counted from 0, in any order, shape and with repetitions.
        info: what `probe` said; probed again where it is None.
        threads: decoder threads; 1 is best where many videos are decoded at once. The frames are the same.
        to_end: decode everything, also after the last wanted frame, to see whether `info.frames` is right. With it, a
            plan may rest on an estimate.

    Yields:
        `(index, frame)` by rising index, each wanted index once; `frame` is uint8 RGB [H, W, 3], upright. H and W XX

    Raises:
        UsageError: at once, for an index below 0 or one that is no whole number.
        FrameCountError: `info.frames` turns out to be wrong; with `to_end` possibly after the last frame.
        VideoError: of stage `decode`. `corrupt`: the decoder reports an error in what has to be decoded up to the last
            wanted frame. Damage in groups of pictures without a wanted frame, and in pictures that nothing refers to,
            is not seen where they are left out. `truncated`: the stream ends before that frame. And those of `probe`.
            With the `info` of `salvage`, errors are stepped over, and the frames are those that it counted.
    """
    wanted = sorted_indices(frame_index)
    return _decode(os.fspath(path), wanted, info, threads, to_end) if wanted else iter(())


def decode_strictly(path: str, wanted: list[int], info: VideoInfo) -> Iterator[tuple[int, Frame]]:
    """The frames that `decode` gives of a stream without a fault; an error where there is any, however small.

    Args:
        path: the file.
        wanted: as `sorted_indices` gives them.
        info: what `probe` said, with its packets.

    Raises:
        NeedsLinearDecodeError, VideoError: see `vidfeat.video.sparse.needed_frames`.
    """
    from av.video.reformatter import VideoReformatter

    if info.packets is None:
        raise NeedsLinearDecodeError
    reformatter = VideoReformatter()
    for index, frame in _sparse(path, wanted, info, plan_feed(info.packets, wanted), threads=1):
        yield index, _to_rgb(frame, reformatter, path)


def count_frames(path: str | os.PathLike[str], *, threads: int = 1) -> int:
    """Number of frames that the video gives when all of it is decoded.

    Raises:
        VideoError: of stage `decode`, as `decode` does.
    """
    where = os.fspath(path)
    with _open(where, threads) as video:
        return sum(1 for _ in _all_frames(video, where))


def sorted_indices(frame_index: Iterable[int] | npt.NDArray[np.integer]) -> list[int]:
    """Each index once, rising."""
    indices = np.asarray(frame_index if isinstance(frame_index, np.ndarray) else list(frame_index))
    if indices.size == 0:
        return []
    if not np.issubdtype(indices.dtype, np.integer):
        raise UsageError("frame_index", expected="whole numbers", found=f"an array of {indices.dtype}")
    if indices.min() < 0:
        raise UsageError("frame_index", expected="indices of at least 0", found=str(indices.min()))
    return [int(index) for index in np.unique(indices)]


def _decode(
    path: str, wanted: list[int], info: VideoInfo | None, threads: int, to_end: bool
) -> Iterator[tuple[int, Frame]]:
    from av.video.reformatter import VideoReformatter

    info = info or probe(path)
    reformatter = VideoReformatter()
    plan = None if to_end else _plan(info, wanted)
    done = 0
    if plan is not None:
        try:
            for index, frame in _sparse(path, wanted, info, plan, threads):
                yield index, _to_rgb(frame, reformatter, path)
                done += 1
        except (NeedsLinearDecodeError, VideoError):
            pass  # the decode from the start will tell what is wrong, if anything is
    if done < len(wanted):
        for index, frame in _linear(path, wanted[done:], info, threads, to_end):
            yield index, _to_rgb(frame, reformatter, path)


def _plan(info: VideoInfo, wanted: list[int]) -> FeedPlan | None:
    """The packets to decode; None where nothing can be spared."""
    if info.packets is None or info.frames_from != "packets" or wanted[-1] >= len(info.packets.pts):
        return None
    plan = plan_feed(info.packets, wanted)
    return plan if plan.spares_any else None


def _sparse(
    path: str, wanted: list[int], info: VideoInfo, plan: FeedPlan, threads: int
) -> Iterator[tuple[int, VideoFrame]]:
    remaining = iter(wanted)
    target = next(remaining)
    with _open(path, threads) as video:
        if video.container.size != info.bytes:
            raise NeedsLinearDecodeError
        for index, frame in needed_frames(video, plan):
            if index == target:
                yield index, frame
                if index == wanted[-1]:
                    return
                target = next(remaining)


def _linear(
    path: str, wanted: list[int], info: VideoInfo, threads: int, to_end: bool
) -> Iterator[tuple[int, VideoFrame]]:
    remaining = iter(wanted)
    target = next(remaining)
    index = -1
    with _open(path, threads) as video:
        for index, frame in enumerate(_frames_of(video, info, path)):
            if index == target:
                yield index, frame
                if index == wanted[-1] and not to_end:
                    return
                target = next(remaining, -1)
    _check_end(path, target, index + 1, info, to_end)


@contextmanager
def _open(path: str, threads: int) -> Iterator[OpenVideo]:
    with open_video(path, "decode") as video:
        context = video.stream.codec_context
        context.thread_count = threads
        if threads != 1:
            context.thread_type = "AUTO"
        yield video


def _check_end(path: str, target: int, frames: int, info: VideoInfo, to_end: bool) -> None:
    """The stream has ended after `frames` frames; `target` is the one that was waited for, -1 for none."""
    expected = f"frame {target}" if target >= 0 else f"{info.frames} frames"
    found = f"a video of {frames} frames"
    if 0 < frames != info.frames and (to_end or info.frames_from == "packets"):
        raise FrameCountError(path, kind="truncated", expected=expected, found=found, frames=frames)
    if target >= 0:
        raise VideoError(path, stage="decode", kind="truncated", expected=expected, found=found)


def _frames_of(video: OpenVideo, info: VideoInfo, path: str) -> Iterator[VideoFrame]:
    if info.frames_from == "salvage":
        return sound_frames(video, path)
    order = _PacketOrder(video, path) if info.frames_from == "packets" else None
    return _all_frames(video, path, order)


def _all_frames(video: OpenVideo, path: str, order: _PacketOrder | None = None) -> Iterator[VideoFrame]:
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
                    hint="Check that it plays, or encode it again.",
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
            kind="corrupt",
            expected="one frame per packet",
            found=f"another order at frame {index}",
            hint="Count its frames by decoding, and plan again.",
        )


def _to_rgb(frame: VideoFrame, reformatter: VideoReformatter, path: str) -> Frame:
    check_frame_size(frame.width, frame.height, path, "decode")
    rgb = np.asarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), dtype=np.uint8)
    return np.ascontiguousarray(np.rot90(rgb, upright_quarter_turns(frame)))
