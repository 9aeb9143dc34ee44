"""The plan of packets against a decoder made of a few lines, on streams of any structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.video.bitstream import PictureFacts, UnclearPacketError
from vidfeat.video.packets import PacketTable, TableBuilder, plan_feed


@dataclass
class Stream:
    """A table, and what it does not know: which earlier pictures each picture refers to."""

    table: PacketTable
    references: list[set[int]]


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    groups = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    pts, random_access, disposable, references = [], [], [], []
    for length in groups:
        first = len(pts)
        pts += [first + place for place in draw(st.permutations(range(length)))]
        for place in range(first, first + length):
            possible = [other for other in range(first, place) if not disposable[other]]
            random_access.append(place == first)
            disposable.append(place > first and draw(st.booleans()))
            references.append(set(draw(st.lists(st.sampled_from(possible)))) if possible else set())
    table = PacketTable(np.array(pts) * 10 + 3, np.array(random_access), np.array(disposable))
    return Stream(table, references)


@given(stream=streams(), data=st.data())
def test_every_needed_picture_is_decoded_with_its_references(stream: Stream, data: st.DataObject) -> None:
    count = len(stream.references)
    wanted = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    plan = plan_feed(stream.table, wanted)
    assert list(plan.frames) == list(stream.table.ranks[: len(plan.fed)])
    decoded: set[int] = set()
    shown: list[int] = []
    for place in np.flatnonzero(plan.fed):
        if plan.flush[place]:
            assert stream.table.random_access[place]
            decoded.clear()
        assert stream.references[place] <= decoded
        decoded.add(int(place))
        shown.append(int(plan.frames[place]))
    assert set(wanted) <= set(shown)
    assert not plan.flush[~plan.fed].any()


@given(stream=streams(), data=st.data())
def test_nothing_else_is_decoded(stream: Stream, data: st.DataObject) -> None:
    """Beside the first, every packet is wanted, or may be referred to by a wanted one of its group."""
    table = stream.table
    wanted = data.draw(st.lists(st.integers(0, len(table.pts) - 1), min_size=1))
    plan = plan_feed(table, wanted)
    assert plan.fed[-1]
    group = np.cumsum(table.random_access)
    needed = np.flatnonzero(np.isin(table.ranks, wanted))
    for place in np.flatnonzero(plan.fed)[1:]:
        later = needed[(needed > place) & (group[needed] == group[place])]
        assert place in needed or (later.size and not table.disposable[place])


def test_a_plan_by_hand() -> None:
    """Display I0 b1 P2 | I3 b4 P5 | I6 b7 P8, decoded I P b."""
    pts = np.array([0, 2, 1, 3, 5, 4, 6, 8, 7])
    table = PacketTable(pts, np.array([1, 0, 0] * 3, bool), np.array([0, 0, 1] * 3, bool))
    assert table.reorder_depth == 1
    plan = plan_feed(table, [2, 7])
    assert plan.fed.tolist() == [True, True, False, False, False, False, True, True, True]
    assert plan.flush.tolist() == [False] * 6 + [True, False, False]
    plan = plan_feed(table, [0, 6])
    assert plan.fed.tolist() == [True, False, False, False, False, False, True]
    plan = plan_feed(table, [2, 5])  # a disposable one between two groups is no reason to flush
    assert plan.fed.tolist() == [True, True, False, True, True]
    assert not plan.flush.any()
    plan = plan_feed(table, [5])  # the first packet is always fed
    assert plan.fed.tolist() == [True, False, False, True, True]
    assert plan.flush.tolist() == [False, False, False, True, False]


@given(pts=st.lists(st.integers(-50, 50), min_size=1, unique=True))
def test_reorder_depth_is_the_most_that_overtake(pts: list[int]) -> None:
    flags = np.ones(len(pts), bool)
    slow = max(sum(other > mine for other in pts[:place]) for place, mine in enumerate(pts))
    assert PacketTable(np.array(pts), flags, flags).reorder_depth == slow


# --- building the table -----------------------------------------------------------------------------------------------


def build(*packets: tuple[PictureFacts, int | None]) -> PacketTable | None:
    facts = iter(fact for fact, _ in packets)
    builder = TableBuilder(lambda data: next(facts))
    for _, pts in packets:
        builder.add(b"", pts)
    return builder.table()


KEY, MIDDLE, LAST = PictureFacts(True, False), PictureFacts(False, False), PictureFacts(False, True)


def test_a_table() -> None:
    table = build((KEY, 0), (MIDDLE, 20), (LAST, 10), (KEY, 30))
    assert table is not None
    assert table.pts.tolist() == [0, 20, 10, 30]
    assert table.random_access.tolist() == [True, False, False, True]
    assert table.disposable.tolist() == [False, False, True, False]


def test_no_random_access_where_later_packets_are_shown_earlier() -> None:
    table = build((KEY, 0), (MIDDLE, 20), (KEY, 30), (MIDDLE, 10), (KEY, 40))
    assert table is not None
    assert table.random_access.tolist() == [True, False, False, False, True]


def test_only_the_highest_temporal_layer_is_disposable() -> None:
    table = build((KEY, 0), (PictureFacts(False, True, 1), 20), (PictureFacts(False, True, 2), 10))
    assert table is not None
    assert table.disposable.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("parameters", "random_access"),
    [
        ([b"a", b"a", b"a"], [True, True, True]),
        ([b"a", b"", b"a"], [True, True, True]),
        ([b"", b"", b""], [True, True, True]),
        ([b"a", b"b", b"a"], [True, False, False]),
        ([b"", b"a", b""], [True, False, False]),
    ],
)
def test_no_random_access_after_the_parameter_sets_change(parameters: list[bytes], random_access: list[bool]) -> None:
    table = build(*((PictureFacts(True, False, 0, sets), place) for place, sets in enumerate(parameters)))
    assert table is not None
    assert table.random_access.tolist() == random_access


@pytest.mark.parametrize(
    "packets", [[], [(MIDDLE, 0)], [(KEY, 0), (MIDDLE, None)], [(KEY, 0), (MIDDLE, 0)], [(KEY, None)]]
)
def test_no_table_where_anything_is_uncertain(packets: list[tuple[PictureFacts, int | None]]) -> None:
    assert build(*packets) is None


def test_no_table_where_decoders_show_pictures_in_another_order() -> None:
    def facts(*orders: int) -> list[tuple[PictureFacts, int]]:
        return [
            (KEY._replace(random_access=not order, display_order=order), pts)
            for order, pts in zip(orders, (0, 20, 10), strict=True)
        ]

    assert build(*facts(0, 8, 4)) is not None
    assert build(*facts(0, 4, 8)) is None
    assert build(*facts(0, 4, 4)) is None


@pytest.mark.parametrize("error", [UnclearPacketError, IndexError])
def test_no_table_where_a_packet_cannot_be_read(error: type[Exception]) -> None:
    def read(data: object) -> PictureFacts:
        raise error

    builder = TableBuilder(read)
    builder.add(b"", 0)
    builder.add(b"", 1)
    assert builder.table() is None
    assert TableBuilder(None).table() is None
