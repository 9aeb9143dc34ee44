"""A job on a Ray cluster: actors that each have a `Worker` and write parts, behind a queue in this process.

References to videos go to the actors, and what they committed comes back: neither frames nor features pass through
Ray's object store. What is committed is on the disk or in the object store before it is reported, so that an actor, a
node or this process may be lost at any time. Why plain actors and not Ray Data: `docs/design/0012-ray.md`.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vidfeat.cluster.actor import Actor, Answer, Place
from vidfeat.engine.decode_pool import Task
from vidfeat.engine.progress import Progress
from vidfeat.errors import DeviceError, UsageError, VideoError
from vidfeat.execution import Amount, versions
from vidfeat.features import VideoFailure
from vidfeat.job import Job
from vidfeat.lazy_import import import_extra
from vidfeat.store.part_files import Committed, PartWriter

VIDEOS_PER_CALL = 32
"""Most videos that an actor is given at once: they are committed together, and are what the loss of an actor costs."""

SHARE_OF_REST = 4
"""An actor is given at most this part of its even share of the videos and of the bytes that were not given out, so that
all end at the same time: calls of long videos have few of them, and towards the end all calls get small."""

CALLS_AHEAD = 2
"""Calls of an actor under way at once, so that it computes on while one is committed and the driver hears of it."""

ATTEMPTS = 3
"""So many actors in turn may be lost while they have the same video, alone; then it is taken for the reason. So many
machines look for a local file; then it is missing."""

MOST_LACKING = 3
"""A machine that misses so many files that others have gets no further videos."""

_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 10.0
_START_SECONDS = 60.0
_SAY_WAITING_SECONDS = 15.0  # starting a worker takes up to that long where there is room
_GROW_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Ray:
    """An executor for `vidfeat.run`. The output has to be a folder of parts that all machines can write.

    Attributes:
        address: of the cluster, as `ray.init` takes it; None takes the one that `RAY_ADDRESS` names, or that runs on
            this machine, and starts one where there is none. "local" always starts one.
        workers: how many actors to run, at most; None as many as fit, also on machines that join later.
        cpus_per_worker: CPU cores of each; decoding and network share them.
        gpus_per_worker: GPUs of each; may be a fraction.
        wait_seconds: so long to wait for the first worker.

    Raises:
        UsageError: a number is none.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    wait_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("cpus_per_worker", 1), ("gpus_per_worker", 0)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value >= least):
                raise UsageError(name, expected=f"a number of at least {least}", found=repr(value))

    @property
    def actor_class(self) -> type:
        """What runs as an actor; `benchmarks/cluster_driver.py` replaces it with one that computes nothing."""
        return Actor

    def execute_and_commit(
        self, job: Job, tasks: Iterator[Task], amount: Amount, writers: Sequence[PartWriter], progress: Progress
    ) -> Iterator[tuple[int, list[Committed]]]:
        """Compute tasks on the cluster.

        Args:
            job: what to compute. Each worker finds encoders, checkpoints and videos where the job says.
            tasks: the videos. They are read as they are needed.
            amount: how much that is.
            writers: of each encoder.
            progress: takes a line about each decision, and is shown how many workers there are.

        Yields:
            Position of an encoder, and what was committed of it just now.

        Raises:
            UsageError: the cluster cannot be reached, has no room for a worker, or runs another version of vidfeat.
            VidfeatError: as `Worker.run`; or a worker cannot be started.
        """
        ray = import_extra("ray", "ray", "executor", "clusters")
        started = _connect(ray, self.address)
        try:
            yield from _Driver(ray, self, job, tasks, amount, writers, progress).run()
        finally:
            if started:
                ray.shutdown()


def _connect(ray: Any, address: str | None) -> bool:
    """Connect to the cluster; whether this did, and nobody before."""
    if ray.is_initialized():
        return False
    _require_reachable(address)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set one that prints a stack trace
    return True


