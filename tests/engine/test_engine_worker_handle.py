"""One decode process as its parent holds it: SIGINT is blocked from its start on, and a killed one leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from open_files import open_files, opened_since
from vidfeat.engine.worker_handle import PREWARMED, WorkerHandle, prewarm

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


def blocks_sigint(pid: int) -> bool:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk"))
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGINT - 1))


def here(spawn: Callable[[], WorkerHandle]) -> WorkerHandle:
    return spawn()


def in_a_thread(spawn: Callable[[], WorkerHandle]) -> WorkerHandle:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(spawn).result()


@pytest.mark.parametrize("start", [here, in_a_thread])
def test_sigint_is_blocked_whoever_starts_it(start: Callable[[Callable[[], WorkerHandle]], WorkerHandle]) -> None:
    worker = start(lambda: WorkerHandle.spawn(SLEEP))
    try:
        assert blocks_sigint(worker.process.pid)
        assert not blocks_sigint(os.getpid())
    finally:
        worker.kill()


def test_a_process_outlives_the_thread_that_asked_for_it() -> None:
    """Linux would kill it with the thread that started it."""
    worker = in_a_thread(lambda: WorkerHandle.spawn(SLEEP))
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            worker.process.wait(0.3)
    finally:
        worker.kill()


def test_prewarmed_processes_that_nobody_takes_are_killed() -> None:
    before = open_files()
    prewarm(2, SLEEP)
    prewarm(2, SLEEP)
    processes = [worker.process for worker in PREWARMED]
    assert len(processes) == 2
    PREWARMED.close()
    assert [process.wait(20) for process in processes] == [-signal.SIGKILL] * 2
    assert opened_since(before) == []


def test_two_hundred_killed_ones_leave_no_file_and_no_zombie() -> None:
    command = ("cat",)
    WorkerHandle.spawn(command).kill()
    before = open_files()
    workers = [WorkerHandle.spawn(command) for _ in range(200)]
    for worker in workers:
        worker.kill()
        worker.kill()
    assert opened_since(before) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(workers[-1].process.pid, os.WNOHANG)
