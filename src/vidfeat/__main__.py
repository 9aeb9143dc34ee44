"""The process of the command `vidfeat`, which is also `python -m vidfeat`."""

from __future__ import annotations

from typing import NoReturn

from vidfeat.cli.process import run_process


def run() -> NoReturn:
    """Run the command, and end the process with its exit code."""
    run_process(_main)


def _main() -> int:
    from vidfeat.cli.main import main  # imports click, which takes a while: Ctrl-C is handled by then

    return main()


if __name__ == "__main__":
    run()
