"""How cost grows with the number of videos, and with their length: neither time per video nor memory should, much."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.recipe import Pooling, TimeGrid
from vidfeat.tools.bench import clips
from vidfeat.tools.bench.process import Clock, apart, measure
from vidfeat.tools.bench.workload import Workload, examine

SCALING_MODEL = "tsm_mobilenetv2_dense_1x1x8_100e_kinetics400_rgb"
SCALING_CFG_OPTIONS: Mapping[str, Any] = {
    "data.test.pipeline.1.type": "SampleFrames",
    "data.test.pipeline.1.num_clips": 8,
    "data.test.pipeline.4.type": "CenterCrop",
}
"""TSM, MobileNetV2, one view of 8 frames of 256x256: small, since a thousand videos take a large one an hour. How cost
grows is up to the engine, and not to the model."""

COUNTS = (10, 100, 1000)
SECONDS = (10, 60, 600, 3600)

VIDEOS_OF_A_LENGTH = 8
"""How many videos of each length are extracted: enough for all decode processes to hold one at once."""

WINDOW_MODEL = "slowonly_r50_4x16x1_256e_kinetics400_rgb"
WINDOW_SECONDS = (60, 600, 3600)
WINDOW_SIZES = (112, 224)
"""Edges of the network's input, in pixels."""

WINDOW_GRID = WindowSampling(clip_len=16, clip_interval=16)
"""A row for each 16 frames."""


def window_cfg_options(size: int) -> dict[str, Any]:
    """SlowOnly made small: ResNet-18 with 4 channels in place of 64, since an hour has thousands of windows."""
    return {
        "model.backbone.depth": 18,
        "model.backbone.base_channels": 4,
        "data.test.pipeline.3.scale": (-1, size),
        "data.test.pipeline.4.type": "CenterCrop",
        "data.test.pipeline.4.crop_size": size,
    }


@dataclass(frozen=True)
class Point:
    """One list, extracted as row "exact" does it.

    Attributes:
        videos: how many.
        length_seconds: of each; None for videos that were given.
        rows: of each.
        input_size: edge of the network's input, in pixels; None as the model has it.
        seconds_per_video: from the first video handed in to the last commit, divided by their number.
        peak_memory_bytes: of the process and all below it; None where it cannot be seen.
    """

    videos: int
    length_seconds: int | None
    rows: int
    input_size: int | None
    seconds_per_video: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Scaling:
    """The measurements.

    Attributes:
        model: name or path.
        by_count: lists of more and more videos.
        by_length: lists of longer and longer videos.
        window_model: of `by_windows`.
        by_windows: single videos, longer and longer, with a row for every 16 frames.
    """

    model: str
    by_count: tuple[Point, ...]
    by_length: tuple[Point, ...]
    window_model: str
    by_windows: tuple[Point, ...]


def measure_scaling(
    compared: Workload,
    model: str,
    cfg_options: Mapping[str, Any],
    *,
    counts: Sequence[int] = COUNTS,
    lengths: Sequence[int] = SECONDS,
    window_lengths: Sequence[int] = WINDOW_SECONDS,
    window_sizes: Sequence[int] = WINDOW_SIZES,
    compiled: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> Scaling:
    """Extract lists of more videos, of longer videos, and more windows of longer videos.

    Args:
        compared: its videos, repeated, are those of the lists that get longer; its device and folder are used.
        model, cfg_options: for the lists, as for `vidfeat.encoder`.
        counts: lengths of those lists.
        lengths, window_lengths: seconds of the rendered videos, multiples of a clip's.
        window_sizes: edges of the network's input for the windows, in pixels.
        compiled: whether the network runs through `torch.compile`; compiling drowns small differences.
        say: takes a line about each measurement.
    """
    work = functools.partial(_point, compiled=compiled, say=say)
    lists = with_encoder(compared, model, cfg_options)
    given = compared.paths
    by_count = [work(lists, [given[number % len(given)] for number in range(count)]) for count in counts]
    (clip,) = apart(functools.partial(clips.render_clips, compared.scratch / "clip", 1))
    by_length = [work(lists, [path] * VIDEOS_OF_A_LENGTH, length=length) for length, path in _looped(clip, lengths)]
    by_windows = [
        work(workload, [path], length=length, size=size, grid=WINDOW_GRID, first=clip)
        for size in window_sizes
        for workload in [with_encoder(compared, WINDOW_MODEL, window_cfg_options(size))]
        for length, path in _looped(clip, window_lengths)
    ]
    return Scaling(model, tuple(by_count), tuple(by_length), WINDOW_MODEL, tuple(by_windows))


def with_encoder(workload: Workload, model: str, cfg_options: Mapping[str, Any]) -> Workload:
    """The workload with another model, of random weights."""
    _, encoder = apart(functools.partial(examine, model, cfg_options, None, workload.device, workload.scratch))
    return dataclasses.replace(workload, encoder=encoder)


def _point(
    workload: Workload,
    paths: Sequence[Path],
    *,
    length: int | None = None,
    size: int | None = None,
    grid: TimeGrid | None = None,
    first: Path | None = None,
    compiled: bool,
    say: Callable[[str], object],
) -> Point:
    workload = dataclasses.replace(workload, paths=tuple(paths))
    options = {"compiled": compiled, "grid": grid, "pooling": None if grid is None else Pooling(views="per_clip")}
    run = measure(functools.partial(extract_rows, workload, options, first))
    point = Point(len(paths), length, run.result, size, run.seconds / len(paths), run.peak_bytes)
    each = "".join([f" of {length} s" if length else "", f", windows of {size}x{size}" if size else ""])
    say(f"scaling  {len(paths)} videos{each}: {point.seconds_per_video:.3g} s a video")
    return point


def extract_rows(workload: Workload, options: Mapping[str, Any], first: Path | None, clock: Clock) -> int:
    """The work, in the process that is measured; returns the rows of each video. `options` are those of the job."""
    from vidfeat.execution import worker_for
    from vidfeat.tools.bench.extraction import extract

    job = workload.job(**options)
    with worker_for(job) as worker:
        values = extract(workload, job, worker, clock, first)
    return 1 if values[0].ndim == 1 else len(values[0])


def _looped(clip: Path, lengths: Sequence[int]) -> Iterator[tuple[int, Path]]:
    """A video of each length, removed again when the next is asked for: an hour is a quarter of a gigabyte."""
    for length in lengths:
        path = looped(clip, length)
        yield length, path
        path.unlink()


def looped(clip: Path, seconds: int) -> Path:
    """A video of so many seconds, beside the clip that it is made of."""
    return apart(functools.partial(clips.loop, clip, seconds // clips.SECONDS, clip.with_name(f"{seconds}s.mp4")))
