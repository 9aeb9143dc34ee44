"""The thread that commits: nothing that was put is lost, many wait for the disk together, and a fault ends the run."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidfeat.engine.progress import Progress
from vidfeat.engine.writing import MOST_WAITING, Writer
from vidfeat.errors import VideoError, WriteError
from vidfeat.extract import Features
from vidfeat.store import Entry, RunIdentity, RunStore, list_digest, verify
from vidfeat.store.journal import AppendFile, OpenFile

HEADER = {"recipe": {}, "checkpoint": {"source": "test"}, "device": "cpu", "numerics": {}, "versions": {}}


def entries_of(count: int) -> list[Entry]:
    return [Entry(index, f"{index % 3}/{index}.mp4", Path(f"{index}.mp4")) for index in range(count)]


def features_of(index: int) -> Features:
    return Features(np.full(8, index, np.float32), frames=10, fps=5.0, views=1)


def failure_of(entry: Entry) -> VideoError:
    return VideoError(str(entry.path), stage="decode", kind="corrupt", expected="frames", found="none")


def begin(out: Path, entries: list[Entry], open_file: OpenFile = AppendFile) -> RunStore:
    identity = RunIdentity(hashlib.sha256(b"{}").hexdigest(), "b", "fp32", list_digest(entries))
    return RunStore.open(out, identity, entries, open_file=open_file)


class SlowDisk(AppendFile):
    """Takes its time, and counts how often it is waited for."""

    syncs = 0

    def sync(self) -> None:
        type(self).syncs += 1
        time.sleep(0.05)
        super().sync()


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_many_results_wait_for_the_disk_together(name: str, tmp_path: Path) -> None:
    entries = entries_of(300)
    said = io.StringIO()
    SlowDisk.syncs = 0
    with begin(tmp_path / name, entries, SlowDisk) as store:
        with Progress(300, quiet=True, stream=said) as progress, Writer(store, progress, pytest.fail) as writer:
            for entry in entries:
                writer.put(entry, failure_of(entry) if entry.index % 100 == 7 else features_of(entry.index))
        assert store.pending() == []
        summary = store.finish(HEADER)  # type: ignore[arg-type]
    assert SlowDisk.syncs < 30
    assert summary is not None
    assert (summary.done, summary.failed) == (297, 3)
    assert verify(tmp_path / name) == []
    assert said.getvalue().count("corrupt") == 0
    assert said.getvalue().splitlines() == [str(failure_of(entries[index])) for index in (7, 107, 207)]


def test_what_was_put_is_committed_when_the_run_breaks_off(tmp_path: Path) -> None:
    entries = entries_of(40)
    with begin(tmp_path / "feats.pkl", entries, SlowDisk) as store, Progress(40, quiet=True) as progress:
        with contextlib.suppress(KeyboardInterrupt), Writer(store, progress, pytest.fail) as writer:
            for entry in entries[:30]:
                writer.put(entry, features_of(entry.index))
            raise KeyboardInterrupt
        assert store.pending() == entries[30:]


class FullDisk(AppendFile):
    """Has room for what opens the journal, and no more."""

    writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        if self.writes > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)  # type: ignore[call-overload,no-any-return]


def test_a_fault_is_told_at_once_and_to_who_puts_more(tmp_path: Path) -> None:
    entries = entries_of(MOST_WAITING * 3)
    told = threading.Event()
    errors: list[Exception] = []

    def give_up(error: Exception) -> None:
        errors.append(error)
        told.set()

    def put_all(writer: Writer) -> None:
        for entry in entries:
            writer.put(entry, features_of(entry.index))

    def put_one(writer: Writer) -> None:
        writer.put(entries[0], features_of(0))
        assert told.wait(20)  # also while nothing more comes

    attempts: list[Callable[[Writer], None]] = [put_all, put_one]
    for number, attempt in enumerate(attempts):
        told.clear()
        with begin(tmp_path / f"{number}.pkl", entries, FullDisk) as store, Progress(1, quiet=True) as progress:
            with pytest.raises(WriteError, match="No space left"), Writer(store, progress, give_up) as writer:
                attempt(writer)
            assert isinstance(errors[-1], WriteError)
            assert len(store.pending()) == len(entries)
