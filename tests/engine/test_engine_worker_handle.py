"""One decode process as its parent holds it: deaf to Ctrl-C from birth, and gone without a trace once it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from vidfeat.engine.worker_handle import PrewarmedWorkers, WorkerHandle

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_deaf(pid: int) -> bool:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk"))
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGINT - 1))


def here(spawn: Callable[[], WorkerHandle]) -> WorkerHandle:
    return spawn()


def in_a_thread(spawn: Callable[[], WorkerHandle]) -> WorkerHandle:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(spawn).result()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
@pytest.mark.parametrize("start", [here, in_a_thread])
def test_deaf_to_ctrl_c_whoever_starts_it(start: Callable[[Callable[[], WorkerHandle]], WorkerHandle]) -> None:
    reader = start(lambda: WorkerHandle.spawn(SLEEP))
    try:
        assert is_deaf(reader.process.pid)
        assert not is_deaf(os.getpid())
    finally:
        reader.kill()


def test_ctrl_c_amidst_the_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held back until the process is there."""
    before = open_files()
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)
            if len(started) == 2:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("subprocess.Popen", Interrupted)
    reading = (sys.executable, "-c", "import os; os.read(0, 1)")
    with pytest.raises(KeyboardInterrupt), PrewarmedWorkers(3, reading):
        pytest.fail("begun all the same")
    assert [process.wait(20) for process in started] == [-signal.SIGKILL] * 2
    assert open_files() == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_two_hundred_killed_ones_leave_no_file_and_no_zombie() -> None:
    command = ("cat",)
    WorkerHandle.spawn(command).kill()
    before = open_files()
    readers = [WorkerHandle.spawn(command) for _ in range(200)]
    for reader in readers:
        reader.kill()
        reader.kill()
    assert open_files() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(readers[-1].process.pid, os.WNOHANG)
