"""The one loop that turns videos into features: a pool of decode processes, and an inference runner for each encoder.

Videos are decoded in processes of their own while the networks work on those that were decoded before. Batches are
filled across videos. Where there are several devices, each has every encoder, and every video goes as a whole to the
device with the least to do.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import Empty, PriorityQueue
from typing import Any, NoReturn

import torch

from vidfeat.encoders import Encoder
from vidfeat.engine.decode_pool import DecodePool, PoolOptions, Task, TaskStream
from vidfeat.engine.decode_worker import Assignment, size_of
from vidfeat.engine.events import ChunkDecoded, Event, PoolFailed, VideoDecoded, VideoFailed, VideoPlanned
from vidfeat.engine.faults import as_video_error
from vidfeat.engine.worker_handle import Workers
from vidfeat.errors import ConfigError, DeviceError, UsageError, VideoError
from vidfeat.features import Outcome, VideoFailure
from vidfeat.inference import Precision
from vidfeat.inference.backends import Backend, PinBackend
from vidfeat.inference.computation import Batcher, VideoComputation
from vidfeat.inference.runner import InferenceRunner
from vidfeat.video import Nvdec, VideoInfo
from vidfeat.video.info import OnCorrupt

FLUSH_AFTER_SECONDS = 0.5
"""A batch that is not full waits so long for further videos, and is padded then."""

ORDERED_AT_THE_END = 100_000
"""So many of the last videos of a list are done longest first. Asking the disk for the sizes of more takes a while, and
a long video in the middle of a list keeps nobody waiting."""


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker computes. Plain data, that can be sent to another process.

    Attributes:
        devices: where the networks run, once on each.
        precision: their number format.
        backend: what runs them; None decides that by measurement on the first batch, where enough work is ahead.
        nvdec: decodes the videos that it can; None where PyAV decodes all.
        cores: CPU cores to use. Features do not depend on it.
        pool: how videos are decoded.
    """

    devices: tuple[torch.device, ...]
    precision: Precision
    backend: Backend | None
    nvdec: Nvdec | None
    cores: int
    pool: PoolOptions


@dataclass(frozen=True)
class Footage:
    """How far a video is.

    Attributes:
        key: the video.
        seconds: of it, decoded and handed to the networks.
        of_seconds: its duration.
    """

    key: str
    seconds: float
    of_seconds: float


@dataclass(frozen=True)
class Computed:
    """What came of a video for one encoder.

    Attributes:
        encoder: its position.
        outcome: features or failure.
        session: how features are computed where this was: device and numerics, as JSON data.
    """

    encoder: int
    outcome: Outcome
    session: dict[str, Any]


