"""The first seconds of a run: processes that are there early, and a first video that has the machine to itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_engine_faults import tasks_of

from video.video_files import write_video
from vidfeat.engine.decode_pool import DecodePool, PoolOptions
from vidfeat.engine.decode_worker import Assignment
from vidfeat.engine.events import ChunkDecoded, Event, VideoDecoded
from vidfeat.engine.worker_handle import PREWARMED, Workers, prewarm
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
    """Takes events, and lets one wait for them."""

    def __init__(self) -> None:
        self.complete: list[int] = []
        self._changed = threading.Condition()

    def deliver(self, event: Event) -> None:
        if isinstance(event, ChunkDecoded):
            event.release()
        if isinstance(event, VideoDecoded):
            with self._changed:
                self.complete.append(event.index)
                self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.complete) >= count, LONG)


def pool_of(
    spec: PreprocessSpec, paths: list[Path], inbox: Inbox, processes: int = 2, *, idle: Workers | None = None
) -> DecodePool:
    return DecodePool(
        Assignment((spec,)), tasks_of(paths), inbox.deliver, PoolOptions(processes), idle, first_alone=idle is None
    )


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    yield
    PREWARMED.close()


def test_prewarmed_processes_are_used_first(spec: PreprocessSpec, paths: list[Path]) -> None:
    prewarm(3)
    processes = [worker.process for worker in PREWARMED]
    assert len(processes) == 3
    inbox = Inbox()
    with pool_of(spec, paths, inbox, 1, idle=Workers()) as pool:
        inbox.wait_for(2)
        assert {worker.process for worker in pool._alive} <= {processes[0]}  # none, where all are decoded by now
    assert processes[0] not in [worker.process for worker in PREWARMED]
    assert [process.poll() for process in processes[1:]] == [None, None]
    PREWARMED.close()
    assert all(process.poll() is not None for process in processes[1:])


def test_a_prewarmed_process_that_has_died_is_replaced(spec: PreprocessSpec, paths: list[Path]) -> None:
    prewarm(1)
    next(iter(PREWARMED)).process.kill()
    inbox = Inbox()
    with pool_of(spec, paths, inbox, 1):
        inbox.wait_for(3)


def test_idle_processes_serve_the_next_pool(spec: PreprocessSpec, paths: list[Path]) -> None:
    idle = Workers()
    pids = set()
    for _ in range(3):
        inbox = Inbox()
        with pool_of(spec, paths, inbox, 1, idle=idle) as pool:
            inbox.wait_for(3)
            for supervisor in pool._supervisors:
                supervisor.join(LONG)
        (worker,) = idle
        pids.add(worker.process.pid)
    assert len(pids) == 1
    worker.process.kill()  # an idle one that dies is replaced, too
    inbox = Inbox()
    with pool_of(spec, paths, inbox, 1, idle=idle):
        inbox.wait_for(3)
    idle.close()


def test_the_first_video_is_decoded_alone_until_more_are_wanted(
    spec: PreprocessSpec, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidfeat.engine.decode_pool.FIRST_ALONE_SECONDS", LONG)
    inbox = Inbox()
    with pool_of(spec, paths, inbox) as pool:
        inbox.wait_for(1)
        time.sleep(0.5)
        assert inbox.complete == [0]
        pool.go_on()
        inbox.wait_for(3)


def test_nobody_waits_for_ever_for_the_first_video(
    spec: PreprocessSpec, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidfeat.engine.decode_pool.FIRST_ALONE_SECONDS", 0.1)
    inbox = Inbox()
    with pool_of(spec, paths, inbox):
        inbox.wait_for(3)
    with pool_of(spec, paths, inbox):
        pass  # left while all of them wait
