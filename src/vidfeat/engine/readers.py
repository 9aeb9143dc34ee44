"""Videos read in processes that can be killed: what hangs or crashes in a decoder fails one video, and not the run.

Each process has a keeper here, a thread that gives it one video after the other, watches the clock, and replaces it
when it dies or has to be killed. The video that it was at is then read once more, from its start and in a new process.
What is handed on comes in any order across videos, and in the order of its plan within one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Union

import numpy as np

from vidfeat.engine.channel import Channel, ClosedError
from vidfeat.engine.children import deaf_children
from vidfeat.engine.faults import as_video_error
from vidfeat.errors import DeviceError, VideoError, VidfeatError
from vidfeat.stopwatch import Stopwatch
from vidfeat.video import VideoInfo
from vidfeat.views import Views, ViewSpec

MOST_OUTSTANDING = 64
"""Chunks that are sent and not yet released, at most, however small; each holds a file descriptor."""

MOST_FAILURES_AHEAD = 64
"""Failures that are told and not yet taken note of, at most: a list of nothing but broken files fails faster than a
disk can commit it."""

MOST_PROCESSES = {"cpu": 16, "cuda": 64}
"""Decode processes of a run, at most, of about 80 MB each. A CPU is mostly busy with the network."""

MOST_NVDEC_PROCESSES = 8
"""The same where they decode on a GPU, which has at most seven decoders, and holds some hundred MB for each process."""

NICENESS = 5
"""Of decode processes, from their first import on: the network should not wait for what is read ahead of it."""

FIRST_ALONE_SECONDS = 3.0
"""So long no second video is begun, unless `Readers.go_on` is called: on few cores it would delay the first feature."""

_START_ATTEMPTS = 3
_START_SECONDS = 60.0
_START_SECONDS_ON_GPU = 300.0  # PyTorch for CUDA is some GB to read, by all processes at once, and from any disk
_END_SECONDS = 5.0


def processes_for(cores: int, device: str = "cpu") -> int:
    """Decode processes for a run, on a machine or a share of one with so many cores.

    As many as cores, also where the network runs on the same ones or a GPU has to be fed in time: they yield to both,
    and what they have read ahead is bounded. Some memory each is what they cost, so there is an end.
    """
    return max(1, min(cores, MOST_PROCESSES[device]))


def worker_command() -> tuple[str, ...]:
    """The command line of a decode process: this interpreter, with this process's module path."""
    setup = f"import os, sys; os.nice({NICENESS}); sys.path[:] = {sys.path!r}"
    return (sys.executable, "-c", f"{setup}; from vidfeat.engine.reader_process import main; main()")


@dataclass(frozen=True)
class ReaderOptions:
    """How videos are read.

    Attributes:
        processes: how many decode at once, at least 1.
        timeout_seconds: the time that any video may take; more is added by the size of its file, and by its length and
            frame size once these are known. Waiting for the network does not count.
        budget_bytes: bound on the pixels that are sent and not yet released. One chunk may exceed it, alone.
        memory_bytes: address space of a process; its data, where it decodes on a GPU.
        command: starts a process that speaks as `vidfeat.engine.reader_process` does, on the socket that is its
            standard input.
    """

    processes: int
    timeout_seconds: float = 60.0
    budget_bytes: int = 512 << 20
    memory_bytes: int = 8 << 30
    command: Sequence[str] = field(default_factory=worker_command)


# --- what the readers tell --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Piece:
    """Some views of a video.

    Attributes:
        index: the video's position in the list.
        views: its next views; with `first_clip` 0 those that came before are void.
        release: to be called once the pixels are no longer needed.
        cpu_seconds: processor time that the video has taken so far.
    """

    index: int
    views: Views
    release: Callable[[], None]
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Complete:
    """All views of a video have been handed on.

    Attributes:
        index: the video's position in the list.
        cpu_seconds: processor time that it took.
        info: what the video is, where that is all that was asked for.
        doubt: why PyAV decoded it, or the rest of it, where NVDEC was asked to; else empty.
    """

    index: int
    cpu_seconds: float = field(default=0.0, compare=False)
    info: VideoInfo | None = None
    doubt: str = field(default="", compare=False)


