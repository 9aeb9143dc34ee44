"""The command line: flags map one to one onto the library, and errors become one line and an exit code.

Exit codes: 0 all done, 1 something unforeseen, 2 usage or configuration, 3 some videos failed, 4 the output could not
be written (a full disk, a quota).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vidfeat import __version__
from vidfeat.errors import UsageError, VideoError, VidfeatError

if TYPE_CHECKING:
    from vidfeat.engine.launch import Share
    from vidfeat.extract import Setup
    from vidfeat.mmaction import FeatureRequest
    from vidfeat.network import Kernels
    from vidfeat.store import Entry, ManifestHeader, RunStore

# torch, av and cv2 take seconds to import, so this module imports what uses them inside the functions: `--help` and a
# mistyped flag are answered at once.

EXIT_UNFORESEEN, EXIT_USAGE, EXIT_SOME_FAILED = 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `vidfeat`.

    Args:
        argv: the arguments; those of the process where None.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(argv)
    return guarded(options.run, options)


def guarded(run: Any, options: argparse.Namespace) -> int:
    """Run a command; errors become one message on stderr and an exit code, with a traceback only for `--debug`."""
    try:
        code: int = run(options)
        sys.stdout.flush()
        return code
    except VidfeatError as error:
        message, code = str(error), EXIT_SOME_FAILED if isinstance(error, VideoError) else error.exit_code
        if options.debug:
            raise
    except KeyboardInterrupt:
        message, code = "interrupted; what is finished is kept, run the same command again to go on", EXIT_UNFORESEEN
    except BrokenPipeError:
        # The reader of our output went away, as `head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNFORESEEN
    except Exception as error:
        if options.debug:
            raise
        message = f"unforeseen {type(error).__name__}: {error}. Please report it, with the output of --debug."
        code = EXIT_UNFORESEEN
    print(f"vidfeat: error: {message}", file=sys.stderr)
    return code


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `vidfeat extract` and the MMAction2 command share."""
    parser.add_argument("--video-list", type=Path, metavar="FILE", help="text file with one video path per line")
    _add_model_flags(parser)
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
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="run the network through torch.compile, or not (default: where the list is long enough to pay for it)",
    )
    parser.add_argument(
        "--decoder",
        choices=("pyav", "nvdec"),
        default="pyav",
        help="what decodes: PyAV on the CPU, exact (default), or the GPU, which rounds colours otherwise and needs "
        "'vidfeat[nvdec]'",
    )
    parser.add_argument("--restart", action="store_true", help="replace what an earlier run left at the output")
    parser.add_argument("--retry-failed", action="store_true", help="try the videos again that failed before")


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `vidfeat plan` takes as well: what is computed, and on what."""
    parser.add_argument("--video-root", type=Path, metavar="DIR", help="folder that the list's paths start from")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="config values to override, dotted keys"
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="cpu, cuda or cuda:i, several with commas, or auto (default): every GPU, the CPU where there is none",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="arithmetic of the network (default: fp32, exact); the others are checked against it on the first batch",
    )
    parser.add_argument(
        "--spatial-type", choices=("avg", "max", "keep"), default="avg", help="pooling over height and width"
    )
    parser.add_argument("--temporal-type", choices=("avg", "max", "keep"), default="avg", help="pooling over time")
    parser.add_argument(
        "--views",
        choices=("mean", "keep", "per_clip", "few"),
        default="mean",
        help="the mean of all views (default), one row per view, one row per clip, or the mean of the few views that "
        "MMAction2 1.x's script takes by default",
    )
    parser.add_argument("--multi-view", action="store_true", help="the same as --views keep")
    parser.add_argument(
        "--long-video-mode", action="store_true", help="a row for every window of a video, in place of one vector"
    )
    parser.add_argument("--clip-interval", type=int, metavar="N", help="frames between the centres of windows")
    parser.add_argument("--frame-interval", type=int, metavar="N", help="frames between the frames of a window")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="time that reading any video may take (default: 60); more is added for large files and long videos",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="show failures only")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0; found {text!r}")
    return seconds


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0; found {text!r}")
    return count


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"vidfeat: error: {message}. See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vidfeat",
        description="Feature vectors from videos with pretrained action-recognition models.",
        epilog=(
            "Exit codes: 0 all done, 1 unforeseen, 2 usage or configuration, 3 some videos failed, "
            "4 the output could not be written (a full disk, a quota)."
        ),
    )
    parser.add_argument("--version", action="version", version=f"vidfeat {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    extract = commands.add_parser(
        "extract",
        help="turn videos into feature vectors",
        description="Turn videos into feature vectors: one float32 vector a video, the mean over its clips and crops.",
        epilog=(
            "OUT ends in .pkl, .json or .yaml for one file in list order, or is a folder for one .npy per video. "
            "OUT.manifest.jsonl beside it says what became of every video."
        ),
    )
    extract.add_argument("model", metavar="MODEL", help="name of a released model, or path of an MMAction2 config")
    extract.add_argument("videos", nargs="*", type=Path, metavar="VIDEO_OR_FOLDER", help="videos, or folders of them")
    extract.add_argument("-o", "--out", required=True, metavar="OUT", help="output file or folder")
    extract.add_argument("--checkpoint", metavar="PATH_OR_URL", help="weights of the model")
    add_run_flags(extract)
    extract.set_defaults(run=_extract)

    plan = commands.add_parser(
        "plan",
        help="say what extracting would take, before it is spent",
        description="Look at every video and measure this machine for some seconds: rows, bytes, hours, bottleneck, "
        "and which videos are broken or there twice.",
        epilog="No checkpoint is needed: made-up weights take the same time.",
    )
    plan.add_argument(
        "videos",
        nargs="+",
        type=Path,
        metavar="LIST_OR_VIDEOS",
        help="text file with one video path per line; or videos, or folders of them",
    )
    plan.add_argument("model", metavar="MODEL", help="name of a released model, or path of an MMAction2 config")
    plan.add_argument("-o", "--out", metavar="OUT", help="where the output would go, for its size and the space there")
    plan.add_argument("--checkpoint", metavar="PATH_OR_URL", help="weights of the model, to see that they fit")
    plan.add_argument("--json", action="store_true", help="print everything as JSON")
    _add_model_flags(plan)
    plan.set_defaults(run=_plan)

    inspect = commands.add_parser(
        "inspect",
        help="say what a model does to a video",
        description="Say in words what a model does to a video: frames, views, transforms, backbone, feature size.",
    )
    inspect.add_argument("model", metavar="MODEL", help="name of a released model, or path of an MMAction2 config")
    inspect.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="config values to override")
    inspect.add_argument("--json", action="store_true", help="print the recipe as JSON")
    inspect.add_argument("--debug", action="store_true", help="show tracebacks")
    inspect.set_defaults(run=_inspect)

    models = commands.add_parser(
        "models",
        help="list the released models",
        description="List the released models: their names, data sets, feature sizes, cost and published accuracy.",
    )
    models.add_argument("--family", metavar="F", help="only this family, such as slowonly")
    models.add_argument("--dataset", metavar="D", help="only this data set, such as kinetics-400")
    models.add_argument("--debug", action="store_true", help="show tracebacks")
    models.set_defaults(run=_models)

    verify = commands.add_parser(
        "verify",
        help="prove that an output is whole",
        description="Check an output against its manifest: every video covered once, shapes, finite values, hashes.",
    )
    verify.add_argument("out", metavar="OUT", type=Path, help="an output of vidfeat extract")
    verify.add_argument("--debug", action="store_true", help="show tracebacks")
    verify.set_defaults(run=_verify)

    report = commands.add_parser(
        "report",
        help="show the features of an output on one page",
        description="Write one self-contained HTML page: a map of the features, neighbours, frames, and what is wrong.",
        epilog="OUT may be finished, in the making, or of another program. The page opens without a network.",
    )
    report.add_argument("out", metavar="OUT", type=Path, help="an output of vidfeat extract, or features of any origin")
    report.add_argument("-o", "--page", type=Path, metavar="HTML", help="the page to write (default: OUT.report.html)")
    report.add_argument("--video-root", type=Path, metavar="DIR", help="folder of the videos, for pictures of them")
    report.add_argument(
        "--labels", type=Path, metavar="FILE", help="colours: lines 'name label', or a .csv or .tsv, names first"
    )
    report.add_argument(
        "--map", choices=("pca", "umap"), default="pca", help="how the map is made; umap needs 'vidfeat[umap]'"
    )
    report.add_argument("-q", "--quiet", action="store_true", help="print nothing")
    report.add_argument("--debug", action="store_true", help="show tracebacks")
    report.set_defaults(run=_report)

    demo = commands.add_parser(
        "demo",
        help="show all of it on clips made for the purpose",
        description="Render short clips of moving shapes, extract their features with a small model that comes along, "
        "and show which clips it finds alike, here and on a page. Takes less than a minute; nothing is downloaded.",
    )
    demo.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("vidfeat-demo"),
        metavar="FOLDER",
        help="a new folder, or that of an earlier demo (default: vidfeat-demo)",
    )
    demo.add_argument("-q", "--quiet", action="store_true", help="print nothing")
    demo.add_argument("--debug", action="store_true", help="show tracebacks")
    demo.set_defaults(run=_demo)

    doctor = commands.add_parser(
        "doctor",
        help="say what this machine can do",
        description="Say what this machine can do: cores, devices, FFmpeg, extras, cache, mirror; and how to mend it.",
    )
    doctor.add_argument("--debug", action="store_true", help="show tracebacks")
    doctor.set_defaults(run=_doctor)
    _add_bench(commands)
    return parser


def _add_bench(commands: argparse._SubParsersAction[_Parser]) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure how fast this machine is",
        description="Measure, in one run and in turns: MMAction2's way of working, vidfeat, and what this machine can "
        "do at most. Takes minutes, and a machine that does nothing else.",
        epilog="docs/benchmarks.md says what each row is. Nothing is downloaded but what --checkpoint names.",
    )
    bench.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="name of a released model, or path of an MMAction2 config (default: TSN, ResNet-50, 25 frames of 256x256)",
    )
    bench.add_argument(
        "videos", nargs="*", type=Path, metavar="VIDEO_OR_FOLDER", help="videos, or folders of them (default: rendered)"
    )
    bench.add_argument("--video-list", type=Path, metavar="FILE", help="text file with one video path per line")
    bench.add_argument("--video-root", type=Path, metavar="DIR", help="folder that the list's paths start from")
    bench.add_argument(
        "--checkpoint", metavar="PATH_OR_URL", help="weights (default: made up, as time does not depend)"
    )
    bench.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="config values to override")
    bench.add_argument(
        "--videos",
        dest="count",
        type=_count,
        metavar="N",
        help="length of the list, from the videos over and over (default: all that are given, or 12)",
    )
    bench.add_argument("--repeat", type=_count, default=3, metavar="K", help="runs of each row (default: 3), in turns")
    bench.add_argument(
        "--rows", default="shipped,tuned,exact,bf16", metavar="NAMES", help="some of shipped,tuned,exact,bf16; or none"
    )
    bench.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda or cuda:i (default: auto)")
    bench.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="run our networks through torch.compile, or not (default: as measured, for a long list)",
    )
    bench.add_argument(
        "--growth", action="store_true", help="measure also how cost grows with the number of videos and their length"
    )
    bench.add_argument("--growth-model", metavar="MODEL", help="the model for that (default: a small one)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the measurements, too")
    bench.add_argument("--debug", action="store_true", help="show tracebacks")
    bench.set_defaults(run=_bench)


def _extract(options: argparse.Namespace) -> int:
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
    from vidfeat.store import RunIdentity, RunStore, list_digest, open_format

    # The cheap questions come first: a mistyped list or output is told before torch is even imported.
    share = read_share(options.launcher)
    entries = _entries(options)
    open_format(out).check_names(entries)

    from vidfeat.extract import prepare

    setup = prepare(
        config,
        checkpoint=checkpoint,
        device=_device(options.device, share),
        precision=options.precision,
        decoder=options.decoder,
        cfg_options=_overrides(options.cfg_options),
        request=_request(options),
        progress=not options.quiet,
    )
    identity = RunIdentity(
        recipe_digest=setup.recipe.digest,
        checkpoint_sha256=setup.weights.sha256,
        precision=setup.precision,
        list_digest=list_digest(entries),
        decoder=setup.decoder,
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
        numerics = _extract_pending(options, setup, store, len(entries), share)
        summary = store.finish(_manifest_header(setup, numerics))
    if summary is None:  # Another process writes the output, and tells.
        return 0
    if not options.quiet:
        failed = f", {summary.failed} failed (see {summary.manifest})" if summary.failed else ""
        print(f"{summary.done} of {summary.videos} videos in {summary.out}{failed}", file=sys.stderr)
    return EXIT_SOME_FAILED if summary.failed else 0


def _extract_pending(
    options: argparse.Namespace, setup: Setup, store: RunStore, videos: int, share: Share
) -> dict[str, Any]:
    """Compute what is missing of this process's share. Nothing missing: not even the weights are read.

    Returns:
        `ManifestHeader.numerics`.
    """
    pending = store.pending()
    if not pending:
        return {}

    from vidfeat.engine.local import run
    from vidfeat.engine.progress import Progress
    from vidfeat.engine.readers import ReaderOptions, processes_for
    from vidfeat.extract import Extractor
    from vidfeat.machine import usable_cores

    kernels = _kernels(options, store)
    # The processes of one machine share its cores.
    cores = max(1, len(usable_cores()) // share.local_size)
    reading = ReaderOptions(processes_for(cores, setup.devices[0].type), timeout_seconds=options.timeout)
    mine = len(range(share.rank, videos, share.world_size))
    with Progress(mine, already=mine - len(pending), quiet=options.quiet) as progress:
        say = progress.note
        extractors = [
            Extractor.from_setup(setup, device, threads=cores, kernels=kernels, agree=store.agree, say=say)
            for device in setup.devices
        ]
        if extractors[0].match.ignored_heads and share.rank == 0:
            heads = ", ".join(extractors[0].match.heads)
            progress.note(f"{extractors[0].match.ignored_heads} weights of {heads} are not needed for features")
        run(
            extractors,
            pending,
            store,
            progress,
            on_error=options.on_error,
            on_corrupt=options.on_corrupt,
            reading=reading,
        )
    return extractors[0].network.numerics.to_json()


def _kernels(options: argparse.Namespace, store: RunStore) -> Kernels | None:
    """What the flag says, unless the run was begun otherwise; None where it says nothing."""
    if options.compile is None:
        return None
    wanted: Kernels = "compiled" if options.compile else "eager"
    begun = store.agree(wanted)
    if begun == wanted:
        return wanted
    raise UsageError(
        "--compile" if options.compile else "--no-compile",
        expected=f"kernels as the run was begun with: {begun}",
        found=wanted,
        do="Leave the flag out to go on, or begin anew with --restart: they differ in the last bits of a feature.",
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


def _entries(options: argparse.Namespace) -> list[Entry]:
    from vidfeat.store import read_list, scan

    if options.video_list is not None and not options.videos:
        return read_list(options.video_list, options.video_root)
    if options.videos and options.video_list is None and options.video_root is None:
        return scan(options.videos)
    raise UsageError(
        "videos",
        expected="either videos and folders, or --video-list with an optional --video-root",
        found="both" if options.videos else "none",
    )


def _overrides(items: Sequence[str]) -> dict[str, Any]:
    from vidfeat.mmaction.pyconfig import parse_override

    return dict(parse_override(item) for item in items)


def _request(options: argparse.Namespace) -> FeatureRequest:
    from vidfeat.mmaction import FeatureRequest, LongVideo
    from vidfeat.recipe import Pooling

    if options.long_video_mode is not (options.clip_interval is not None):
        raise UsageError(
            "--long-video-mode",
            expected="--long-video-mode together with --clip-interval",
            found="one of them",
            do="--clip-interval says how many frames lie between the centres of windows.",
        )
    long_video = LongVideo(options.clip_interval, options.frame_interval) if options.long_video_mode else None
    views = "keep" if options.multi_view else options.views
    few = views == "few" or (long_video is not None and views == "mean")
    # A long video has a row for every window: the mean is that over the crops of each.
    kept: Any = ("per_clip" if long_video else "mean") if few else views
    pooling = Pooling(space=options.spatial_type, time=options.temporal_type, views=kept)
    return FeatureRequest(pooling=pooling, views="few" if few else "all", long_video=long_video)


def _models(options: argparse.Namespace) -> int:
    from vidfeat.mmaction.zoo import render, table

    print(render(table(options.family, options.dataset)))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    import json

    from vidfeat.describe import describe
    from vidfeat.mmaction import compile_model

    recipe, checkpoint = compile_model(options.model, _overrides(options.cfg_options))
    print(json.dumps(recipe.to_json(), indent=2) if options.json else describe(recipe))
    if checkpoint and not options.json:
        print(f"checkpoint    {checkpoint}")
    return 0


def _plan(options: argparse.Namespace) -> int:
    import json

    from vidfeat.store import open_format

    entries = _listed(options.videos, options.video_root)
    if options.out is not None:
        open_format(options.out).check_names(entries)

    from vidfeat.engine.readers import ReaderOptions, processes_for
    from vidfeat.machine import usable_cores
    from vidfeat.plan import forecast, render, to_json

    found = forecast(
        options.model,
        entries,
        checkpoint=options.checkpoint,
        device=options.device,
        precision=options.precision,
        cfg_options=_overrides(options.cfg_options),
        request=_request(options),
        out=options.out,
        reading=ReaderOptions(processes_for(len(usable_cores())), timeout_seconds=options.timeout),
        progress=not options.quiet and sys.stderr.isatty(),
    )
    print(json.dumps(to_json(found), indent=2) if options.json else render(found))
    return 0


def _listed(given: Sequence[Path], root: Path | None) -> list[Entry]:
    """The videos that `plan` is given: one text file is a list, all else is as `extract` takes it."""
    from vidfeat.store import VIDEO_SUFFIXES, read_list, scan

    (first, *others) = given
    if not others and not first.is_dir() and first.suffix.lower() not in VIDEO_SUFFIXES:
        return read_list(first, root)
    if root is not None:
        raise UsageError("--video-root", expected="one list of videos to go with it", found="videos or folders")
    return scan(given)


def _verify(options: argparse.Namespace) -> int:
    from vidfeat.store import verify

    problems = verify(options.out)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{options.out}: whole")
    return EXIT_UNFORESEEN if problems else 0


def _report(options: argparse.Namespace) -> int:
    from vidfeat.report import build
    from vidfeat.store import open_format

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


def _demo(options: argparse.Namespace) -> int:
    from vidfeat.demo import CONFIG, weights
    from vidfeat.demo.folder import claim

    folder = claim(options.out)

    from vidfeat.demo.clips import demo_clips, write_clips
    from vidfeat.demo.findings import find, in_words
    from vidfeat.report import build

    clips = demo_clips()
    write_clips(clips, folder, progress=not options.quiet)
    # From here on it is what anybody does with videos of their own.
    words = ["extract", CONFIG, "--checkpoint", weights(), "--video-list", folder.listed, "--video-root", folder.clips]
    words += ["-o", folder.features, "--restart", *(["--quiet"] if options.quiet else [])]
    code = _extract(_parser().parse_args([str(word) for word in words]))
    if code:
        return code
    findings = find(clips, folder)
    build(folder.features, video_root=folder.clips, labels=None, page=folder.page)
    if not options.quiet:
        print("\n".join(in_words(findings)))
        print(f"Open {folder.page} to look around. Your own videos: see `vidfeat models` and `vidfeat extract --help`.")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from vidfeat.doctor import examine, render

    print(render(examine()))
    return 0


def _bench(options: argparse.Namespace) -> int:
    import json

    from vidfeat.bench.comparison import parse_rows
    from vidfeat.bench.session import Request, bench
    from vidfeat.bench.table import render, to_json
    from vidfeat.store.atomic import replacing

    request = Request(
        model=_bench_model(options),
        cfg_options=_overrides(options.cfg_options),
        checkpoint=options.checkpoint,
        device=options.device,
        paths=[entry.path for entry in _entries(options)] if options.videos or options.video_list else [],
        videos=options.count,
        rows=parse_rows(options.rows),
        repeat=options.repeat,
        kernels=None if options.compile is None else "compiled" if options.compile else "eager",
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


def _bench_model(options: argparse.Namespace) -> str | None:
    """The model; a video or a folder in its place is easily typed, as everything else has a default."""
    from vidfeat.store.listing import VIDEO_SUFFIXES

    model: str | None = options.model
    if model is not None and (Path(model).is_dir() or Path(model).suffix.lower() in VIDEO_SUFFIXES):
        raise UsageError(
            "MODEL", expected="a model before the videos", found=repr(model), do="See the names with `vidfeat models`."
        )
    return model


if __name__ == "__main__":
    sys.exit(main())
