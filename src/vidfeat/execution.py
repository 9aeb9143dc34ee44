"""Execute jobs: to an output, as a stream, or one video at a time.

run(job)        computes what is missing, commits each result, and brings the output into its final form
stream(job)     yields each result as it is done, and writes nothing
Extractor       keeps a network ready for single videos
"""

from __future__ import annotations

import contextlib
import os
import platform
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, NoReturn, Protocol, get_args, runtime_checkable

import torch

from vidfeat.encoders import Encoder, encoder
from vidfeat.engine.committing import Committer
from vidfeat.engine.decode_pool import DecodePool, PoolOptions, processes_for
from vidfeat.engine.event_log import EventLog
from vidfeat.engine.events import Event, PoolFailed, VideoDecoded, VideoFailed, VideoPlanned
from vidfeat.engine.executor import Computed, Execution, Executor, LocalExecutor
from vidfeat.engine.launch import Launcher, Share, read_share
from vidfeat.engine.progress import Progress
from vidfeat.engine.tasks import Task
from vidfeat.engine.worker import Worker, WorkerOptions
from vidfeat.errors import UsageError, VideoError
from vidfeat.features import Outcome, VideoFailure, VideoFeatures
from vidfeat.hardware import usable_cores
from vidfeat.inference.backends import Backend
from vidfeat.inference.devices import choose_decoder, choose_devices
from vidfeat.inference.precision import Precision
from vidfeat.job import Job
from vidfeat.mmaction import FeatureRequest
from vidfeat.recipe import Recipe
from vidfeat.storage import is_uri
from vidfeat.store import PartsStore, RunStore, Store, Summary, WorkIdentity, is_parts
from vidfeat.store.part_files import Committed, PartWriter
from vidfeat.video import VideoInfo
from vidfeat.video.info import OnCorrupt
from vidfeat.video.nvdec import Decoder
from vidfeat.videos import Segment, VideoRef


def run(
    job: Job,
    *,
    restart: bool = False,
    retry_failed: bool = False,
    launcher: Launcher = "none",
    executor: Executor | ClusterExecutor | None = None,
    quiet: bool = False,
    verbose: bool = False,
    log_json: str | os.PathLike[str] | None = None,
    wording: Callable[[str], str] = str,
) -> Summary | None:
    """Compute what is missing of a job's output. What is finished is kept through any crash, and never computed twice.

    Args:
        job: with an output.
        restart: compute everything again, and replace the output whatever it is. Nothing of it is touched before the
            first new result is committed.
        retry_failed: try the videos again that failed in runs before.
        launcher: what started this process as one of several that share the job's videos.
        executor: where the work is done; in this process where None. With a `ClusterExecutor` the output is a folder
            of parts, whatever its name.
        quiet: whether stderr shows failures only, in place of progress as well.
        verbose: whether stderr shows a line for each video.
        log_json: a file to append what happens to, as JSON Lines.
        wording: changes the lines on stderr before they are shown; the command line spells arguments as flags.

    Returns:
        How the run ended; with several encoders, their numbers added up. None on ranks other than 0.

    Raises:
        UsageError, OutputError: the job cannot be run like this, or no video exists; nothing was computed.
        WriteError: the disk refused. What was committed before is kept: run it again.
        VideoError: a video failed, and the job's `on_error` is "fail"; it is recorded all the same.
        CheckpointError, ConfigError, DeviceError: the network cannot be run.
    """
    share = read_share(launcher)
    notes: list[str] = []
    if isinstance(executor, ClusterExecutor):
        on_cluster: dict[str, Any] = {"restart": restart, "retry_failed": retry_failed, "log_json": log_json}
        return _run_on_cluster(job, executor, quiet=quiet, verbose=verbose, wording=wording, **on_cluster)
    videos = job.refs(notes.append)
    options = worker_options(job, share)
    choices: dict[str, Any] = {"restart": restart, "retry_failed": retry_failed}
    with contextlib.ExitStack() as stack:
        stores: list[Store] = [
            stack.enter_context(_open_store(job, position, out, videos, share, choices))
            for position, out in enumerate(job.outputs())
        ]
        if not any(store.has_features for store in stores):
            _require_any_file(videos)
        tasks = _tasks(stores)
        _require_segments([task.video for task in tasks], options)
        total = len(stores) * len(range(share.rank, len(videos), share.world_size))
        already = total - sum(len(task.encoders) for task in tasks)
        log = None if log_json is None else stack.enter_context(EventLog(log_json, share.rank))
        shown = Progress(total, already=already, quiet=quiet, verbose=verbose, log=log, wording=wording)
        with shown as progress:
            if share.rank == 0:
                for note in [*notes, *(f"{store.out}: {note}" for store in stores for note in store.notes)]:
                    progress.note(note)
            if tasks:
                _compute(job, tasks, options, stores, progress, executor or LocalExecutor())
            elif share.rank == 0:
                progress.note(f"{job.out} is complete already: nothing to compute")
        summaries = [summary for store in stores if (summary := store.finalize()) is not None]
    if len(summaries) < len(stores):  # another process writes the output, and reports
        return None
    for summary in summaries:
        progress.note(_report(summary))
    return _total(summaries)


