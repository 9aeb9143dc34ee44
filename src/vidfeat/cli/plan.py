"""`vidfeat plan`: say what extracting would take, before it is spent."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidfeat.cli import flags, values
from vidfeat.cli.parser import Commands
from vidfeat.errors import UsageError

if TYPE_CHECKING:
    from vidfeat.store import Entry


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan",
        help="say what extracting would take, before it is spent",
        description="Look at every video and measure this machine for some seconds: rows, bytes, hours, bottleneck, "
        "and which videos are broken or there twice.",
        epilog="No checkpoint is needed: made-up weights take the same time.",
    )
    parser.add_argument(
        "videos",
        nargs="+",
        type=Path,
        metavar="LIST_OR_VIDEOS",
        help="text file with one video path per line; or videos, or folders of them",
    )
    flags.model(parser)
    flags.out(parser, "where the output would go, for its size and the space there")
    flags.checkpoint(parser, "weights of the model, to see that they fit")
    flags.as_json(parser, "print everything as JSON")
    flags.computation(parser)
    parser.set_defaults(run=run, interrupted="interrupted; nothing is written, the same command begins anew")


def run(options: argparse.Namespace) -> int:
    """Print the forecast, as a table or as JSON."""
    from vidfeat.store import open_format

    _require_model_last(options)
    entries = _listed(options.videos, options.video_root)
    if options.out is not None:
        open_format(options.out).check_names(entries)

    from vidfeat.engine.decode_pool import ReaderOptions, processes_for
    from vidfeat.hardware import usable_cores
    from vidfeat.tools.estimate import forecast, render, to_json

    found = forecast(
        options.model,
        entries,
        checkpoint=options.checkpoint,
        device=options.device,
        precision=options.precision,
        cfg_options=values.overrides(options.cfg_options),
        request=values.request(options),
        out=options.out,
        reading=ReaderOptions(processes_for(len(usable_cores())), timeout_seconds=options.timeout),
        progress=not options.quiet and sys.stderr.isatty(),
    )
    print(json.dumps(to_json(found), indent=2) if options.json else render(found))
    return 0


def _require_model_last(options: argparse.Namespace) -> None:
    """`extract` takes the model first, so it is easily typed first here, too."""
    from vidfeat.store import VIDEO_SUFFIXES

    last = Path(options.model)
    if last.is_dir() or last.suffix.lower() in {".txt", *VIDEO_SUFFIXES}:
        raise UsageError(
            "vidfeat plan",
            expected="the videos first and the model last",
            found=f"{options.model!r} last",
            hint=f"Type: vidfeat plan {options.model} {options.videos[0]}.",
        )


def _listed(given: Sequence[Path], root: Path | None) -> list[Entry]:
    """The videos: one text file is a list, all else is as `extract` takes it."""
    from vidfeat.store import VIDEO_SUFFIXES, read_list, scan

    (first, *others) = given
    if not others and not first.is_dir() and first.suffix.lower() not in VIDEO_SUFFIXES:
        return read_list(first, root)
    if root is not None:
        raise UsageError("--video-root", expected="one list of videos to go with it", found="videos or folders")
    return scan(given)
