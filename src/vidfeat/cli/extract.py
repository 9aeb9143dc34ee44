"""`vidfeat extract`: turn videos into feature vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.flags import spell_as_flags
from vidfeat.cli.process import EXIT_SOME_FAILED, ctrl_c
from vidfeat.errors import UsageError

if TYPE_CHECKING:
    from vidfeat.engine.launch import Launcher

INTERRUPTED = "interrupted; what is finished is kept, run the same command again to go on"

MOST_PREWARMED = 4
"""Decode processes that are started before anything else: enough for the first features to come soon."""

run_options = options.together(
    options.computation,
    options.layout,
    options.choice(
        *("--launcher", "none", "pytorch", "slurm", "mpi"),
        help="Launcher of several processes that share the list (default: none).",
    ),
    options.choice("--on-error", "skip", "fail", help="Continue after a broken video (default), or stop."),
    options.choice(
        *("--on-corrupt", "fail", "salvage"),
        help="A truncated or corrupt video fails (default), or gives features of the frames that decode, marked so.",
    ),
    options.choice(
        *("--decoder", "pyav", "nvdec"),
        help="PyAV on the CPU, exact (default); or the GPU, which rounds colours differently; needs the extra 'nvdec'.",
    ),
    options.compiled(
        "Run the network through torch.compile, or not (default: if the list is long enough for it to pay off)."
    ),
    click.option("-v", "--verbose", is_flag=True, help="Print a line for each video."),
    click.option(
        "--log-json",
        type=options.PATH,
        metavar="FILE",
        help="Append events to a file, one JSON object per line.",
    ),
    options.choice(
        *("--executor", "local", "ray"),
        help="Compute here (default), or on a Ray cluster, to a folder of Parquet files that all machines can write.",
    ),
    click.option("--address", metavar="HOST:PORT", help="Address of the Ray cluster (default: one on this machine)."),
    click.option(
        "--workers", type=options.count, metavar="N", help="Number of Ray workers at most (default: all that fit)."
    ),
    click.option(
        "--cpus-per-worker", type=options.count, metavar="C", help="CPU cores of each Ray worker (default: 1)."
    ),
    click.option("--gpus-per-worker", type=float, metavar="G", help="GPUs of each Ray worker (default: 0)."),
    click.option("--restart", is_flag=True, help="Replace what an earlier run left at the output."),
    click.option("--retry-failed", is_flag=True, help="Retry the videos that failed before."),
)
"""The options that `vidfeat extract` and the MMAction2 command share: the arguments of `extract_to` from `cfg_options`
on."""


@click.command(
    cls=Command,
    interrupted=INTERRUPTED,
    short_help="Turn videos into feature vectors.",
    epilog=(
        "OUT ends in .pkl, .json or .yaml for one file in list order, or in .npz, .h5 or .parquet for one keyed by "
        "video; or it is a folder with one .npy per video; 'folder/{key}.npz', .pt and .csv are folders of those. "
        "A URI such as s3://bucket/features/ is a folder of Parquet files. "
        "OUT.manifest.jsonl beside it has one line per video with its status, and the reason if it failed."
    ),
)
@options.model(required=False)
@options.videos
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL[=CHECKPOINT]",
    help="Another model; may be repeated. All share decoding and the time grid, and OUT must contain {encoder}.",
)
@options.out("Output file or folder.", required=True)
@options.checkpoint("Weights of the model; not needed for a released model.")
@options.trust_remote_code
@run_options
def extract(
    model: str | None, models: tuple[str, ...], videos: options.VideoFlags, checkpoint: str | None, **given: Any
) -> int:
    """Turn videos into feature vectors: one float32 vector per video, the mean over its clips and crops.

    MODEL is the name of a released model, the path of an MMAction2 config, hf:ORG/NAME, hf:FOLDER, timm:NAME or
    torchvision:NAME. The videos are files, folders, globs, URIs, lists such as list.txt, or those of --video-list.
    """
    if model is not None and models and options.are_videos(model):
        videos, model = replace(videos, videos=(model, *videos.videos)), None
    wanted = [] if model is None else [(model, checkpoint)]
    for further in models:
        name, _, weights = further.rpartition("=") if "=" in further else (further, "", "")
        wanted.append((name, weights or None if wanted else weights or checkpoint))
    if not wanted:
        raise click.UsageError("Missing argument 'MODEL'.")
    for name, _ in wanted:
        options.require_model_first(name)
    return extract_to(wanted, videos=videos, **given)


def extract_to(
    models: Sequence[tuple[str, str | None]],
    *,
    out: str,
    videos: options.VideoFlags,
    cfg_options: Sequence[str],
    request: options.RequestFlags,
    layout: str | None,
    launcher: Launcher,
    restart: bool,
    retry_failed: bool,
    quiet: bool,
    verbose: bool,
    log_json: Path | None,
    trust_remote_code: bool = False,
    executor: str,
    address: str | None,
    workers: int | None,
    cpus_per_worker: int | None,
    gpus_per_worker: float | None,
    **job_options: Any,
) -> int:
    """The command `extract`, also under its MMAction2 name.

    Args:
        models, request: the encoders, each with its checkpoint, where one is given; `cfg_options` as typed.
        out: the output, as typed; a trailing slash makes it a folder.
        videos: as typed.
        layout: as for `vidfeat.Job`; its lines for a config are printed, unless `quiet`.
        launcher, restart, retry_failed, quiet, verbose, log_json: as for `vidfeat.run`.
        trust_remote_code: as for `vidfeat.encoder`.
        executor: "local" or "ray"; the next four are arguments of `vidfeat.Ray`.
        address, workers, cpus_per_worker, gpus_per_worker: as typed.
        job_options: further arguments of `vidfeat.Job`.

    Returns:
        The exit code.
    """
    import vidfeat
    from vidfeat.engine.launch import read_share
    from vidfeat.formats import open_sink
    from vidfeat.hardware import usable_cores
    from vidfeat.storage import is_uri

    # The cheap questions come first: a mistyped list or output is reported before torch is imported.
    read_share(launcher)
    if cfg_options and len(models) > 1:
        raise UsageError("--cfg-options", expected="a single model with this option", found=f"{len(models)}")
    grid = request.grid()
    # A cluster's list may be too long for memory: the job reads it itself.
    described: dict[str, Any] = {}
    found: Sequence[Any]
    if executor == "ray" and request.segments is None:
        found, described = videos.named(), {"video_root": videos.video_root}
    else:
        found = videos.find(request.segments, quiet=quiet)
    ray: dict[str, Any] = {"address": address, "workers": workers}
    ray |= {"cpus_per_worker": cpus_per_worker, "gpus_per_worker": gpus_per_worker}
    ray = {name: value for name, value in ray.items() if value is not None}
    if executor == "local" and ray:
        raise UsageError(next(iter(ray)), expected="`executor=ray` with this option", found="`executor=local`")
    if layout is None and not is_uri(out):
        open_sink(out)
    probably_complete = not (restart or retry_failed or is_uri(out)) and Path(out).exists()
    if executor == "local" and not probably_complete:
        vidfeat.prewarm(min(MOST_PREWARMED, len(usable_cores()), len(found)))
    ctrl_c.begin_work("numpy", "torch", "av", "cv2")
    from vidfeat import execution

    execution.require_hardware(job_options["device"], job_options["decoder"])
    encoders = [
        vidfeat.encoder(
            model,
            checkpoint=checkpoint,
            cfg_options=options.overrides(cfg_options),
            request=request.request(),
            progress=not quiet,
            trust_remote_code=trust_remote_code,
        )
        for model, checkpoint in models
    ]
    described |= {"grid": grid, "layout": layout, "follow_links": videos.follow_links}
    job = vidfeat.Job(videos=found, encoders=encoders, out=out, **described, **job_options)
    summary = vidfeat.run(
        job,
        restart=restart,
        retry_failed=retry_failed,
        launcher=launcher,
        executor=vidfeat.Ray(**ray) if executor == "ray" else None,
        quiet=quiet,
        verbose=verbose,
        log_json=log_json,
        wording=spell_as_flags,
    )
    if summary is not None and summary.config_lines and not quiet:
        click.echo(summary.config_lines)
    return EXIT_SOME_FAILED if summary is not None and summary.failed else 0