@dataclass(frozen=True)
class Amount:
    """How much work there is.

    Attributes:
        videos: how many.
        bytes: of those whose size is known.
    """

    videos: int
    bytes: int

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> Amount:
        """That of these tasks."""
        videos = size = 0
        for task in tasks:
            videos += 1
            size += task.video.bytes or 0
        return cls(videos, size)


@runtime_checkable
class ClusterExecutor(Protocol):
    """Computes and commits the tasks of a job elsewhere; `vidfeat.Ray` is one."""

    def execute_and_commit(
        self, job: Job, tasks: Iterator[Task], amount: Amount, writers: Sequence[PartWriter], progress: Progress
    ) -> Iterator[tuple[int, list[Committed]]]:
        """Yield the position of an encoder, and what was committed of it just now.

        Args:
            job: what to compute; its videos are not looked at.
            tasks: the videos, read as they are needed.
            amount: how much that is.
            writers: for each encoder, commits its outcomes; plain data.
            progress: takes lines about decisions, and is shown where the time goes.
        """


def _run_on_cluster(
    job: Job,
    executor: ClusterExecutor,
    *,
    restart: bool,
    retry_failed: bool,
    quiet: bool,
    verbose: bool,
    log_json: str | os.PathLike[str] | None,
    wording: Callable[[str], str],
) -> Summary:
    with contextlib.ExitStack() as stack:
        choices = {"restart": restart, "retry_failed": retry_failed}
        stores = [
            stack.enter_context(_open_parts(job, encoder, out, job.iterate_refs(), choices))
            for out, encoder in zip(job.outputs(), _encoders(job), strict=True)
        ]
        total, pending = sum(map(len, stores)), sum(store.count_pending() for store in stores)
        log = None if log_json is None else stack.enter_context(EventLog(log_json, 0))
        shown = Progress(total, already=total - pending, quiet=quiet, verbose=verbose, log=log, wording=wording)
        with shown as progress:
            for store in stores:
                for note in store.notes:
                    progress.note(f"{store.out}: {note}")
            amount = Amount.of(_cluster_tasks(stores))
            if not amount.videos:
                progress.note(f"{job.out} is complete already: nothing to compute")
            writers = [store.writer for store in stores]
            results = executor.execute_and_commit(job, _cluster_tasks(stores), amount, writers, progress)
            for position, committed in results if amount.videos else ():
                stores[position].record(committed)
                for one in committed:
                    progress.advance() if one.error is None else progress.count(one.error)
        summaries = [store.finalize() for store in stores]
        for summary in summaries:
            progress.note(_report(summary))
    return _total(summaries)


def _cluster_tasks(stores: Sequence[PartsStore]) -> Iterator[Task]:
    """The videos that any encoder lacks, each once, with the encoders that lack it."""
    for first, store in enumerate(stores):
        for video in store.pending():
            if not any(earlier.is_pending(video.key) for earlier in stores[:first]):
                rest = [
                    n for n, other in enumerate(stores) if n == first or (n > first and other.is_pending(video.key))
                ]
                yield Task(video, tuple(rest))