class Worker:
    """Computes features. It keeps its networks and decode processes between runs; `close` it to end them.

    Args:
        encoders: what to compute of each video, in the positions that tasks refer to.
        options: how.
        pin_backend: asked and informed about which backend is used, since backends differ in the last bits of a
            feature; called with the position of an encoder and a proposal, or None.
        say: takes a line about each decision.
        videos_ahead: how many videos are to come, roughly, which decides whether compiling pays; those of the run that
            is under way where None.

    Attributes:
        options: the argument.
        pool: the decode pool of the run under way, or of the last one; None before the first.
        tick: called now and then during a run, whether or not anything is finished.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        options: WorkerOptions,
        *,
        pin_backend: Callable[[int, str | None], str | None] = lambda encoder, proposal: proposal,
        say: Callable[[str], object] = lambda line: None,
        videos_ahead: int | None = None,
    ) -> None:
        self.encoders = tuple(encoders)
        self.options = options
        self._pin_backend = pin_backend
        self._say = say
        self._videos_ahead = videos_ahead
        self._assignment = Assignment(tuple(encoder.preprocess for encoder in encoders), options.nvdec)
        self._idle = Workers()
        self._runners: list[list[InferenceRunner]] = []
        self.pool: DecodePool | None = None
        self.tick: Callable[[], object] = lambda: None
        self._dispatcher: _Dispatcher | None = None
        self._running = threading.Lock()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Worker stays in its process: send its encoders and options, and make one there")

    def close(self) -> None:
        """End the decode processes; harmless when repeated."""
        self._idle.close()

    def pin(self, pin_backend: Callable[[int, str | None], str | None]) -> None:
        """Have another function fix the backends from here on. Those that are selected already are proposed to it.

        Raises:
            UsageError: it has fixed another.
        """
        self._pin_backend = pin_backend
        for position, runner in enumerate(self._runners[0] if self._runners else ()):
            if runner.backend is not None and (fixed := pin_backend(position, runner.backend)) != runner.backend:
                raise UsageError(
                    "compiled",
                    expected=f"the backend that the run was started with: {fixed}",
                    found=f"a worker that has selected {runner.backend}",
                )

    @property
    def runners(self) -> list[list[InferenceRunner]]:
        """For each device, a runner for each encoder. The first use loads the weights.

        Raises:
            CheckpointError: weights do not fit their network.
        """
        if not self._runners:
            self._runners = [
                [self._runner(position, device) for position in range(len(self.encoders))]
                for device in self.options.devices
            ]
        return self._runners

    def footage(self) -> list[Footage]:
        """How far each video is that is under way."""
        return [] if self._dispatcher is None else self._dispatcher.footage()

    def session(self, encoder: int) -> dict[str, Any]:
        """How features are computed here, as JSON data: device and numerics."""
        devices = ", ".join(
            torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
            for device in self.options.devices
        )
        return {"device": devices, "numerics": self.runners[0][encoder].numerics.to_json()}

    def run(
        self, tasks: Sequence[Task] | TaskStream, *, in_order: bool = False, on_corrupt: OnCorrupt | None = None
    ) -> Iterator[Computed]:
        """Compute the features of videos. Runs of several threads take place one after the other.

        Args:
            tasks: the videos, each with the encoders that are wanted of it. The tasks of a stream are begun in its
                order; the run lasts until it is closed, and closes it where it ends before.
            in_order: of a sequence, whether the tasks are begun and their outcomes yielded in their order; else the
                longest are begun first, and outcomes come as they are done.
            on_corrupt: in place of that of the options.

        Yields:
            What comes of each task, for each of its encoders.

        Raises:
            DeviceError: the first batch shows that the network's precision or backend does not work; or a GPU does not
                decode as it should.
            ConfigError: it shows that the network cannot take what its pipeline gives it.
            VidfeatError: no decode process can be started.
        """
        with self._running:
            if isinstance(tasks, TaskStream):
                stream, order = tasks, None
            else:
                tasks = tasks if in_order else in_order_of_work(tasks)
                stream, order = TaskStream(tasks, closed=True), tasks if in_order else None
            inbox = _Inbox()
            options = self.options.pool if on_corrupt is None else replace(self.options.pool, on_corrupt=on_corrupt)
            # Until the weights are loaded, the first video has the cores to itself.
            pool = DecodePool(
                self._assignment, stream, inbox.deliver, options, self._idle, first_alone=not self._runners
            )
            inbox.go_on = pool.go_on
            with contextlib.ExitStack() as stack:
                self.pool = stack.enter_context(pool)  # the first videos are decoded while the weights are loaded
                stack.callback(stream.close)  # or the pool would wait for tasks
                outcomes = stack.enter_context(contextlib.closing(self._outcomes(stream, pool, inbox)))
                yield from outcomes if order is None else _in_task_order(outcomes, order)

    def _runner(self, position: int, device: torch.device) -> InferenceRunner:
        encoder = self.encoders[position]
        loaded = encoder.load(device)
        if loaded.match.ignored_heads and device == self.options.devices[0]:
            heads = ", ".join(loaded.match.heads)
            self._say(f"{loaded.match.ignored_heads} weights of {heads} are not needed for features")
        pin: PinBackend = lambda proposal: self._pin_backend(position, proposal)  # noqa: E731
        return InferenceRunner(
            loaded.network,
            device,
            self.options.precision,
            backend=self.options.backend,
            pin_backend=pin,
            threads=self.options.cores,
            say=self._say,
        )

    def _outcomes(self, tasks: TaskStream, pool: DecodePool, inbox: _Inbox) -> Generator[Computed, None, None]:
        runners = self.runners
        dispatcher = _Dispatcher(self.encoders, runners, tasks, pool, inbox, self._videos_ahead or len(tasks))
        self._dispatcher = dispatcher
        with contextlib.ExitStack() as ending:
            for runner in itertools.chain.from_iterable(runners):
                ending.callback(runner.cancel)
            while not dispatcher.done:
                self.tick()
                outcomes = dispatcher.take_next()
                for _, encoder, outcome in outcomes:
                    yield Computed(encoder, outcome, self.session(encoder))
                for index in {index for index, *_ in outcomes}:
                    tasks.forget(index)
        if dispatcher.fallbacks:
            self._say(
                f"PyAV decoded {dispatcher.fallbacks} of {len(tasks)} videos in place of NVDEC; {dispatcher.fallback}"
            )


def in_order_of_work(tasks: Sequence[Task], ordered: int = ORDERED_AT_THE_END) -> Sequence[Task]:
    """The tasks with the last of them, `ordered` many, in falling order of their files' sizes.

    Where that is all of them, the smallest is the very first: its features come soon, and show that all is well.
    """
    start = max(0, len(tasks) - ordered)
    sized = [(size_of(task.video.uri), task) for task in tasks[start:]]
    sized.sort(key=lambda pair: -pair[0])
    work = [task for _, task in sized]
    if not start and sized and sized[0][0]:
        work.insert(0, work.pop(sum(size > 0 for size, _ in sized) - 1))
    return [*tasks[:start], *work]


@dataclass(frozen=True)
class _ChunkComputed:
    """A network is done with a chunk of the video of a task."""

    index: int


class _Inbox:
    """Takes events from any thread, the urgent ones first: what is computed is yielded before more is taken in, which
    may wait for room.
    """

    def __init__(self) -> None:
        self._queue: PriorityQueue[tuple[bool, int, Event | _ChunkComputed]] = PriorityQueue()
        self._arrivals = itertools.count()
        self.go_on: Callable[[], object] = lambda: None

    def deliver(self, event: Event | _ChunkComputed) -> None:
        if isinstance(event, _ChunkComputed | VideoFailed | PoolFailed):
            self.go_on()
        self._queue.put((not isinstance(event, _ChunkComputed), next(self._arrivals), event))

    def next_event(self) -> Event | _ChunkComputed:
        """The next event; raises `Empty` while there is none for a while."""
        return self._queue.get(timeout=FLUSH_AFTER_SECONDS)[-1]


@dataclass
class _Part:
    """The features of one video by one encoder, under way."""

    computation: VideoComputation
    counted: int = 0
    error: VideoError | None = None


@dataclass
class _Video:
    """A video that is being decoded or computed."""

    info: VideoInfo
    parts: Mapping[int, _Part]
    seconds: float = 0.0
    decoded: bool = False

    @property
    def done(self) -> bool:
        return self.decoded and all(part.error or part.computation.idle for part in self.parts.values())


class _Dispatcher:
    """Where what the decode pool delivers is given to the networks, and their rows are put together again."""

    def __init__(
        self,
        encoders: Sequence[Encoder],
        runners: Sequence[Sequence[InferenceRunner]],
        tasks: TaskStream,
        pool: DecodePool,
        inbox: _Inbox,
        videos_ahead: int,
    ) -> None:
        self._encoders, self._tasks, self._pool, self._inbox = encoders, tasks, pool, inbox
        self._decoded = self._finished = 0
        self._devices = [[Batcher(runner, videos_ahead) for runner in device] for device in runners]
        self._runners = runners
        self._videos: dict[int, _Video] = {}
        self.fallbacks, self.fallback = 0, ""

    def footage(self) -> list[Footage]:
        """How far each video is."""
        return [
            Footage(self._tasks[index].video.key, video.seconds, float(video.info.timeline.end_seconds[-1]))
            for index, video in list(self._videos.items())  # another thread may ask
        ]

    @property
    def done(self) -> bool:
        """Whether all outcomes were taken, and no more tasks will come."""
        return self._tasks.closed and self._finished == len(self._tasks)

    def take_next(self) -> list[tuple[int, int, Outcome]]:
        """Act on the next event; while there is none for a while, batches do not wait for more."""
        try:
            return self._take(self._inbox.next_event())
        except Empty:
            self._flush()
            return []

    def _take(self, event: Event | _ChunkComputed) -> list[tuple[int, int, Outcome]]:
        """Act on one event; returns the outcomes of its video, once they are known."""
        if isinstance(event, PoolFailed):
            raise event.error
        index = event.index
        if isinstance(event, VideoPlanned):
            self._begin(index, event.info)
        elif isinstance(event, ChunkDecoded):
            self._compute(event)
        elif isinstance(event, VideoDecoded):
            self._note_fallback(event)
            self._videos[index].decoded = True
            self._count_decoded()
        elif isinstance(event, VideoFailed):
            event.release()
            self._drop(index)
            self._count_decoded()
            self._finished += 1
            return [
                (index, number, self._failure(index, number, event.error)) for number in self._tasks[index].encoders
            ]
        video = self._videos.get(index)  # None where it failed while its last chunks were computed
        if video is None or not video.done:
            self._count_rows(video)
            return []
        self._finished += 1
        outcomes = [(index, number, self._outcome(index, number, video)) for number in video.parts]
        self._drop(index)
        return outcomes

    def _begin(self, index: int, info: VideoInfo) -> None:
        self._drop(index)
        device = min(range(len(self._devices)), key=lambda n: sum(runner.in_flight for runner in self._runners[n]))
        parts = {number: self._part(index, number, device, info) for number in self._tasks[index].encoders}
        self._videos[index] = _Video(info, parts)

    def _part(self, index: int, number: int, device: int, info: VideoInfo) -> _Part:
        video, encoder = self._tasks[index].video, self._encoders[number]
        windows = encoder.preprocess.windows(info, video.cut)
        batcher = self._devices[device][number]
        return _Part(VideoComputation(batcher, key=video.key, encoder=encoder.name, where=video.uri, windows=windows))

    def _compute(self, chunk: ChunkDecoded) -> None:
        video = self._videos[chunk.index]
        video.seconds = max(video.seconds, float(chunk.clips.end_seconds.max()))
        part = video.parts[chunk.encoder]
        if part.error is None:
            try:
                under_way = part.computation.add(chunk.clips)
                done = _ChunkComputed(chunk.index)  # and not the chunk: its pixels would stay as long as its rows
                _when_all_done(under_way, lambda: self._inbox.deliver(done))
            except Exception as error:
                part.error = self._as_video_error(chunk.index, chunk.encoder, error)  # later chunks are passed over
        chunk.release()

    def _outcome(self, index: int, number: int, video: _Video) -> Outcome:
        part = video.parts[number]
        if part.error is not None:
            return self._failure(index, number, part.error)
        try:
            return part.computation.result(video.info)
        except Exception as error:
            return self._failure(index, number, self._as_video_error(index, number, error))

    def _failure(self, index: int, number: int, error: VideoError) -> VideoFailure:
        return VideoFailure(self._tasks[index].video.key, self._encoders[number].name, error)

    def _as_video_error(self, index: int, number: int, error: Exception) -> VideoError:
        """The failure of a video; what would be that of every video is raised."""
        one_for_all = isinstance(error, DeviceError) or (
            isinstance(error, ConfigError) and self._runners[0][number].recipe.frames_are_alike
        )
        if one_for_all:
            raise error
        return as_video_error(self._tasks[index].video.uri, "model", error)

    def _note_fallback(self, event: VideoDecoded) -> None:
        if event.fallback:
            self.fallbacks += 1
            self.fallback = self.fallback or f"{self._tasks[event.index].video.uri}, for one: {event.fallback}"

    def _count_decoded(self) -> None:
        self._decoded += 1
        if self._decoded == len(self._tasks):
            self._flush()

    def _count_rows(self, video: _Video | None) -> None:
        """Have the budget know of the rows that wait for the rest of their video."""
        for part in video.parts.values() if video else ():
            size = part.computation.nbytes
            self._pool.budget.add_rows(size - part.counted)
            part.counted = size

    def _drop(self, index: int) -> None:
        video = self._videos.pop(index, None)
        for part in video.parts.values() if video else ():
            self._pool.budget.add_rows(-part.counted)

    def _flush(self) -> None:
        for batcher in itertools.chain.from_iterable(self._devices):
            batcher.flush()


def _when_all_done(futures: Sequence[Future[Any]], call: Callable[[], None]) -> None:
    """Call once, in any thread, when all futures are done or cancelled."""
    left = itertools.count(len(futures) - 1, -1)

    def one_done(_: Future[Any]) -> None:
        if next(left) == 0:
            call()

    for future in futures:
        future.add_done_callback(one_done)


def _in_task_order(outcomes: Iterable[Computed], tasks: Sequence[Task]) -> Iterator[Computed]:
    """The same outcomes, each after those of the tasks before it."""
    held: dict[str, list[Computed]] = {}
    following = iter(tasks)
    task = next(following, None)
    for computed in outcomes:
        held.setdefault(computed.outcome.key, []).append(computed)
        while task is not None and len(held.get(task.video.key, ())) == len(task.encoders):
            yield from held.pop(task.video.key)
            task = next(following, None)
