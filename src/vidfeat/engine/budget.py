"""How far decoding may be ahead of the network: it bounds the memory of a run."""

from __future__ import annotations

import threading
import time

MOST_OUTSTANDING = 64
"""Chunks that are delivered and not yet released, at most, however small; each holds a file descriptor."""


class ClosingError(Exception):
    """The decode pool is being closed."""


class MemoryBudget:
    """Bytes that may be outstanding: pixels that wait for the network, and rows of videos that are not complete.

    Args:
        limit: how many at once. Where nothing else is taken, more is granted, so that nothing is too large for ever.
            A small amount counts as the limit's `MOST_OUTSTANDING`th part.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._least = limit // MOST_OUTSTANDING
        self._taken = 0
        self._rows = 0
        self._closed = False
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # one waits at a time, so that small amounts do not overtake a large one for ever

    def take(self, size: int) -> float:
        """Wait until there is room for `size` bytes, and take it.

        Returns:
            The seconds that this took.

        Raises:
            ClosingError: the budget was closed.
        """
        size = max(size, self._least)
        start = time.monotonic()
        with self._turn, self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._taken == 0 or self._taken + self._rows + size <= self._limit
            )
            if self._closed:
                raise ClosingError
            self._taken += size
        return time.monotonic() - start

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        with self._changed:
            self._taken -= max(size, self._least)
            self._changed.notify_all()

    def add_rows(self, size: int) -> None:
        """Count `size` more bytes of rows, fewer where it is below 0. Never waits: rows are there already."""
        with self._changed:
            self._rows += size
            self._changed.notify_all()

    def close(self) -> None:
        """Have all who wait raise `ClosingError`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
