"""Which packets of a stream have to be decoded, so that the wanted frames come out exactly as if all had been.

Pure arithmetic on what the packets say of themselves. Two kinds of work are saved: groups of pictures, or their ends,
without a wanted frame; and pictures that are neither wanted nor referred to by any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfeat.video.bitstream import Bytes, PictureReader, UnclearPacketError

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PacketTable:
    """What the packets of a stream say, in their order in the file, which is the order of decoding.

    Attributes:
        pts: int64 `[N]`, presentation times, no two alike.
        entry: bool `[N]`, where decoding can begin: all frames before are shown before, and no picture from here on
            refers to one before. The first is always set.
        spare: bool `[N]`, pictures that no other picture refers to.
        tick_seconds: what one unit of `pts` lasts; None where the container does not say.
        parameters_change: whether the stream describes itself anew, and differently, on its way.
    """

    pts: npt.NDArray[np.int64]
    entry: Flags
    spare: Flags
    tick_seconds: float | None = None
    parameters_change: bool = False

    @property
    def ranks(self) -> npt.NDArray[np.int64]:
        """int64 `[N]`: the number of the frame that each packet gives, which is its place by presentation time."""
        ranks = np.empty(len(self.pts), np.int64)
        ranks[np.argsort(self.pts)] = np.arange(len(self.pts))
        return ranks

    @property
    def reorder_depth(self) -> int:
        """Greatest number of pictures that are decoded before some picture and shown after it.

        A decoder that holds back fewer puts frames out in a wrong order, or loses them.
        """
        # A packet's place minus its rank is (earlier ones shown later) - (later ones shown earlier), and where the
        # first count is greatest the second is 0: a packet that is later and shown earlier would count one more.
        return int((np.arange(len(self.pts)) - self.ranks).max(initial=0))


@dataclass(frozen=True, eq=False)
class FeedPlan:
    """What to do with each packet up to the last that is needed; the others follow and are not even read.

    Attributes:
        fed: bool `[M]`, whether the decoder gets the packet.
        afresh: bool `[M]`, whether the decoder has to be emptied and reset before it gets the packet.
        frames: int64 `[M]`, the number of the frame that each packet gives.
        pts: int64 `[M]`, and its presentation time.
        reorder_depth: as in `PacketTable`, of all packets.
    """

    fed: Flags
    afresh: Flags
    frames: npt.NDArray[np.int64]
    pts: npt.NDArray[np.int64]
    reorder_depth: int

    @property
    def spares_any(self) -> bool:
        """Whether any packet up to the last is left out."""
        return not self.fed.all()


def plan_feed(table: PacketTable, wanted: Sequence[int]) -> FeedPlan:
    """The packets that the wanted frames need.

    The first packet is always among them. Later ones may rely on what only it brings: parameter sets, and the name of
    the encoder, by which FFmpeg knows that some old x264 needs to be decoded differently.

    Args:
        table: all packets of the stream.
        wanted: frame numbers in `[0, N)`, at least one.
    """
    frames = table.ranks
    needed = np.isin(frames, wanted)
    places = np.arange(len(frames))
    group = np.cumsum(table.entry) - 1
    last_needed = np.full(group[-1] + 1, -1)
    np.maximum.at(last_needed, group[needed], places[needed])

    fed = needed | (~table.spare & (places <= last_needed[group]))
    fed[0] = True
    missed = np.cumsum(~fed & ~table.spare)  # packets left out so far that others may refer to
    fed_places = np.flatnonzero(fed)
    afresh = np.zeros(len(frames), np.bool_)
    afresh[fed_places[1:]] = np.diff(missed[fed_places]) > 0
    end = fed_places[-1] + 1
    return FeedPlan(fed[:end], afresh[:end], frames[:end], table.pts[:end], table.reorder_depth)


class TableBuilder:
    """Makes a `PacketTable` of a stream, packet by packet."""

    def __init__(self, read: PictureReader | None, tick_seconds: float | None = None) -> None:
        """`read`: see `vidfeat.video.bitstream.picture_reader`; with None there will be no table."""
        self._read = read
        self._tick_seconds = tick_seconds
        self._pts: list[int] = []
        self._entry = bytearray()
        self._spare = bytearray()
        self._layer = bytearray()
        self._places: list[int] = []
        self._parameters = b""
        self._parameters_change = False

    def give_up(self) -> None:
        """There will be no table: something about the stream is not clear."""
        self._read = None

    def add(self, data: Bytes, pts: int | None) -> None:
        """Note the next packet in the order of the file; None is a packet without presentation time."""
        if self._read is None:
            return
        try:
            facts = self._read(data)
        except (UnclearPacketError, IndexError):
            self.give_up()
            return
        if pts is None:
            self.give_up()
            return
        if not self._pts:
            self._parameters = facts.parameters
        # From where they change on, what a picture needs may lie in any packet before it.
        self._parameters_change |= facts.parameters not in (b"", self._parameters)
        self._pts.append(pts)
        self._entry.append(facts.entry and not self._parameters_change)
        self._spare.append(facts.spare)
        self._layer.append(facts.layer)
        if facts.place is not None:
            self._places.append(facts.place)

    def table(self) -> PacketTable | None:
        """The packets so far; None where anything about them is not clear."""
        pts = np.array(self._pts, np.int64)
        if self._read is None or not len(pts) or not self._entry[0] or len(np.unique(pts)) < len(pts):
            return None
        if self._places and not _same_order(np.array(self._places), pts):
            return None
        layer = np.frombuffer(bytes(self._layer), np.uint8)
        spare = np.frombuffer(bytes(self._spare), np.bool_) & (layer == layer.max())
        entry = np.frombuffer(bytes(self._entry), np.bool_) & _splits_time(pts)
        return PacketTable(pts, entry, spare, self._tick_seconds, self._parameters_change)


def _splits_time(pts: npt.NDArray[np.int64]) -> Flags:
    """For each packet, whether all before it are shown before it and all after it."""
    latest_before = np.maximum.accumulate(pts)[:-1]
    earliest_from = np.minimum.accumulate(pts[::-1])[::-1][1:]
    return np.concatenate([[True], latest_before < earliest_from])


def _same_order(places: npt.NDArray[np.int64], pts: npt.NDArray[np.int64]) -> bool:
    return len(places) == len(pts) and bool((np.diff(places[np.argsort(pts)]) > 0).all())
