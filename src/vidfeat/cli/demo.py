"""`vidfeat demo`: extract and show features of rendered clips."""

from __future__ import annotations

from pathlib import Path

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.process import EXIT_SOME_FAILED, ctrl_c, echo


@click.command(
    cls=Command,
    interrupted="interrupted; the folder is not finished, run the same command again",
    short_help="Extract and show features of rendered clips.",
)
@click.option(
    "-o",
    "--out",
    type=options.PATH,
    default=Path("vidfeat-demo"),
    metavar="FOLDER",
    help="A new folder, or that of an earlier demo (default: vidfeat-demo).",
)
@options.quiet()
def demo(out: Path, quiet: bool) -> int:
    """Render short clips of moving shapes, extract their features with a small model that is included, and show which
    clips have similar features, here and on a page. Takes less than a minute; nothing is downloaded.
    """
    import vidfeat
    from vidfeat.tools.demo import CONFIG, weights
    from vidfeat.tools.demo.folder import claim

    folder = claim(out)
    ctrl_c.begin_work("numpy", "torch", "av", "cv2")
    from vidfeat.tools.demo.clips import demo_clips, write_clips
    from vidfeat.tools.demo.findings import find, in_words
    from vidfeat.tools.report import build

    clips = demo_clips()
    write_clips(clips, folder, progress=not quiet)
    encoder = vidfeat.encoder(CONFIG, checkpoint=weights())
    job = vidfeat.Job(videos=folder.listed, encoders=[encoder], out=folder.features, video_root=folder.clips)
    summary = vidfeat.run(job, restart=True, quiet=quiet)
    if summary is None or summary.failed:
        return EXIT_SOME_FAILED
    findings = find(clips, folder)
    build(folder.features, video_root=folder.clips, labels=None, page=folder.page)
    if not quiet:
        echo("\n".join(in_words(findings)))
        echo(f"The page is {folder.page}. For your own videos see `vidfeat models` and `vidfeat extract --help`.")
    return 0
