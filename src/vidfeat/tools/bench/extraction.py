"""What `vidfeat extract` runs, on a list that is long enough for the network to be made as fast as it gets."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vidfeat
from vidfeat.engine.measure import time_inference
from vidfeat.errors import VidfeatError
from vidfeat.execution import LocalExecutor, worker_for
from vidfeat.features import Values
from vidfeat.inference.runner import InferenceRunner
from vidfeat.preprocessing.clips import PreprocessSpec, read_clips
from vidfeat.tools.bench.process import Clock
from vidfeat.tools.bench.runs import Run
from vidfeat.tools.bench.upper_bounds import enough
from vidfeat.tools.bench.workload import Workload

if TYPE_CHECKING:
    from vidfeat.engine.worker import Worker

LONG_LIST = 1_000_000
"""Videos that are said to be ahead: with so many, it is measured whether compiling pays."""


def run_extraction(workload: Workload, job: vidfeat.Job, clock: Clock) -> Run:
    """All features of a workload, each committed to an output on disk; then the network alone.

    Args:
        workload: what to compute.
        job: of the workload.
        clock: started once the network has computed the first video, and stopped when the output is complete.
    """
    said: list[str] = []
    with worker_for(job, say=said.append, videos_ahead=LONG_LIST) as worker:
        features = extract(workload, job, worker, clock)
        (runner,), (encoder,) = worker.runners[0], worker.encoders
        rate = _videos_per_second_alone(runner, encoder.preprocess, job.refs())
    return Run(
        np.stack(features),
        model_videos_per_second=rate,
        backend=runner.numerics.backend,
        compile_seconds=runner.compiling.seconds,
        cosine=runner.numerics.cosine,
        said=tuple(said),
    )


def extract(
    workload: Workload, job: vidfeat.Job, worker: Worker, clock: Clock, first: Path | None = None
) -> list[Values]:
    """The features of each video of a workload, as they are read back from the output.

    A first video is computed before the clock starts: weights are loaded then, and the backend is selected.

    Args:
        workload: what to compute.
        job: of the workload.
        worker: for the job.
        clock: started once the first video is computed, and stopped when the output is complete.
        first: that video; the first of the workload where None.

    Raises:
        VidfeatError: a video failed.
    """
    executor = LocalExecutor(worker)
    for _ in vidfeat.stream(replace(job, videos=first or job.refs()[:1]), executor=executor):
        pass
    worker.close()  # its decode processes start again with the clock
    out = Path(tempfile.mkdtemp(dir=workload.scratch)) / "features.pkl"
    clock.start()
    summary = vidfeat.run(replace(job, out=out), executor=executor, quiet=True)
    clock.stop()
    if summary is None or summary.failed:
        raise VidfeatError(
            "the videos",
            expected="videos that all give features",
            found="the failures above",
            hint="Leave them out.",
        )
    stored = vidfeat.load(out)
    return [np.asarray(stored[video.key]) for video in job.refs()]


def _videos_per_second_alone(
    runner: InferenceRunner, spec: PreprocessSpec, videos: Sequence[vidfeat.VideoRef]
) -> float:
    """How many videos like the first the network computes while all its slots are busy and nothing else runs."""
    samples = 0
    for _, clips in read_clips([spec], videos[0]):
        samples = (samples if clips.first_clip else 0) + len(clips.samples(runner.recipe.model))
    speed = time_inference(runner, clips, lambda done, seconds: enough(done / (samples * len(videos)), seconds))
    return speed.samples / samples / speed.seconds
