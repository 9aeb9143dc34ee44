"""How processes below this one end: with it, and at Ctrl-C without a word of their own."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends, however that ends, and even if this process hangs.

    Only Linux can. Elsewhere the closed socket tells, once the decoder has returned.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def block_sigint() -> Iterator[None]:
    """Processes that are started inside do not hear Ctrl-C, which goes to all at a terminal, until they `hear` it.

    Else one that is just importing would end with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear(action: signal.Handlers) -> None:
    """Do with Ctrl-C from here on, in this process, what `action` says."""
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
