"""`vidfeat convert` and `vidfeat compact`: write the features of an output again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.flags import spell_as_flags
from vidfeat.cli.process import EXIT_SOME_FAILED, ctrl_c, echo


@click.command(
    cls=Command,
    interrupted="interrupted; what is converted is kept, run the same command again to go on",
    short_help="Convert an output to another format.",
    epilog="The formats are those of vidfeat extract.",
)
@click.argument("source", metavar="OUT", type=options.PATH_TEXT)
@click.argument("out", metavar="NEW_OUT", type=options.PATH_TEXT)
@click.option(
    "--dtype", type=click.Choice(["float32", "float16"]), help="Number format of the new output (default: the same)."
)
@options.layout
@options.video_list
@options.video_root
@click.option("--restart", is_flag=True, help="Replace what is at NEW_OUT.")
@options.quiet("Print failures only.")
def convert(
    source: str,
    out: str,
    dtype: Any,
    layout: str | None,
    video_list: str | None,
    video_root: Path | str | None,
    restart: bool,
    quiet: bool,
) -> int:
    """Convert an output to another format or number format, with its times, failures and manifest.

    OUT is an output of vidfeat extract, finished or not, or a file of another program. One that holds a list without
    names, as MMAction2 writes it, needs the list that it was made with as --video-list.
    """
    ctrl_c.begin_work("numpy")
    import vidfeat
    from vidfeat.videos import read_list

    names = None if video_list is None else [video.key for video in read_list(video_list, video_root)]
    found = vidfeat.convert(
        source,
        out,
        dtype=dtype,
        layout=layout,
        names=names,
        restart=restart,
        quiet=quiet,
        wording=spell_as_flags,
    )
    if not quiet:
        more = "".join(
            f", {count} {what}"
            for count, what in ((found.failed, "failed before"), (found.unreadable, "cannot be converted"))
            if count
        )
        echo(f"{found.converted} of {found.videos} videos in {found.out}{more}", err=True)
        if found.config_lines:
            click.echo(found.config_lines)
    return EXIT_SOME_FAILED if found.unreadable else 0


@click.command(cls=Command, short_help="Merge the parts of an output in object storage.")
@click.argument("out", metavar="OUT", type=options.PATH_TEXT)
def compact(out: str) -> None:
    """Merge the Parquet parts of a finished output into fewer and larger ones.

    OUT is an output of vidfeat extract that consists of parts: a URI, or the folder of a run on a cluster.
    """
    ctrl_c.begin_work("numpy")
    from vidfeat.store.parts_reading import compact as merge

    before, after = merge(out)
    echo(f"{out}: nothing to merge" if before == after else f"{out}: {before} parts merged into {after}")
