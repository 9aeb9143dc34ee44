"""A command: its help, its `--debug`, and how its words are parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from vidfeat.cli.process import ctrl_c

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""The settings of a command that is run by `main.execute`."""

DEBUG = "vidfeat.debug"
"""Whether tracebacks are shown, in `click.Context.meta`."""

SECTIONS = {
    "Videos": "--video-list --video-root --follow-links --on-error --on-corrupt --timeout --retry-failed",
    "Model": "--model --checkpoint --cfg-options --trust-remote-code",
    "Output": "--out --layout --dtype --restart",
    "Features": "--spatial-type --temporal-type --views --multi-view --scores",
    "Rows over time": "--stride --window --fps --grid --tail --segments "
    "--long-video-mode --clip-interval --frame-interval",
    "Computation": "--device --cores --precision --compile --decoder --launcher",
    "Cluster": "--executor --address --workers --cpus-per-worker --gpus-per-worker",
    "Messages": "--quiet --verbose --json --log-json --debug --help",
}
"""The options of a command that has many, as `--help` shows them."""

MOST_IN_ONE_SECTION = 20


class Command(click.Command):
    """A command with `--debug`, and with `--cfg-options` as MMAction2's users type it: several values after one flag.

    Args:
        interrupted: what Ctrl-C says, where the command has words of its own for what then becomes of the work.
        settings: as for `click.Command`.
    """

    def __init__(self, *args: Any, interrupted: str = "interrupted", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.interrupted = interrupted
        self.params.append(
            click.Option(
                ["--debug"], is_flag=True, expose_value=False, callback=_remember_debug, help="Show tracebacks."
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words, of which those after `--cfg-options` that look like KEY=VALUE all belong to it."""
        try:
            return super().parse_args(ctx, _one_flag_a_value("--cfg-options", args))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # that of a flag without its value has none
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, in sections where there are many."""
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        records = [(option.opts, option.get_help_record(ctx)) for option in options]
        shown = {flag: record for flags, record in records if record is not None for flag in flags}
        if len(set(shown.values())) <= MOST_IN_ONE_SECTION:
            super().format_options(ctx, formatter)
            return
        sections = {
            title: [shown[flag] for flag in flags.split() if flag in shown] for title, flags in SECTIONS.items()
        }
        placed = {record for rows in sections.values() for record in rows}
        sections["Other options"] = list(dict.fromkeys(row for row in shown.values() if row not in placed))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        ctrl_c.words = self.interrupted
        return super().invoke(ctx)


def _remember_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[DEBUG] = value


_KEY_VALUE = re.compile(r"[A-Za-z_][\w.]*=")


def _one_flag_a_value(flag: str, words: Sequence[str]) -> list[str]:
    """The words, with the flag again before each KEY=VALUE that follows one of its values."""
    spread: list[str] = []
    for position, word in enumerate(words):
        if word == "--":
            return [*spread, *words[position:]]
        is_after_value = spread[-2:-1] == [flag] or (spread and spread[-1].startswith(f"{flag}="))
        if is_after_value and _KEY_VALUE.match(word):
            spread.append(flag)
        spread.append(word)
    return spread