def _require_reachable(address: str | None) -> None:
    """Refuse an address where nothing listens. Ray itself would ask it again for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(str(error)) from None


def _unreachable(found: str) -> UsageError:
    return UsageError(
        "address",
        expected="a Ray cluster that can be reached",
        found=found,
        hint="Start one with `ray start --head`, or leave the address out to use this machine alone. Where the cluster "
        "asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH.",
    )


@dataclass
class _Handle:
    """An actor, as the driver sees it.

    Attributes:
        actor: Ray's handle.
        starting: its answer to `start`; None once it has come.
        place: where it is, once that is known.
        calls: what is under way there.
        began: when it was asked for, on the monotonic clock.
    """

    actor: Any
    starting: Any
    place: Place = field(default_factory=Place)
    calls: set[Any] = field(default_factory=set)
    began: float = field(default_factory=time.monotonic)

    @property
    def about_to_start(self) -> bool:
        """Whether it may soon have a place; it may also wait for one for ever."""
        return self.starting is not None and time.monotonic() - self.began < _START_SECONDS


@dataclass(frozen=True)
class _Call:
    handle: _Handle
    tasks: list[Task]


class Calls:
    """Groups tasks into calls, in their order.

    Args:
        tasks: the largest videos first.
        amount: how much they are.
    """

    def __init__(self, tasks: Iterator[Task], amount: Amount) -> None:
        self._tasks, self._videos, self._bytes = tasks, amount.videos, amount.bytes
        self._first: Task | None = next(tasks, None)

    def next(self, workers: int) -> list[Task]:
        """The next call; empty where there is none.

        Args:
            workers: how many compute now.
        """
        shares = SHARE_OF_REST * max(1, workers)
        most, most_bytes = min(VIDEOS_PER_CALL, self._videos // shares), self._bytes / shares
        call: list[Task] = []
        size = 0
        while self._first is not None:
            bytes_ = self._first.video.bytes or 0
            if call and (len(call) >= most or size + bytes_ > most_bytes):
                break
            call.append(self._first)
            size += bytes_
            self._first = next(self._tasks, None)
        self._videos -= len(call)
        self._bytes -= size
        return call


class _Driver:
    """Gives videos to actors, and replaces those that are lost."""

    def __init__(
        self,
        ray: Any,
        options: Ray,
        job: Job,
        tasks: Iterator[Task],
        amount: Amount,
        writers: Sequence[PartWriter],
        progress: Progress,
    ) -> None:
        self._ray, self._options, self._say = ray, options, progress.note
        self._start_clock = progress.start_clock
        progress.workers = lambda: self.alive
        self._job = {**job.to_json(), "videos": []}
        self._calls_of = Calls(tasks, amount)
        self._left, self._writers = amount.videos, writers
        self._again: deque[list[Task]] = deque()
        self._losses: dict[str, list[str]] = {}
        self._missing_on: dict[str, list[str]] = {}  # the nodes that did not have a file
        self._elsewhere: deque[Task] = deque()  # these files
        self._lacking: dict[str, int] = {}  # how many files a node did not have that another one had
        self._handles: list[_Handle] = []
        self._calls: dict[Any, _Call] = {}
        self._grown = 0.0
        self._class = ray.remote(options.actor_class)
        self._began = time.monotonic()
        self._said_waiting = False

    def run(self) -> Iterator[tuple[int, list[Committed]]]:
        """Yield what is committed."""
        try:
            while self._left:
                self._grow()
                self._dispatch()
                waiting = [*self._calls, *(handle.starting for handle in self._handles if handle.starting is not None)]
                ready, _ = self._ray.wait(waiting, num_returns=1, timeout=_POLL_SECONDS) if waiting else ([], [])
                if not waiting:
                    time.sleep(_POLL_SECONDS)
                for reference in ready:
                    yield from self._take(reference)
                self._require_workers()
        finally:
            for handle in self._handles:
                self._ray.kill(handle.actor)

    @property
    def alive(self) -> int:
        """Workers that compute."""
        return sum(handle.starting is None for handle in self._handles)

    @property
    def _others_start(self) -> bool:
        """Whether there may soon be a worker that has a file which is missing elsewhere."""
        return any(handle.about_to_start for handle in self._handles)

    def _grow(self) -> None:
        """Ask for the workers that are missing."""
        now = time.monotonic()
        if now - self._grown < _GROW_EVERY_SECONDS and self._handles:
            return
        self._grown = now
        cpus, gpus = self._options.cpus_per_worker, self._options.gpus_per_worker
        there = self._ray.cluster_resources()
        room = int(there.get("CPU", 0)) // cpus
        if gpus:
            room = min(room, int(there.get("GPU", 0) / gpus))
        wanted = min(self._options.workers or max(room, 1), self._left)
        for _ in range(wanted - len(self._handles)):
            resources = {"num_cpus": cpus, "num_gpus": gpus}
            actor = self._class.options(**resources, max_restarts=0, max_concurrency=CALLS_AHEAD).remote(
                self._job, self._writers, cpus
            )
            self._handles.append(_Handle(actor, actor.start.remote(versions()["vidfeat"])))

    def _dispatch(self) -> None:
        for handle in self._handles:
            while handle.starting is None and len(handle.calls) < CALLS_AHEAD and (tasks := self._next(handle)):
                reference = handle.actor.compute.remote(tasks)
                handle.calls.add(reference)
                self._calls[reference] = _Call(handle, tasks)

    def _next(self, handle: _Handle) -> list[Task]:
        node = handle.place.node
        others = {other.place.node for other in self._handles if other.starting is None} - {node}
        if self._lacking.get(node, 0) >= MOST_LACKING and any(self._lacking.get(o, 0) < MOST_LACKING for o in others):
            return []
        for task in self._elsewhere:
            tried = self._missing_on[task.video.key]
            if node not in tried or not (self._others_start or others.difference(tried)):
                self._elsewhere.remove(task)
                return [task]
        if self._again:
            return self._again.popleft()
        return self._calls_of.next(self.alive)

    def _take(self, reference: Any) -> Iterator[tuple[int, list[Committed]]]:
        """Act on an answer, or on its absence."""
        call = self._calls.pop(reference, None)
        if call is None:
            self._started(next(handle for handle in self._handles if handle.starting == reference))
            return
        call.handle.calls.discard(reference)
        try:
            answer: Answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except self._ray.exceptions.RayError:
            self._lost(call.handle)
            yield from self._retry(call)
            return
        self._left -= len(call.tasks)
        self._note_found(answer, call)
        yield from answer.committed
        yield from self._take_missing(answer.missing, call)

    def _note_found(self, answer: Answer, call: _Call) -> None:
        """Stop using nodes without files that others had: they would fail one video after the other, quickly."""
        for key in {one.key for _, committed in answer.committed for one in committed} & self._missing_on.keys():
            for node in self._missing_on.pop(key):
                self._lacking[node] = self._lacking.get(node, 0) + 1
                name = next((one.place.name for one in self._handles if one.place.node == node), "a lost machine")
                there = f"{key!r} is missing on {name}, and was found on {call.handle.place.name}"
                if self._lacking[node] == MOST_LACKING:
                    there += f"; {name} gets no further videos. Videos have to be at the same path everywhere"
                if self._lacking[node] in (1, MOST_LACKING):
                    self._say(there)

    def _take_missing(
        self, missing: Sequence[tuple[int, VideoFailure]], call: _Call
    ) -> Iterator[tuple[int, list[Committed]]]:
        """Have other nodes look for files, up to `ATTEMPTS` in all; then they are missing."""
        nodes = {handle.place.node for handle in self._handles if handle.starting is None}
        tasks = {task.video.key: task for task in call.tasks}
        for key in dict.fromkeys(failure.key for _, failure in missing):
            tried = self._missing_on.setdefault(key, [])
            tried.append(call.handle.place.node)
            if len(tried) < ATTEMPTS and (self._others_start or nodes.difference(tried)):
                self._elsewhere.append(tasks[key])
                self._left += 1
                continue
            del self._missing_on[key]
            for position, failure in missing:
                if failure.key == key:
                    yield position, self._writers[position].commit([(tasks[key].video, failure)], {})

    def _started(self, handle: _Handle) -> None:
        try:
            place = self._ray.get(handle.starting)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except self._ray.exceptions.RayError as error:
            if "creation task" in str(error):  # the actor's constructor raised
                raise _start_error(error) from error
            self._lost(handle)
            return
        handle.starting, handle.place = None, place
        self._start_clock()
        self._say(f"worker {self.alive} on {place.name}")

    def _lost(self, handle: _Handle) -> None:
        """An actor is gone. Ray reports the loss for each of its calls."""
        if handle in self._handles:
            self._handles.remove(handle)
            self._grown = 0.0
            where = f" on {handle.place.name}" if handle.place.name else ""
            self._say(f"lost a worker{where}; its videos are computed elsewhere")

    def _retry(self, call: _Call) -> Iterator[tuple[int, list[Committed]]]:
        """Give videos of a lost actor to others: one by one, as one of them may be the reason."""
        for task in call.tasks:
            losses = self._losses.setdefault(task.video.key, [])
            if len(call.tasks) == 1:
                losses.append(call.handle.place.name)
            if len(losses) < ATTEMPTS:
                self._again.append([task])
                continue
            error = VideoError(
                task.video.uri,
                stage="decode",
                kind="crashed",
                expected="a worker that survives it",
                found=f"{len(losses)} workers lost in a row while they had this video (on {', '.join(losses)})",
            )
            self._left -= 1
            for position in task.encoders:
                failure = VideoFailure(task.video.key, "", error)
                yield position, self._writers[position].commit([(task.video, failure)], {})

    def _require_workers(self) -> None:
        if self.alive:
            self._began = time.monotonic()
            return
        waited, most = time.monotonic() - self._began, self._options.wait_seconds
        needs = f"a worker with {self._options.cpus_per_worker} CPU and {self._options.gpus_per_worker:g} GPU"
        if waited > most:
            raise UsageError(
                "executor",
                expected=f"room for {needs}",
                found=f"none in {most:.0f} s, in a cluster with {self._resources()}",
                hint="Ask for less with cpus_per_worker and gpus_per_worker, or free the cluster.",
            )
        if waited > _SAY_WAITING_SECONDS and not self._said_waiting:
            self._said_waiting = True
            self._say(f"waiting up to {most:.0f} s for room for {needs}, in a cluster with {self._resources()}")

    def _resources(self) -> str:
        """What the cluster has, in use or not."""
        there = self._ray.cluster_resources()
        return f"{there.get('CPU', 0):g} CPU and {there.get('GPU', 0):g} GPU"


def _cause(error: Any) -> Exception:
    """What was raised in the actor."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


def _start_error(error: Exception) -> Exception:
    """Why a worker cannot start, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return DeviceError(
        "executor",
        expected="a worker that starts",
        found=lines[-1] if lines else type(error).__name__,
        hint="Each machine needs the checkpoint, the packages and the devices that the job asks for.",
    )
