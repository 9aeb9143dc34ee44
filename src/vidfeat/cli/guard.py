"""How a command ends: errors and Ctrl-C become one message and an exit code.

Exit codes: 0 all done, 1 something unforeseen, 2 usage or configuration, 3 some videos failed, 4 the output could not
be written (a full disk, a quota), 130 interrupted. Those of errors are with the errors: `VidfeatError.exit_code`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from vidfeat.cli.interrupt import Interrupts
from vidfeat.errors import VideoError, VidfeatError

EXIT_UNFORESEEN, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 2, 3, 130


def guarded(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command; errors become one message on stderr and an exit code, with a traceback only for `--debug`.

    Args:
        run: the command, which returns its exit code.
        options: its flags. `debug` lets errors through; `interrupted` is what Ctrl-C says, where the command has words
            of its own for what then becomes of the work.

    Returns:
        The exit code.
    """
    interrupted = f"vidfeat: error: {getattr(options, 'interrupted', 'interrupted')}\n"

    def end() -> NoReturn:
        os.write(2, interrupted.encode())  # the stream may be in the middle of a line
        os._exit(EXIT_INTERRUPTED)

    with Interrupts(end) as interrupts:
        try:
            code = run(options)
            sys.stdout.flush()
            return code
        except (Exception, KeyboardInterrupt) as error:
            if interrupts.heard or isinstance(error, KeyboardInterrupt):  # whatever else became of it on its way
                sys.stderr.write(interrupted)
                return EXIT_INTERRUPTED
            if isinstance(error, BrokenPipeError):
                # The reader of our output went away, as `head` does. Python would complain once more at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return EXIT_UNFORESEEN
            if options.debug:
                raise
            message, code = _told(error)
            print(f"vidfeat: error: {message}", file=sys.stderr)
            return code


def _told(error: Exception) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, VidfeatError):
        return str(error), EXIT_SOME_FAILED if isinstance(error, VideoError) else error.exit_code
    words = f"unforeseen {type(error).__name__}: {error}. Please report it, with the output of --debug."
    return words, EXIT_UNFORESEEN
