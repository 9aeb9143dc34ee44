"""`vidfeat report`: show the features of an output on one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.process import ctrl_c, echo


@click.command(
    cls=Command,
    interrupted="interrupted; the page is not written, run the same command again",
    short_help="Show the features of an output on one page.",
    epilog="The page works without a network.",
)
@click.argument("out", type=options.PATH_TEXT)
@click.option("-o", "--page", type=options.PATH, metavar="HTML", help="The page to write (default: OUT.report.html).")
@click.option("--video-root", type=options.PATH, metavar="DIR", help="Folder of the videos, to show pictures of them.")
@click.option(
    "--labels",
    type=options.PATH,
    metavar="FILE",
    help="Labels that give the colours: lines 'name label', or a .csv or .tsv with the names first.",
)
@click.option(
    "--queries",
    type=options.PATH,
    metavar="FILE",
    help="Texts to search by: an .npz or .json of words and vectors, from 'vidfeat embed-text'.",
)
@click.option(
    "--map",
    "method",
    type=click.Choice(("pca", "umap")),
    default="pca",
    help="How the map is computed (default: pca); umap needs the extra 'umap'.",
)
@options.quiet()
def report(
    out: str,
    page: Path | None,
    video_root: Path | None,
    labels: Path | None,
    queries: Path | None,
    method: Literal["pca", "umap"],
    quiet: bool,
) -> None:
    """Write one self-contained HTML page: a map of the features, neighbours, frames and problems.

    OUT is an output of vidfeat extract, finished or not, or features of any other program.
    """
    from vidfeat.formats import open_sink

    named = open_sink(out).out
    ctrl_c.begin_work("numpy", "av", "cv2")
    from vidfeat.tools.report import build

    summary = build(
        Path(out),
        video_root=video_root,
        labels=labels,
        queries=queries,
        page=page or named.with_name(f"{named.name}.report.html"),
        method=method,
        progress=not quiet and sys.stderr.isatty(),
    )
    if not quiet:
        for note in summary.notes:
            echo(f"vidfeat: note: {note}", err=True)
        echo(
            f"{summary.page}: {summary.videos} videos, {summary.shown} on the map, {summary.failed} failed, "
            f"{summary.pictured} with pictures"
        )
