"""Run a job on this machine: to an output, or as a stream."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vidfeat.encoders import Encoder
from vidfeat.engine.committing import Committer
from vidfeat.engine.decode_pool import Task
from vidfeat.engine.event_log import EventLog
from vidfeat.engine.launch import Launcher, Share, read_share
from vidfeat.engine.probing import probe_all
from vidfeat.engine.progress import Load, Progress
from vidfeat.engine.worker import Computed, Worker, WorkerOptions
from vidfeat.errors import UsageError
from vidfeat.execution.on_cluster import ClusterExecutor, open_parts, run_on_cluster
from vidfeat.execution.workers import backend_of, identity_of, versions, worker_options
from vidfeat.features import Outcome, VideoFailure
from vidfeat.job import Job, encoders_of
from vidfeat.storage import is_uri
from vidfeat.store import RunStore, Store, Summary, is_parts
from vidfeat.videos import Segment, VideoRef


@dataclass(frozen=True)
class Execution:
    """What an executor is to execute.

    Attributes:
        encoders: what to compute, in the positions that tasks refer to.
        options: how.
        tasks: the videos.
        in_order: as for `Worker.run`.
        pin_backend: as for `Worker`.
        progress: takes lines about decisions, and is shown where the time goes.
    """

    encoders: tuple[Encoder, ...]
    options: WorkerOptions
    tasks: Sequence[Task]
    in_order: bool
    pin_backend: Callable[[int, str | None], str | None]
    progress: Progress


class Executor(Protocol):
    """Executes the tasks of a job, in this process or wherever it brings them."""

    def execute(self, execution: Execution) -> Generator[Computed, None, None]:
        """Yield what comes of each task, for each of its encoders, as it is done."""


class LocalExecutor:
    """One `Worker` in this process.

    Args:
        worker: one that is ready, with the encoders and options of what is executed. It is used, and not closed. None
            makes one for each execution.
    """

    def __init__(self, worker: Worker | None = None) -> None:
        self._worker = worker

    def execute(self, execution: Execution) -> Generator[Computed, None, None]:
        """Yield what comes of each task, for each of its encoders, as it is done.

        Raises:
            UsageError: the worker that was given has other encoders or options, or a backend other than the run's.
            VidfeatError: as `Worker.run` does.
        """
        with self._worker_for(execution) as worker:
            execution.progress.load, worker.tick = Load(worker), execution.progress.tick
            yield from worker.run(execution.tasks, in_order=execution.in_order)

    def _worker_for(self, execution: Execution) -> contextlib.AbstractContextManager[Worker]:
        if self._worker is None:
            return Worker(
                execution.encoders, execution.options, pin_backend=execution.pin_backend, say=execution.progress.note
            )
        if (self._worker.encoders, self._worker.options) != (execution.encoders, execution.options):
            raise UsageError(
                "executor",
                expected="a worker with the encoders and options of the job",
                found="one with different ones",
            )
        self._worker.pin(execution.pin_backend)
        return contextlib.nullcontext(self._worker)


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
    choices: dict[str, Any] = {"restart": restart, "retry_failed": retry_failed}
    with contextlib.ExitStack() as stack:

        def shown(total: int, already: int) -> Progress:
            log = None if log_json is None else stack.enter_context(EventLog(log_json, share.rank))
            return Progress(total, already=already, quiet=quiet, verbose=verbose, log=log, wording=wording)

        if isinstance(executor, ClusterExecutor):
            return run_on_cluster(job, executor, choices, shown)
        videos = job.refs(notes.append)
        options = worker_options(job, share)
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
        with shown(total, already) as progress:
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
        progress.note(summary.describe())
    return Summary.total(summaries)


def _open_store(
    job: Job, position: int, out: str, videos: Sequence[VideoRef], share: Share, choices: Mapping[str, Any]
) -> Store:
    """What takes the features of one encoder: parts for a URI, and otherwise a file or folder on this machine."""
    encoder = encoders_of(job)[position]
    if is_parts(out):
        if share.world_size > 1:
            found = f"{share.world_size} processes"
            raise UsageError("`launcher`", expected="none with an output in object storage", found=found)
        return open_parts(job, encoder, out, videos, choices)
    choices = {**choices, "rank": share.rank, "world_size": share.world_size}
    sink, identity, description = job.sinks()[position], identity_of(encoder, job), encoder.description()
    return RunStore.open(sink, identity, videos, description=description, **choices)


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
    positions = tuple(range(len(encoders_of(job))))
    tasks = [Task(video, positions) for video in videos]
    with Progress(len(tasks), quiet=True) as progress:
        execution = Execution(
            encoders_of(job), options, tasks, job.on_error == "fail", lambda _, proposal: proposal, progress
        )
        with contextlib.closing((executor or LocalExecutor()).execute(execution)) as results:
            for result in results:
                if job.on_error == "fail" and isinstance(result.outcome, VideoFailure):
                    raise result.outcome.error
                yield result.outcome


def _require_any_file(videos: Sequence[VideoRef]) -> None:
    """Refuse a list of which no file is there: its folder was not named, or is not mounted."""
    if not any(is_uri(video.uri) or os.path.lexists(video.uri) for video in videos):
        raise UsageError(
            "videos",
            expected="at least one file that exists",
            found=f"none of {len(videos)}; the first is {videos[0].uri!r}",
            hint="If the paths are relative to another folder, give it as `video_root`.",
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
            own = (result for result in results if result.encoder == position)
            for session, alike in itertools.groupby(own, key=lambda result: result.session):
                for failure in store.commit([result.outcome for result in alike], {**session, **provenance}):
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
        encoders_of(job),
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
    wanted = backend_of(job)
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
