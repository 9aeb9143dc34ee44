"""What the person at the terminal sees of a run: one line, kept up to date."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from vidfeat.errors import printable, shorten
from vidfeat.features import Outcome, VideoFailure
from vidfeat.hardware import usable_cores

if TYPE_CHECKING:
    from vidfeat.engine.event_log import EventLog
    from vidfeat.engine.worker import Footage, Worker

LOG_EVERY_SECONDS = 10.0
"""Distance of log lines where the output is not a terminal."""

LOAD_EVERY_SECONDS = 2.0
"""How often the line on a terminal is updated with where the time goes."""

LONG_SECONDS = 60.0
"""Of a video that is longer, the line says how much of it is done."""

MOST_OF_A_NAME = 16
"""Characters of its name that a line on a terminal has."""


class Load:
    """Which stage of the work the other one waits for.

    Args:
        worker: what works.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._last = (time.monotonic(), 0.0, 0.0)

    @property
    def longest(self) -> Footage | None:
        """The longest video under way."""
        return max(self._worker.footage(), key=lambda footage: footage.of_seconds, default=None)

    def measure(self) -> tuple[float, float] | None:
        """The share of the time since the last call, in percent, that the network and decoding were busy."""
        pool, runners = self._worker.pool, [runner for device in self._worker.runners for runner in device]
        if pool is None:
            return None
        now = (time.monotonic(), sum(runner.busy.seconds for runner in runners), pool.decoding.seconds)
        seconds, *busy = (after - before for after, before in zip(now, self._last, strict=True))
        self._last = now
        slots = (sum(runner.slots for runner in runners), pool.processes)
        network, decoding = (100 * b / max(seconds, 1e-9) / count for b, count in zip(busy, slots, strict=True))
        return network, decoding


class Progress:
    """Videos done, videos per second, time left, failures, and where the time goes.

    On a terminal one line that redraws itself; elsewhere a plain line every `LOG_EVERY_SECONDS` and one at the end.
    Both say how far a long video is.

    Args:
        total: videos in the run.
        already: how many of those an earlier run finished.
        quiet: show nothing but failures.
        verbose: show a line for each video.
        log: takes everything as events, whatever is shown.
        stream: where to write.
        wording: changes a line before it is shown.

    Attributes:
        load: says where the time goes, once there is a worker.
        workers: says how many work elsewhere, on a cluster.
    """

    def __init__(
        self,
        total: int,
        *,
        already: int = 0,
        quiet: bool = False,
        verbose: bool = False,
        log: EventLog | None = None,
        stream: TextIO | None = None,
        wording: Callable[[str], str] = str,
    ) -> None:
        self._wording = wording
        self._stream = stream or sys.stderr
        self._quiet, self._verbose = quiet, verbose
        self._log_event: Callable[..., None] = log.write if log else lambda event, **fields: None
        self._total = total
        self._already = already
        self._done = self._logged = already
        self._failed = 0
        self._showing = threading.Lock()
        self._start = self._last_log = self._last_event = time.monotonic()
        self.load: Load | None = None
        self.workers: Callable[[], int] | None = None
        self._bar: tqdm[Any] | None = None
        if not quiet and self._stream.isatty():
            self._bar = tqdm(total=total, initial=already, unit="video", file=self._stream, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        self._log_event("start", videos=self._total, already=self._already, cores=len(usable_cores()))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif not self._quiet and self._done > self._logged:
            self._log()
        failure = None if error is None else f"{type(error).__name__}: {error}"
        self._log_event("end", done=self._done, videos=self._total, failed=self._failed, error=failure)

    def count(self, outcome: Outcome) -> None:
        """One more outcome is committed. The message of a failure is shown even when quiet."""
        if isinstance(outcome, VideoFailure):
            self._failed += 1
            self.say(str(outcome.error))
            error = {"stage": outcome.error.stage, "kind": outcome.error.kind, "message": str(outcome.error)}
            self._log_event("video", key=outcome.key, encoder=outcome.encoder, status="failed", error=error)
            self.advance()
            return
        shape = list(outcome.values.shape)
        self._log_event("video", key=outcome.key, encoder=outcome.encoder, status="done", shape=shape)
        if self._verbose and not self._quiet:
            self.say(f"{outcome.key}: {' x '.join(map(str, shape))} numbers")
        if outcome.info is not None and outcome.info.salvaged:
            declared = f" of {outcome.info.frames_declared}" if outcome.info.frames_declared is not None else ""
            frames = f"{outcome.info.frames}{declared} frames that decode"
            self.say(f"{outcome.info.path}: broken, and salvaged: features of the {frames}")
        self.advance()

    def advance(self) -> None:
        """One more video is done."""
        self._done += 1
        if self._bar is not None:
            with _unless_closed():
                self._bar.update()
        self.tick()

    def tick(self) -> None:
        """Show what is due. Called now and then by any thread, also while no video is finished."""
        with self._showing:
            self._show_due(time.monotonic())

    def _show_due(self, now: float) -> None:
        if now - self._last_event >= LOG_EVERY_SECONDS:
            self._last_event = now
            self._log_event("progress", **self._numbers())
        if self._bar is not None:
            if now - self._last_log >= LOAD_EVERY_SECONDS:
                self._last_log = now
                with _unless_closed():
                    self._bar.set_postfix_str(self._more())
        elif not self._quiet and now - self._last_log >= LOG_EVERY_SECONDS:
            self._log()

    def note(self, message: str) -> None:
        """A line of its own, unless quiet."""
        self._log_event("note", message=self._wording(message))
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
        """What is said beside the counts; on a terminal in few words, as all of it has to fit into 80 columns."""
        brief = self._bar is not None
        parts = [f"{self._failed} failed"] if self._failed or not brief else []
        load = self.load.measure() if self.load else None
        if load is not None:
            bound = "model-bound" if load[0] >= load[1] else "decode-bound"
            parts.append(bound if brief else f"{bound} (network {load[0]:.0f}% busy, decoding {load[1]:.0f}%)")
        if self.workers is not None:
            parts.append(f"{self.workers()} workers")
        long = self.load.longest if self.load else None
        if long is not None and long.of_seconds >= LONG_SECONDS:
            name = shorten(long.key, MOST_OF_A_NAME) if brief else long.key
            parts.append(f"{name}: {long.seconds:.0f} of {long.of_seconds:.0f} s")
        return ", ".join(parts)

    def _numbers(self) -> dict[str, Any]:
        """The fields of the event "progress"."""
        longest = self.load.longest if self.load else None
        under_way = None if longest is None else asdict(longest)
        rate = self._rate(time.monotonic())
        return {
            **{"done": self._done, "videos": self._total, "failed": self._failed},
            **{"videos_per_second": rate, "longest": under_way},
            **({} if self.workers is None else {"workers": self.workers()}),
        }

    def start_clock(self) -> None:
        """Leave the time until now out of the rate: nothing could be computed yet."""
        if self._done == self._already:
            self._start = time.monotonic()
            if self._bar is not None:
                self._bar.unpause()

    def _rate(self, now: float) -> float:
        return (self._done - self._already) / max(now - self._start, 1e-9)

    def _log(self) -> None:
        self._last_log, self._logged = time.monotonic(), self._done
        rate = self._rate(self._last_log)
        left = tqdm.format_interval((self._total - self._done) / rate) if rate else "?"
        self.say(f"{self._done}/{self._total} videos, {rate:.2f} videos/s, {left} left, {self._more()}")


def _unless_closed() -> contextlib.suppress:
    """A terminal that is gone, or a log on a full disk, does not end the work."""
    return contextlib.suppress(OSError, ValueError)
