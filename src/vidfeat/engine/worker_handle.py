"""One decode process as its parent holds it: started, greeted, heard, killed. `decode_worker` is its other end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from vidfeat.engine.channel import Channel
from vidfeat.engine.subprocesses import block_sigint, describe_exit
from vidfeat.errors import DeviceError

NICENESS = 5
"""Of decode processes, from their first import on: the network should not wait for what is read ahead of it."""

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
    def spawn(cls, command: Sequence[str]) -> WorkerHandle:
        """Start a process, which is deaf to Ctrl-C from its birth on.

        Args:
            command: as `ReaderOptions.command`.

        Raises:
            OSError: the system starts none.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # One thread in NumPy's linear algebra, which is not used: it would start one for each core.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        with contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with theirs, block_sigint():
                process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment)
                reader = cls(process, Channel(ours))
                undo.callback(reader.kill)
            undo.pop_all()  # not where Ctrl-C had to wait until the process was there
        return reader

    def handshake(self, spec: bytes, memory_bytes: int, seconds: float) -> None:
        """Tell a new process what it is for, and wait until it is ready.

        Args:
            spec: what to read of each video, pickled.
            memory_bytes: as `ReaderOptions.memory_bytes`.
            seconds: how long to wait.

        Raises:
            DeviceError: this machine can decode no video so.
        """
        deadline = time.monotonic() + seconds
        self.channel.send({"memory_bytes": memory_bytes}, deadline)
        self.channel.send_bytes(spec, deadline)
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


class PrewarmedWorkers:
    """Decode processes that start up, from `with` on, while nobody knows yet what is to be read; leaving it kills those
    that nobody took.

    Args:
        count: how many.
        command: as `ReaderOptions.command`.
    """

    def __init__(self, count: int, command: Sequence[str] | None = None) -> None:
        self._count, self._command = count, command or worker_command()
        self._waiting: deque[WorkerHandle] = deque()

    def __enter__(self) -> PrewarmedWorkers:
        try:
            for _ in range(self._count):
                self._waiting.append(WorkerHandle.spawn(self._command))
        except OSError:
            pass  # what cannot be started now will be tried again, and told, when it is needed
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        while (reader := self.take()) is not None:
            reader.kill()

    def take(self) -> WorkerHandle | None:
        """One of them, the caller's own from here on; None if there is none left."""
        with contextlib.suppress(IndexError):
            return self._waiting.popleft()
        return None
