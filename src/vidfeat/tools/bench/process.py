"""Work in a fresh process: how long it takes, and the most memory that it and all processes below it hold."""

from __future__ import annotations

import functools
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from vidfeat.engine.subprocesses import block_sigint, describe_exit, die_with_parent, unblock_sigint
from vidfeat.errors import VidfeatError
from vidfeat.tools.bench.memory import MemoryMeter

T = TypeVar("T")

LOOK_EVERY_SECONDS = 0.05
_END_SECONDS = 10.0


class Clock:
    """Given to the work: what it does before `start` is preparation, and what it does after `stop` is not measured."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._started = 0.0

    def start(self) -> None:
        """The work begins."""
        self._pipe.send(("started", None))
        self._started = time.perf_counter()

    def stop(self) -> None:
        """The work is done."""
        self._pipe.send(("stopped", time.perf_counter() - self._started))


Work = Callable[[Clock], T]
"""What is measured. It travels to a fresh process, and so must be a function of a module, or a partial one of that."""


@dataclass(frozen=True)
class Measured(Generic[T]):
    """What some work returned, and what it took.

    Attributes:
        result: what it returned.
        seconds: between `start` and `stop` of its clock; 0.0 where it never started it.
        peak_bytes: most memory of the process and all below it, from its birth until `stop`; None where that cannot be
            seen.
        running_peak_bytes: the same between `start` and `stop`.
    """

    result: T
    seconds: float
    peak_bytes: int | None
    running_peak_bytes: int | None


def measure(work: Work[T]) -> Measured[T]:
    """Do some work in a fresh process.

    Raises:
        VidfeatError: what the work raised, or the process died.
        RuntimeError: the work raised something else; its traceback is attached.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(work, sending))
    try:
        resource_tracker.ensure_running()  # its start unblocks Ctrl-C in this process
        with block_sigint():
            process.start()
        sending.close()
        measured: Measured[T] = _watch(process, receiving)
        process.join(_END_SECONDS)
        return measured
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        receiving.close()


def apart(work: Callable[[], T]) -> T:
    """Do some work in a fresh process, only so that it leaves nothing behind in this one; raises as `measure` does."""
    return measure(functools.partial(_untimed, work)).result


def _untimed(work: Callable[[], T], _: Clock) -> T:
    return work()


def _serve(work: Work[Any], pipe: Connection) -> None:
    """The life of the process."""
    unblock_sigint(signal.SIG_IGN)  # the parent decides
    die_with_parent()
    try:
        pipe.send(("returned", work(Clock(pipe))))
    except VidfeatError as error:
        pipe.send(("raised", (error, None)))
    except Exception as error:
        wrapped = RuntimeError(f"in a measured process, {type(error).__name__}: {error}")
        pipe.send(("raised", (wrapped, RuntimeError(f"\n{traceback.format_exc()}"))))


def _watch(process: BaseProcess, pipe: Connection) -> Measured[Any]:
    """Take what the process sends, and look at its memory in between."""
    pid = process.pid or 0
    preparing, running = MemoryMeter(pid), MemoryMeter(pid)
    meter: MemoryMeter | None = preparing
    seconds = 0.0
    while True:
        event, value = _receive(process, pipe)
        if event == "started":
            meter = running
        elif event == "stopped":
            meter, seconds = None, value
        elif event == "raised":
            error, trace = value
            raise error from trace
        elif event == "returned":
            peak = max(preparing.peak_bytes, running.peak_bytes)
            return Measured(value, seconds, peak or None, running.peak_bytes or None)
        if meter is not None:
            meter.look()


def _receive(process: BaseProcess, pipe: Connection) -> tuple[str, Any]:
    """What happened, and what came with it; an empty word where nothing did for a moment."""
    try:
        return pipe.recv() if pipe.poll(LOOK_EVERY_SECONDS) else ("", None)
    except EOFError:
        process.join(_END_SECONDS)
    raise VidfeatError(
        "the measured process",
        expected="a process that runs until its work is done",
        found=f"one that {describe_exit(process.exitcode or 0)}",
        hint="See what it wrote above, and whether the machine has enough memory.",
    )