def _open_parts(
    job: Job, encoder: Encoder, out: str, videos: Iterable[VideoRef], choices: Mapping[str, Any]
) -> PartsStore:
    job.require_own_rows()
    identity, description, backend = identity_of(encoder, job), encoder.description(), _backend(job) or "eager"
    return PartsStore.open(out, identity, videos, description=description, backend=backend, **choices)


def _open_store(
    job: Job, position: int, out: str, videos: Sequence[VideoRef], share: Share, choices: Mapping[str, Any]
) -> Store:
    """What takes the features of one encoder: parts for a URI, and otherwise a file or folder on this machine."""
    encoder = _encoders(job)[position]
    identity, description = identity_of(encoder, job), encoder.description()
    if not is_parts(out):
        choices = {**choices, "rank": share.rank, "world_size": share.world_size}
        return RunStore.open(job.sinks()[position], identity, videos, description=description, **choices)
    if share.world_size > 1:
        raise UsageError(
            "`launcher`", expected="none with an output in object storage", found=f"{share.world_size} processes"
        )
    return _open_parts(job, encoder, out, videos, choices)


def stream(job: Job, *, executor: Executor | None = None) -> Iterator[Outcome]:
    """Compute a job, and yield the outcome of every video as it is done. Writes nothing; `out` is not looked at.

    Yields:
        `VideoFeatures`, or a `VideoFailure`, for each encoder of each video.

    Raises:
        UsageError, CheckpointError, ConfigError, DeviceError: as `run` does.
        VideoError: a video failed, and the job's `on_error` is "fail".
    """
    videos = job.refs()
    options = worker_options(job)
    _require_segments(videos, options)
    positions = tuple(range(len(_encoders(job))))
    tasks = [Task(video, positions) for video in videos]
    with Progress(len(tasks), quiet=True) as progress:
        execution = Execution(
            _encoders(job), options, tasks, job.on_error == "fail", lambda _, proposal: proposal, progress
        )
        with contextlib.closing((executor or LocalExecutor()).execute(execution)) as results:
            for result in results:
                if job.on_error == "fail" and isinstance(result.outcome, VideoFailure):
                    raise result.outcome.error
                yield result.outcome


