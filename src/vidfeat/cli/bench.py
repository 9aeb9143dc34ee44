"""`vidfeat bench`: measure how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.process import ctrl_c, echo
from vidfeat.errors import UsageError


@click.command(
    cls=Command,
    interrupted="interrupted; what was measured is lost, run the same command again",
    short_help="Measure how fast this machine is.",
    epilog=(
        "Rows: shipped is MMAction2's way of working, tuned the same with a loader process per core, exact is vidfeat "
        "in fp32, and bf16 vidfeat in bf16. Only what --checkpoint names is downloaded."
    ),
)
@options.model(required=False)
@options.videos
@options.checkpoint("Weights (default: random, as time does not depend on them).")
@options.cfg_options
@click.option(
    "--videos",
    "count",
    type=options.count,
    metavar="N",
    help="Length of the list; videos are repeated (default: all that are given; if none, 4, or 12 with --thorough).",
)
@click.option(
    "--repeat",
    type=options.count,
    metavar="K",
    help="Runs of each row (default: 1, with --thorough 3), interleaved.",
)
@click.option(
    "--rows",
    metavar="NAMES",
    help="Some of shipped,tuned,exact,bf16; or none (default: shipped,exact,bf16, with --thorough all).",
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Measure three rounds of a longer list, with torch.compile where it pays off. Takes ten minutes or more.",
)
@options.cores
@options.device("cpu, cuda or cuda:i (default: auto).")
@options.compiled("Run vidfeat's networks through torch.compile, or not (default: not; with --thorough as measured).")
@click.option(
    "--scaling", is_flag=True, help="Also measure how the cost grows with the number of videos and their length."
)
@click.option("--scaling-model", metavar="MODEL", help="Model for --scaling (default: a small one).")
@click.option("--dense", is_flag=True, help="Also measure rows over time, against decoding each window by itself.")
@click.option("--growth", "scaling", is_flag=True, hidden=True)
@click.option("--growth-model", "scaling_model", hidden=True)
@click.option(
    "--json",
    "json_file",
    type=options.PATH,
    metavar="FILE",
    help="Also write the measurements to a JSON file.",
)
def bench(
    model: str | None,
    videos: options.VideoFlags,
    checkpoint: str | None,
    cfg_options: tuple[str, ...],
    count: int | None,
    repeat: int | None,
    rows: str | None,
    thorough: bool,
    device: str,
    compiled: bool | None,
    scaling: bool,
    scaling_model: str | None,
    dense: bool,
    json_file: Path | None,
) -> None:
    """Measure MMAction2's way of working, vidfeat, and the upper bounds of this machine in one run. Takes about
    three minutes on two idle cores; the figures of its single short round are rough.

    MODEL is the name of a released model, or the path of an MMAction2 config (default: TSN, ResNet-50, 25 frames of
    256x256). Clips are rendered if no videos are given.
    """
    if model is not None:
        options.require_model_first(model)
    # Before the minutes of measuring, and not after them.
    if json_file is not None and not json_file.parent.is_dir():
        raise UsageError("--json", expected="a file in a folder that exists", found=str(json_file))
    found = videos.find() if videos else ()
    overrides = options.overrides(cfg_options)
    ctrl_c.begin_work("numpy", "torch", "av", "cv2")
    from vidfeat.formats.atomic import replacing
    from vidfeat.tools.bench.comparison import parse_rows
    from vidfeat.tools.bench.session import QUICK, THOROUGH, Request, bench
    from vidfeat.tools.bench.table import render, to_json

    scope = THOROUGH if thorough else QUICK
    backend = scope.backend if compiled is None else "compiled" if compiled else "eager"
    request = Request(
        model=model,
        cfg_options=overrides,
        checkpoint=checkpoint,
        device=device,
        paths=[Path(video.uri) for video in found],
        videos=count or (None if found else scope.videos),
        rows=scope.rows if rows is None else parse_rows(rows),
        repeat=repeat or scope.repeat,
        backend=backend,
        scaling=scaling,
        scaling_model=scaling_model,
        dense=dense,
    )
    measured = bench(request, say=lambda line: echo(line, err=True))
    echo(render(measured.facts, measured.comparison, measured.scaling, measured.dense))
    if not thorough and measured.comparison is not None and (repeat or scope.repeat) == 1:
        echo(
            "\none short round: ratios may be off by a quarter; --thorough takes three longer ones, with torch.compile"
        )
    if json_file is not None:
        text = json.dumps(to_json(measured.facts, measured.comparison, measured.scaling, measured.dense), indent=2)
        with replacing(json_file) as file:
            file.write(f"{text}\n".encode())