@dataclass(frozen=True)
class Failed:
    """Video `index` cannot be read; what was handed on of it is void.

    Attributes:
        index: the video's position in the list.
        error: why.
        release: to be called once that is taken note of.
    """

    index: int
    error: VideoError
    release: Callable[[], None]


@dataclass(frozen=True)
class Broken:
    """No video can be read any more, by at least one of the keepers."""

    error: Exception


Event = Union[Piece, Complete, Failed, Broken]


# --- the readers ------------------------------------------------------------------------------------------------------


class EarlyProcesses:
    """Decode processes that start up, from `with` on, while nobody knows yet what is to be read; leaving it kills those
    that nobody took.

    Args:
        count: how many.
        command: as `ReaderOptions.command`.
    """

    def __init__(self, count: int, command: Sequence[str] | None = None) -> None:
        self._count, self._command = count, command or worker_command()
        self._waiting: deque[_Worker] = deque()

    def __enter__(self) -> EarlyProcesses:
        # What cannot be started now will be tried again, and told, when it is needed.
        with deaf_children(), contextlib.suppress(OSError):
            for _ in range(self._count):
                self._waiting.append(_Worker.spawn(self._command))
        return self

    def __exit__(self, *error: object) -> None:
        while (worker := self.take()) is not None:
            worker.kill()

    def take(self) -> _Worker | None:
        """One of them, the caller's own from here on; None if there is none left."""
        with contextlib.suppress(IndexError):
            return self._waiting.popleft()
        return None


