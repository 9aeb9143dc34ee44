"""What runs on the machines of a cluster: a `Worker` whose videos come in calls, and whose outcomes become parts."""

from __future__ import annotations

import contextlib
import platform
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple

import torch

from vidfeat.engine.decode_pool import Task, TaskStream
from vidfeat.errors import DeviceError, UsageError, VideoError
from vidfeat.execution import versions, worker_for
from vidfeat.features import Outcome, VideoFailure
from vidfeat.job import Job
from vidfeat.storage import is_uri
from vidfeat.store.part_files import Committed, PartWriter


class Place(NamedTuple):
    """Where an actor is; empty while that is not known.

    Attributes:
        name: of the machine.
        node: its id in the cluster; several nodes may be on one machine.
    """

    name: str = ""
    node: str = ""


@dataclass(frozen=True)
class Answer:
    """What an actor did of a call.

    Attributes:
        committed: for the position of an encoder, what was committed of it.
        missing: failures that were not committed, with the position of their encoder: there is no such file on that
            machine, and there may be on another one.
    """

    committed: list[tuple[int, list[Committed]]]
    missing: list[tuple[int, VideoFailure]] = field(default_factory=list)


class _OpenCall:
    """A call whose videos are being computed.

    Attributes:
        videos: by their keys.
        outcomes: to come: all of them, with the position of their encoder.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.videos = {task.video.key: task.video for task in tasks}
        self.outcomes: Future[list[tuple[int, Outcome]]] = Future()
        self._expected = sum(len(task.encoders) for task in tasks)
        self._found: list[tuple[int, Outcome]] = []

    def add(self, encoder: int, outcome: Outcome) -> None:
        """Take an outcome; the last one completes the call."""
        self._found.append((encoder, outcome))
        if len(self._found) == self._expected:
            self.outcomes.set_result(self._found)


class Actor:
    """Runs in a process of its own, anywhere in the cluster.

    Calls come in several threads. Their videos are computed by one run of a `Worker`, which does not end between calls:
    otherwise its decode processes and its network would wait for each other at each end.
    """

    def __init__(self, job: dict[str, Any], writers: Sequence[PartWriter], cores: int) -> None:
        self._data, self._cores, self._writers = job, cores, writers
        self._node = platform.node()
        self._tasks = TaskStream()
        self._calls: dict[str, _OpenCall] = {}  # by the keys of their videos
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def start(self, driver: str) -> Place:
        """Load the weights; where this is.

        Args:
            driver: the version of vidfeat there. Another one may write a job in another way.
        """
        here = versions()["vidfeat"]
        if here != driver:
            raise UsageError(
                "executor",
                expected=f"vidfeat {driver} on all machines, as on the driver",
                found=f"{here} on {self._node}",
                hint="Install the same version everywhere.",
            )
        context = import_module("ray").get_runtime_context()
        if context.get_accelerator_ids().get("GPU") and not torch.cuda.is_available():
            raise DeviceError(
                "executor",
                expected=f"the GPU that {self._node} announces to Ray",
                found="none that PyTorch can use",
                hint="Start Ray there with --num-gpus=0, or install a CUDA build of PyTorch and its driver.",
            )
        job = replace(Job.from_json(self._data), decode_processes=self._cores)
        self._worker = worker_for(job, cores=self._cores, videos_ahead=1)
        self._worker.pin(lambda _, proposal: "compiled" if job.compiled else "eager")
        _ = self._worker.runners
        threading.Thread(target=self._run, name="run", daemon=True).start()
        return Place(self._node, context.get_node_id())

    def _run(self) -> None:
        """Compute what is called for."""
        try:
            for computed in self._worker.run(self._tasks):
                self._calls[computed.outcome.key].add(computed.encoder, computed.outcome)
        except BaseException as error:
            with self._lock:
                self._error = error
                for call in set(self._calls.values()):
                    if not call.outcomes.done():
                        call.outcomes.set_exception(error)

    def compute(self, tasks: Sequence[Task]) -> Answer:
        """Compute some videos, and commit all but files that are not on this machine."""
        call = _OpenCall(tasks)
        videos = call.videos
        with self._lock:
            if self._error is not None:
                raise self._error
            self._calls.update(dict.fromkeys(videos, call))
            with contextlib.suppress(RuntimeError):  # closed by an error, which this call is about to get
                self._tasks.add(tasks)
        found = call.outcomes.result()
        with self._lock:
            for key in videos:
                del self._calls[key]
        outcomes: dict[int, list[Outcome]] = {}
        missing: list[tuple[int, VideoFailure]] = []
        for encoder, outcome in found:
            named = _with_node(outcome, self._node)
            if isinstance(named, VideoFailure) and named.error.kind == "missing" and not is_uri(videos[named.key].uri):
                missing.append((encoder, named))
            else:
                outcomes.setdefault(encoder, []).append(named)
        committed = [
            (encoder, self._commit(encoder, [(videos[o.key], o) for o in some])) for encoder, some in outcomes.items()
        ]
        return Answer(committed, missing)

    def _commit(self, encoder: int, outcomes: Sequence[tuple[Any, Outcome]]) -> list[Committed]:
        session = {**self._worker.session(encoder), "versions": versions()}
        return self._writers[encoder].commit(outcomes, session)


def _with_node(outcome: Outcome, node: str) -> Outcome:
    """The same; a failure says on which machine, as another one may find what this one does not."""
    if not isinstance(outcome, VideoFailure):
        return outcome
    error = outcome.error
    found = f"{error.found} (on {node})"
    there = VideoError(
        error.where, stage=error.stage, kind=error.kind, expected=error.expected, found=found, hint=error.hint
    )
    return replace(outcome, error=there)
