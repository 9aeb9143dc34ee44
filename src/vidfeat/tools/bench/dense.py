"""Rows over time: what a dense run costs beside its parts, and beside decoding each window by itself."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidfeat.preprocessing.windows import Windows
from vidfeat.tools.bench import clips
from vidfeat.tools.bench.process import Clock, apart, measure
from vidfeat.tools.bench.scaling import WINDOW_MODEL, extract_rows, looped, window_cfg_options, with_encoder
from vidfeat.tools.bench.upper_bounds import limit
from vidfeat.tools.bench.workload import DEFAULT_CFG_OPTIONS, DEFAULT_MODEL, Workload

FRAME_SECONDS, WINDOW_SECONDS = 600, 180
"""Lengths of the videos, multiples of a rendered clip's."""

FRAMES = Windows(stride="1s")
"""A row a second, of one frame."""

OVERLAPPING = Windows(stride=4, window=16)

WINDOW_CFG_OPTIONS: Mapping[str, Any] = {
    **window_cfg_options(32),
    "data.test.pipeline.1.clip_len": 16,
    "data.test.pipeline.1.frame_interval": 1,
}
"""A network so small that decoding dominates, as on a GPU."""

_SAMPLED_WINDOWS = 24


@dataclass(frozen=True)
class Dense:
    """The measurements.

    Attributes:
        frame_model: name of the image network.
        frame_rows: its rows, one a second.
        frame_seconds: of extracting them, to the complete output.
        decode_seconds: of decoding and transforming the same frames, in one process and alone.
        model_seconds: of one pass of each frame through the network, alone on the machine.
        window_model: name of the clip network.
        window_rows: its rows, windows of 16 frames at stride 4.
        window_seconds: of extracting them.
        one_by_one_seconds: the least that they can take where each window is decoded by itself, from the nearest key
            frame on, by a process for each core.
    """

    frame_model: str
    frame_rows: int
    frame_seconds: float
    decode_seconds: float
    model_seconds: float
    window_model: str
    window_rows: int
    window_seconds: float
    one_by_one_seconds: float

    @property
    def of_parts(self) -> float:
        """Time of an image network's run, divided by that of its parts one after the other."""
        return self.frame_seconds / (self.decode_seconds + self.model_seconds)

    @property
    def ratio(self) -> float:
        """How many times as fast shared decoding is."""
        return self.one_by_one_seconds / self.window_seconds


def measure_dense(
    compared: Workload,
    cores: int,
    *,
    frame_seconds: int = FRAME_SECONDS,
    window_seconds: int = WINDOW_SECONDS,
    say: Callable[[str], object] = lambda line: None,
) -> Dense:
    """Extract rows over time of rendered videos.

    Args:
        compared: its device and folder are used.
        cores: that may be used.
        frame_seconds, window_seconds: lengths of the videos.
        say: takes a line about each measurement.
    """
    (clip,) = apart(functools.partial(clips.render_clips, compared.scratch / "dense", 1))
    found = []
    for model, options, grid, seconds in (
        (DEFAULT_MODEL, DEFAULT_CFG_OPTIONS, FRAMES, frame_seconds),
        (WINDOW_MODEL, WINDOW_CFG_OPTIONS, OVERLAPPING, window_seconds),
    ):
        workload = dataclasses.replace(with_encoder(compared, model, options), paths=(looped(clip, seconds),))
        run = measure(functools.partial(extract_rows, workload, {"compiled": False, "grid": grid}, clip))
        parts = measure(functools.partial(_parts, workload, grid)).result
        found.append((run.result, run.seconds, parts))
        say(f"dense    {run.result} rows of {seconds} s: {run.seconds:.3g} s")
    (frame_rows, frame_time, frames), (window_rows, window_time, windows) = found
    rate = limit(
        cores / windows.one_window_seconds, window_rows / windows.model_seconds, shares_cores=compared.device == "cpu"
    )
    return Dense(
        DEFAULT_MODEL,
        frame_rows,
        frame_time,
        frames.decode_seconds,
        frames.model_seconds,
        WINDOW_MODEL,
        window_rows,
        window_time,
        window_rows / rate,
    )


@dataclass(frozen=True)
class _Parts:
    """Seconds of decoding a video's plan once, of its samples in the network, and of decoding one window by itself."""

    decode_seconds: float
    model_seconds: float
    one_window_seconds: float


def _parts(workload: Workload, grid: Windows, clock: Clock) -> _Parts:
    from vidfeat.engine.measure import time_inference
    from vidfeat.execution import worker_for
    from vidfeat.preprocessing.clips import read_clips
    from vidfeat.preprocessing.transforms import FrameTransformer
    from vidfeat.tools.bench.upper_bounds import enough
    from vidfeat.video import decode, probe

    job = workload.job(compiled=False, grid=grid)
    with worker_for(job) as worker:
        ((runner,),), (encoder,) = worker.runners, worker.encoders
        spec, (video,) = encoder.preprocess, job.refs()
        start, samples = time.perf_counter(), 0
        for _, chunk in read_clips([spec], video):
            samples += len(chunk.samples(runner.recipe.model))
        decoding = time.perf_counter() - start
        speed = time_inference(runner, chunk, lambda done, seconds: enough(done / samples, seconds))
    info, transform = probe(video.path), FrameTransformer(spec.transforms)
    plan = spec.sampling.plan(info.timeline).frame_index
    chosen = plan[np.linspace(0, len(plan) - 1, _SAMPLED_WINDOWS).astype(int)]
    start = time.perf_counter()
    for window in chosen:
        for frame in decode(info.path, window, info):
            transform(frame.pixels, where=info.path)
    return _Parts(decoding, samples * speed.seconds / speed.samples, (time.perf_counter() - start) / len(chosen))
