"""Outputs of parts on a store that refuses, loses and delays: no row is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from storage.faulty_s3 import ALWAYS, Fault
from store.test_store_parts import assert_holds, failure, features, open_store
from vidfeat import OutputError, WriteError, load, storage, verify
from vidfeat.store.part_files import PartFolder, parts_of
from vidfeat.store.parts_reading import compact

pytest.importorskip("pyarrow.parquet")

KEYS = ["a", "b", "c", "d"]


@pytest.fixture
def out(s3: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    uri = f"s3://videos/out-{abs(hash(request.node.name))}"
    yield uri
    if s3.exists(uri):
        s3.rm(uri, recursive=True)


def commit(out: str, keys: list[str], seed: int = 0) -> None:
    """Go on with a run: each video that is pending and among `keys` in a part of its own."""
    with open_store(out, KEYS) as store:
        for video in list(store.pending()):
            if video.key in keys:
                store.commit([features(video.key, seed=seed)], {})
        if not store.count_pending():
            store.finalize()


def rows(out: str) -> list[str]:
    """The keys of all rows of all parts."""
    return sorted(key for part in parts_of(PartFolder(out)) for key in part.keys)


@pytest.mark.parametrize("does", ["refuse", "half", "lose"])
def test_each_put_fails_and_nothing_is_lost_or_doubled(faulty: Any, out: str, does: Any) -> None:
    faulty.faults = [Fault(does, "PUT", path, times=2) for path in ("run.json", "parts/", "manifest.json")]
    commit(out, KEYS[:2])
    faulty.faults.append(Fault(does, "PUT", "parts/"))
    commit(out, KEYS)
    assert faulty.left == 0
    assert rows(out) == KEYS
    assert verify(out) == []
    assert_holds(out, [features(key) for key in KEYS])


@pytest.mark.parametrize("does", ["refuse", "stall"])
def test_each_read_fails_and_nothing_is_lost_or_doubled(faulty: Any, out: str, does: Any) -> None:
    commit(out, KEYS[:2])

    def again() -> list[Fault]:
        return [Fault("refuse", "HEAD"), Fault(does, "GET", "parts/"), Fault(does, "GET", "list-type=2")]

    faulty.faults = again()
    commit(out, KEYS)
    assert faulty.left == 0
    assert rows(out) == KEYS
    faulty.faults = again()
    assert verify(out) == []
    assert faulty.left == 0
    faulty.faults = again()
    assert_holds(out, [features(key) for key in KEYS])
    assert faulty.left == 0


@pytest.mark.parametrize("does", ["refuse", "half"])
def test_a_store_that_stays_faulty_is_one_error_and_finished_work_is_kept(faulty: Any, out: str, does: Any) -> None:
    with open_store(out, KEYS) as store:
        store.commit([features("a")], {})
        faulty.requests.clear()
        faulty.faults = [Fault(does, "PUT", "parts/", times=ALWAYS)]
        with pytest.raises(WriteError, match="expected to write the object") as error:
            store.commit([features("b")], {})
        assert "\n" not in str(error.value)
        # The HTTP library itself sends once more what was sent over a connection that was closed.
        assert faulty.count("PUT", "parts/") <= storage.ATTEMPTS * (2 if does == "half" else 1)
        assert store.count_pending() == 3
    faulty.faults = []
    assert rows(out) == ["a"]
    commit(out, KEYS)
    assert rows(out) == KEYS
    assert_holds(out, [features(key) for key in KEYS])


@pytest.mark.parametrize("query", ["list-type=2", "parts/.*parquet", "run.json"])
def test_an_output_that_cannot_be_read_is_one_error(faulty: Any, out: str, query: str) -> None:
    commit(out, KEYS)
    faulty.requests.clear()
    faulty.faults = [Fault("refuse", method, query, times=ALWAYS) for method in ("GET", "HEAD")]
    with pytest.raises(OutputError, match="expected a folder that can be read"):
        open_store(out, KEYS)
    assert faulty.count("GET", query) + faulty.count("HEAD", query) == storage.ATTEMPTS
    assert faulty.count("PUT", "") == 0


def test_parts_that_are_listed_late_are_computed_again_and_count_once(faulty: Any, out: str) -> None:
    commit(out, KEYS[:2], seed=1)
    (hidden,) = [part.name for part in parts_of(PartFolder(out)) if part.keys == ["a"]]
    faulty.faults = [Fault("hide", "GET", "list-type=2", times=2, keys=hidden)]  # when it is opened: twice
    commit(out, KEYS, seed=2)
    assert faulty.left == 0
    assert rows(out) == ["a", *KEYS]
    assert verify(out) == []
    expected = [features("b", seed=1), *(features(key, seed=2) for key in "acd")]
    assert_holds(out, expected)
    assert compact(out) == (5, 1)
    assert rows(out) == KEYS
    assert_holds(out, expected)


def test_readers_of_a_finished_output_wait_for_parts_that_are_listed_late(faulty: Any, out: str) -> None:
    with open_store(out, KEYS) as store:
        store.commit([features("a", seed=1), failure("b")], {})
        store.commit([failure("c"), features("d")], {})
        store.commit([features("a", seed=2)], {})
        store.finalize()
    names = PartFolder(out).names()
    for name in names:
        faulty.faults = [Fault("hide", "GET", "list-type=2", times=2, keys=name)]
        assert verify(out) == []
        faulty.faults = [Fault("hide", "GET", "list-type=2", times=2, keys=name)]
        with load(out) as found:
            assert (set(found), set(found.failures), found.notes) == ({"a", "d"}, {"b", "c"}, ())
    faulty.faults = [Fault("hide", "GET", "list-type=2", times=ALWAYS, keys=names[0])]
    assert verify(out) == ["the manifest announces 4 videos, and the parts hold 3"]
    faulty.requests.clear()
    with load(out) as found:
        assert found.notes == ("the manifest announces 4 videos, and the parts hold 3",)
    assert faulty.count("GET", "list-type=2") == storage.ATTEMPTS


@pytest.mark.parametrize("does", ["refuse", "lose"])
def test_compacting_survives(faulty: Any, out: str, does: Any) -> None:
    commit(out, KEYS)
    faulty.faults = [
        Fault(does, "PUT", "parts/", times=2),
        Fault(does, "DELETE", "parts/", times=2),
        Fault(does, "POST", "delete", times=2),
    ]
    assert compact(out) == (4, 1)
    assert rows(out) == KEYS
    assert_holds(out, [features(key) for key in KEYS])
    commit(out, KEYS)
    faulty.faults = [Fault("refuse", "PUT", "parts/", times=ALWAYS)]
    with pytest.raises(WriteError):
        compact(out)
    assert_holds(out, [features(key) for key in KEYS])
