"""What the person at the terminal sees of a run: one line, kept up to date."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from tqdm import tqdm

from vidfeat.errors import printable
from vidfeat.features import Outcome, VideoFailure

if TYPE_CHECKING:
    from vidfeat.engine.worker import Worker

LOG_EVERY_SECONDS = 10.0
"""Distance of log lines where the output is not a terminal."""

LOAD_EVERY_SECONDS = 2.0
"""How often the line on a terminal is updated with where the time goes."""


class Describing(Protocol):
    """Says where the time goes."""

    def describe(self) -> str:
        """In some words, for the line of progress."""


class Load:
    """Which stage of the work the other one waits for.

    Args:
        worker: what works.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._last = (time.monotonic(), 0.0, 0.0)

    def describe(self) -> str:
        """Where the time went since the last call, such as "model-bound (network 98 % busy, decoding 21 %)"."""
        pool, runners = self._worker.pool, [runner for device in self._worker.runners for runner in device]
        if pool is None:
            return ""
        now = (time.monotonic(), sum(runner.busy.seconds for runner in runners), pool.decoding.seconds)
        seconds, *busy = (after - before for after, before in zip(now, self._last, strict=True))
        self._last = now
        slots = (sum(runner.slots for runner in runners), pool.processes)
        network, decoding = (100 * b / max(seconds, 1e-9) / count for b, count in zip(busy, slots, strict=True))
        bound = "model" if network >= decoding else "decode"
        return f"{bound}-bound (network {network:.0f} % busy, decoding {decoding:.0f} %)"


class Progress:
    """Videos done, videos per second, time left, failures, and where the time goes.

    On a terminal one line that redraws itself; elsewhere a plain line every `LOG_EVERY_SECONDS` and one at the end.

    Args:
        total: videos in the run.
        already: how many of those an earlier run finished.
        quiet: show nothing but failures.
        stream: where to write.
        wording: changes a line before it is shown.

    Attributes:
        load: says where the time goes, once there is a worker.
    """

    def __init__(
        self,
        total: int,
        *,
        already: int = 0,
        quiet: bool = False,
        stream: TextIO | None = None,
        wording: Callable[[str], str] = str,
    ) -> None:
        self._wording = wording
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._total = total
        self._already = already
        self._done = self._logged = already
        self._failed = 0
        self._start = self._last_log = time.monotonic()
        self.load: Describing | None = None
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
            self._bar = None
        elif not self._quiet and self._done > self._logged:
            self._log()

    def count(self, outcome: Outcome) -> None:
        """One more outcome is committed. The message of a failure is shown even when quiet."""
        if isinstance(outcome, VideoFailure):
            self._failed += 1
            self.say(str(outcome.error))
        elif outcome.info is not None and outcome.info.salvaged:
            declared = f" of {outcome.info.frames_declared}" if outcome.info.frames_declared is not None else ""
            frames = f"{outcome.info.frames}{declared} frames that decode"
            self.say(f"{outcome.info.path}: broken, and salvaged: features of the {frames}")
        self.advance()

    def advance(self) -> None:
        """One more video is done."""
        self._done += 1
        if self._bar is not None:
            if time.monotonic() - self._last_log >= LOAD_EVERY_SECONDS:
                self._last_log = time.monotonic()
                self._bar.set_postfix_str(self._more(), refresh=False)
            with _unless_closed():
                self._bar.update()
        elif not self._quiet and time.monotonic() - self._last_log >= LOG_EVERY_SECONDS:
            self._log()

    def note(self, message: str) -> None:
        """A line of its own, unless quiet."""
        if not self._quiet:
            self.say(message)

    def say(self, message: str) -> None:
        """A line of its own, which does not break the progress line. Control characters in it are escaped."""
        line = printable(self._wording(message))
        with _unless_closed():
            if self._bar is not None:
                self._bar.write(line, file=self._stream)
            else:
                print(line, file=self._stream, flush=True)

    def _more(self) -> str:
        failed = [f"{self._failed} failed"] if self._failed or self._bar is None else []
        load = self.load.describe() if self.load else ""
        return ", ".join([*failed, *([load] if load else [])])

    def _log(self) -> None:
        self._last_log, self._logged = time.monotonic(), self._done
        rate = (self._done - self._already) / max(self._last_log - self._start, 1e-9)
        left = tqdm.format_interval((self._total - self._done) / rate)
        self.say(f"{self._done}/{self._total} videos, {rate:.2f} videos/s, {left} left, {self._more()}")


def _unless_closed() -> contextlib.suppress:
    """A terminal that is gone, or a log on a full disk, does not end the work."""
    return contextlib.suppress(OSError, ValueError)
