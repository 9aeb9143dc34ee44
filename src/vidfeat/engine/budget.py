"""What may be outstanding between those who read and those who compute: it bounds the memory of a run."""

from __future__ import annotations

import threading
import time

MOST_OUTSTANDING = 64
"""Chunks that are sent and not yet released, at most, however small; each holds a file descriptor."""


class ClosingError(Exception):
    """The readers are being closed."""


class Budget:
    """Bytes that may be outstanding.

    Args:
        limit: how many at once. A single holder may have more, so that nothing is too large for ever. A small taking
            counts as a `MOST_OUTSTANDING`th of the limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._least = limit // MOST_OUTSTANDING
        self._held = 0
        self._closed = False
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # one waits at a time, so that small takings do not overtake a large one for ever

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
            self._changed.wait_for(lambda: self._closed or self._held == 0 or self._held + size <= self._limit)
            if self._closed:
                raise ClosingError
            self._held += size
        return time.monotonic() - start

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        with self._changed:
            self._held -= max(size, self._least)
            self._changed.notify_all()

    def close(self) -> None:
        """Send away all who wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