class Extractor:
    """An encoder ready to extract features of single videos.

    Args:
        encoder: from `vidfeat.encoder`; or what that takes: the name of a released model, the path of an MMAction2
            config, "hf:ORG/NAME", or a module.
        recipe: of a module: which frames it sees, and what is done to them.
        checkpoint, cfg_options, request: as for `vidfeat.encoder`, where that is called.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1", or a `torch.device`.
        precision: number format of the network: "fp32" is exact; "bf16" or "fp16" are faster, and checked against fp32
            on the first batch.
        decoder: "pyav" is exact; "nvdec" decodes on a GPU what it can, with colours rounded in another way.
        compiled: whether `torch.compile` makes the network faster first, which takes up to a minute.
        threads: CPU cores to use; all that the process may use where None. Features do not depend on it.
        timeout_seconds: as in `Job`.
        progress: whether a download shows a progress bar on stderr.

    Attributes:
        encoder: what is computed.

    Example:
        >>> features = Extractor("config.py", checkpoint="weights.pth").extract("clip.mp4")  # doctest: +SKIP
        >>> features.values.shape  # doctest: +SKIP
        (2048,)

    Several threads may use one; their videos are done one after the other. Processes each make their own: it is not
    pickled, and where a process has computed features, the children that it then forks cannot.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError: see `vidfeat.errors`.
    """

    def __init__(
        self,
        encoder: Encoder | Recipe | str | os.PathLike[str] | torch.nn.Module,
        *,
        recipe: Recipe | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        request: FeatureRequest | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "fp32",
        decoder: Decoder = "pyav",
        compiled: bool = False,
        threads: int | None = None,
        timeout_seconds: float = 60.0,
        progress: bool = False,
    ) -> None:
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise UsageError("threads", expected="a whole number above 0, or None for all cores", found=repr(threads))
        require_hardware(str(device), decoder)
        if isinstance(encoder, torch.nn.Module):
            encoder = _compile(encoder, recipe=recipe)
        elif isinstance(encoder, Recipe | str | os.PathLike):
            encoder = _compile(
                encoder, checkpoint=checkpoint, cfg_options=cfg_options, request=request, progress=progress
            )
        elif any(argument is not None for argument in (checkpoint, cfg_options, request)):
            raise UsageError(
                "checkpoint",
                expected="no other argument with an `Encoder`, which has its weights and options",
                found="one",
            )
        job = Job(
            videos=(),
            encoders=encoder,
            precision=precision,
            device=str(device),
            decoder=decoder,
            compiled=compiled,
            timeout_seconds=timeout_seconds,
        )
        (self.encoder,) = _encoders(job)
        self._worker = Worker((self.encoder,), worker_options(job, cores=threads, processes=1))
        weakref.finalize(self, self._worker.close)  # where nobody calls `close`
        _ = self._worker.runners  # weights that do not fit are an error here, and not at the first video

    def extract(self, path: str | os.PathLike[str] | VideoRef, *, on_corrupt: OnCorrupt = "fail") -> VideoFeatures:
        """The features of one video.

        Args:
            path: a video file.
            on_corrupt: "salvage" takes the frames that decode of a truncated or corrupt video; see
                `VideoInfo.salvaged`.

        Raises:
            VideoError: the video cannot be turned into features; `stage` and `kind` say why.
            DeviceError: the GPU decodes it wrongly; see `vidfeat.video.Nvdec.decode`.
            UsageError: `path` or `on_corrupt` is none; or this process was forked from one that had computed features.
        """
        if not isinstance(path, str | os.PathLike | VideoRef):
            raise UsageError("path", expected="the path of a video", found=f"{path!r}, of type {type(path).__name__}")
        if on_corrupt not in get_args(OnCorrupt):
            raise UsageError("on_corrupt", expected=" or ".join(get_args(OnCorrupt)), found=repr(on_corrupt))
        video = path if isinstance(path, VideoRef) else VideoRef(os.fspath(path), os.fspath(path))
        ((_, _, outcome),) = self._worker.run([Task(video)], on_corrupt=on_corrupt)
        if isinstance(outcome, VideoFailure):
            raise outcome.error
        return outcome

    def close(self) -> None:
        """End its decode process. Extracting starts another one."""
        self._worker.close()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "Extractor",
            expected="an extractor that stays in its process",
            found="an attempt to copy or pickle one",
            hint="Make one in every process, with the same arguments; several threads may share one.",
        )


@dataclass(frozen=True)
class Probed:
    """What is known of a video before it is decoded.

    Attributes:
        video: which.
        info: what it is; None where it cannot be opened.
        error: why not; None where it can.
    """

    video: VideoRef
    info: VideoInfo | None = None
    error: VideoError | None = None


def probe_all(
    videos: Sequence[VideoRef], *, processes: int | None = None, timeout_seconds: float = 60.0
) -> Iterator[Probed]:
    """Probe videos in processes that can be killed. Nothing but first frames is decoded.

    Args:
        videos: which.
        processes: how many at once; one for each core where None.
        timeout_seconds: as in `Job`.

    Yields:
        One `Probed` for each video, as they are done.

    Raises:
        VidfeatError: no process can be started.
    """
    inbox: SimpleQueue[Event] = SimpleQueue()
    options = PoolOptions(processes or processes_for(len(usable_cores())), timeout_seconds=timeout_seconds)
    infos: dict[int, VideoInfo] = {}
    left = len(videos)
    with DecodePool(None, [Task(video, ()) for video in videos], inbox.put, options):
        while left:
            event = inbox.get()
            if isinstance(event, PoolFailed):
                raise event.error
            if isinstance(event, VideoPlanned):
                infos[event.index] = event.info
            elif isinstance(event, VideoFailed):
                event.release()
                left -= 1
                yield Probed(videos[event.index], error=event.error)
            elif isinstance(event, VideoDecoded):
                left -= 1
                yield Probed(videos[event.index], infos.pop(event.index))


