"""How child processes end: with their parent, and at Ctrl-C without output of their own."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends, however that ends, and even if this process hangs.

    Only Linux can. Elsewhere the process sees that the socket is closed once the decoder has returned.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def block_sigint() -> Iterator[None]:
    """Processes that are started inside get no SIGINT, which Ctrl-C sends to all processes at a terminal, until they
    call `unblock_sigint`.

    One that is just importing would end with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_sigint(action: signal.Handlers) -> None:
    """Handle SIGINT in this process by `action` from here on."""
    signal.signal(signal.SIGINT, action)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def describe_exit(code: int) -> str:
    """What a process's exit code says, to go after "a process that"; below 0 it is that of a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"was ended by signal {-code}"
