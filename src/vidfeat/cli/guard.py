"""How a command ends: errors and Ctrl-C become one message and an exit code.

Exit codes: 0 all done, 1 something unforeseen, 2 usage or configuration, 3 some videos failed, 4 the output could not
be written (a full disk, a quota). Those of errors are with the errors: `VidfeatError.exit_code`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from vidfeat.errors import VideoError, VidfeatError

EXIT_UNFORESEEN, EXIT_USAGE, EXIT_SOME_FAILED = 1, 2, 3


def guarded(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command; errors become one message on stderr and an exit code, with a traceback only for `--debug`.

    Args:
        run: the command, which returns its exit code.
        options: its flags. `debug` lets errors through; `interrupted` is what Ctrl-C says, where the command has words
            of its own for what then becomes of the work.

    Returns:
        The exit code.
    """
    try:
        code = run(options)
        sys.stdout.flush()
        return code
    except VidfeatError as error:
        message, code = str(error), EXIT_SOME_FAILED if isinstance(error, VideoError) else error.exit_code
        if options.debug:
            raise
    except KeyboardInterrupt:
        message, code = getattr(options, "interrupted", "interrupted"), EXIT_UNFORESEEN
    except BrokenPipeError:
        # The reader of our output went away, as `head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNFORESEEN
    except Exception as error:
        if options.debug:
            raise
        message = f"unforeseen {type(error).__name__}: {error}. Please report it, with the output of --debug."
        code = EXIT_UNFORESEEN
    print(f"vidfeat: error: {message}", file=sys.stderr)
    return code
