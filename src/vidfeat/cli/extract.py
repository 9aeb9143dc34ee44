"""`vidfeat extract`: turn videos into feature vectors."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from vidfeat import __version__
from vidfeat.cli import flags, values
from vidfeat.cli.guard import EXIT_SOME_FAILED
from vidfeat.cli.parser import Commands
from vidfeat.errors import UsageError

if TYPE_CHECKING:
    from vidfeat.engine.launch import Share
    from vidfeat.engine.worker_handle import PrewarmedWorkers
    from vidfeat.extract import Setup
    from vidfeat.inference.runner import Kernels
    from vidfeat.store import Entry, ManifestHeader, RunStore

MOST_EARLY_PROCESSES = 4
"""Decode processes that are started before anything else: enough for the first features to come soon."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "extract",
        help="turn videos into feature vectors",
        description="Turn videos into feature vectors: one float32 vector a video, the mean over its clips and crops.",
        epilog=(
            "OUT ends in .pkl, .json or .yaml for one file in list order, or is a folder for one .npy per video. "
            "OUT.manifest.jsonl beside it says what became of every video."
        ),
    )
    flags.model(parser)
    flags.videos(parser)
    flags.out(parser, "output file or folder", required=True)
    flags.checkpoint(parser, "weights of the model")
    add_run_flags(parser)
    parser.set_defaults(run=run)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `vidfeat extract` and the MMAction2 command share, and what both say when interrupted."""
    flags.video_list(parser)
    flags.computation(parser)
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm", "mpi"),
        default="none",
        help="what started this process as one of several that share the list (default: none)",
    )
    parser.add_argument(
        "--on-error", choices=("skip", "fail"), default="skip", help="go on after a broken video (default), or stop"
    )
    parser.add_argument(
        "--on-corrupt",
        choices=("fail", "salvage"),
        default="fail",
        help="a truncated or corrupt video fails (default), or gives features of the frames that decode, marked so",
    )
    parser.add_argument(
        "--decoder",
        choices=("pyav", "nvdec"),
        default="pyav",
        help="what decodes: PyAV on the CPU, exact (default), or the GPU, which rounds colours otherwise and needs "
        "'vidfeat[nvdec]'",
    )
    flags.kernels(
        parser, "run the network through torch.compile, or not (default: where the list is long enough to pay for it)"
    )
    parser.add_argument("--restart", action="store_true", help="replace what an earlier run left at the output")
    parser.add_argument("--retry-failed", action="store_true", help="try the videos again that failed before")
    parser.set_defaults(interrupted="interrupted; what is finished is kept, run the same command again to go on")


def run(options: argparse.Namespace) -> int:
    """Extract, and say how many videos are done."""
    return extract_to(options, options.model, options.checkpoint, options.out)


def extract_to(options: argparse.Namespace, config: str, checkpoint: str | None, out: str) -> int:
    """The command `extract`, also under its MMAction2 name.

    Args:
        options: the flags of `add_run_flags`, and `videos`.
        config, checkpoint: the model.
        out: the output, as typed; a trailing slash makes it a folder.

    Returns:
        The exit code.
    """
    from vidfeat.engine.launch import read_share
    from vidfeat.store import nothing_pending, open_format

    # The cheap questions come first: a mistyped list or output is told before torch is even imported.
    share = read_share(options.launcher)
    entries = values.entries(options)
    output = open_format(out)
    output.check_names(entries)
    idle = nothing_pending(output.out, restart=options.restart, retry_failed=options.retry_failed)

    from vidfeat.engine.worker_handle import PrewarmedWorkers

    # They import what decodes while this process imports torch.
    with PrewarmedWorkers(0 if idle else min(MOST_EARLY_PROCESSES, share.cores, len(entries))) as early:
        return _extract(options, config, checkpoint, out, entries, share, early)


def _extract(
    options: argparse.Namespace,
    config: str,
    checkpoint: str | None,
    out: str,
    entries: list[Entry],
    share: Share,
    early: PrewarmedWorkers,
) -> int:
    from vidfeat.extract import prepare
    from vidfeat.store import RunIdentity, RunStore, list_digest

    setup = prepare(
        config,
        checkpoint=checkpoint,
        device=_device(options.device, share),
        precision=options.precision,
        decoder=options.decoder,
        cfg_options=values.overrides(options.cfg_options),
        request=values.request(options),
        progress=not options.quiet,
    )
    identity = RunIdentity(
        recipe_digest=setup.recipe.digest,
        checkpoint_sha256=setup.weights.sha256,
        precision=setup.precision,
        decoder=setup.decoder,
        list_digest=list_digest(entries),
    )
    with RunStore.open(
        out,
        identity,
        entries,
        rank=share.rank,
        world_size=share.world_size,
        restart=options.restart,
        retry_failed=options.retry_failed,
    ) as store:
        if store.finished and share.rank == 0 and not options.quiet:
            print(f"{out} is complete already; nothing to do (--restart begins anew)", file=sys.stderr)
        numerics = _extract_pending(options, setup, store, len(entries), share, early)
        summary = store.finish(_manifest_header(setup, numerics))
    if summary is None:  # Another process writes the output, and tells.
        return 0
    if not options.quiet:
        retry = "--retry-failed tries them again"
        failed = f", {summary.failed} failed (see {summary.manifest}; {retry})" if summary.failed else ""
        print(f"{summary.done} of {summary.videos} videos in {summary.out}{failed}", file=sys.stderr)
    return EXIT_SOME_FAILED if summary.failed else 0


def _extract_pending(
    options: argparse.Namespace, setup: Setup, store: RunStore, videos: int, share: Share, early: PrewarmedWorkers
) -> dict[str, Any]:
    """Compute what is missing of this process's share. Nothing missing: not even the weights are read.

    Returns:
        `ManifestHeader.numerics`.
    """
    pending = store.pending()
    if not pending:
        return {}

    from vidfeat.engine import local
    from vidfeat.engine.decode_pool import ReaderOptions, processes_for
    from vidfeat.engine.progress import Progress
    from vidfeat.extract import Extractor
    from vidfeat.preprocessing.clips import PreprocessSpec

    kernels = _agreed_kernels(options, store)
    reader_options = ReaderOptions(processes_for(share.cores, setup.devices[0].type), timeout_seconds=options.timeout)
    spec = PreprocessSpec.of(setup.recipe, options.on_corrupt, setup.nvdec)
    mine = len(range(share.rank, videos, share.world_size))
    with (
        Progress(mine, already=mine - len(pending), quiet=options.quiet) as progress,
        # The first videos are read while the weights are.
        local.Reading(spec, pending, reader_options, in_order=options.on_error == "fail", early=early) as reading,
    ):
        say = progress.note
        extractors = [
            Extractor.from_setup(setup, device, threads=share.cores, kernels=kernels, agree=store.agree, say=say)
            for device in setup.devices
        ]
        if extractors[0].match.ignored_heads and share.rank == 0:
            heads = ", ".join(extractors[0].match.heads)
            progress.note(f"{extractors[0].match.ignored_heads} weights of {heads} are not needed for features")
        local.run(extractors, reading, store, progress, on_error=options.on_error)
    return extractors[0].network.numerics.to_json()


def _agreed_kernels(options: argparse.Namespace, store: RunStore) -> Kernels | None:
    """What the flag says, unless the run was begun otherwise; None where it says nothing."""
    wanted = values.kernels(options)
    if wanted is None:
        return None
    begun = store.agree(wanted)
    if begun == wanted:
        return wanted
    raise UsageError(
        "--compile" if options.compile else "--no-compile",
        expected=f"kernels as the run was begun with: {begun}",
        found=wanted,
        hint="Leave the flag out to go on, or begin anew with --restart: they differ in the last bits of a feature.",
    )


def _device(name: str, share: Share) -> str:
    """The device of this process: the processes of one machine share its GPUs out among them."""
    if name != "auto" or share.local_size == 1:
        return name

    import torch

    gpus = torch.cuda.device_count()
    return f"cuda:{share.local_rank % gpus}" if gpus else "cpu"


def _manifest_header(setup: Setup, numerics: dict[str, Any]) -> ManifestHeader:
    import platform

    import av
    import cv2
    import numpy as np
    import torch

    return {
        "recipe": setup.recipe.to_json(),
        "checkpoint": {"source": setup.weights.source, "sha256": setup.weights.sha256},
        "device": ", ".join(
            torch.cuda.get_device_name(device) if device.type == "cuda" else device.type for device in setup.devices
        ),
        "numerics": numerics,
        "versions": {
            "vidfeat": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "av": av.__version__,
            "numpy": np.__version__,
            "cv2": cv2.__version__,
        },
    }
