"""From a job to what it would take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from vidfeat.engine.measure import DecodedVideo, measure_decoding, measure_inference
from vidfeat.engine.progress import Progress
from vidfeat.engine.worker import WorkerOptions
from vidfeat.errors import UsageError
from vidfeat.execution import worker_for, worker_options
from vidfeat.formats import open_sink
from vidfeat.preprocessing.clips import PreprocessSpec
from vidfeat.tools.estimate.duplicates import Duplicates, find_duplicates
from vidfeat.tools.estimate.duration import Duration, Machine, Timing, predict_duration, sample
from vidfeat.tools.estimate.output import Output, predict_output
from vidfeat.tools.estimate.probe import Decodable, Failing, probe
from vidfeat.tools.estimate.workload import decoding_pixels

if TYPE_CHECKING:
    from vidfeat import Job

DECODING_SECONDS = 6.0
"""How long the sample is decoded."""

NETWORK_SECONDS = 5.0
"""How long the network computes, the first batches aside, unless its least batches take longer."""


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        videos: those of the list, in its order: the ones that open, and the ones that would fail, as far as that shows
            without decoding all of them.
        duplicates: videos that are there more than once.
        machine: what computes.
        duration: how long it takes; None where no video is decodable.
        output: what comes out; None where no video is decodable.
    """

    videos: tuple[Decodable | Failing, ...]
    duplicates: tuple[Duplicates, ...]
    machine: Machine
    duration: Duration | None = None
    output: Output | None = None

    @property
    def decodable(self) -> list[Decodable]:
        """The videos that open."""
        return [video for video in self.videos if isinstance(video, Decodable)]

    @property
    def failing(self) -> list[Failing]:
        """The videos that would fail."""
        return [video for video in self.videos if isinstance(video, Failing)]


def estimate(job: Job, *, random_weights: bool = False, progress: bool = False) -> Estimate:
    """Probe all videos, measure this machine on some of them, and predict what a run takes.

    Args:
        job: with one encoder. Its output need not be named: a `.pkl` then. Of several devices the first is measured.
        random_weights: whether the encoder has some, as from `random_encoder`; time does not depend on them.
        progress: whether to show on stderr how many videos were probed.

    Raises:
        UsageError: the job has several encoders, or its videos do not fit its output.
        CheckpointError, ConfigError, DeviceError: as for `vidfeat.run`.
    """
    videos, options = job.refs(), worker_options(job)
    sink = open_sink("features.pkl") if job.out is None else job.sinks()[0]
    sink.check_keys([video.key for video in videos])
    with worker_for(replace(job, device=str(options.devices[0]))) as worker:
        if len(worker.encoders) > 1:
            raise UsageError("encoders", expected="one encoder", found=f"{len(worker.encoders)}")
        ((runner,),) = worker.runners  # weights that do not fit are an error here, before hours of probing
        spec = worker.encoders[0].preprocess
        with Progress(len(videos), quiet=not progress) as bar:
            found = probe(videos, runner.recipe, options.pool, done=bar.advance)
        chosen = [one.video for one in sample([one for one in found if isinstance(one, Decodable)])]
        decoding = measure_decoding(spec, chosen, options.pool, DECODING_SECONDS)
        failed = decoding.failed
        found = [Failing(one.video, failed[one.video.key]) if one.video.key in failed else one for one in found]
        estimated = Estimate(tuple(found), tuple(find_duplicates(videos)), _machine(options))
        if decoding.clips is None:
            return estimated
        inference = measure_inference(runner, decoding.clips, NETWORK_SECONDS)
    decodable, timings = estimated.decodable, [_timing(spec, one) for one in decoding.decoded]
    return replace(
        estimated,
        duration=predict_duration(
            decodable, timings, inference.seconds_per_pixel, estimated.machine, random_weights=random_weights
        ),
        output=predict_output(
            decodable, runner.recipe, inference, sink, dtype=job.dtype, known_place=job.out is not None
        ),
    )


def _machine(options: WorkerOptions) -> Machine:
    device, gpus = options.devices[0], len(options.devices)
    if device.type != "cuda":
        return Machine(options.cores, options.pool.processes, None)
    return Machine(options.cores, options.pool.processes, torch.cuda.get_device_name(device), gpus)


def _timing(spec: PreprocessSpec, decoded: DecodedVideo) -> Timing:
    plan = spec.plan(decoded.info, decoded.video.cut).frame_index
    return Timing(decoded.video.key, decoded.cpu_seconds, decoding_pixels(decoded.info, plan[: decoded.clips]))
