"""What the person at the terminal sees of a run: one line, kept up to date."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

if TYPE_CHECKING:
    from vidfeat.engine.decode_pool import Readers
    from vidfeat.inference.runner import Network

LOG_EVERY_SECONDS = 10.0
"""Distance of log lines where the output is not a terminal."""

LOAD_EVERY_SECONDS = 2.0
"""How often the line on a terminal says anew where the time goes."""


class Load:
    """Which half of the work the other one waits for.

    Args:
        networks: all that compute.
        readers: all that decode.
    """

    def __init__(self, networks: Sequence[Network], readers: Readers) -> None:
        self._networks, self._readers = networks, readers
        self._last = self._now()

    def describe(self) -> str:
        """Where the time went since the last call, such as "model-bound (network 98 % busy, decoding 21 %)"."""
        now = self._now()
        seconds, *busy = (after - before for after, before in zip(now, self._last, strict=True))
        self._last = now
        places = (sum(network.lanes for network in self._networks), self._readers.processes)
        network, decoding = (100 * b / max(seconds, 1e-9) / places for b, places in zip(busy, places, strict=True))
        bound = "model" if network >= decoding else "decode"
        return f"{bound}-bound (network {network:.0f} % busy, decoding {decoding:.0f} %)"

    def _now(self) -> tuple[float, float, float]:
        network = sum(network.busy.seconds for network in self._networks)
        return time.monotonic(), network, self._readers.reading.seconds


class Progress:
    """Videos done, videos per second, time left, failures, and where the time goes.

    On a terminal one line that redraws itself; elsewhere a plain line every `LOG_EVERY_SECONDS` and one at the end.

    Args:
        total: videos in the run.
        already: how many of those an earlier run finished.
        quiet: show nothing but failures.
        stream: where to write.

    Attributes:
        load: asked where the time goes, once there is something that works.
    """

    def __init__(self, total: int, *, already: int = 0, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._total = total
        self._already = already
        self._done = self._logged = already
        self._failed = 0
        self._start = self._last_log = time.monotonic()
        self.load: Load | None = None
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
        elif not self._quiet and self._done > self._logged:
            self._log()

    def done(self) -> None:
        """One more video has its features."""
        self._advance()

    def failed(self, message: str) -> None:
        """One more video failed; its message is shown even when quiet."""
        self._failed += 1
        self.say(message)
        self._advance()

    def note(self, message: str) -> None:
        """A line of its own, unless quiet."""
        if not self._quiet:
            self.say(message)

    def say(self, message: str) -> None:
        """A line of its own, which does not break the progress line."""
        if self._bar is not None:
            self._bar.write(message, file=self._stream)
        else:
            print(message, file=self._stream, flush=True)

    def _advance(self) -> None:
        self._done += 1
        if self._bar is not None:
            if time.monotonic() - self._last_log >= LOAD_EVERY_SECONDS:
                self._last_log = time.monotonic()
                self._bar.set_postfix_str(self._more(), refresh=False)
            self._bar.update()
        elif not self._quiet and time.monotonic() - self._last_log >= LOG_EVERY_SECONDS:
            self._log()

    def _more(self) -> str:
        failed = [f"{self._failed} failed"] if self._failed or self._bar is None else []
        return ", ".join([*failed, *([self.load.describe()] if self.load else [])])

    def _log(self) -> None:
        self._last_log, self._logged = time.monotonic(), self._done
        rate = (self._done - self._already) / max(self._last_log - self._start, 1e-9)
        left = tqdm.format_interval((self._total - self._done) / rate)
        self.say(f"{self._done}/{self._total} videos, {rate:.2f} videos/s, {left} left, {self._more()}")
