"""Videos read in processes that can be killed: what hangs or crashes in a decoder fails one video, and not the run.

Each process has a keeper here, a thread that gives it one video after the other, watches the clock, and replaces it
when it dies or has to be killed. The video that it was at is then read once more, from its start and in a new process.
What is handed on comes in any order across videos, and in the order of its plan within one.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from vidfeat.engine.budget import Budget, ClosingError
from vidfeat.engine.channel import ClosedError
from vidfeat.engine.events import Broken, ChunkDecoded, Complete, Event, Failed
from vidfeat.engine.faults import as_video_error
from vidfeat.engine.worker_handle import PrewarmedWorkers, WorkerHandle, worker_command
from vidfeat.errors import DeviceError, VideoError, VidfeatError
from vidfeat.inference.stopwatch import Stopwatch
from vidfeat.preprocessing.clips import PreprocessSpec, Views
from vidfeat.video import VideoInfo

MOST_FAILURES_AHEAD = 64
"""Failures that are told and not yet taken note of, at most: a list of nothing but broken files fails faster than a
disk can commit it."""

MOST_PROCESSES = {"cpu": 16, "cuda": 64}
"""Decode processes of a run, at most, of about 80 MB each. A CPU is mostly busy with the network."""

MOST_NVDEC_PROCESSES = 8
"""The same where they decode on a GPU, which has at most seven decoders, and holds some hundred MB for each process."""

FIRST_ALONE_SECONDS = 3.0
"""So long no second video is begun, unless `Readers.go_on` is called: on few cores it would delay the first feature."""

_START_ATTEMPTS = 3
_START_SECONDS = 60.0
_START_SECONDS_ON_GPU = 300.0  # PyTorch for CUDA is some GB to read, by all processes at once, and from any disk


def processes_for(cores: int, device: str = "cpu") -> int:
    """Decode processes for a run, on a machine or a share of one with so many cores.

    As many as cores, also where the network runs on the same ones or a GPU has to be fed in time: they yield to both,
    and what they have read ahead is bounded. Some memory each is what they cost, so there is an end.
    """
    return max(1, min(cores, MOST_PROCESSES[device]))


@dataclass(frozen=True)
class ReaderOptions:
    """How videos are read.

    Attributes:
        processes: how many decode at once, at least 1.
        timeout_seconds: the time that any video may take; more is added by the size of its file, and by its length and
            frame size once these are known. Waiting for the network does not count.
        budget_bytes: bound on the pixels that are sent and not yet released. One chunk may exceed it, alone.
        memory_bytes: address space of a process; its data, where it decodes on a GPU.
        command: starts a process that speaks as `vidfeat.engine.decode_worker` does, on the socket that is its
            standard input.
    """

    processes: int
    timeout_seconds: float = 60.0
    budget_bytes: int = 512 << 20
    memory_bytes: int = 8 << 30
    command: Sequence[str] = field(default_factory=worker_command)


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
        spec: PreprocessSpec | None,
        paths: Sequence[str | os.PathLike[str]],
        deliver: Callable[[Event], object],
        options: ReaderOptions,
        early: PrewarmedWorkers | None = None,
        *,
        first_alone: bool = False,
    ) -> None:
        self._early = early
        self._spec, self._probes = pickle.dumps(spec), spec is None
        self._jobs = _Jobs(paths, FIRST_ALONE_SECONDS if first_alone else 0.0)
        self._deliver = deliver
        self._options = options
        self._budget = Budget(options.budget_bytes)
        self._failures = Budget(MOST_FAILURES_AHEAD)
        self._lock = threading.Lock()
        self._alive: set[WorkerHandle] = set()
        self._closed = False
        self._on_gpu = spec is not None and spec.nvdec is not None
        self._start_seconds = _START_SECONDS_ON_GPU if self._on_gpu else _START_SECONDS
        most = MOST_NVDEC_PROCESSES if self._on_gpu else options.processes
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
            for reader in self._alive:
                reader.process.kill()
                reader.channel.wake()  # one that hangs in the system, as on a dead disk, lives on and says nothing
        for keeper in self._keepers:
            keeper.join()
        for reader in tuple(self._alive):  # which their keepers were at work with
            self._end(reader)

    def go_on(self) -> None:
        """Read further videos beside the first one."""
        self._jobs.more.set()

    def _keep(self) -> None:
        """The life of a keeper."""
        reader: WorkerHandle | None = None
        try:
            for index, path in self._jobs:
                reader = self._read(index, path, reader or self._start())
        except ClosingError:
            pass
        except Exception as error:
            self._deliver(Broken(error))
        finally:
            if reader is not None:
                self._end(reader)

    def _read(self, index: int, path: str, reader: WorkerHandle) -> WorkerHandle | None:
        """Read one video, twice if need be; returns the process, if it is fit for another."""
        try:
            self._try(index, path, reader)
            return reader
        except _LostError:
            self._end(reader)
        # Once more in a process that has seen no other video, should one of those have harmed the first.
        reader = self._start()
        try:
            self._try(index, path, reader)
            return reader
        except _LostError as lost:
            self._end(reader)
            self._fail(index, lost.error)
            return None

    def _try(self, index: int, path: str, reader: WorkerHandle) -> None:
        start, allowed, clips = time.monotonic(), self._options.timeout_seconds, 0
        self.reading.start()
        try:
            reader.channel.send({"path": path}, start + allowed)
            while True:
                message = reader.channel.receive(start + allowed)
                if "allow" in message:
                    allowed += _seconds(message["allow"])
                elif "views" in message:
                    size = _size(message["size"], self._options.memory_bytes)
                    self.reading.stop()
                    try:
                        start += self._budget.take(size)
                    finally:
                        self.reading.start()
                    piece = self._receive(index, message, size, clips, reader, start + allowed)
                    clips = piece.views.first_clip + len(piece.views.clips)
                    self._deliver(piece)
                elif "unfit" in message and self._on_gpu:
                    raise DeviceError(**message["unfit"])
                elif "failed" in message:
                    error = VideoError(**message["failed"])
                    if error.kind == "out_of_memory":  # or used up by the videos before
                        raise _LostError(error)
                    self._fail(index, error)
                    return
                else:
                    complete = _complete(index, message["done"])
                    if complete.info is None if self._probes else clips == 0:
                        raise ValueError(f"nothing was told of a video that is done; {message = }")
                    self._deliver(complete)
                    return
        except TimeoutError:
            raise _LostError(_timeout(path, allowed)) from None
        except ClosedError:
            self._refuse_when_closed()
            raise _LostError(_crashed(path, reader.exit_cause())) from None
        except (_LostError, ClosingError, DeviceError):
            raise
        except Exception as error:  # no message of ours: the process is out of its mind, or this one out of memory
            raise _LostError(as_video_error(path, "decode", error)) from error
        finally:
            self.reading.stop()

    def _fail(self, index: int, error: VideoError) -> None:
        self._failures.take(1)
        self._deliver(Failed(index, error, lambda: self._failures.give_back(1)))

    def _receive(
        self, index: int, message: dict[str, Any], size: int, first_clip: int, reader: WorkerHandle, deadline: float
    ) -> ChunkDecoded:
        """The views that a message announces, for which `size` bytes of the budget are taken."""
        try:
            reader.channel.send({"go": True}, deadline)
            views = _views(message["views"], reader.channel.receive_pixels(size, deadline), first_clip)
        except BaseException:
            self._budget.give_back(size)
            raise
        return ChunkDecoded(index, views, lambda: self._budget.give_back(size), message["cpu_seconds"])

    def _start(self) -> WorkerHandle:
        found = ""
        for attempt in range(_START_ATTEMPTS):
            time.sleep(attempt)
            try:
                reader = self._spawn()
            except OSError as error:  # no memory or no place for a process, which may be so for a moment only
                found = f"the last one was refused: {error.strerror or error}"
                continue
            try:
                reader.handshake(self._spec, self._options.memory_bytes, self._start_seconds)
                return reader
            except (ClosedError, TimeoutError):
                self._end(reader)
                self._refuse_when_closed()
                found = f"the last one {reader.exit_cause()}"
        raise VidfeatError(
            "decode processes",
            expected="a process that starts",
            found=f"{_START_ATTEMPTS} that did not; {found}",
            hint="See what it wrote above, and whether the machine is out of memory or processes.",
        )

    def _spawn(self) -> WorkerHandle:
        with self._lock:
            if self._closed:
                raise ClosingError
            reader = (self._early.take() if self._early else None) or WorkerHandle.spawn(self._options.command)
            self._alive.add(reader)
            return reader

    def _end(self, reader: WorkerHandle) -> None:
        reader.kill()
        with self._lock:
            self._alive.discard(reader)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ClosingError


# A video may have taken over the process that says these things. What cannot be is taken for a crash: a number that is
# none would upset the budget, which all share, and a wrong shape the batches.


def _size(size: Any, most: int) -> int:
    if not isinstance(size, int) or not 0 < size <= most:
        raise ValueError(f"a process has from 1 to {most} bytes of pixels; {size = }")
    return size


def _seconds(allowance: Any) -> float:
    if not isinstance(allowance, int | float) or not 0 <= allowance < math.inf:
        raise ValueError(f"no time that a video may take; {allowance = }")
    return allowance


def _views(about: dict[str, Any], pixels: mmap.mmap | bytearray, first_clip: int) -> Views:
    views = Views(
        np.frombuffer(pixels, np.uint8).reshape(about["shape"]),
        np.array(about["clips"], np.int64),
        about["frames"],
        about["fps"],
        salvaged=about["salvaged"],
        frames_declared=about["frames_declared"],
        first_clip=about["first_clip"],
    )
    if views.pixels.ndim != 5 or views.pixels.shape[-1] != 3 or views.clips.ndim != 2 or views.clips.size == 0:
        raise ValueError(f"no views have the shapes {views.pixels.shape} and {views.clips.shape}")
    if views.clips.min() < 0 or views.clips.max() >= len(views.pixels) or views.first_clip not in (0, first_clip):
        found = f"{views.clips.min()} to {views.clips.max()}, from clip {views.first_clip} on"
        raise ValueError(f"no clips of {len(views.pixels)} frames that follow {first_clip} others: {found}")
    if not (
        isinstance(views.frames, int)
        and isinstance(views.fps, float | int | None)
        and isinstance(views.frames_declared, int | None)
    ):
        raise ValueError(f"no numbers; {views.frames = }, {views.fps = }, {views.frames_declared = }")
    return views


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


class _LostError(Exception):
    """A process is to be replaced, and a video perhaps at fault."""

    def __init__(self, error: VideoError) -> None:
        super().__init__(error)
        self.error = error


def _timeout(path: str, seconds: float) -> VideoError:
    return VideoError(
        path,
        stage="decode",
        kind="timeout",
        expected=f"a video that is read within {seconds:.1f} s",
        found="a decoder that was not done, twice",
        hint="See whether it plays. If only the disk or the machine is slow, give more time with --timeout.",
    )


def _crashed(path: str, death: str) -> VideoError:
    return VideoError(
        path,
        stage="decode",
        kind="crashed",
        expected="a video that can be decoded",
        found=f"a decode process that {death}, twice",
        hint="Leave the video out, or encode it again.",
    )
