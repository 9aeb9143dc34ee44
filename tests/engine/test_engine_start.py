"""The first seconds of a run: processes that are there early, and a first video that has the machine to itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from video.video_files import write_video
from vidfeat.engine.decode_pool import ReaderOptions, Readers
from vidfeat.engine.events import ChunkDecoded, Complete, Event
from vidfeat.engine.worker_handle import PrewarmedWorkers
from vidfeat.mmaction import compile_file
from vidfeat.preprocessing.clips import PreprocessSpec

LONG = 60


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_video(tmp_path / f"{n}.mp4", frames=20, size=(96, 72)) for n in range(3)]


@pytest.fixture(scope="module")
def spec(repository: Path) -> PreprocessSpec:
    return PreprocessSpec.of(compile_file(repository / "examples" / "tiny_slowonly.py"))


class Inbox:
    """Takes what readers tell, and lets one wait for it."""

    def __init__(self) -> None:
        self.complete: list[int] = []
        self._changed = threading.Condition()

    def deliver(self, event: Event) -> None:
        if isinstance(event, ChunkDecoded):
            event.release()
        if isinstance(event, Complete):
            with self._changed:
                self.complete.append(event.index)
                self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.complete) >= count, LONG)


def test_early_processes_read_and_none_is_left(spec: PreprocessSpec, paths: list[Path]) -> None:
    with PrewarmedWorkers(3) as early:
        processes = [worker.process for worker in early._waiting]
        inbox = Inbox()
        with Readers(spec, paths, inbox.deliver, ReaderOptions(1), early) as readers:
            inbox.wait_for(3)
            (used,) = readers._alive
            assert used.process is processes[0]
        assert processes[0].poll() is not None
        assert [process.poll() for process in processes[1:]] == [None, None]
    assert all(process.poll() is not None for process in processes)


def test_an_early_process_that_has_died_is_replaced(spec: PreprocessSpec, paths: list[Path]) -> None:
    with PrewarmedWorkers(1) as early:
        early._waiting[0].process.kill()
        inbox = Inbox()
        with Readers(spec, paths, inbox.deliver, ReaderOptions(1), early):
            inbox.wait_for(3)


def test_the_first_video_is_read_alone_until_more_are_wanted(spec: PreprocessSpec, paths: list[Path]) -> None:
    inbox = Inbox()
    with Readers(spec, paths, inbox.deliver, ReaderOptions(2), first_alone=True) as readers:
        inbox.wait_for(1)
        time.sleep(0.5)
        assert inbox.complete == [0]
        readers.go_on()
        inbox.wait_for(3)


def test_nobody_waits_for_ever_for_the_first_video(
    spec: PreprocessSpec, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidfeat.engine.decode_pool.FIRST_ALONE_SECONDS", 0.1)
    inbox = Inbox()
    with Readers(spec, paths, inbox.deliver, ReaderOptions(2), first_alone=True):
        inbox.wait_for(3)
    with Readers(spec, paths, inbox.deliver, ReaderOptions(2), first_alone=True):
        pass  # left while all of them wait
