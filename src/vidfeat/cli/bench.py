"""`vidfeat bench`: measure how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidfeat.cli import options
from vidfeat.cli.process import ctrl_c, echo
from vidfeat.errors import UsageError


@click.command(
    cls=options.Command,
    interrupted="interrupted; what was measured is lost, run the same command again",
    short_help="Measure how fast this machine is.",
    epilog="docs/benchmarks.md says what each row is. Nothing is downloaded but what --checkpoint names.",
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
    help="Length of the list, from the videos over and over (default: all that are given, or 12).",
)
@click.option(
    "--repeat", type=options.count, default=3, metavar="K", help="Runs of each row (default: 3), interleaved."
)
@click.option(
    "--rows", default="shipped,tuned,exact,bf16", metavar="NAMES", help="Some of shipped,tuned,exact,bf16; or none."
)
@options.device("cpu, cuda or cuda:i (default: auto).")
@options.compiled("Run vidfeat's networks through torch.compile, or not (default: as measured, for a long list).")
@click.option("--scaling", is_flag=True, help="Measure also how cost grows with the number of videos and their length.")
@click.option("--scaling-model", metavar="MODEL", help="The model for that (default: a small one).")
@click.option("--growth", "scaling", is_flag=True, hidden=True)
@click.option("--growth-model", "scaling_model", hidden=True)
@click.option("--json", "json_file", type=Path, metavar="FILE", help="Write the measurements, too.")
def bench(
    model: str | None,
    videos: tuple[str, ...],
    video_list: str | None,
    video_root: Path | None,
    checkpoint: str | None,
    cfg_options: tuple[str, ...],
    count: int | None,
    repeat: int,
    rows: str,
    device: str,
    compiled: bool | None,
    scaling: bool,
    scaling_model: str | None,
    json_file: Path | None,
) -> None:
    """Measure, in one run: MMAction2's way of working, vidfeat, and what this machine can do at most. Takes minutes,
    and a machine that does nothing else.

    MODEL is the name of a released model, or the path of an MMAction2 config (default: TSN, ResNet-50, 25 frames of
    256x256). Clips are rendered where no videos are given.
    """
    if model is not None:
        options.require_model_first(model)
    # Before the minutes of measuring, and not after them.
    if json_file is not None and not json_file.parent.is_dir():
        raise UsageError("--json", expected="a file in a folder that exists", found=str(json_file))
    found = options.find_videos(videos, video_list, video_root) if videos or video_list else ()
    overrides = options.overrides(cfg_options)
    ctrl_c.begin_work("numpy", "torch", "av", "cv2")
    from vidfeat.formats.atomic import replacing
    from vidfeat.tools.bench.comparison import parse_rows
    from vidfeat.tools.bench.session import Request, bench
    from vidfeat.tools.bench.table import render, to_json

    request = Request(
        model=model,
        cfg_options=overrides,
        checkpoint=checkpoint,
        device=device,
        paths=[Path(video.uri) for video in found],
        videos=count,
        rows=parse_rows(rows),
        repeat=repeat,
        backend=None if compiled is None else "compiled" if compiled else "eager",
        scaling=scaling,
        scaling_model=scaling_model,
    )
    measured = bench(request, say=lambda line: echo(line, err=True))
    echo(render(measured.facts, measured.comparison, measured.scaling))
    if json_file is not None:
        text = json.dumps(to_json(measured.facts, measured.comparison, measured.scaling), indent=2)
        with replacing(json_file) as file:
            file.write(f"{text}\n".encode())