def require_hardware(device: str = "auto", decoder: Decoder = "pyav") -> None:
    """See that this machine has what a job asks for, before anything is downloaded for it.

    Args:
        device, decoder: as in `Job`.

    Raises:
        DeviceError, UsageError: it has not.
    """
    choose_decoder(decoder, choose_devices(device)[0])


def identity_of(encoder: Encoder, job: Job) -> WorkIdentity:
    """What the features of a job's encoder depend on, beside the videos."""
    return WorkIdentity(
        encoder.recipe_digest, encoder.weights.sha256, job.precision, job.decoder, job.dtype, job.layout or ""
    )


def versions() -> dict[str, str]:
    """The versions of what computes features."""
    import av
    import cv2
    import numpy as np

    from vidfeat import __version__

    return {
        "vidfeat": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "numpy": np.__version__,
        "cv2": cv2.__version__,
    }


def worker_for(
    job: Job,
    *,
    say: Callable[[str], object] = lambda line: None,
    videos_ahead: int | None = None,
    cores: int | None = None,
) -> Worker:
    """A worker for jobs with the encoders and options of this one. `LocalExecutor` takes it; closing it is up to you.

    Args:
        job: which.
        say, videos_ahead: as for `Worker`.
        cores: as for `worker_options`.

    Raises:
        DeviceError: the machine lacks what the job asks for.
    """
    return Worker(_encoders(job), worker_options(job, cores=cores), say=say, videos_ahead=videos_ahead)


_compile = encoder  # `Extractor` has an argument of that name


def _encoders(job: Job) -> tuple[Encoder, ...]:
    assert isinstance(job.encoders, tuple)  # as a job normalises them
    return job.encoders


def worker_options(
    job: Job, share: Share | None = None, *, cores: int | None = None, processes: int | None = None
) -> WorkerOptions:
    """How a worker computes a job on this machine.

    Args:
        job: which.
        share: the part of it that this process has; all of it where None.
        cores, processes: in place of those that follow from the machine and the job.

    Raises:
        DeviceError: the machine lacks what the job asks for.
    """
    share = share or Share()
    devices = choose_devices(_device_of(job.device, share))
    cores = cores or share.cores
    pool = PoolOptions(
        processes or job.decode_processes or processes_for(cores, devices[0].type),
        timeout_seconds=job.timeout_seconds,
        on_corrupt=job.on_corrupt,
    )
    return WorkerOptions(devices, job.precision, _backend(job), choose_decoder(job.decoder, devices[0]), cores, pool)


def _device_of(name: str, share: Share) -> str:
    """The device of this process: the processes of one machine share its GPUs out among them."""
    if name != "auto" or share.local_size == 1:
        return name
    gpus = torch.cuda.device_count()
    return f"cuda:{share.local_rank % gpus}" if gpus else "cpu"


def _require_any_file(videos: Sequence[VideoRef]) -> None:
    """Refuse a list of which no file is there: its folder was not named, or is not mounted."""
    if not any(is_uri(video.uri) or os.path.lexists(video.uri) for video in videos):
        raise UsageError(
            "videos",
            expected="at least one file that exists",
            found=f"none of {len(videos)}; the first is {videos[0].uri!r}",
            hint="Give the folder that the paths of the list start from as `video_root`.",
        )


