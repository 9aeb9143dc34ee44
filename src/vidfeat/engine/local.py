"""One process: videos are read ahead in threads while the network works on the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from vidfeat.engine.progress import Progress
from vidfeat.errors import VideoError
from vidfeat.extract import Extractor, Views, read_views
from vidfeat.recipe import Recipe
from vidfeat.store import Entry, RunStore

OnError = Literal["skip", "fail"]

READ_AHEAD = 2
"""Videos in memory besides the one being computed. Decoding and resizing release the interpreter lock, so threads
suffice; more of them only take cores from the network."""


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
    for entry, views in _read_ahead(extractor.recipe, entries):
        try:
            features = extractor.compute(views.result(), where=str(entry.path))
        except VideoError as error:
            store.commit_failed(entry, error)
            progress.failed(str(error))
            if on_error == "fail":
                raise
        else:
            store.commit_done(
                entry,
                features.array,
                frames=features.frames,
                fps=features.fps,
                seconds=features.frames / features.fps if features.fps else None,
            )
            progress.done()


def _read_ahead(recipe: Recipe, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Future[Views]]]:
    """Every entry with its views under way, in order, at most `READ_AHEAD` ahead of the consumer."""
    pending: deque[tuple[Entry, Future[Views]]] = deque()
    with ThreadPoolExecutor(max_workers=READ_AHEAD, thread_name_prefix="read") as pool:
        try:
            for entry in entries:
                pending.append((entry, pool.submit(read_views, recipe, entry.path)))
                if len(pending) > READ_AHEAD:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()
        finally:
            for _, future in pending:
                future.cancel()
