"""One process: videos are read ahead in threads while the network works on the ones before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from vidfeat.engine.progress import Progress
from vidfeat.errors import Kind, VideoError
from vidfeat.extract import Computation, Extractor, Features
from vidfeat.recipe import Recipe
from vidfeat.store import Entry, RunStore
from vidfeat.views import Views, read_views

OnError = Literal["skip", "fail"]

READING = 2
"""Videos that are read, or wait with their frames in memory, at once. Decoding and resizing release the interpreter
lock, so threads suffice; more of them only take cores from the network."""

COMPUTING = 2
"""Videos in the network at once: the next one begins before the last batches of one end."""


def run(
    extractor: Extractor,
    entries: Sequence[Entry],
    store: RunStore,
    progress: Progress,
    *,
    on_error: OnError = "skip",
) -> None:
    """Extract and commit the features of every entry, in order.

    Args:
        extractor: the model.
        entries: what to do.
        store: where each result is committed as soon as it is there.
        progress: told of every video.
        on_error: whether a broken video is recorded and left behind, or ends the run.

    Raises:
        VideoError: a video failed and `on_error` is "fail"; it is recorded all the same.
        OutputError: a result could not be written.
    """
    for entry, outcome in _outcomes(extractor, entries):
        if isinstance(outcome, VideoError):
            store.commit_failed(entry, outcome)
            progress.failed(str(outcome))
            if on_error == "fail":
                raise outcome
        else:
            store.commit_done(
                entry,
                outcome.array,
                frames=outcome.frames,
                fps=outcome.fps,
                seconds=outcome.frames / outcome.fps if outcome.fps else None,
            )
            progress.done()


def _outcomes(extractor: Extractor, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Features | VideoError]]:
    """What becomes of every entry, in order."""
    waiting = iter(entries)
    reading: deque[tuple[Entry, Future[Views | VideoError]]] = deque()
    computing: deque[tuple[Entry, Computation | VideoError]] = deque()
    with ThreadPoolExecutor(READING, thread_name_prefix="read") as pool:
        while True:
            while len(reading) < READING and (entry := next(waiting, None)) is not None:
                reading.append((entry, pool.submit(_read, extractor.recipe, entry)))
            if reading and len(computing) < COMPUTING:
                entry, views = reading.popleft()
                computing.append((entry, _begin(extractor, entry, views.result())))
            elif computing:
                entry, computation = computing.popleft()
                yield entry, _finish(entry, computation)
            else:
                return


def _read(recipe: Recipe, entry: Entry) -> Views | VideoError:
    try:
        return read_views(recipe, entry.path)
    except Exception as error:
        return _as_video_error(entry, "decode", error)


def _begin(extractor: Extractor, entry: Entry, views: Views | VideoError) -> Computation | VideoError:
    return views if isinstance(views, VideoError) else extractor.begin(views, where=str(entry.path))


def _finish(entry: Entry, computation: Computation | VideoError) -> Features | VideoError:
    if isinstance(computation, VideoError):
        return computation
    try:
        return computation.result()
    except Exception as error:
        return _as_video_error(entry, "model", error)


def _as_video_error(entry: Entry, stage: Literal["decode", "model"], error: Exception) -> VideoError:
    """One video must not end a run: what no reader foresaw is its failure too."""
    if isinstance(error, VideoError):
        return error
    kind: Kind = "out_of_memory" if isinstance(error, MemoryError) else "crashed"
    return VideoError(
        str(entry.path),
        stage=stage,
        kind=kind,
        expected="a video that can be processed",
        found=f"{type(error).__name__}: {error}",
        do="If the video plays elsewhere, please report this.",
    )
