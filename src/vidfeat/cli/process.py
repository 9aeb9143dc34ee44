"""The process of a command: Ctrl-C, the standard streams, and the exit code.

Exit codes: 0 all done, 1 an unexpected error, 2 usage or configuration, 3 some videos failed, 4 the output could not
be written (a full disk, a quota), 130 interrupted. Those of errors are with the errors: `VidfeatError.exit_code`.

Nothing that takes long is imported here, so that Ctrl-C is handled from the first moment on.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from vidfeat.errors import printable

EXIT_UNFORESEEN, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_WRITE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

REPEAT_SECONDS = 1.0
"""A Ctrl-C so soon after the first one is ignored: a launcher passes on what the terminal has sent already."""

GRACE_SECONDS = 1.8
"""The clean-up after Ctrl-C may take this long. Then the process ends as it stands, which loses no finished work."""


def echo(text: str, *, err: bool = False) -> None:
    """Print lines. What a terminal would obey is escaped, as names in them may come from strangers.

    Args:
        text: one line or several.
        err: whether to print on stderr.
    """
    for line in text.split("\n"):
        print(printable(line), file=sys.stderr if err else sys.stdout)


class CtrlC:
    """What Ctrl-C does to the process of a command.

    Until `begin_work` there is nothing to clean up, and the process ends at once. Compiled modules, which are imported
    in that time, can lose a `KeyboardInterrupt`, make an `ImportError` of it, or abort.

    From then on it raises `KeyboardInterrupt`, as Python does. The process ends at the next Ctrl-C that comes more than
    `REPEAT_SECONDS` later, and after `GRACE_SECONDS` in any case, whatever became of the exception. A thread sees to
    that, since the main thread notices a signal only between two steps of Python, and compiling has long ones.

    Attributes:
        words: what the command says of its work.
        pressed_at: when it was first pressed, on the monotonic clock in seconds; None before that.
    """

    def __init__(self) -> None:
        self.words = "interrupted"
        self.pressed_at: float | None = None
        self._has_begun = False
        self._ending = threading.Lock()

    def install(self) -> None:
        """Handle the signal, unless the process is to ignore it, as what a shell started with `&`."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            arrivals, wakeup = os.pipe()
            os.set_blocking(wakeup, False)
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
            threading.Thread(target=self._end_after_grace, args=[arrivals], daemon=True).start()
            signal.signal(signal.SIGINT, self._press)

    def begin_work(self, *modules: str) -> None:
        """Import the compiled modules that the work needs; from then on there is something to clean up."""
        for module in modules:
            importlib.import_module(module)
        self._has_begun = True

    def end(self) -> NoReturn:
        """Say what is left of the work, and end the process as it stands."""
        self._ending.acquire()  # another thread that comes later has nothing left to do
        with contextlib.suppress(OSError):
            os.write(2, f"vidfeat: error: {self.words}\n".encode())
        os._exit(EXIT_INTERRUPTED)

    def _end_after_grace(self, arrivals: int) -> None:
        while signal.SIGINT not in os.read(arrivals, 1):
            pass
        time.sleep(GRACE_SECONDS)
        self.end()

    def _press(self, number: int, frame: FrameType | None) -> None:
        if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
            # The main thread holds it back, and the system gave it to another one. It comes again when it may.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            return
        now = time.monotonic()
        if not self._has_begun or now - (self.pressed_at or now) > REPEAT_SECONDS:
            self.end()
        if self.pressed_at is None:
            self.pressed_at = now
            raise KeyboardInterrupt


ctrl_c = CtrlC()
"""That of this process."""


class _Stream(io.FileIO):
    """A standard stream that drops what it cannot write: its disk is full, or its reader went away.

    Attributes:
        failure: the first error; None while there is none.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all or some of the bytes; returns how many."""
        try:
            while (written := super().write(data)) is None:  # another program made it non-blocking, and it is full
                select.select([], [self], [])
            return written
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes


def run_process(main: Callable[[], int]) -> NoReturn:
    """Run a command, and end the process with its exit code.

    Ctrl-C ends it with one line and `EXIT_INTERRUPTED`. A stderr that cannot be written to changes nothing; a stdout
    that cannot changes the exit code at the end, silently where only its reader went away, as `head` does.

    Args:
        main: the command.
    """
    stdout = _open_streams()  # before anything else is opened, which would get the number of a stream that is closed
    ctrl_c.install()
    try:
        code = main()
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to do but to end
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or ctrl_c.pressed_at is not None:  # whatever else came of it
            ctrl_c.end()
        raise
    if stdout.failure is not None and code == 0:
        code = EXIT_UNFORESEEN
        if not isinstance(stdout.failure, BrokenPipeError):
            code = EXIT_WRITE
            echo(f"vidfeat: error: standard output: {stdout.failure.strerror}", err=True)
    sys.exit(code)


def _open_streams() -> _Stream:
    """Make stdout and stderr such that writing to them raises nothing; returns that of stdout."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # it is closed: the next file opened would get its number, and what is printed with it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    out, err = _Stream(1, "w", closefd=False), _Stream(2, "w", closefd=False)
    sys.stdout, sys.stderr = _text(out, sys.stdout), _text(err, sys.stderr)
    return out


def _text(stream: _Stream, like: Any) -> io.TextIOWrapper:
    encoding = getattr(like, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(stream), encoding, errors="backslashreplace", line_buffering=True)
