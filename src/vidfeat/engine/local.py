"""One machine: videos are read in processes of their own while the network works on those that were read before."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal, Union

from vidfeat.engine.faults import as_video_error
from vidfeat.engine.progress import Progress
from vidfeat.engine.readers import Broken, Complete, Event, Failed, Piece, ReaderOptions, Readers, processes_for
from vidfeat.errors import VideoError
from vidfeat.extract import Computation, Extractor, Features, usable_cores
from vidfeat.store import Entry, RunStore
from vidfeat.views import OnCorrupt, ViewSpec

OnError = Literal["skip", "fail"]
Outcome = Union[Features, VideoError]


def run(
    extractor: Extractor,
    entries: Sequence[Entry],
    store: RunStore,
    progress: Progress,
    *,
    on_error: OnError = "skip",
    on_corrupt: OnCorrupt = "fail",
    reading: ReaderOptions | None = None,
) -> None:
    """Extract and commit the features of every entry, each as soon as it is done.

    Args:
        extractor: the model.
        entries: what to do.
        store: where each result is committed as soon as it is there.
        progress: told of every video.
        on_error: whether a broken video is recorded and left behind, or the first one in the list ends the run.
        on_corrupt: whether a truncated or corrupt video is broken, or gives features from the frames that decode.
        reading: how many processes read the videos, and what they may use. Features do not depend on it.

    Raises:
        VideoError: a video failed and `on_error` is "fail"; it is recorded all the same.
        OutputError: a result could not be written.
        VidfeatError: no process that reads videos can be started.
    """
    spec = ViewSpec.of(extractor.recipe, on_corrupt)
    reading = reading or ReaderOptions(processes_for(len(usable_cores())))
    with contextlib.closing(_outcomes(extractor, entries, spec, reading)) as outcomes:
        for index, outcome in _in_list_order(outcomes) if on_error == "fail" else outcomes:
            _commit(entries[index], outcome, store, progress)
            if on_error == "fail" and isinstance(outcome, VideoError):
                raise outcome


def _commit(entry: Entry, outcome: Outcome, store: RunStore, progress: Progress) -> None:
    if isinstance(outcome, VideoError):
        store.commit_failed(entry, outcome)
        progress.failed(str(outcome))
        return
    if outcome.salvaged:
        progress.say(_salvaged(entry, outcome))
    store.commit_done(
        entry,
        outcome.array,
        frames=outcome.frames,
        fps=outcome.fps,
        seconds=outcome.frames / outcome.fps if outcome.fps else None,
        salvaged=outcome.salvaged,
        frames_declared=outcome.frames_declared,
    )
    progress.done()


def _salvaged(entry: Entry, features: Features) -> str:
    declared = f" of {features.frames_declared}" if features.frames_declared is not None else ""
    return f"{entry.path}: broken, and salvaged: features of the {features.frames}{declared} frames that decode"


@dataclass
class _Video:
    """A video that is being read or computed."""

    computation: Computation
    read: bool = False


@dataclass(frozen=True)
class _Computed:
    """The network is done with a piece of video `index`."""

    index: int


def _outcomes(
    extractor: Extractor, entries: Sequence[Entry], spec: ViewSpec, reading: ReaderOptions
) -> Generator[tuple[int, Outcome], None, None]:
    """What becomes of every entry, by its position, in the order in which they are done."""
    inbox: SimpleQueue[Event | _Computed] = SimpleQueue()
    videos: dict[int, _Video] = {}
    try:
        with Readers(spec, [entry.path for entry in entries], inbox.put, reading):
            left = len(entries)
            while left:
                event = inbox.get()
                if isinstance(event, Broken):
                    raise event.error
                outcome = _take(event, extractor, entries[event.index], videos, inbox)
                if outcome is not None:
                    left -= 1
                    yield event.index, outcome
    finally:
        for video in videos.values():
            video.computation.cancel()


def _take(
    event: Piece | Complete | Failed | _Computed,
    extractor: Extractor,
    entry: Entry,
    videos: dict[int, _Video],
    inbox: SimpleQueue[Event | _Computed],
) -> Outcome | None:
    """Act on one event; returns what becomes of its video, once that is known."""
    index = event.index
    if isinstance(event, _Computed) and index not in videos:  # its video failed later on
        return None
    video = videos.setdefault(index, _Video(extractor.begin(where=str(entry.path))))
    if isinstance(event, Failed):
        event.release()
        videos.pop(index).computation.cancel()
        return event.error
    if isinstance(event, Piece):
        release = event.release

        def done() -> None:
            release()
            inbox.put(_Computed(index))

        _when_all_done(video.computation.add(event.views), done)
    if isinstance(event, Complete):
        video.read = True
    if not (video.read and video.computation.idle):
        return None
    return _result(entry, videos.pop(index).computation)


def _result(entry: Entry, computation: Computation) -> Outcome:
    try:
        return computation.result()
    except Exception as error:
        return as_video_error(entry.path, "model", error)


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
