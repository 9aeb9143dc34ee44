"""`vidfeat bench`: measure how fast this machine is."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vidfeat.cli import flags, values
from vidfeat.cli.parser import Commands
from vidfeat.errors import UsageError


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="measure how fast this machine is",
        description="Measure, in one run and in turns: MMAction2's way of working, vidfeat, and what this machine can "
        "do at most. Takes minutes, and a machine that does nothing else.",
        epilog="docs/benchmarks.md says what each row is. Nothing is downloaded but what --checkpoint names.",
    )
    flags.model(parser, default="TSN, ResNet-50, 25 frames of 256x256")
    flags.videos(parser, default="rendered")
    flags.video_list(parser)
    flags.video_root(parser)
    flags.checkpoint(parser, "weights (default: made up, as time does not depend)")
    flags.cfg_options(parser)
    parser.add_argument(
        "--videos",
        dest="count",
        type=flags.count,
        metavar="N",
        help="length of the list, from the videos over and over (default: all that are given, or 12)",
    )
    parser.add_argument(
        "--repeat", type=flags.count, default=3, metavar="K", help="runs of each row (default: 3), in turns"
    )
    parser.add_argument(
        "--rows", default="shipped,tuned,exact,bf16", metavar="NAMES", help="some of shipped,tuned,exact,bf16; or none"
    )
    flags.device(parser, "cpu, cuda or cuda:i (default: auto)")
    flags.kernels(parser, "run our networks through torch.compile, or not (default: as measured, for a long list)")
    parser.add_argument(
        "--growth", action="store_true", help="measure also how cost grows with the number of videos and their length"
    )
    parser.add_argument("--growth-model", metavar="MODEL", help="the model for that (default: a small one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements, too")
    flags.debug(parser)
    parser.set_defaults(run=run, interrupted="interrupted; what was measured is lost, the same command begins anew")


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, and write them as JSON where that is asked for."""
    from vidfeat.formats.atomic import replacing
    from vidfeat.tools.bench.comparison import parse_rows
    from vidfeat.tools.bench.session import Request, bench
    from vidfeat.tools.bench.table import render, to_json

    request = Request(
        model=_model(options.model),
        cfg_options=values.overrides(options.cfg_options),
        checkpoint=options.checkpoint,
        device=options.device,
        paths=[entry.path for entry in values.entries(options)] if options.videos or options.video_list else [],
        videos=options.count,
        rows=parse_rows(options.rows),
        repeat=options.repeat,
        kernels=values.kernels(options),
        growth=options.growth,
        growth_model=options.growth_model,
    )
    # Before the minutes of measuring, and not after them.
    if options.json is not None and not options.json.parent.is_dir():
        raise UsageError("--json", expected="a file in a folder that exists", found=str(options.json))
    report = bench(request, say=lambda line: print(line, file=sys.stderr, flush=True))
    print(render(report.facts, report.comparison, report.growth))
    if options.json is not None:
        text = json.dumps(to_json(report.facts, report.comparison, report.growth), indent=2)
        with replacing(options.json) as file:
            file.write(f"{text}\n".encode())
    return 0


def _model(given: str | None) -> str | None:
    """The model; a video or a folder in its place is easily typed, as everything else has a default."""
    from vidfeat.store import VIDEO_SUFFIXES

    if given is not None and (Path(given).is_dir() or Path(given).suffix.lower() in VIDEO_SUFFIXES):
        raise UsageError(
            "MODEL",
            expected="a model before the videos",
            found=repr(given),
            hint="See the names with `vidfeat models`.",
        )
    return given
