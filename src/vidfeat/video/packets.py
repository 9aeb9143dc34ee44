"""Which packets of a stream have to be decoded so that the wanted frames equal those of a full decode, to the bit.

Pure arithmetic on what the packets say. Two kinds of packets are left out: groups of pictures, or their ends, without a
wanted frame; and pictures that are neither wanted nor referred to by any other.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfeat.video.bitstream import Bytes, PictureReader, UnclearPacketError

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PacketTable:
    """The packets of a stream in their order in the file, which is the order of decoding.

    Attributes:
        pts: int64 `[N]`, presentation times in the stream's time base, no two equal.
        random_access: bool `[N]`, points at which decoding can begin: all frames before are shown before, and no
            picture from here on refers to one before. The first is always set.
        disposable: bool `[N]`, pictures that no other picture refers to.
        parameters_change: whether the parameter sets of the stream change after its start.
        places: int64 `[N, 2]`, start and end of each packet in the file, where the packets were not read: random
            access points are then those that the container claims, and have to be checked when they are used. None
            where the packets were read.
    """

    pts: npt.NDArray[np.int64]
    random_access: Flags
    disposable: Flags
    parameters_change: bool = False
    places: npt.NDArray[np.int64] | None = None

    @property
    def ranks(self) -> npt.NDArray[np.int64]:
        """int64 `[N]`: the number of the frame that each packet gives, which is its rank by presentation time."""
        ranks = np.empty(len(self.pts), np.int64)
        ranks[np.argsort(self.pts)] = np.arange(len(self.pts))
        return ranks

    @property
    def reorder_depth(self) -> int:
        """Greatest number of pictures that are decoded before some picture and shown after it.

        A decoder that delays fewer pictures puts frames out in a wrong order, or loses them.
        """
        # A packet's position minus its rank is (earlier ones shown later) - (later ones shown earlier), and where the
        # first count is greatest the second is 0: a packet that is later and shown earlier would count one more.
        return int((np.arange(len(self.pts)) - self.ranks).max(initial=0))


@dataclass(frozen=True, eq=False)
class FeedPlan:
    """What to do with each packet up to the last that is needed; those after it are not read.

    Attributes:
        fed: bool `[M]`, whether the decoder gets the packet.
        flush: bool `[M]`, whether the decoder has to be drained and reset before it gets the packet.
        frames: int64 `[M]`, the number of the frame that each packet gives.
        pts: int64 `[M]`, its presentation time.
        reorder_depth: as in `PacketTable`, of all packets.
        places: as in `PacketTable`, of the packets that are fed.
    """

    fed: Flags
    flush: Flags
    frames: npt.NDArray[np.int64]
    pts: npt.NDArray[np.int64]
    reorder_depth: int
    places: npt.NDArray[np.int64] | None = None

    @property
    def skips_any(self) -> bool:
        """Whether any packet up to the last is left out."""
        return not self.fed.all()


def plan_feed(table: PacketTable, wanted: Sequence[int] | npt.NDArray[np.int64]) -> FeedPlan:
    """The packets that the wanted frames need.

    The first packet is always among them. Later ones may depend on data that only the first contains: parameter sets,
    and the name of the encoder, by which FFmpeg recognises old x264 versions that need to be decoded differently.

    Args:
        table: all packets of the stream.
        wanted: frame numbers in `[0, N)`, at least one.
    """
    frames = table.ranks
    needed = np.isin(frames, wanted)
    position = np.arange(len(frames))
    group = np.cumsum(table.random_access) - 1
    last_needed = np.full(group[-1] + 1, -1)
    np.maximum.at(last_needed, group[needed], position[needed])

    fed = needed | (~table.disposable & (position <= last_needed[group]))
    fed[0] = True
    missed = np.cumsum(~fed & ~table.disposable)  # packets left out so far that others may refer to
    fed_positions = np.flatnonzero(fed)
    flush = np.zeros(len(frames), np.bool_)
    flush[fed_positions[1:]] = np.diff(missed[fed_positions]) > 0
    end = fed_positions[-1] + 1
    places = None if table.places is None else table.places[fed_positions]
    return FeedPlan(fed[:end], flush[:end], frames[:end], table.pts[:end], table.reorder_depth, places)


class TableBuilder:
    """Builds the `PacketTable` of a stream, packet by packet."""

    def __init__(self, read: PictureReader | None) -> None:
        """`read`: see `vidfeat.video.bitstream.picture_reader`; with None there will be no table."""
        self._read = read
        self._pts = array("q")
        self._random_access = bytearray()
        self._disposable = bytearray()
        self._layer = bytearray()
        self._display_order = array("q")
        self._parameters = b""
        self._parameters_change = False

    def give_up(self) -> None:
        """There will be no table: the structure of the stream is not certain."""
        self._read = None

    def add(self, data: Bytes, pts: int | None) -> None:
        """Add the next packet in the order of the file; `pts` is None where it has no presentation time."""
        if self._read is None:
            return
        try:
            facts = self._read(data)
            if facts.display_order is not None:
                self._display_order.append(facts.display_order)
        except (UnclearPacketError, IndexError, OverflowError):
            self.give_up()
            return
        if pts is None:
            self.give_up()
            return
        if not self._pts:
            self._parameters = facts.parameters
        # After a change, the parameters that a picture needs may be in any packet before it.
        self._parameters_change |= facts.parameters not in (b"", self._parameters)
        self._pts.append(pts)
        self._random_access.append(facts.random_access and not self._parameters_change)
        self._disposable.append(facts.disposable)
        self._layer.append(facts.layer)

    def table(self) -> PacketTable | None:
        """The packets so far; None where anything about them is not certain."""
        pts = np.array(self._pts, np.int64)
        if self._read is None or not len(pts) or not self._random_access[0] or len(np.unique(pts)) < len(pts):
            return None
        order = np.array(self._display_order, np.int64)
        if len(order) and (len(order) != len(pts) or (np.diff(order[np.argsort(pts)]) <= 0).any()):
            return None
        layer = np.frombuffer(self._layer, np.uint8)
        disposable = np.frombuffer(self._disposable, np.bool_) & (layer == layer.max())
        random_access = np.frombuffer(self._random_access, np.bool_) & _splits_time(pts)
        return PacketTable(pts, random_access, disposable, self._parameters_change)


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """What the index of a container says of the packets of a stream, in the order of the file.

    Attributes:
        places: int64 `[N, 2]`, as in `PacketTable`.
        keys: bool `[N]`, which of them it calls key frames.
    """

    places: npt.NDArray[np.int64]
    keys: Flags

    def table(self, pts: npt.NDArray[np.int64]) -> PacketTable | None:
        """The packets with their presentation times, int64 `[N]`; None where anything about them is not certain."""
        certain = len(pts) == len(self.places) and len(np.unique(pts)) == len(pts) > 0
        if not certain or not self.keys[0] or (np.diff(self.places[:, 0]) <= 0).any():
            return None
        return PacketTable(pts, self.keys & _splits_time(pts), np.zeros(len(pts), np.bool_), places=self.places)


def _splits_time(pts: npt.NDArray[np.int64]) -> Flags:
    """For each packet, whether all before it are shown before it and all after it."""
    latest_before = np.maximum.accumulate(pts)[:-1]
    earliest_from = np.minimum.accumulate(pts[::-1])[::-1][1:]
    return np.concatenate([[True], latest_before < earliest_from])