def _require_segments(videos: Sequence[VideoRef], options: WorkerOptions) -> None:
    """Refuse segments that lie outside of their videos, before any work."""
    cut = [video for video in videos if video.cut is not None]
    if not cut:
        return
    for probed in probe_all(cut, timeout_seconds=options.pool.timeout_seconds):
        if probed.info is None:  # this video fails, alone
            continue
        first, last = probed.info.timeline.pts_seconds[0], probed.info.timeline.end_seconds[-1]
        start, end = probed.video.segment or (first, last)
        for part in probed.video.segments or (Segment(start, end),):
            if not first <= part.start_seconds < min(last, part.end_seconds):
                raise UsageError(
                    part.where or f"videos: segment of {probed.video.key!r}",
                    expected=f"a start before its end, inside the video, which lasts from {first:.3f} to {last:.3f} s",
                    found=f"{part.start_seconds} to {part.end_seconds} s",
                )


def _tasks(stores: Sequence[Store]) -> list[Task]:
    """The videos that any encoder lacks, in the order of the list, each with the encoders that lack it."""
    wanted: dict[VideoRef, list[int]] = {}
    for position, store in enumerate(stores):
        for video in store.pending():
            wanted.setdefault(video, []).append(position)
    return [Task(video, tuple(positions)) for video, positions in wanted.items()]


def _compute(
    job: Job,
    tasks: Sequence[Task],
    options: WorkerOptions,
    stores: Sequence[Store],
    progress: Progress,
    executor: Executor,
) -> None:
    _require_backend(job, stores)
    provenance = {"versions": versions()}

    def commit(results: Sequence[Computed]) -> list[Computed]:
        failures: dict[tuple[int, str], VideoFailure] = {}
        for position, store in enumerate(stores):
            for session, outcomes in _by_session([result for result in results if result.encoder == position]):
                for failure in store.commit(outcomes, {**session, **provenance}):
                    failures[position, failure.key] = failure
        return [
            replace(result, outcome=failures.get((result.encoder, result.outcome.key), result.outcome))
            for result in results
        ]

    def committed(result: Computed) -> None:
        progress.count(result.outcome)
        if job.on_error == "fail" and isinstance(result.outcome, VideoFailure):
            raise result.outcome.error

    execution = Execution(
        _encoders(job),
        options,
        tasks,
        job.on_error == "fail",
        lambda position, proposal: stores[position].pin_backend(proposal),
        progress,
    )
    with (
        contextlib.closing(executor.execute(execution)) as results,
        Committer(commit, committed, max(store.linger_seconds for store in stores)) as committer,
    ):
        for result in results:
            committer.put(result)
            if job.on_error == "fail" and isinstance(result.outcome, VideoFailure):
                raise result.outcome.error


def _require_backend(job: Job, stores: Sequence[Store]) -> None:
    """Refuse a backend other than the one that finished features of the output come from."""
    wanted = _backend(job)
    if wanted is None:
        return
    for store in stores:
        begun = store.pin_backend(wanted)
        if begun != wanted:
            raise UsageError(
                "compiled",
                expected=f"the backend that the run was started with: {begun}",
                found=wanted,
                hint="Leave `compiled` out to go on, or start over with `restart=True`. "
                "Backends differ in the last bits of a feature.",
            )


def _backend(job: Job) -> Backend | None:
    return None if job.compiled is None else "compiled" if job.compiled else "eager"


def _by_session(results: Sequence[Computed]) -> Iterator[tuple[dict[str, Any], list[Outcome]]]:
    """The results in runs that were computed alike, in their order."""
    for n, result in enumerate(results):
        if n == 0 or result.session != results[n - 1].session:
            start = n
        if n + 1 == len(results) or results[n + 1].session != result.session:
            yield result.session, [one.outcome for one in results[start : n + 1]]


def _report(summary: Summary) -> str:
    """How a run ended, in one line."""
    done = f"{summary.videos - summary.failed} of {summary.videos} videos in {summary.out}"
    if not summary.failed:
        return done
    return f"{done}, {summary.failed} failed (see {summary.manifest}; `retry_failed=True` tries them again)"


def _total(summaries: Sequence[Summary]) -> Summary:
    first = summaries[0]
    if len(summaries) == 1:
        return first
    videos, computed, kept, failed = (
        sum(getattr(summary, name) for summary in summaries) for name in ("videos", "computed", "kept", "failed")
    )
    return Summary(videos, computed, kept, failed, first.out, first.manifest, first.config_lines)
