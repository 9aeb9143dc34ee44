"""A job whose videos are computed and committed elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from vidfeat.encoders import Encoder
from vidfeat.engine.decode_pool import Task
from vidfeat.engine.progress import Progress
from vidfeat.execution.workers import backend_of, identity_of
from vidfeat.job import Job, encoders_of
from vidfeat.store import PartsStore, Summary
from vidfeat.store.part_files import Committed, PartWriter
from vidfeat.videos import VideoRef


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


def run_on_cluster(
    job: Job, executor: ClusterExecutor, choices: Mapping[str, Any], shown: Callable[[int, int], Progress]
) -> Summary:
    with contextlib.ExitStack() as stack:
        stores = [
            stack.enter_context(open_parts(job, encoder, out, job.iterate_refs(), choices))
            for out, encoder in zip(job.outputs(), encoders_of(job), strict=True)
        ]
        total, pending = sum(map(len, stores)), sum(store.count_pending() for store in stores)
        with shown(total, total - pending) as progress:
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
            progress.note(summary.describe())
    return Summary.total(summaries)


def _cluster_tasks(stores: Sequence[PartsStore]) -> Iterator[Task]:
    """The videos that any encoder lacks, each once, with the encoders that lack it."""
    for first, store in enumerate(stores):
        for video in store.pending():
            if not any(earlier.is_pending(video.key) for earlier in stores[:first]):
                rest = [
                    n for n, other in enumerate(stores) if n == first or (n > first and other.is_pending(video.key))
                ]
                yield Task(video, tuple(rest))


def open_parts(
    job: Job, encoder: Encoder, out: str, videos: Iterable[VideoRef], choices: Mapping[str, Any]
) -> PartsStore:
    job.require_own_rows()
    identity, description, backend = identity_of(encoder, job), encoder.description(), backend_of(job) or "eager"
    return PartsStore.open(out, identity, videos, description=description, backend=backend, **choices)
