"""The command line: flags map one to one onto the library, and errors become one line and an exit code.

    __main__  the process
    commands  the parser, made of the commands, and `main`
    extract, plan, report, demo, bench    a command each; `questions` has the small ones
    flags     each flag that several commands take, once
    values    what the flags say, as the library takes it
    parser    argparse, with one line for a mistake
    guard     errors and Ctrl-C become a message and an exit code
    interrupt Ctrl-C that gets through

torch, av and cv2 take seconds to import, so what uses them is imported inside the functions that run: `--help` and a
mistyped flag are answered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidfeat.lazy_import import lazy_names

if TYPE_CHECKING:
    from vidfeat.cli.commands import build_parser, main
    from vidfeat.cli.extract import add_run_flags, extract_to
    from vidfeat.cli.guard import guarded

__all__ = ["add_run_flags", "build_parser", "extract_to", "guarded", "main"]

__getattr__ = lazy_names(
    __name__,
    {
        "add_run_flags": "vidfeat.cli.extract",
        "build_parser": "vidfeat.cli.commands",
        "extract_to": "vidfeat.cli.extract",
        "guarded": "vidfeat.cli.guard",
        "main": "vidfeat.cli.commands",
    },
)
"""Where the names are. Imported when they are first used, so that `__main__` is there before anything else is."""
