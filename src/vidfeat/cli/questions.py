"""The commands that answer a question and change nothing.

Which models are there, what does one of them do, is an output whole, what can this machine do.
"""

from __future__ import annotations

import argparse
import json

from vidfeat.cli import flags, values
from vidfeat.cli.guard import EXIT_UNFORESEEN
from vidfeat.cli.parser import Commands


def add_models(commands: Commands) -> None:
    """Add `vidfeat models`."""
    parser = commands.add_parser(
        "models",
        help="list the released models",
        description="List the released models: their names, data sets, feature sizes, cost and published accuracy.",
    )
    parser.add_argument("--family", metavar="F", help="only this family, such as slowonly")
    parser.add_argument("--dataset", metavar="D", help="only this data set, such as kinetics-400")
    flags.debug(parser)
    parser.set_defaults(run=models)


def models(options: argparse.Namespace) -> int:
    """Print the table of the released models."""
    from vidfeat.mmaction.zoo import render, table

    print(render(table(options.family, options.dataset)))
    return 0


def add_inspect(commands: Commands) -> None:
    """Add `vidfeat inspect`."""
    parser = commands.add_parser(
        "inspect",
        help="say what a model does to a video",
        description="Say in words what a model does to a video: frames, views, transforms, backbone, feature size.",
    )
    flags.model(parser)
    flags.cfg_options(parser)
    flags.as_json(parser, "print the recipe as JSON")
    flags.debug(parser)
    parser.set_defaults(run=inspect)


def inspect(options: argparse.Namespace) -> int:
    """Print a model's recipe, in words or as JSON."""
    from vidfeat.mmaction import compile_model
    from vidfeat.tools.describe import describe

    recipe, checkpoint = compile_model(options.model, values.overrides(options.cfg_options))
    print(json.dumps(recipe.to_json(), indent=2) if options.json else describe(recipe))
    if checkpoint and not options.json:
        print(f"checkpoint    {checkpoint}")
    return 0


def add_verify(commands: Commands) -> None:
    """Add `vidfeat verify`."""
    parser = commands.add_parser(
        "verify",
        help="prove that an output is whole",
        description="Check an output against its manifest: every video covered once, shapes, finite values, hashes.",
    )
    flags.extracted(parser)
    flags.debug(parser)
    parser.set_defaults(run=verify)


def verify(options: argparse.Namespace) -> int:
    """Print what is wrong with an output; exit code 1 where anything is."""
    from vidfeat.store import verify as problems_of

    problems = problems_of(options.out)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{options.out}: whole")
    return EXIT_UNFORESEEN if problems else 0


def add_doctor(commands: Commands) -> None:
    """Add `vidfeat doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="say what this machine can do",
        description="Say what this machine can do: cores, devices, FFmpeg, extras, cache, mirror; and how to mend it.",
    )
    flags.debug(parser)
    parser.set_defaults(run=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print what is found on this machine."""
    from vidfeat.tools.doctor import examine, render

    print(render(examine()))
    return 0
