"""Ctrl-C that ends a command, whatever the command is at.

Python raises `KeyboardInterrupt` wherever the main thread happens to be, and not all code can take that. Amidst an
import, compiled modules drop it, make an `ImportError` of it, or abort the process; a callback that cannot raise only
prints it. The command then runs on, or ends with words about something else. Here it waits until no import is under
way and nobody holds the signal back, and is raised again where it got lost.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

LOOK_EVERY_SECONDS = 0.05
"""How soon Ctrl-C is raised after an import, or after it got lost."""

PATIENCE_SECONDS = 1.0
"""So long an import is waited for. Then the process ends as it stands, as it does at a second Ctrl-C that late. What is
committed is safe from that, and what takes so long to import is imported before anything is begun."""

_IMPORT_SYSTEM = frozenset({"importlib._bootstrap", "importlib._bootstrap_external"})


class Interrupts(contextlib.AbstractContextManager["Interrupts"]):
    """Inside, Ctrl-C raises `KeyboardInterrupt` where that can get through, until it gets through.

    Does nothing outside the main thread, and where somebody else takes care of the signal, or nobody is to: a shell
    has what it starts with `&` ignore Ctrl-C.

    Args:
        end: ends the process as it stands.

    Attributes:
        heard: whether Ctrl-C was pressed.
    """

    def __init__(self, end: Callable[[], NoReturn]) -> None:
        self._end = end
        self.heard = False
        self._over = True

    def __enter__(self) -> Interrupts:
        in_charge = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if in_charge and hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            self._over = False
            self._outermost = sys._getframe(1)  # an import that the caller is part of is not waited for
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        if self._over:
            return
        self._over = True
        if self.heard:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._before)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C was pressed."""
        if not self.heard:
            self._since, self.heard = time.monotonic(), True
            self._before = signal.signal(signal.SIGALRM, self._look)
        elif self._is_impatient():
            self._end()
        self._look(number, frame)

    def _look(self, number: int, frame: FrameType | None) -> None:
        """Raise, unless it is on its way already, through what there is to clean up, or would not get through."""
        if self._over:
            return
        signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY_SECONDS)
        if _is_on_its_way():
            return
        held_back = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if not held_back and not self._is_importing(frame):
            raise KeyboardInterrupt
        if self._is_impatient():
            self._end()

    def _is_impatient(self) -> bool:
        return time.monotonic() - self._since > PATIENCE_SECONDS

    def _is_importing(self, frame: FrameType | None) -> bool:
        while frame is not None and frame is not self._outermost:
            if frame.f_globals.get("__name__") in _IMPORT_SYSTEM:
                return True
            frame = frame.f_back
        return False


def _is_on_its_way() -> bool:
    """Whether the main thread is handling a `KeyboardInterrupt`, or something that came of one."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
