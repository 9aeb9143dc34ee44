"""What the person at the terminal sees of a run: one line, kept up to date."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

LOG_EVERY_SECONDS = 10.0
"""Distance of log lines where the output is not a terminal."""


class Progress:
    """Videos done, videos per second, time left and failures.

    On a terminal one line that redraws itself; elsewhere a plain line every `LOG_EVERY_SECONDS` and one at the end.

    Args:
        total: videos in the run.
        already: how many of those an earlier run finished.
        quiet: show nothing but failures.
        stream: where to write.
    """

    def __init__(self, total: int, *, already: int = 0, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._total = total
        self._already = already
        self._done = already
        self._failed = 0
        self._start = self._last_log = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if not quiet and self._stream.isatty():
            self._bar = tqdm(total=total, initial=already, unit="video", file=self._stream, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif not self._quiet and self._done > self._already:
            self._log()

    def done(self) -> None:
        """One more video has its features."""
        self._advance()

    def failed(self, message: str) -> None:
        """One more video failed; its message is shown even when quiet."""
        self._failed += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
        self.say(message)
        self._advance()

    def say(self, message: str) -> None:
        """A line of its own, which does not break the progress line."""
        if self._bar is not None:
            self._bar.write(message, file=self._stream)
        else:
            print(message, file=self._stream, flush=True)

    def _advance(self) -> None:
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        elif not self._quiet and time.monotonic() - self._last_log >= LOG_EVERY_SECONDS:
            self._log()

    def _log(self) -> None:
        self._last_log = time.monotonic()
        rate = (self._done - self._already) / max(self._last_log - self._start, 1e-9)
        left = tqdm.format_interval((self._total - self._done) / rate)
        self.say(f"{self._done}/{self._total} videos, {rate:.2f} videos/s, {left} left, {self._failed} failed")
