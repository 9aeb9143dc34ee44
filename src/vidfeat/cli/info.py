"""The commands that answer a question and change nothing.

Which models are there, what does one of them do, is an output complete, what can this machine do.
"""

from __future__ import annotations

import json

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.flags import spell_as_flags
from vidfeat.cli.process import EXIT_UNFORESEEN, echo


@click.command(cls=Command, short_help="List the released models.")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--family", metavar="F", help="Only this family, such as slowonly.")
@click.option("--dataset", metavar="D", help="Only this data set, such as kinetics-400.")
@options.as_json("Print the table as JSON.")
def models(words: tuple[str, ...], family: str | None, dataset: str | None, as_json: bool) -> None:
    """List the released models: their names, data sets, feature sizes, cost and published accuracy.

    With WORDs, only models whose name, family or data set contains all of them. GFLOP are 1e9 multiply-adds, for all
    views of a video and for one view: a clip in one crop or, for networks of single frames, all frames of one crop.
    """
    from vidfeat.mmaction.zoo import render, table, to_json

    rows = table(family, dataset, words)
    echo(json.dumps(to_json(rows), indent=2) if as_json else render(rows))


@click.command(cls=Command, short_help="Describe what a model does to a video.")
@options.model()
@options.cfg_options
@options.trust_remote_code
@options.as_json("Print the recipe as JSON.")
def inspect(model: str, cfg_options: tuple[str, ...], trust_remote_code: bool, as_json: bool) -> None:
    """Describe what a model does to a video: frames, views, transforms, backbone, feature size.

    MODEL is the name of a released model, the path of an MMAction2 config, or hf:ORG/NAME, timm:NAME, torchvision:NAME.
    """
    from vidfeat.encoders import compile_recipe
    from vidfeat.tools.describe import describe

    overrides = options.overrides(cfg_options)
    recipe, checkpoint = compile_recipe(model, cfg_options=overrides, trust_remote_code=trust_remote_code)
    echo(json.dumps(recipe.to_json(), indent=2) if as_json else describe(recipe))
    if checkpoint and not as_json:
        echo(f"checkpoint    {checkpoint}")


@click.command(cls=Command, short_help="Check that an output is complete and intact.")
@click.argument("out", type=options.PATH_TEXT)
def verify(out: str) -> int:
    """Check an output against its manifest: every video present once, shapes, finite values, hashes.

    OUT is an output of vidfeat extract.
    """
    import vidfeat

    problems = vidfeat.verify(out)
    for problem in problems:
        echo(spell_as_flags(problem))
    if not problems:
        with vidfeat.load(out) as stored:
            echo(f"{out}: intact: {len(stored)} of {len(stored.videos)} videos have features")
    return EXIT_UNFORESEEN if problems else 0


@click.command(cls=Command, short_help="Check what this machine can do.")
def doctor() -> None:
    """Check what this machine can do: cores, devices, FFmpeg, extras, cache, mirror. Says how to fix what is wrong."""
    from vidfeat.tools.doctor import examine, render

    echo(spell_as_flags(render(examine())))
