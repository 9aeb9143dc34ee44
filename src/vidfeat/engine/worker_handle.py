"""One decode process as its parent holds it: start, handshake, kill. `decode_worker` is its other end."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vidfeat.engine.channel import Channel
from vidfeat.engine.subprocesses import block_sigint, describe_exit
from vidfeat.errors import DeviceError

NICENESS = 5
"""Of decode processes, from their first import on: the network should not wait for what is decoded ahead of it."""

_END_SECONDS = 5.0


def worker_command() -> tuple[str, ...]:
    """The command line of a decode process: this interpreter, with this process's module path."""
    setup = f"import os, sys; os.nice({NICENESS}); sys.path[:] = {sys.path!r}"
    # Importing the rest takes a while, in which the parent may end.
    tied = "from vidfeat.engine.subprocesses import die_with_parent; die_with_parent()"
    return (sys.executable, "-c", f"{setup}; {tied}; from vidfeat.engine.decode_worker import main; main()")


@dataclass(frozen=True, eq=False)
class WorkerHandle:
    """One decode process. Its methods raise `ClosedError` and `TimeoutError` as those of `Channel` do.

    Attributes:
        process: what was started.
        channel: to it.
    """

    process: subprocess.Popen[bytes]
    channel: Channel

    @classmethod
    def spawn(cls, command: Sequence[str] | None = None) -> WorkerHandle:
        """Start a process, in which SIGINT is blocked from its start on.

        Args:
            command: starts a process that speaks as `vidfeat.engine.decode_worker` does; that module where None.

        Raises:
            OSError: the system starts none.
        """
        # Linux kills a process with the thread that started it: this one lives as long as the process.
        return _spawner().submit(cls._spawn, command or worker_command()).result()

    @classmethod
    def _spawn(cls, command: Sequence[str]) -> WorkerHandle:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # One thread in NumPy's linear algebra, which is not used: it would start one for each core.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        with contextlib.ExitStack() as undo, theirs, block_sigint():
            undo.callback(ours.close)
            process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment)
            undo.pop_all()
        return cls(process, Channel(ours))

    def handshake(self, assignment: bytes, memory_bytes: int, seconds: float) -> None:
        """Send a new process its assignment, and wait until it is ready.

        Args:
            assignment: a pickled `decode_worker.Assignment`.
            memory_bytes: as `PoolOptions.memory_bytes`.
            seconds: how long to wait.

        Raises:
            DeviceError: this machine can decode no video so.
        """
        deadline = time.monotonic() + seconds
        self.channel.send({"memory_bytes": memory_bytes}, deadline)
        self.channel.send_bytes(assignment, deadline)
        answer = self.channel.receive(deadline)
        if "unfit" in answer:
            raise DeviceError(**answer["unfit"])

    def kill(self) -> None:
        """End the process, and leave nothing of it behind; harmless when repeated."""
        self.process.kill()
        self.channel.close()
        self._wait()

    def exit_cause(self) -> str:
        """How the process ended, to go after "a process that"."""
        code = self._wait()
        if code is None:
            return "hung up and lives on"
        return describe_exit(code)

    def _wait(self) -> int | None:
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # it hangs in the system, as on a dead network disk; not even SIGKILL helps
            return None


class Workers:
    """Decode processes that wait for work. Several threads may use it; what is left at the end is killed by `close`."""

    def __init__(self) -> None:
        self._waiting: deque[WorkerHandle] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[WorkerHandle]:
        return iter(tuple(self._waiting))

    def put(self, worker: WorkerHandle) -> None:
        """Keep a process for whoever takes it next."""
        self._waiting.append(worker)

    def take(self) -> WorkerHandle | None:
        """One of them, the caller's own from here on; None if there is none left."""
        with contextlib.suppress(IndexError):
            return self._waiting.popleft()
        return None

    def close(self) -> None:
        """Kill those that nobody took."""
        while (worker := self.take()) is not None:
            worker.kill()


PREWARMED = Workers()
"""Processes that were started before it is known what they are to decode."""


def prewarm(count: int, command: Sequence[str] | None = None) -> None:
    """Start decode processes, so that they import while this process imports; they are used first, and end with it.

    Args:
        count: how many should wait.
        command: as for `WorkerHandle.spawn`.
    """
    atexit.register(PREWARMED.close)
    with contextlib.suppress(OSError):  # what cannot be started now is tried again, and reported, when it is needed
        for _ in range(count - len(PREWARMED)):
            PREWARMED.put(WorkerHandle.spawn(command))


_spawners: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def _spawner() -> ThreadPoolExecutor:
    """The thread that starts processes; one for each process that this one is forked into."""
    with _lock:
        if os.getpid() not in _spawners:
            _spawners.clear()
            _spawners[os.getpid()] = ThreadPoolExecutor(1, "spawner")
        return _spawners[os.getpid()]
