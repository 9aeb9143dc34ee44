"""`vidfeat report`: show the features of an output on one page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vidfeat.cli import flags
from vidfeat.cli.parser import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="show the features of an output on one page",
        description="Write one self-contained HTML page: a map of the features, neighbours, frames, and what is wrong.",
        epilog="OUT may be finished, in the making, or of another program. The page opens without a network.",
    )
    flags.extracted(parser, others=", or features of any origin")
    parser.add_argument("-o", "--page", type=Path, metavar="HTML", help="the page to write (default: OUT.report.html)")
    flags.video_root(parser, "folder of the videos, for pictures of them")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="colours: lines 'name label', or a .csv or .tsv, names first"
    )
    parser.add_argument(
        "--map", choices=("pca", "umap"), default="pca", help="how the map is made; umap needs 'vidfeat[umap]'"
    )
    flags.quiet(parser)
    flags.debug(parser)
    parser.set_defaults(run=run, interrupted="interrupted; the page is not written, the same command begins anew")


def run(options: argparse.Namespace) -> int:
    """Write the page, and print what is on it."""
    from vidfeat.store import open_format
    from vidfeat.tools.report import build

    out = open_format(options.out).out
    summary = build(
        options.out,
        video_root=options.video_root,
        labels=options.labels,
        page=options.page or out.with_name(f"{out.name}.report.html"),
        method=options.map,
        progress=not options.quiet and sys.stderr.isatty(),
    )
    if not options.quiet:
        for note in summary.notes:
            print(f"vidfeat: note: {note}", file=sys.stderr)
        print(
            f"{summary.page}: {summary.videos} videos, {summary.shown} on the map, {summary.failed} failed, "
            f"{summary.pictured} with pictures"
        )
    return 0
