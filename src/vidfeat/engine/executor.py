"""Where tasks are executed: in this process, or wherever an executor brings them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vidfeat.encoders import Encoder
from vidfeat.engine.progress import Load, Progress
from vidfeat.engine.tasks import Task
from vidfeat.engine.worker import Worker, WorkerOptions
from vidfeat.errors import UsageError
from vidfeat.features import Outcome


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


@dataclass(frozen=True)
class Computed:
    """What came of a video for one encoder.

    Attributes:
        encoder: its position.
        outcome: features or failure.
        session: how features are computed where this was: device and numerics, as JSON data.
    """

    encoder: int
    outcome: Outcome
    session: dict[str, Any]


class Executor(Protocol):
    """Executes the tasks of a job."""

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
            for _, encoder, outcome in worker.run(execution.tasks, in_order=execution.in_order):
                yield Computed(encoder, outcome, worker.session(encoder))

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
