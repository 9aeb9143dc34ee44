"""The process of the command `vidfeat`, which is also `python -m vidfeat.cli`."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command, and end the process with its exit code. Ctrl-C shows no traceback, however early or late."""
    hears = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if hears:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is begun: it just ends
    from vidfeat.cli.commands import build_parser
    from vidfeat.cli.guard import guarded

    options = build_parser().parse_args()
    if hears:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = guarded(options.run, options)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to do but to end
    # Python remembers that Ctrl-C came out of text that was being executed, although it was caught later, and would end
    # with the signal in place of the code. It forgets when the next text is executed.
    exec("")
    sys.exit(code)


if __name__ == "__main__":
    run()
