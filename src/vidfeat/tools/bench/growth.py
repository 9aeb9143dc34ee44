"""How cost grows with the number of videos, and with their length: neither time per video nor memory should, much."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.tools.bench import clips
from vidfeat.tools.bench.process import Clock, apart, measure
from vidfeat.tools.bench.workload import Workload

if TYPE_CHECKING:
    from vidfeat.inference.runner import Kernels

GROWTH_MODEL = "tsm_mobilenetv2_dense_1x1x8_100e_kinetics400_rgb"
GROWTH_CFG_OPTIONS: Mapping[str, Any] = {
    "data.test.pipeline.1.type": "SampleFrames",
    "data.test.pipeline.1.num_clips": 8,
    "data.test.pipeline.4.type": "CenterCrop",
}
"""TSM, MobileNetV2, one view of 8 frames of 256x256: small, since a thousand videos take a large one an hour. How cost
grows is up to the engine, and not to the model."""

COUNTS = (10, 100, 1000)
SECONDS = (10, 60, 600, 3600)

VIDEOS_OF_A_LENGTH = 8
"""How many videos of each length are extracted: enough for all readers to hold one at once."""


@dataclass(frozen=True)
class Point:
    """One list, extracted as row "exact" does it.

    Attributes:
        videos: how many.
        length_seconds: of each; None for videos that were given.
        seconds_per_video: from the first video handed in to the last commit, divided by their number.
        peak_memory_bytes: of the process and all below it; None where it cannot be seen.
    """

    videos: int
    length_seconds: int | None
    seconds_per_video: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Growth:
    """The measurements.

    Attributes:
        model: name or path.
        by_count: lists of more and more videos.
        by_length: lists of longer and longer videos.
    """

    model: str
    by_count: tuple[Point, ...]
    by_length: tuple[Point, ...]


def grow(
    workload: Workload,
    *,
    counts: Sequence[int] = COUNTS,
    lengths: Sequence[int] = SECONDS,
    kernels: Kernels = "eager",
    say: Callable[[str], object] = lambda line: None,
) -> Growth:
    """Extract lists of more videos, and of longer videos.

    Args:
        workload: the model; its videos, repeated, are those of the lists that get longer.
        counts: lengths of those lists.
        lengths: seconds of the rendered videos, multiples of a clip's.
        kernels: who runs the network; compiling would drown small differences.
        say: told how far it is, in lines.
    """

    def point(paths: Sequence[Path], length: int | None) -> Point:
        of_these = dataclasses.replace(workload, paths=tuple(paths))
        run = measure(functools.partial(_extract, of_these, kernels))
        one = Point(len(paths), length, run.seconds / len(paths), run.peak_bytes)
        each = f" of {length} s" if length else ""
        say(f"growth  {len(paths)} videos{each}: {one.seconds_per_video:.3g} s a video")
        return one

    given = workload.paths
    by_count = [point([given[number % len(given)] for number in range(count)], None) for count in counts]
    by_length = [point([path] * VIDEOS_OF_A_LENGTH, length) for length, path in _videos(workload.scratch, lengths)]
    return Growth(workload.model, tuple(by_count), tuple(by_length))


def _extract(workload: Workload, kernels: Kernels, clock: Clock) -> None:
    from vidfeat.tools.bench.ours import extract, settle

    extract(settle(workload, "fp32", kernels).extractor, workload, clock)


def _videos(scratch: Path, lengths: Sequence[int]) -> Iterator[tuple[int, Path]]:
    """A video of each length, removed again when the next is asked for: an hour is a quarter of a gigabyte."""
    folder = scratch / "lengths"
    (clip,) = apart(functools.partial(clips.render_clips, folder, 1))
    for length in lengths:
        target = folder / f"{length}s.mp4"
        yield length, apart(functools.partial(clips.loop, clip, length // clips.SECONDS, target))
        target.unlink()
