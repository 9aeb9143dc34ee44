"""Videos decoded in processes that can be killed: what hangs or crashes in a decoder fails one video, and not the run.

Each process has a supervisor thread here, which gives it one video after the other, watches the clock, and replaces it
when it dies or has to be killed. The video that it was at is then decoded once more, from its start and in a new
process. Events come in any order across videos, and in the order of its plan within one.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidfeat.engine.budget import ClosingError, MemoryBudget
from vidfeat.engine.channel import ClosedError
from vidfeat.engine.decode_worker import Assignment
from vidfeat.engine.events import ChunkDecoded, Event, PoolFailed, VideoDecoded, VideoFailed, VideoPlanned
from vidfeat.engine.faults import as_video_error
from vidfeat.engine.worker_handle import PREWARMED, WorkerHandle, Workers
from vidfeat.errors import DeviceError, VideoError, VidfeatError, reason
from vidfeat.hardware import memory_bytes
from vidfeat.inference.stopwatch import Stopwatch
from vidfeat.preprocessing.clips import ClipBatch
from vidfeat.video import VideoInfo
from vidfeat.video.info import OnCorrupt
from vidfeat.videos import VideoRef

MOST_FAILURES_AHEAD = 64
"""Failures that are delivered and not yet recorded, at most: a list of nothing but broken files fails faster than a
disk can commit it."""

MOST_PROCESSES = {"cpu": 16, "cuda": 64}
"""Decode processes of a run, at most, of about 80 MB each. A CPU is mostly busy with the network."""

MOST_NVDEC_PROCESSES = 8
"""The same where they decode on a GPU, which has at most seven decoders, and holds some hundred MB for each process."""

BUDGET_PER_PROCESS, MOST_BUDGET = 64 << 20, 512 << 20
"""Bytes that may be decoded ahead of the network: a few chunks of each process, as more would only take memory."""

FIRST_ALONE_SECONDS = 3.0
"""So long no second video is begun, unless `DecodePool.go_on` is called: on few cores it would delay the first
feature."""

LEAST_MEMORY, MOST_MEMORY = 1 << 30, 8 << 30
"""Of the address space of a decode process, in bytes. Its libraries alone take some hundred million."""

_START_ATTEMPTS = 3
_START_SECONDS = 60.0
_START_SECONDS_ON_GPU = 300.0  # PyTorch for CUDA is some GB to read, by all processes at once, and from any disk


@dataclass(frozen=True)
class Task:
    """One video to decode.

    Attributes:
        video: which.
        encoders: the positions of the encoders that are to get its clips, rising.
    """

    video: VideoRef
    encoders: tuple[int, ...] = (0,)


class TaskStream:
    """Tasks that are taken by several threads, each once and in their order, until the stream is closed.

    Args:
        tasks: the first of them.
        closed: whether there are no others.

    Its length is the number of tasks that were added so far; they are known by their positions.
    """

    def __init__(self, tasks: Iterable[Task] = (), *, closed: bool = False) -> None:
        self._tasks = dict(enumerate(tasks))
        self._added, self._taken = len(self._tasks), 0
        self._closed = closed
        self._changed = threading.Condition()

    def add(self, tasks: Iterable[Task]) -> None:
        """Append tasks.

        Raises:
            RuntimeError: the stream is closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the stream is closed")
            for task in tasks:
                self._tasks[self._added] = task
                self._added += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Have it end with the tasks that were added so far; harmless when repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no tasks can be added."""
        return self._closed

    def __len__(self) -> int:
        return self._added

    def __getitem__(self, position: int) -> Task:
        return self._tasks[position]

    def take(self) -> tuple[int, Task] | None:
        """The next task and its position, waiting for it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._taken < self._added)
            if self._taken == self._added:
                return None
            position = self._taken
            self._taken += 1
            return position, self._tasks[position]

    def forget(self, position: int) -> None:
        """Free a task that nobody will ask for again."""
        with self._changed:
            self._tasks.pop(position, None)


def processes_for(cores: int, device: str = "cpu") -> int:
    """Decode processes for a run, on a machine or a share of one with so many cores.

    As many as cores, also where the network runs on the same ones or a GPU has to be fed in time: they yield to both,
    and what they decode ahead is bounded. Each costs memory, so there is an end.
    """
    return max(1, min(cores, MOST_PROCESSES[device]))


