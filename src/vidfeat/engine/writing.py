"""Results on their way to the disk, in a thread of its own, so that nothing else waits for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Union

from vidfeat.engine.progress import Progress
from vidfeat.errors import VideoError
from vidfeat.extract import Features
from vidfeat.store import Entry, Failure, Result, RunStore, Success

MOST_WAITING = 64
"""Results that wait for the disk, at most; they are what a loss of power could cost, and are committed together."""

Outcome = Union[Features, VideoError]


class Writer:
    """Commits what becomes of videos, from `with` on; leaving it waits until all of that is on the disk.

    Whatever has come in while the disk was busy is committed together: a disk, above all one behind a network, takes
    about as long to say that many results are safe as that one is.

    Args:
        store: where to.
        progress: told of every video once it is committed.
        give_up: called, in another thread, with what kept the store from committing; nothing is committed after that.
    """

    def __init__(self, store: RunStore, progress: Progress, give_up: Callable[[Exception], object]) -> None:
        self._store, self._progress, self._give_up = store, progress, give_up
        self._waiting: deque[Result] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, entry: Entry, outcome: Outcome) -> None:
        """Have it committed; waits while too much is waiting already.

        Raises:
            OutputError, WriteError: an earlier one could not be committed.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < MOST_WAITING or self._error is not None)
            if self._error is not None:
                raise self._error
            self._waiting.append(_result(entry, outcome))
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while results := self._take():
                self._store.commit(*results)
                for result in results:
                    self._tell(result)
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
            self._give_up(error)

    def _take(self) -> list[Result]:
        """All that waits, once there is something; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            results = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return results

    def _tell(self, result: Result) -> None:
        if isinstance(result, Failure):
            self._progress.failed(str(result.error))
            return
        if result.salvaged:
            self._progress.say(_salvaged(result))
        self._progress.done()


def _result(entry: Entry, outcome: Outcome) -> Result:
    if isinstance(outcome, VideoError):
        return Failure(entry, outcome)
    return Success(
        entry,
        outcome.array,
        frames=outcome.frames,
        fps=outcome.fps,
        seconds=outcome.frames / outcome.fps if outcome.fps else None,
        salvaged=outcome.salvaged,
        frames_declared=outcome.frames_declared,
    )


def _salvaged(result: Success) -> str:
    declared = f" of {result.frames_declared}" if result.frames_declared is not None else ""
    return f"{result.entry.path}: broken, and salvaged: features of the {result.frames}{declared} frames that decode"
