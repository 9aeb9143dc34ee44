"""Outcomes on their way to the disk, in a thread of its own, so that nothing else waits for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from vidfeat.engine.worker import Computed
from vidfeat.features import VideoFeatures

MOST_WAITING = 64
"""Outcomes that wait for the disk, at most; they are what a loss of power could cost, and are committed together."""

MOST_WAITING_BYTES = 64 << 20
"""The same of their values; a single outcome may have more."""


class Committer:
    """Commits outcomes, from `with` on; leaving it waits until all of them are on the disk.

    Whatever has come in while the disk was busy is committed together: a disk, above all one behind a network, takes
    about as long to confirm many results as to confirm one.

    Args:
        commit: keeps outcomes; when it returns, they survive a crash of the machine. It returns them, with failures in
            place of those that cannot be kept.
        committed: called for every outcome once it is committed; what it raises ends the run.
        linger_seconds: so long outcomes are collected before they are committed, unless too much is waiting.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Computed]], Sequence[Computed]],
        committed: Callable[[Computed], object],
        linger_seconds: float = 0.0,
    ) -> None:
        self._linger_seconds = linger_seconds
        self._commit, self._committed = commit, committed
        self._waiting: deque[Computed] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)

    def __enter__(self) -> Committer:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, computed: Computed) -> None:
        """Have it committed; waits while too much is waiting already.

        Raises:
            OutputError, WriteError: an earlier one could not be committed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._has_room())
            if self._error is not None:
                raise self._error
            self._waiting.append(computed)
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return len(self._waiting) < MOST_WAITING and sum(map(_nbytes, self._waiting)) < MOST_WAITING_BYTES

    def _work(self) -> None:
        try:
            while waiting := self._take():
                for computed in self._commit(waiting):
                    self._committed(computed)
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _take(self) -> list[Computed]:
        """All that waits, once there is something; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            self._changed.wait_for(lambda: self._ending or not self._has_room(), self._linger_seconds)
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return waiting


def _nbytes(computed: Computed) -> int:
    return computed.outcome.values.nbytes if isinstance(computed.outcome, VideoFeatures) else 0
