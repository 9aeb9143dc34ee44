"""The command `vidfeat`: the parser, made of the commands, and `main`."""

from __future__ import annotations

from collections.abc import Sequence

from vidfeat import __version__
from vidfeat.cli import bench, demo, extract, plan, questions, report
from vidfeat.cli.guard import guarded
from vidfeat.cli.parser import Parser

COMMANDS = (
    extract.add,
    plan.add,
    questions.add_inspect,
    questions.add_models,
    questions.add_verify,
    report.add,
    demo.add,
    questions.add_doctor,
    bench.add,
)
"""What adds each command to the parser, in the order of `vidfeat --help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `vidfeat`.

    Args:
        argv: the arguments; those of the process where None.

    Returns:
        The exit code.

    Raises:
        SystemExit: after `--help` and `--version`, and with code 2 for arguments that cannot be read.
    """
    options = build_parser().parse_args(argv)
    return guarded(options.run, options)


def build_parser() -> Parser:
    """The parser of all commands; what it returns has the command's function as `run`."""
    parser = Parser(
        prog="vidfeat",
        description="Feature vectors from videos with pretrained action-recognition models.",
        epilog=(
            "Exit codes: 0 all done, 1 unforeseen, 2 usage or configuration, 3 some videos failed, "
            "4 the output could not be written (a full disk, a quota), 130 interrupted."
        ),
    )
    parser.add_argument("--version", action="version", version=f"vidfeat {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    return parser