class Readers:
    """Reads videos in other processes, from `with` on; leaving it kills them.

    Args:
        spec: what to read of each video; None only probes them.
        paths: the videos.
        deliver: called with every event, by several threads.
        options: how to read.
        early: processes to take first.
        first_alone: whether the first video is read alone, for `FIRST_ALONE_SECONDS` at most or until `go_on`.

    Attributes:
        reading: the time that processes spend on videos, apart from waiting until what they read is taken.
        processes: how many there are.
    """

    def __init__(
        self,
        spec: ViewSpec | None,
        paths: Sequence[str | os.PathLike[str]],
        deliver: Callable[[Event], object],
        options: ReaderOptions,
        early: EarlyProcesses | None = None,
        *,
        first_alone: bool = False,
    ) -> None:
        self._early = early
        self._spec = pickle.dumps(spec)
        self._jobs = _Jobs(paths, FIRST_ALONE_SECONDS if first_alone else 0.0)
        self._deliver = deliver
        self._options = options
        self._budget = Budget(options.budget_bytes)
        self._failures = Budget(MOST_FAILURES_AHEAD)
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._closed = False
        on_gpu = spec is not None and spec.nvdec is not None
        self._start_seconds = _START_SECONDS_ON_GPU if on_gpu else _START_SECONDS
        most = MOST_NVDEC_PROCESSES if on_gpu else options.processes
        count = max(1, min(options.processes, most, len(paths)))
        self.reading = Stopwatch()
        self.processes = count
        self._keepers = [threading.Thread(target=self._keep, name=f"keeper-{i}", daemon=True) for i in range(count)]

    def __enter__(self) -> Readers:
        for keeper in self._keepers:
            keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.close()
        self._failures.close()
        self.go_on()
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.process.kill()
        for keeper in self._keepers:
            keeper.join()
        for worker in tuple(self._workers):  # which their keepers were at work with
            self._end(worker)

    def go_on(self) -> None:
        """Read further videos beside the first one."""
        self._jobs.more.set()

    def _keep(self) -> None:
        """The life of a keeper."""
        # Ctrl-C reaches all processes at a terminal, and new ones inherit this, before they can ask for it themselves.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        worker: _Worker | None = None
        try:
            for index, path in self._jobs:
                worker = self._read(index, path, worker or self._start())
        except _ClosingError:
            pass
        except Exception as error:
            self._deliver(Broken(error))
        finally:
            if worker is not None:
                self._end(worker)

    def _read(self, index: int, path: str, worker: _Worker) -> _Worker | None:
        """Read one video, twice if need be; returns the process, if it is fit for another."""
        try:
            self._try(index, path, worker)
            return worker
        except _LostError:
            self._end(worker)
        # Once more in a process that has seen no other video, should one of those have harmed the first.
        worker = self._start()
        try:
            self._try(index, path, worker)
            return worker
        except _LostError as lost:
            self._end(worker)
            self._fail(index, lost.error)
            return None

    def _try(self, index: int, path: str, worker: _Worker) -> None:
        start, allowed = time.monotonic(), self._options.timeout_seconds
        self.reading.start()
        try:
            worker.channel.send({"path": path}, start + allowed)
            while True:
                message = worker.channel.receive(start + allowed)
                if "allow" in message:
                    allowed += message["allow"]
                elif "views" in message:
                    self.reading.stop()
                    try:
                        start += self._budget.take(message["size"])
                    finally:
                        self.reading.start()
                    self._deliver(self._receive(index, message, worker, start + allowed))
                elif "unfit" in message:
                    raise DeviceError(**message["unfit"])
                elif "failed" in message:
                    error = VideoError(**message["failed"])
                    if error.kind == "out_of_memory":  # or used up by the videos before
                        raise _LostError(error)
                    self._fail(index, error)
                    return
                else:
                    self._deliver(_complete(index, message["done"]))
                    return
        except TimeoutError:
            raise _LostError(_timeout(path, allowed)) from None
        except ClosedError:
            self._refuse_when_closed()
            raise _LostError(_crashed(path, worker.cause_of_death())) from None
        except (_LostError, _ClosingError, DeviceError):
            raise
        except Exception as error:  # no message of ours: the process is out of its mind, or this one out of memory
            raise _LostError(as_video_error(path, "decode", error)) from error
        finally:
            self.reading.stop()

    def _fail(self, index: int, error: VideoError) -> None:
        self._failures.take(1)
        self._deliver(Failed(index, error, lambda: self._failures.give_back(1)))

    def _receive(self, index: int, message: dict[str, Any], worker: _Worker, deadline: float) -> Piece:
        size = message["size"]
        try:
            views = worker.receive_views(message["views"], size, deadline)
        except BaseException:
            self._budget.give_back(size)
            raise
        return Piece(index, views, lambda: self._budget.give_back(size), message["cpu_seconds"])

    def _start(self) -> _Worker:
        for attempt in range(_START_ATTEMPTS):
            worker = self._spawn()
            try:
                worker.greet(self._spec, self._options.memory_bytes, self._start_seconds)
                return worker
            except (ClosedError, TimeoutError):
                self._end(worker)
                self._refuse_when_closed()
            time.sleep(attempt)
        raise VidfeatError(
            "decode processes",
            expected="a process that starts",
            found=f"{_START_ATTEMPTS} that did not; the last one {worker.cause_of_death()}",
            do="See what it wrote above, and whether the machine is out of memory or processes.",
        )

    def _spawn(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise _ClosingError
            worker = (self._early.take() if self._early else None) or _Worker.spawn(self._options.command)
            self._workers.add(worker)
            return worker

    def _end(self, worker: _Worker) -> None:
        worker.kill()
        with self._lock:
            self._workers.discard(worker)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise _ClosingError


def _complete(index: int, about: dict[str, Any]) -> Complete:
    info = None if about["info"] is None else VideoInfo(**about["info"])
    return Complete(index, about["cpu_seconds"], info, about["doubt"])


class _Jobs:
    """The videos with their positions, each to one of several threads.

    Args:
        paths: the videos.
        first_alone: seconds until the second is given away, if `more` is not set before.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], first_alone: float) -> None:
        self._left = enumerate(paths)
        self._lock = threading.Lock()
        self._hold_until = time.monotonic() + first_alone
        self.more = threading.Event()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while True:
            with self._lock:
                job = next(self._left, None)
            if job is None:
                return
            if job[0] > 0:
                self.more.wait(max(0.0, self._hold_until - time.monotonic()))
            yield job[0], os.fspath(job[1])


class Budget:
    """Bytes that may be outstanding.

    Args:
        limit: how many at once. A single holder may have more, so that nothing is too large for ever. A small taking
            counts as a `MOST_OUTSTANDING`th of the limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._least = limit // MOST_OUTSTANDING
        self._held = 0
        self._closed = False
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # one waits at a time, so that small takings do not overtake a large one for ever

    def take(self, size: int) -> float:
        """Wait until there is room for `size` bytes, and take it.

        Returns:
            The seconds that this took.

        Raises:
            _ClosingError: the budget was closed.
        """
        size = max(size, self._least)
        start = time.monotonic()
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._closed or self._held == 0 or self._held + size <= self._limit)
            if self._closed:
                raise _ClosingError
            self._held += size
        return time.monotonic() - start

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        with self._changed:
            self._held -= max(size, self._least)
            self._changed.notify_all()

    def close(self) -> None:
        """Send away all who wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


# --- one process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Channel

    @classmethod
    def spawn(cls, command: Sequence[str]) -> _Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                # One thread in NumPy's linear algebra, which is not used: it would start one for each core.
                environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
                process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment)
            except BaseException:
                ours.close()
                raise
        return cls(process, Channel(ours))

    def greet(self, spec: bytes, memory_bytes: int, seconds: float) -> None:
        """Tell a new process what it is for, and wait until it is ready; raises `DeviceError` where it cannot be."""
        deadline = time.monotonic() + seconds
        self.channel.send({"memory_bytes": memory_bytes}, deadline)
        self.channel.send_bytes(spec, deadline)
        answer = self.channel.receive(deadline)
        if "unfit" in answer:
            raise DeviceError(**answer["unfit"])

    def receive_views(self, about: dict[str, Any], size: int, deadline: float) -> Views:
        self.channel.send({"go": True}, deadline)
        pixels = np.frombuffer(self.channel.receive_pixels(size, deadline), np.uint8)
        return Views(
            pixels.reshape(about["shape"]),
            np.array(about["clips"], np.int64),
            about["frames"],
            about["fps"],
            salvaged=about["salvaged"],
            frames_declared=about["frames_declared"],
            first_clip=about["first_clip"],
        )

    def kill(self) -> None:
        self.process.kill()
        self.channel.close()
        self._wait()

    def cause_of_death(self) -> str:
        code = self._wait()
        if code is None:
            return "hung up and lives on"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _wait(self) -> int | None:
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # it hangs in the system, as on a dead network disk; not even SIGKILL helps
            return None


class _LostError(Exception):
    """A process is to be replaced, and a video perhaps at fault."""

    def __init__(self, error: VideoError) -> None:
        super().__init__(error)
        self.error = error


class _ClosingError(Exception):
    """The readers are being closed."""


def _timeout(path: str, seconds: float) -> VideoError:
    return VideoError(
        path,
        stage="decode",
        kind="timeout",
        expected=f"a video that is read within {seconds:.1f} s",
        found="a decoder that was not done, twice",
        do="See whether it plays. If only the disk or the machine is slow, give more time with --timeout.",
    )


def _crashed(path: str, death: str) -> VideoError:
    return VideoError(
        path,
        stage="decode",
        kind="crashed",
        expected="a video that can be decoded",
        found=f"a decode process that {death}, twice",
        do="Leave the video out, or encode it again.",
    )
