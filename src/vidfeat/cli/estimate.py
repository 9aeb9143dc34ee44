"""`vidfeat estimate`: predict what extracting would take."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.process import ctrl_c, echo

INTERRUPTED = "interrupted; nothing is written, run the same command again"


@click.command(
    cls=Command,
    interrupted=INTERRUPTED,
    short_help="Predict the time and space that extract needs.",
    epilog="No checkpoint is needed: random weights take the same time.",
)
@options.model()
@options.videos
@options.out("Planned output, to compute its size and check the free space.")
@options.checkpoint("Weights of the model, to check that they fit.")
@options.as_json("Print everything as JSON.")
@options.computation
def estimate(
    model: str,
    videos: options.VideoFlags,
    out: str | None,
    checkpoint: str | None,
    as_json: bool,
    cfg_options: tuple[str, ...],
    request: options.RequestFlags,
    quiet: bool,
    **job_options: Any,
) -> None:
    """Probe every video, measure this machine for a few seconds, and print the rows, bytes, time and bottleneck to
    expect, and which videos fail or are duplicates.

    MODEL is the name of a released model, or the path of an MMAction2 config. The videos are files, folders,
    globs, URIs, lists such as list.txt, or those of --video-list.
    """
    options.require_model_first(model)
    import vidfeat
    from vidfeat.formats import open_sink

    grid = request.grid()
    found = videos.find(request.segments, quiet=quiet)
    if out is not None:
        open_sink(out).check_keys([video.key for video in found])
    ctrl_c.begin_work("numpy", "torch", "av", "cv2")
    from vidfeat.tools.estimate import estimate, render, to_json
    from vidfeat.tools.random_encoder import random_encoder

    with tempfile.TemporaryDirectory() as folder:
        wanted: dict[str, Any] = {"cfg_options": options.overrides(cfg_options), "request": request.request()}
        if checkpoint is None:
            encoder = random_encoder(model, Path(folder), **wanted)
        else:
            encoder = vidfeat.encoder(model, checkpoint=checkpoint, **wanted)
        job = vidfeat.Job(videos=found, encoders=encoder, out=out, grid=grid, **job_options)
        estimated = estimate(job, random_weights=checkpoint is None, progress=not quiet and sys.stderr.isatty())
    echo(json.dumps(to_json(estimated), indent=2) if as_json else render(estimated))


def _plan(model: str, videos: tuple[str, ...], **given: Any) -> None:
    """The same under its former name, which took MODEL last."""
    echo("vidfeat: note: `vidfeat plan` is now `vidfeat estimate`, and takes MODEL before the videos", err=True)
    if videos and options.are_videos(model) and not options.are_videos(videos[-1]):
        model, videos = videos[-1], (model, *videos[:-1])
    assert estimate.callback is not None
    estimate.callback(model=model, videos=videos, **given)


plan = Command(
    "plan", callback=_plan, params=estimate.params[:-1], hidden=True, interrupted=INTERRUPTED, help=estimate.help
)
