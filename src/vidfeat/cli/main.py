"""The command `vidfeat`: its commands, and what becomes of errors."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches

import click
from click.shell_completion import shell_complete

from vidfeat import __version__
from vidfeat.cli.command import CONTEXT, DEBUG
from vidfeat.cli.flags import in_flags
from vidfeat.cli.process import EXIT_SOME_FAILED, EXIT_UNFORESEEN, EXIT_USAGE, ctrl_c, echo
from vidfeat.errors import VideoError, VidfeatError, printable

COMPLETION = "_VIDFEAT_COMPLETE"
"""The environment variable in which click's scripts for shells ask for completions."""

COMMANDS = {
    "extract": "vidfeat.cli.extract",
    "predict": "vidfeat.cli.predict",
    "estimate": "vidfeat.cli.estimate",
    "plan": "vidfeat.cli.estimate",
    "embed-text": "vidfeat.cli.embed_text",
    "inspect": "vidfeat.cli.info",
    "models": "vidfeat.cli.info",
    "verify": "vidfeat.cli.info",
    "convert": "vidfeat.cli.convert",
    "compact": "vidfeat.cli.convert",
    "report": "vidfeat.cli.report",
    "demo": "vidfeat.cli.demo",
    "doctor": "vidfeat.cli.info",
    "bench": "vidfeat.cli.bench",
}
"""The module of each command, which is a function of the same name there, with _ for -. In the order of
`vidfeat --help`."""


class Commands(click.Group):
    """A group whose commands are imported when they are first asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, the hidden ones included."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        if name not in COMMANDS:
            close = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        command: click.Command = getattr(importlib.import_module(COMMANDS[name]), name.replace("-", "_"))
        return command


@click.group(
    cls=Commands,
    context_settings=CONTEXT,
    invoke_without_command=True,
    epilog=(
        "Exit codes: 0 all done, 1 unexpected error, 2 usage or configuration, 3 some videos failed, "
        "4 the output could not be written (a full disk, a quota), 130 interrupted."
    ),
)
@click.version_option(__version__, message="vidfeat %(version)s")
@click.pass_context
def vidfeat(context: click.Context) -> None:
    """Feature vectors from videos with pretrained models."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `vidfeat`; as `execute`. For a shell that asks for completions, print these."""
    if instruction := os.environ.get(COMPLETION):
        return shell_complete(vidfeat, {}, "vidfeat", COMPLETION, instruction)
    return execute(vidfeat, arguments)


def execute(command: click.Command, arguments: Sequence[str] | None = None, *, name: str = "vidfeat") -> int:
    """Run a command; errors become one message on stderr and an exit code, with a traceback only for `--debug`.

    Args:
        command: the command.
        arguments: those of the process where None.
        name: what the command is called in messages.

    Returns:
        The exit code.

    Raises:
        Exception: the error as it is, for `--debug`, or where it came of Ctrl-C.
    """
    context = None
    ctrl_c.words = "interrupted"
    try:
        with command.make_context(name, list(sys.argv[1:] if arguments is None else arguments)) as context:
            return command.invoke(context) or 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        at = getattr(error, "ctx", None)
        see = f"See `{at.command_path if at else name} --help`."
        _complain(f"{error.format_message().rstrip('.')}. {see}".replace("?.", "?"))
        return EXIT_USAGE
    except Exception as error:
        if ctrl_c.pressed_at is not None or (context is not None and context.meta.get(DEBUG)):
            raise
        message, code = _message(error)
        _complain(message)
        return code


def _complain(message: str) -> None:
    """Print an error as one line, whatever is in it."""
    echo(printable(f"vidfeat: error: {message}"), err=True)


def _message(error: Exception) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, VidfeatError):
        return in_flags(error), EXIT_SOME_FAILED if isinstance(error, VideoError) else error.exit_code
    words = f"unexpected {type(error).__name__}: {error}. Please report it, with the output of --debug."
    return words, EXIT_UNFORESEEN
