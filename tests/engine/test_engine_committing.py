"""The thread that commits: nothing that was put is lost, many wait for the disk together, and a fault ends the run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from vidfeat.engine.committing import MOST_WAITING, MOST_WAITING_BYTES, Committer
from vidfeat.engine.worker import Computed
from vidfeat.errors import WriteError
from vidfeat.features import VideoFeatures


def computed(number: int, size: int = 8) -> Computed:
    return Computed(0, VideoFeatures(f"{number}.mp4", "tiny", np.full(size, number, np.float32)), {})


class Disk:
    """Takes its time, and notes what it was given in each call."""

    def __init__(self, seconds: float = 0.0, room: int = 1 << 30) -> None:
        self.calls: list[list[str]] = []
        self.shown: list[str] = []
        self._seconds, self._room = seconds, room
        self.full = threading.Event()

    def commit(self, results: Sequence[Computed]) -> Sequence[Computed]:
        time.sleep(self._seconds)
        if sum(map(len, self.calls)) >= self._room:
            self.full.set()
            raise WriteError("disk", expected="room", found="No space left on device")
        self.calls.append([result.outcome.key for result in results])
        return results

    def committed(self, result: Computed) -> None:
        self.shown.append(result.outcome.key)


def test_many_results_wait_for_the_disk_together() -> None:
    disk = Disk(seconds=0.05)
    with Committer(disk.commit, disk.committed) as committer:
        for number in range(300):
            committer.put(computed(number))
    assert len(disk.calls) < 30
    assert max(map(len, disk.calls)) <= MOST_WAITING
    assert [key for call in disk.calls for key in call] == disk.shown == [f"{n}.mp4" for n in range(300)]


def test_large_results_wait_by_their_size() -> None:
    disk = Disk(seconds=0.02)
    with Committer(disk.commit, disk.committed) as committer:
        for number in range(9):
            committer.put(computed(number, size=MOST_WAITING_BYTES // 8))  # half of what may wait
    assert max(map(len, disk.calls)) <= 2
    assert len(disk.shown) == 9


def test_what_was_put_is_committed_when_the_run_breaks_off() -> None:
    disk = Disk(seconds=0.05)
    with contextlib.suppress(KeyboardInterrupt), Committer(disk.commit, disk.committed) as committer:
        for number in range(30):
            committer.put(computed(number))
        raise KeyboardInterrupt
    assert len(disk.shown) == 30


def test_a_fault_is_raised_at_once_for_who_puts_more() -> None:
    disk = Disk(room=10)

    def put_all() -> None:
        with Committer(disk.commit, disk.committed) as committer:
            for number in range(MOST_WAITING * 3):
                committer.put(computed(number))
            assert disk.full.wait(20)
            committer.put(computed(0))

    with pytest.raises(WriteError, match="No space left"):
        put_all()
    assert len(disk.shown) >= 10


def test_a_fault_is_raised_at_the_end_where_nothing_more_comes() -> None:
    disk = Disk(room=0)

    def put_one() -> None:
        with Committer(disk.commit, disk.committed) as committer:
            committer.put(computed(0))
            assert disk.full.wait(20)

    with pytest.raises(WriteError, match="No space left"):
        put_one()
    assert disk.shown == []
