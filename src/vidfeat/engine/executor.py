"""Where tasks are executed: in this process, or wherever an executor brings them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vidfeat.encoders import Encoder
from vidfeat.engine.decode_pool import Task
from vidfeat.engine.progress import Load, Progress
from vidfeat.engine.worker import Worker, WorkerOptions
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
    """One `Worker` in this process."""

    def execute(self, execution: Execution) -> Generator[Computed, None, None]:
        """Yield what comes of each task, for each of its encoders, as it is done.

        Raises:
            VidfeatError: as `Worker.run` does.
        """
        with Worker(
            execution.encoders, execution.options, pin_backend=execution.pin_backend, say=execution.progress.note
        ) as worker:
            execution.progress.load = Load(worker)
            for _, encoder, outcome in worker.run(execution.tasks, in_order=execution.in_order):
                yield Computed(encoder, outcome, worker.session(encoder))
