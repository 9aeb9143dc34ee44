"""Frames of a video as RGB arrays, each with its presentation time.

Frame i is the i-th frame that the decoder puts out when the whole stream is decoded from its start. Seeks, time stamps
and headers do not decide it. Packets that the wanted frames do not need are left out where it is certain that the same
frames result (see `vidfeat.video.packets`). Whenever that becomes uncertain, the stream is decoded from its start.
"""

from __future__ import annotations

import dataclasses
import heapq
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfeat.errors import Kind, UsageError, VideoError
from vidfeat.video.bitstream import PictureReader, UnclearPacketError, picture_reader
from vidfeat.video.info import Timeline, VideoInfo
from vidfeat.video.packets import FeedPlan, plan_feed
from vidfeat.video.probe import codec_name, frame_clock, gives_frame, probe, to_upright, upright
from vidfeat.video.remote import RemoteFile
from vidfeat.video.salvage import decodable_frames
from vidfeat.video.source import OpenVideo, broken, check_frame_size, open_video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

Pixels = npt.NDArray[np.uint8]
"""uint8 RGB `[H, W, 3]`, C-contiguous."""

FrameIndices = npt.NDArray[np.int64]

_SAME_TIME_SECONDS = 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        index: its number in the video, from 0.
        pts_seconds: when it is shown; `VideoInfo.timeline.pts_seconds[index]`.
        pixels: uint8 RGB `[H, W, 3]`, upright, C-contiguous; owned by the caller.
    """

    index: int
    pts_seconds: float
    pixels: Pixels


class FrameCountError(VideoError):
    """`VideoInfo.frames`, or the timeline, is not what decoding gives.

    The video may be intact: plan again with `recount(info, error.timeline)`, and drop the frames already taken.

    Args:
        where, kind, expected, found, hint: as in `VideoError`; the stage is `decode`.
        timeline: the true one, where the whole stream was decoded.
    """

    def __init__(
        self, where: str, *, kind: Kind, expected: str, found: str, hint: str = "", timeline: Timeline | None = None
    ) -> None:
        self.timeline = timeline
        super().__init__(where, stage="decode", kind=kind, expected=expected, found=found, hint=hint)


class NeedsLinearDecodeError(Exception):
    """The file or the decoder does not behave as the plan assumes: the stream has to be decoded from its start."""


def decode(
    path: str | os.PathLike[str],
    frame_index: Iterable[int] | npt.NDArray[np.integer],
    info: VideoInfo | None = None,
    *,
    to_end: bool = False,
) -> Iterator[Frame]:
    """Decode the wanted frames of a video, and of the others only those that they depend on.

    Args:
        path: the file.
        frame_index: the wanted frames, counted from 0, in any order, shape and with repetitions.
        info: the result of `probe`; probed again where it is None.
        to_end: decode everything, also after the last wanted frame, to check `info.frames` and `info.timeline`. With
            it, a plan may rest on an estimate.

    Yields:
        Frames by rising index, each wanted index once.

    Raises:
        UsageError: at once, for an index below 0 or one that is no whole number.
        FrameCountError: `info.frames` or `info.timeline` is wrong; with `to_end` possibly after the last frame.
        VideoError: of stage `decode`. `corrupt`: the decoder reports an error in what has to be decoded up to the last
            wanted frame. Damage in groups of pictures without a wanted frame, and in pictures that nothing refers to,
            is not noticed where they are left out. `truncated`: the stream ends before that frame. And those of
            `probe`. With the `info` of `salvage`, errors are skipped, and the frames are those that it counted.
    """
    wanted = sorted_indices(frame_index)
    return _decode(os.fspath(path), wanted, info, to_end) if len(wanted) else iter(())


def decode_strictly(path: str, wanted: FrameIndices, info: VideoInfo) -> Iterator[Frame]:
    """The frames that `decode` gives of a stream without an error; raises on any error, however small.

    Args:
        path: the file.
        wanted: as `sorted_indices` gives them.
        info: the result of `probe`, with its packets.

    Raises:
        NeedsLinearDecodeError: the packets are not those of `info`, or the decoder does not give a frame for each.
        VideoError: the decoder reports an error.
    """
    if info.packets is None:
        raise NeedsLinearDecodeError
    return _sparse(path, wanted, info, plan_feed(info.packets, wanted))


def count_frames(path: str | os.PathLike[str]) -> int:
    """Number of frames that the video gives when all of it is decoded.

    Raises:
        VideoError: of stage `decode`, as `decode` does.
    """
    return len(_decoded_times(os.fspath(path)))


def with_exact_frames(info: VideoInfo) -> VideoInfo:
    """`info` itself where a plan may rest on its frames, else `recount(info)`.

    Raises:
        VideoError: of stage `decode`, as `count_frames` does.
    """
    return info if info.frames_exact else recount(info)


def recount(info: VideoInfo, timeline: Timeline | None = None) -> VideoInfo:
    """The same video with the number and the times of the frames that decoding gives.

    Args:
        info: the video as described before.
        timeline: the true one where it is known, as `FrameCountError.timeline`; None decodes all frames.

    Raises:
        VideoError: of stage `decode`, as `count_frames` does.
    """
    if timeline is None:
        timeline = dataclasses.replace(info.timeline, pts_seconds=_decoded_times(info.path))
    return dataclasses.replace(info, frames=len(timeline), timeline=timeline, frames_from="decoding")


def sorted_indices(frame_index: Iterable[int] | npt.NDArray[np.integer]) -> FrameIndices:
    """Each index once, rising; int64.

    Raises:
        UsageError: an index below 0 or one that is no whole number.
    """
    indices = np.asarray(frame_index if isinstance(frame_index, np.ndarray) else list(frame_index))
    if indices.size == 0:
        return np.empty(0, np.int64)
    if not np.issubdtype(indices.dtype, np.integer):
        raise UsageError("frame_index", expected="whole numbers", found=f"an array of {indices.dtype}")
    if indices.min() < 0:
        raise UsageError("frame_index", expected="indices of at least 0", found=str(indices.min()))
    return np.unique(indices).astype(np.int64, copy=False)


def _decode(path: str, wanted: FrameIndices, info: VideoInfo | None, to_end: bool) -> Iterator[Frame]:
    info = info or probe(path)
    plan = None if to_end else _plan(info, wanted)
    done = 0
    if plan is not None:
        try:
            for frame in _sparse(path, wanted, info, plan):
                yield frame
                done += 1
        except (NeedsLinearDecodeError, VideoError):
            pass  # decoding from the start raises the error, if there is one
    if done < len(wanted):
        yield from _linear(path, wanted[done:], info, to_end)


class _ToRgb:
    """Converts the frames of one video."""

    def __init__(self, path: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._path = path
        self._reformatter: VideoReformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Pixels:
        check_frame_size(frame.width, frame.height, self._path, "decode")
        rgb = np.asarray(self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), dtype=np.uint8)
        return upright(rgb, *to_upright(frame))


# --- decoding from the start ------------------------------------------------------------------------------------------


def _linear(path: str, wanted: FrameIndices, info: VideoInfo, to_end: bool) -> Iterator[Frame]:
    to_rgb = _ToRgb(path)
    remaining = map(int, wanted)
    target = next(remaining)
    times = array("d")
    with open_video(path, "decode") as video:
        clock = frame_clock(video)
        checked = info.frames_from == "packets"
        frames = decodable_frames(video, path) if info.salvaged else _all_frames(video, path, checked=checked)
        for index, frame in enumerate(frames):
            times.append(clock(frame.pts))
            if index == target:
                yield Frame(index, times[-1], to_rgb(frame))
                target = next(remaining, -1)
                if target < 0 and not to_end:
                    return
    _check_end(path, target, np.array(times), info, to_end)


def _check_end(path: str, target: int, times: npt.NDArray[np.float64], info: VideoInfo, to_end: bool) -> None:
    """Compare a stream that was decoded to its end with `info`; `target` is the next wanted frame, -1 for none."""
    frames, planned = len(times), info.timeline.pts_seconds
    expected = f"frame {target}" if target >= 0 else f"{info.frames} frames"
    found = f"a video of {frames} frames"
    wrong_count = frames != info.frames or frames != len(planned)
    if frames and (to_end or info.frames_from == "packets"):
        timeline = dataclasses.replace(info.timeline, pts_seconds=times)
        if wrong_count:
            raise FrameCountError(path, kind="truncated", expected=expected, found=found, timeline=timeline)
        if len(wrong := np.flatnonzero(np.abs(times - planned) > _SAME_TIME_SECONDS)):
            at = wrong[0]
            raise FrameCountError(
                path,
                kind="corrupt",
                expected=f"frame {at} at {planned[at]:.6f} s, as its packets say",
                found=f"{times[at]:.6f} s",
                timeline=timeline,
            )
    if target >= 0:
        raise VideoError(path, stage="decode", kind="truncated", expected=expected, found=found)


def _decoded_times(path: str) -> npt.NDArray[np.float64]:
    """float64 `[N]`: presentation time in seconds of every frame that decoding gives."""
    with open_video(path, "decode") as video:
        clock = frame_clock(video)
        return np.fromiter((clock(frame.pts) for frame in _all_frames(video, path)), np.float64)


def _all_frames(video: OpenVideo, path: str, *, checked: bool = False) -> Iterator[VideoFrame]:
    """The frames of a stream; with `checked`, each packet has to give one, in the order of presentation times.

    A frame that the decoder drops, or a packet that gives none, is noticed at the next frame.
    """
    index, codec, pending = 0, codec_name(video.stream), _PendingFrames()
    for packet in video.container.demux(video.stream):
        if checked and gives_frame(packet, codec) and packet.pts is not None:
            pending.add(packet.pts, 0)
        for frame in packet.decode():
            if frame.is_corrupt:
                found = f"frame {index}, of which the decoder concealed a part"
                raise broken(path, "decode", "corrupt", "a stream that decodes without errors", found)
            if checked and pending.number_of(frame) is None:
                raise FrameCountError(
                    path,
                    kind="corrupt",
                    expected="one frame per packet",
                    found=f"another order at frame {index}",
                    hint="Count its frames by decoding, and plan again.",
                )
            yield frame
            index += 1


# --- decoding only what is needed -------------------------------------------------------------------------------------


def _plan(info: VideoInfo, wanted: FrameIndices) -> FeedPlan | None:
    """The packets to decode; None where all of them are needed."""
    if info.packets is None or info.frames_from != "packets" or wanted[-1] >= len(info.packets.pts):
        return None
    plan = plan_feed(info.packets, wanted)
    return plan if plan.skips_any else None


def _sparse(path: str, wanted: FrameIndices, info: VideoInfo, plan: FeedPlan) -> Iterator[Frame]:
    to_rgb = _ToRgb(path)
    remaining = map(int, wanted)
    target = next(remaining)
    with open_video(path, "decode") as video:
        if video.stamp != info.stamp:
            raise NeedsLinearDecodeError
        for index, frame in _needed_frames(video, plan):
            if index == target:
                yield Frame(index, float(info.timeline.pts_seconds[index]), to_rgb(frame))
                target = next(remaining, -1)
                if target < 0:
                    return


def _needed_frames(video: OpenVideo, plan: FeedPlan) -> Iterator[tuple[int, VideoFrame]]:
    """The wanted frames, and those that they refer to, each with its number, by rising number.

    Every packet that is fed has to give one frame, with its presentation time and in that order.

    Args:
        video: just opened.
        plan: made of the packets that `probe` found in it.

    Raises:
        NeedsLinearDecodeError: a packet is not the one of the plan, or gives no frame, another one, or one that is
            corrupt; or the stream reorders more pictures than the decoder expects, which would lose frames.
        VideoError: the decoder reports an error, however small.
    """
    context = video.stream.codec_context
    if context.reorder_depth < plan.reorder_depth:
        raise NeedsLinearDecodeError
    # Lost data would be concealed with any picture before, also with one that is left out here.
    context.options = {**context.options, "err_detect": "explode"}
    reader = None
    if plan.places is not None and isinstance(video.file, RemoteFile):
        video.file.only(plan.places)
        reader = picture_reader(codec_name(video.stream), context.extradata)
    pending = _PendingFrames()
    packets = video.container.demux(video.stream)
    for number, pts, fed, flush in zip(plan.frames, plan.pts, plan.fed, plan.flush, strict=True):
        packet = next(packets, None)
        if packet is None or packet.pts != pts:
            raise NeedsLinearDecodeError
        if flush:
            yield from pending.match(context.decode(None))
            pending.require_none()
            context.flush_buffers()
            if plan.places is not None and not (reader and _is_random_access(reader, packet)):
                raise NeedsLinearDecodeError
        if fed:
            pending.add(int(pts), int(number))
            yield from pending.match(context.decode(packet))
    yield from pending.match(context.decode(None))
    pending.require_none()


def _is_random_access(reader: PictureReader, packet: Packet[VideoStream]) -> bool:
    try:
        return reader(memoryview(packet)).random_access
    except (UnclearPacketError, IndexError, OverflowError):
        return False


class _PendingFrames:
    """The packets that were fed and whose frames the decoder has not put out: in the order of presentation times."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, int]] = []

    def add(self, pts: int, number: int) -> None:
        heapq.heappush(self._pending, (pts, number))

    def number_of(self, frame: VideoFrame) -> int | None:
        """The number of the frame that comes next; None where this is another one."""
        pts, number = heapq.heappop(self._pending) if self._pending else (None, None)
        return number if frame.pts == pts else None

    def match(self, frames: list[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        for frame in frames:
            number = None if frame.is_corrupt else self.number_of(frame)
            if number is None:
                raise NeedsLinearDecodeError
            yield number, frame

    def require_none(self) -> None:
        if self._pending:
            raise NeedsLinearDecodeError
