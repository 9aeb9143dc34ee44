"""`vidfeat demo`: show all of it on clips made for the purpose."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vidfeat.cli import extract, flags
from vidfeat.cli.parser import Commands, Parser

if TYPE_CHECKING:
    from vidfeat.tools.demo.folder import DemoFolder


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="show all of it on clips made for the purpose",
        description="Render short clips of moving shapes, extract their features with a small model that comes along, "
        "and show which clips it finds alike, here and on a page. Takes less than a minute; nothing is downloaded.",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("vidfeat-demo"),
        metavar="FOLDER",
        help="a new folder, or that of an earlier demo (default: vidfeat-demo)",
    )
    flags.quiet(parser)
    flags.debug(parser)
    parser.set_defaults(run=run, interrupted="interrupted; the folder is not finished, the same command begins anew")


def run(options: argparse.Namespace) -> int:
    """Render, extract, and print and write what is found."""
    from vidfeat.tools.demo.folder import claim

    folder = claim(options.out)

    from vidfeat.tools.demo.clips import demo_clips, write_clips
    from vidfeat.tools.demo.findings import find, in_words
    from vidfeat.tools.report import build

    clips = demo_clips()
    write_clips(clips, folder, progress=not options.quiet)
    code = _extract(folder, quiet=options.quiet)
    if code:
        return code
    findings = find(clips, folder)
    build(folder.features, video_root=folder.clips, labels=None, page=folder.page)
    if not options.quiet:
        print("\n".join(in_words(findings)))
        print(f"Open {folder.page} to look around. Your own videos: see `vidfeat models` and `vidfeat extract --help`.")
    return 0


def _extract(folder: DemoFolder, *, quiet: bool) -> int:
    """What anybody types for videos of their own; returns its exit code."""
    from vidfeat.tools.demo import CONFIG, weights

    words = ["extract", CONFIG, "--checkpoint", weights(), "--video-list", folder.listed, "--video-root", folder.clips]
    words += ["-o", folder.features, "--restart", *(["--quiet"] if quiet else [])]
    parser = Parser(prog="vidfeat")
    extract.add(parser.add_subparsers())
    return extract.run(parser.parse_args([str(word) for word in words]))
