"""Decoding only the packets that the wanted frames need, and noticing when that is in doubt."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vidfeat.video.packets import FeedPlan
from vidfeat.video.source import OpenVideo

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class NeedsLinearDecodeError(Exception):
    """The decoder or the file does not do what the plan rests on. Only decoding from the start can tell."""


def needed_frames(video: OpenVideo, plan: FeedPlan) -> Iterator[tuple[int, VideoFrame]]:
    """The wanted frames, and those that they refer to, each with its number, by rising number.

    Every packet that is fed has to give one frame, with its presentation time and in that order.

    Args:
        video: just opened.
        plan: made from what `probe` found in it.

    Raises:
        NeedsLinearDecodeError: a packet is not the one of the plan, or gives no frame, another one, or one that is
            corrupt; or the stream reorders more than the decoder knows, so that it would lose frames.
        VideoError: the decoder reports an error, however small.
    """
    context = video.stream.codec_context
    if context.reorder_depth < plan.reorder_depth:
        raise NeedsLinearDecodeError
    # What the decoder makes up for lost data may be taken from any picture before, also from one that is left out here.
    context.options = {**context.options, "err_detect": "explode"}
    owed = _OwedFrames()
    packets = video.container.demux(video.stream)
    for number, pts, fed, afresh in zip(plan.frames, plan.pts, plan.fed, plan.afresh, strict=True):
        packet = next(packets, None)
        if packet is None or packet.pts != pts:
            raise NeedsLinearDecodeError
        if afresh:
            yield from owed.paid_by(context.decode(None))
            owed.require_none()
            context.flush_buffers()
        if fed:
            owed.add(int(number), int(pts))
            yield from owed.paid_by(context.decode(packet))
    yield from owed.paid_by(context.decode(None))
    owed.require_none()


class _OwedFrames:
    """The frames of the packets that were fed and of which the decoder has not put out the frame."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int]] = []

    def add(self, number: int, pts: int) -> None:
        heapq.heappush(self._waiting, (number, pts))

    def paid_by(self, frames: list[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        for frame in frames:
            if frame.is_corrupt or not self._waiting:
                raise NeedsLinearDecodeError
            number, pts = heapq.heappop(self._waiting)
            if frame.pts != pts:
                raise NeedsLinearDecodeError
            yield number, frame

    def require_none(self) -> None:
        if self._waiting:
            raise NeedsLinearDecodeError