@dataclass(frozen=True)
class PoolOptions:
    """How videos are decoded.

    Attributes:
        processes: how many decode at once, at least 1.
        timeout_seconds: the time that any video may take; more is added by the size of its file, and by its length and
            frame size once these are known. Waiting for the network does not count.
        budget_bytes: bound on the pixels that are delivered and not yet released, together with the rows of videos
            under way. One chunk may exceed it, alone. None follows from the number of processes.
        memory_bytes: address space of a process; its data, where it decodes on a GPU. None shares half of the memory
            that there is among the processes, with `LEAST_MEMORY` and `MOST_MEMORY` each.
        on_corrupt: as for `read_clips`.
        command: as for `WorkerHandle.spawn`.
    """

    processes: int
    timeout_seconds: float = 60.0
    budget_bytes: int | None = None
    memory_bytes: int | None = None
    on_corrupt: OnCorrupt = "fail"
    command: Sequence[str] | None = None


class DecodePool:
    """Decodes videos in other processes, from `with` on; leaving it ends that.

    Args:
        assignment: what to make of each video; None only probes them: of each the `VideoInfo` is delivered.
        tasks: the videos. A stream has to be closed before the pool is left.
        deliver: called with every event, by several threads.
        options: how to decode.
        idle: processes that have this assignment already, to be used first; those that are fit for more are put there
            at the end. Where None, they are killed at the end.
        first_alone: whether the first video is decoded alone, for `FIRST_ALONE_SECONDS` at most or until `go_on`.

    Attributes:
        decoding: the time that processes spend on videos, apart from waiting until what they decoded is taken.
        processes: how many there are.
        budget: the memory that may be outstanding.
    """

    def __init__(
        self,
        assignment: Assignment | None,
        tasks: Sequence[Task] | TaskStream,
        deliver: Callable[[Event], object],
        options: PoolOptions,
        idle: Workers | None = None,
        *,
        first_alone: bool = False,
    ) -> None:
        self._idle = idle
        self._probes = assignment is None
        assignment = assignment or Assignment()
        self._assignment = pickle.dumps(assignment)
        tasks = tasks if isinstance(tasks, TaskStream) else TaskStream(tasks, closed=True)
        self._tasks = tasks
        self._hold_until = time.monotonic() + (FIRST_ALONE_SECONDS if first_alone else 0.0)
        self._may_go_on = threading.Event()
        self._deliver = deliver
        self._options = options
        self._failures = MemoryBudget(MOST_FAILURES_AHEAD)
        self._lock = threading.Lock()
        self._alive: set[WorkerHandle] = set()
        self._closed = False
        self._on_gpu = assignment.nvdec is not None
        self._start_seconds = _START_SECONDS_ON_GPU if self._on_gpu else _START_SECONDS
        most = MOST_NVDEC_PROCESSES if self._on_gpu else options.processes
        most = min(most, len(tasks)) if tasks.closed else most
        self.processes = max(1, min(options.processes, most))
        self.budget = MemoryBudget(options.budget_bytes or min(MOST_BUDGET, BUDGET_PER_PROCESS * self.processes))
        self._memory_bytes = options.memory_bytes or min(
            MOST_MEMORY, max(LEAST_MEMORY, memory_bytes() // 2 // self.processes)
        )
        self.decoding = Stopwatch()
        self._supervisors = [
            threading.Thread(target=self._supervise, name=f"supervisor-{i}", daemon=True) for i in range(self.processes)
        ]

    def __enter__(self) -> DecodePool:
        for supervisor in self._supervisors:
            supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.budget.close()
        self._failures.close()
        self.go_on()
        with self._lock:
            self._closed = True
            for worker in self._alive:
                worker.process.kill()
                worker.channel.wake()  # one that hangs in the system, as on a dead disk, lives on and sends nothing
        for supervisor in self._supervisors:
            supervisor.join()
        for worker in tuple(self._alive):  # that their supervisors were at work with
            self._end(worker)

    def go_on(self) -> None:
        """Decode further videos beside the first one."""
        self._may_go_on.set()

    def _supervise(self) -> None:
        """The life of a supervisor thread."""
        worker: WorkerHandle | None = None
        try:
            while (item := self._tasks.take()) is not None:
                index, task = item
                if index > 0:
                    self._may_go_on.wait(max(0.0, self._hold_until - time.monotonic()))
                worker = self._decode(index, task, worker or self._start())
            if worker is not None:
                self._retire(worker)
        except ClosingError:
            pass
        except Exception as error:
            self._deliver(PoolFailed(error))

    def _decode(self, index: int, task: Task, worker: WorkerHandle) -> WorkerHandle | None:
        """Decode one video, twice if need be; returns the process, if it is fit for another."""
        try:
            self._try(index, task, worker)
            return worker
        except _LostError:
            self._end(worker)
        # Once more in a process that has seen no other video, should one of those have harmed the first.
        worker = self._start(fresh=True)
        try:
            self._try(index, task, worker)
            return worker
        except _LostError as lost:
            self._end(worker)
            self._fail(index, lost.error)
            return None

    def _try(self, index: int, task: Task, worker: WorkerHandle) -> None:
        path = task.video.uri
        start, allowed = time.monotonic(), self._options.timeout_seconds
        received: dict[int, int] | None = None  # until the video is planned
        self.decoding.start()
        try:
            worker.channel.send(self._request(task), start + allowed)
            while True:
                message = worker.channel.receive(start + allowed)
                if "allow" in message:
                    allowed += _seconds(message["allow"])
                elif "info" in message:
                    self._deliver(VideoPlanned(index, _info(message["info"])))
                    received = dict.fromkeys(task.encoders, 0)
                elif "clips" in message:
                    size = _size(message["size"], self._memory_bytes)
                    self.decoding.stop()
                    try:
                        start += self.budget.take(size)
                    finally:
                        self.decoding.start()
                    received = received or {}
                    chunk = self._receive(index, message, size, received, worker, start + allowed)
                    received[chunk.encoder] = chunk.clips.first_clip + len(chunk.clips.clips)
                    self._deliver(chunk)
                    del chunk  # its pixels are freed when it is released, and not when the next one is there
                elif "unfit" in message and self._on_gpu:
                    raise DeviceError(**message["unfit"])
                elif "failed" in message:
                    error = VideoError(**message["failed"])
                    if error.kind == "out_of_memory":  # or used up by the videos before
                        raise _LostError(error)
                    self._fail(index, error)
                    return
                else:
                    done = message["done"]
                    if received is None or not (self._probes or all(received.values())):
                        raise ValueError(f"a process has sent no clips of a video that is done; {message = }")
                    self._deliver(VideoDecoded(index, done["cpu_seconds"], done["fallback"]))
                    return
        except TimeoutError:
            raise _LostError(_timeout(path, allowed)) from None
        except ClosedError:
            self._refuse_when_closed()
            raise _LostError(_crashed(path, worker.exit_cause())) from None
        except (_LostError, ClosingError, DeviceError):
            raise
        except Exception as error:  # no message of the protocol: the process is hijacked, or this one out of memory
            raise _LostError(as_video_error(path, "decode", error)) from error
        finally:
            self.decoding.stop()

    def _request(self, task: Task) -> dict[str, Any]:
        video = dataclasses.asdict(task.video)
        return {
            "video": video,
            "specs": task.encoders,
            "on_corrupt": self._options.on_corrupt,
            "probe": self._probes,
        }

    def _fail(self, index: int, error: VideoError) -> None:
        self._failures.take(1)
        self._deliver(VideoFailed(index, error, lambda: self._failures.give_back(1)))

    def _receive(
        self,
        index: int,
        message: dict[str, Any],
        size: int,
        received: dict[int, int],
        worker: WorkerHandle,
        deadline: float,
    ) -> ChunkDecoded:
        """The clips that a message announces, for which `size` bytes of the budget are taken."""
        try:
            worker.channel.send({"go": True}, deadline)
            pixels = worker.channel.receive_pixels(size, deadline)
            encoder, clips = _clips(message["clips"], pixels, received)
        except BaseException:
            self.budget.give_back(size)
            raise
        return ChunkDecoded(index, encoder, clips, lambda: self.budget.give_back(size), message["cpu_seconds"])

    def _start(self, *, fresh: bool = False) -> WorkerHandle:
        if not fresh and self._idle and (worker := self._idle.take()):
            return self._adopt(worker)
        found = ""
        for attempt in range(_START_ATTEMPTS):
            time.sleep(attempt)
            try:
                worker = self._adopt(PREWARMED.take() or WorkerHandle.spawn(self._options.command))
            except OSError as error:  # no memory or no place for a process, which may be so for a moment only
                found = f"the last one was refused: {reason(error)}"
                continue
            try:
                worker.handshake(self._assignment, self._memory_bytes, self._start_seconds)
                return worker
            except (ClosedError, TimeoutError):
                self._end(worker)
                self._refuse_when_closed()
                found = f"the last one {worker.exit_cause()}"
        raise VidfeatError(
            "decode processes",
            expected="a process that starts",
            found=f"{_START_ATTEMPTS} that did not; {found}",
            hint="See what it wrote above, and whether the machine is out of memory or processes.",
        )

    def _adopt(self, worker: WorkerHandle) -> WorkerHandle:
        with self._lock:
            self._alive.add(worker)
            if self._closed:
                raise ClosingError
        return worker

    def _retire(self, worker: WorkerHandle) -> None:
        """Keep a process that has nothing left to do for the next pool, where there may be one."""
        with self._lock:
            if self._idle is not None and not self._closed:
                self._alive.discard(worker)
                self._idle.put(worker)
                return
        self._end(worker)

    def _end(self, worker: WorkerHandle) -> None:
        worker.kill()
        with self._lock:
            self._alive.discard(worker)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ClosingError


# A video may have taken over the process that sends these messages. What cannot be is taken for a crash: a wrong number
# would upset the budget, which all share, and a wrong shape the batches.


def _size(size: Any, most: int) -> int:
    if not isinstance(size, int) or not 0 < size <= most:
        raise ValueError(f"a process has from 1 to {most} bytes of pixels; {size = }")
    return size


def _seconds(allowance: Any) -> float:
    if not isinstance(allowance, int | float) or not 0 <= allowance < math.inf:
        raise ValueError(f"no time that a video may take; {allowance = }")
    return allowance


def _info(data: dict[str, Any]) -> VideoInfo:
    info = VideoInfo.from_json(data)
    if len(info.timeline) != info.frames:
        raise ValueError(f"a video of {info.frames} frames has as many times; {len(info.timeline) = }")
    return info


_PIXEL_DTYPES: dict[str, Any] = {"uint8": np.uint8, "float32": np.float32}


def _clips(about: dict[str, Any], pixels: mmap.mmap | bytearray, received: dict[int, int]) -> tuple[int, ClipBatch]:
    encoder, first_clip = about["encoder"], about["first_clip"]
    batch = ClipBatch(
        np.frombuffer(pixels, _PIXEL_DTYPES[about["dtype"]]).reshape(about["shape"]),
        np.array(about["clips"], np.int64),
        first_clip,
        np.array(about["start_seconds"], np.float64),
        np.array(about["end_seconds"], np.float64),
    )
    if batch.pixels.ndim != 5 or batch.pixels.shape[-1] != 3 or batch.clips.ndim != 2 or batch.clips.size == 0:
        raise ValueError(f"no clips have the shapes {batch.pixels.shape} and {batch.clips.shape}")
    if not batch.start_seconds.shape == batch.end_seconds.shape == batch.clips.shape[:1]:
        raise ValueError(f"{len(batch.clips)} clips have a start and an end each; {batch.start_seconds.shape = }")
    if batch.clips.min() < 0 or batch.clips.max() >= len(batch.pixels) or first_clip != received.get(encoder):
        found = f"{batch.clips.min()} to {batch.clips.max()}, from clip {first_clip} of encoder {encoder} on"
        raise ValueError(f"no clips of {len(batch.pixels)} frames that follow {received}: {found}")
    return encoder, batch


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
        expected=f"a video that is decoded within {seconds:.1f} s",
        found="a decoder that exceeded it twice",
        hint="Check that it plays. If only the disk or the machine is slow, allow more time with `timeout_seconds`.",
    )


def _crashed(path: str, exit_cause: str) -> VideoError:
    return VideoError(
        path,
        stage="decode",
        kind="crashed",
        expected="a video that can be decoded",
        found=f"a decode process that {exit_cause}, twice",
        hint="Leave the video out, or encode it again.",
    )
