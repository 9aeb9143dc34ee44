"""One machine: videos are read in processes of their own while the network works on those that were read before.

Batches are filled across videos. Where there are several devices, each has a network, and every video goes as a whole
to the one with the least to do; the videos are one queue, the longest first, so that none is left over at the end.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, PriorityQueue
from typing import Any, Literal

from vidfeat.engine.decode_pool import ReaderOptions, Readers, processes_for
from vidfeat.engine.decode_worker import size_of
from vidfeat.engine.events import Broken, ChunkDecoded, Complete, Event, Failed
from vidfeat.engine.faults import as_video_error
from vidfeat.engine.progress import Load, Progress
from vidfeat.engine.worker_handle import PrewarmedWorkers
from vidfeat.engine.writing import Outcome, Writer
from vidfeat.errors import ConfigError, DeviceError, VideoError
from vidfeat.extract import Computation, Extractor
from vidfeat.hardware import usable_cores
from vidfeat.preprocessing.clips import PreprocessSpec
from vidfeat.store import Entry, RunStore

OnError = Literal["skip", "fail"]

FLUSH_AFTER_SECONDS = 0.5
"""A batch that is not full waits so long for further videos, and is padded then."""

ORDERED_AT_THE_END = 100_000
"""So many of the last videos of a list are done longest first. Asking the disk for the sizes of more takes a while, and
a long video in the middle of a list keeps nobody waiting."""


class Reading:
    """Videos that are read from `with` on, also while there is no network yet to take them; leaving it ends that.

    Args:
        spec: what to read of each video.
        entries: the videos.
        options: how many processes read, and what they may use. Features do not depend on it.
        in_order: whether the list's order is kept; else the longest are read first.
        early: decode processes that are there already; the first video then has the machine to itself.

    Attributes:
        entries: the videos in the order in which they are read; events have their positions.
        readers: who reads them.
    """

    def __init__(
        self,
        spec: PreprocessSpec,
        entries: Sequence[Entry],
        options: ReaderOptions | None = None,
        *,
        in_order: bool = False,
        early: PrewarmedWorkers | None = None,
    ) -> None:
        self.entries = entries if in_order else in_order_of_work(entries)
        paths = [entry.path for entry in self.entries]
        options = options or ReaderOptions(processes_for(len(usable_cores())))
        self.readers = Readers(spec, paths, self.deliver, options, early, first_alone=early is not None)
        # By urgency, then by arrival: what is computed is committed before more is taken in, which may wait for room.
        self._inbox: PriorityQueue[tuple[bool, int, Event | _Computed]] = PriorityQueue()
        self._arrivals = itertools.count()

    def __enter__(self) -> Reading:
        self.readers.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.readers.__exit__(*error)

    def deliver(self, event: Event | _Computed) -> None:
        """Take an event, from any thread."""
        if isinstance(event, _Computed | Failed | Broken):
            self.readers.go_on()
        self._inbox.put((not isinstance(event, _Computed), next(self._arrivals), event))

    def next_event(self) -> Event | _Computed:
        """The next event; raises `Empty` while there is none for a while."""
        return self._inbox.get(timeout=FLUSH_AFTER_SECONDS)[-1]


def run(
    extractors: Extractor | Sequence[Extractor],
    reading: Reading,
    store: RunStore,
    progress: Progress,
    *,
    on_error: OnError = "skip",
) -> None:
    """Extract and commit the features of every video, as soon as they are there.

    Args:
        extractors: the model; several of the same, on devices of their own, share the videos.
        reading: the videos, under way, as the model's recipe wants them.
        store: where each result is committed as soon as it is there.
        progress: told of every video.
        on_error: whether a broken video is recorded and left behind, or the first one in the order of reading ends the
            run.

    Raises:
        VideoError: a video failed and `on_error` is "fail"; it is recorded all the same.
        OutputError: a result could not be written.
        DeviceError: the first batch shows that the network's precision or kernels do not work; or a video, that the
            GPU does not decode as it should.
        ConfigError: it shows that the network cannot take what its pipeline gives it.
        VidfeatError: no process that reads videos can be started.
    """
    extractors = [extractors] if isinstance(extractors, Extractor) else extractors
    progress.load = Load([extractor.network for extractor in extractors], reading.readers)
    with (
        Writer(store, progress, give_up=lambda error: reading.deliver(Broken(error))) as writer,
        contextlib.closing(_outcomes(extractors, reading, progress)) as outcomes,
    ):
        for index, outcome in _in_list_order(outcomes) if on_error == "fail" else outcomes:
            writer.put(reading.entries[index], outcome)
            if on_error == "fail" and isinstance(outcome, VideoError):
                raise outcome


def in_order_of_work(entries: Sequence[Entry], ordered: int = ORDERED_AT_THE_END) -> Sequence[Entry]:
    """The entries with the last of them, `ordered` many, in falling order of their files' sizes.

    Where that is all of them, the smallest is the very first: its features come soon, and show that all is well.
    """
    head, tail = entries[: max(0, len(entries) - ordered)], entries[max(0, len(entries) - ordered) :]
    sizes = {entry.index: size_of(entry.path) for entry in tail}
    work = [*head, *sorted(tail, key=lambda entry: -sizes[entry.index])]
    if not head and any(sizes.values()):
        work.insert(0, work.pop(sum(size > 0 for size in sizes.values()) - 1))
    return work


@dataclass
class _Video:
    """A video that is being read or computed."""

    computation: Computation
    read: bool = False
    error: VideoError | None = None


@dataclass(frozen=True)
class _Computed:
    """A network is done with a piece of video `index`."""

    index: int


def _outcomes(
    extractors: Sequence[Extractor], reading: Reading, progress: Progress
) -> Generator[tuple[int, Outcome], None, None]:
    """What becomes of every video, by its position, in the order in which they are done."""
    desk = _Desk(extractors, reading)
    with contextlib.ExitStack() as ending:
        for extractor in extractors:
            ending.callback(extractor.network.cancel)
        left, by_pyav, doubt = len(reading.entries), 0, ""
        while left:
            event = desk.next_event()
            if isinstance(event, Broken):
                raise event.error
            if isinstance(event, Complete) and event.doubt:
                by_pyav += 1
                doubt = doubt or f"{reading.entries[event.index].path}, for one: {event.doubt}"
            outcome = desk.take(event)
            if outcome is not None:
                left -= 1
                yield event.index, outcome
        if by_pyav:
            progress.note(f"PyAV decoded {by_pyav} of {len(reading.entries)} videos, and not NVDEC; {doubt}")


class _Desk:
    """Where what the readers send is given to the networks, and what those are done with is put together again.

    Args:
        extractors: one for each device.
        reading: the videos.
    """

    def __init__(self, extractors: Sequence[Extractor], reading: Reading) -> None:
        self._reading = reading
        self._unread = len(reading.entries)
        self._batchers = [(extractor, extractor.batcher(self._unread)) for extractor in extractors]
        self._videos: dict[int, _Video] = {}

    def next_event(self) -> Event | _Computed:
        """The next event; while there is none, batches do not wait for more."""
        while True:
            try:
                return self._reading.next_event()
            except Empty:
                self._flush()

    def take(self, event: ChunkDecoded | Complete | Failed | _Computed) -> Outcome | None:
        """Act on one event; returns what becomes of its video, once that is known."""
        index = event.index
        if isinstance(event, _Computed) and index not in self._videos:  # its video failed later on
            return None
        if isinstance(event, ChunkDecoded):
            self._compute(event)
        elif isinstance(event, Failed):
            event.release()
            self._videos.pop(index, None)
        elif isinstance(event, Complete):
            self._videos[index].read = True
        if isinstance(event, Complete | Failed):
            self._unread -= 1
            if self._unread == 0:
                self._flush()
        if isinstance(event, Failed):
            return event.error
        video = self._videos[index]
        if not (video.read and video.computation.idle):
            return None
        del self._videos[index]
        try:
            return video.error or video.computation.result()
        except Exception as error:
            return self._as_video_error(index, error)

    def _compute(self, piece: ChunkDecoded) -> None:
        index = piece.index
        if index not in self._videos:
            extractor, batcher = min(self._batchers, key=lambda pair: pair[0].network.flying)
            self._videos[index] = _Video(extractor.begin(batcher, where=str(self._reading.entries[index].path)))
        video = self._videos[index]
        if video.error is None:
            try:
                under_way = video.computation.add(piece.views)
                _when_all_done(under_way, lambda: self._reading.deliver(_Computed(index)))
            except Exception as error:
                video.error = self._as_video_error(index, error)  # and what else comes of it is passed over
        piece.release()

    def _as_video_error(self, index: int, error: Exception) -> VideoError:
        """The failure of a video; what would be that of every video is raised."""
        one_for_all = isinstance(error, DeviceError) or (
            isinstance(error, ConfigError) and self._batchers[0][0].recipe.frames_are_alike
        )
        if one_for_all:
            raise error
        return as_video_error(self._reading.entries[index].path, "model", error)

    def _flush(self) -> None:
        for _, batcher in self._batchers:
            batcher.flush()


def _when_all_done(futures: Sequence[Future[Any]], call: Callable[[], None]) -> None:
    """Call once, in any thread, when all futures are done or cancelled."""
    left = itertools.count(len(futures) - 1, -1)

    def one_done(_: Future[Any]) -> None:
        if next(left) == 0:
            call()

    for future in futures:
        future.add_done_callback(one_done)


def _in_list_order(outcomes: Iterable[tuple[int, Outcome]]) -> Iterator[tuple[int, Outcome]]:
    """The same outcomes, each after those of the videos before it."""
    held: dict[int, Outcome] = {}
    following = 0
    for index, outcome in outcomes:
        held[index] = outcome
        while following in held:
            yield following, held.pop(following)
            following += 1
