"""argparse, with one line for a mistake in place of the whole usage."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn, TypeAlias

from vidfeat.cli.guard import EXIT_USAGE


class Parser(argparse.ArgumentParser):
    """A parser whose commands are parsers of the same kind."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments and where to read on, and end with `EXIT_USAGE`."""
        print(f"vidfeat: error: {message}. See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""What a command is added to."""
