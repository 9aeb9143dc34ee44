"""Where the time goes: seconds that threads spend on something, all added up and up to now."""

from __future__ import annotations

import threading
import time


class Stopwatch:
    """Seconds between starts and stops, or inside `with` blocks. Any number of threads may run it at once; each counts
    for itself.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._seconds = 0.0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far, at least 0."""
        self._step(0)
        return self._seconds

    def start(self) -> None:
        """One more thread runs it."""
        self._step(1)

    def stop(self) -> None:
        """One thread less runs it."""
        self._step(-1)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _step(self, threads: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._seconds += self._running * (now - self._since)
            self._since = now
            self._running += threads
