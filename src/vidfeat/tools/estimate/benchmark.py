"""How fast this machine is at a recipe: both halves of the main path, on a few of the videos, for some seconds.

Seconds are of processor time wherever a CPU computes, so that what else the machine is doing at the moment does not
count; the network of a GPU is measured by the clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt

from vidfeat.engine.decode_pool import ReaderOptions, Readers
from vidfeat.engine.events import Broken, ChunkDecoded, Complete, Event, Failed
from vidfeat.extract import Extractor
from vidfeat.hardware import usable_cores
from vidfeat.preprocessing.clips import PreprocessSpec, Views, group_clips
from vidfeat.recipe import ModelSpec
from vidfeat.tools.estimate.survey import Sound, Unsound
from vidfeat.tools.estimate.workload import host_pixels

SAMPLE_VIDEOS = 8
"""Videos that are read at most."""

READING_SECONDS = 6.0
"""How long the sample is read."""

NETWORK_SECONDS = 5.0
"""About how long the network computes, the first run aside, unless its least batch takes longer."""

MOST_COPIES = 16
"""Times that the network sees the same views, for each core: small networks are done sooner than `NETWORK_SECONDS`."""


def sample(videos: Sequence[Sound], count: int = SAMPLE_VIDEOS) -> list[Sound]:
    """Videos that stand for all of them: spread evenly from the least work on the host to the most.

    Args:
        videos: the choice, in any order; the result does not depend on it.
        count: how many, at least 1; all of them where there are no more.

    Returns:
        The sample, least work first.
    """
    ranked = sorted(videos, key=lambda video: (video.work.host_pixels, video.entry.index))
    count = min(count, len(ranked))
    return [ranked[(2 * number + 1) * len(ranked) // (2 * count)] for number in range(count)]


# --- the host half ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """What reading one video took.

    Attributes:
        name: the video.
        cpu_seconds: processor time of one core.
        pixels: how much of `Workload.host_pixels` that was for.
    """

    name: str
    cpu_seconds: float
    pixels: int


@dataclass(frozen=True, eq=False)
class ReadingTest:
    """What reading the sample took.

    Attributes:
        read: the videos that were read, at least in part.
        unsound: those that turned out to be damaged.
        views: the first views of one of them; None where none was read.
    """

    read: tuple[Read, ...]
    unsound: tuple[Unsound, ...]
    views: Views | None


def measure_reading(
    spec: PreprocessSpec, videos: Sequence[Sound], reading: ReaderOptions, seconds: float = READING_SECONDS
) -> ReadingTest:
    """Read videos as a run does.

    Args:
        spec: what to read of them.
        videos: the sample.
        reading: how many processes read, and what they may use.
        seconds: the time after which reading ends, once one video has been read at least in part.

    Raises:
        VidfeatError: no process that reads videos can be started.
    """
    inbox: SimpleQueue[Event] = SimpleQueue()
    read: dict[int, Read] = {}
    unsound: dict[int, Unsound] = {}
    views: Views | None = None
    deadline, left = time.monotonic() + seconds, len(videos)
    with Readers(spec, [video.entry.path for video in videos], inbox.put, reading):
        while left and (event := _next(inbox, deadline if read else math.inf)) is not None:
            if isinstance(event, Broken):
                raise event.error
            if isinstance(event, ChunkDecoded):
                views = views or event.views
            if isinstance(event, (ChunkDecoded, Failed)):
                event.release()
            if isinstance(event, Failed):
                read.pop(event.index, None)
                unsound[event.index] = Unsound(videos[event.index].entry, event.error)
            else:
                read[event.index] = _read(spec, videos[event.index], event)
            left -= not isinstance(event, ChunkDecoded)
    return ReadingTest(tuple(read.values()), tuple(unsound.values()), views if read else None)


def _next(inbox: SimpleQueue[Event], deadline: float) -> Event | None:
    """The next event; None where there is none by the deadline."""
    try:
        return inbox.get(timeout=None if deadline == math.inf else max(0.0, deadline - time.monotonic()))
    except Empty:
        return None


def _read(spec: PreprocessSpec, video: Sound, event: ChunkDecoded | Complete) -> Read:
    name, pixels = video.entry.name, video.work.host_pixels
    if isinstance(event, ChunkDecoded):
        so_far = event.views.first_clip + len(event.views.clips)
        pixels = host_pixels(video.info, spec.sampling.frame_index(video.info.frames, video.info.fps)[:so_far])
    return Read(name, event.cpu_seconds, pixels)


# --- the device half --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NetworkTest:
    """What the network took.

    Attributes:
        seconds_per_pixel: for each of `Workload.network_pixels`: processor time on a CPU, else time on the GPU.
        features: of some views, to see their shape.
        clips: how many clips those were.
    """

    seconds_per_pixel: float
    features: npt.NDArray[np.float32]
    clips: int


def measure_network(extractor: Extractor, views: Views) -> NetworkTest:
    """Run the network on some views, on all cores at once, for about `NETWORK_SECONDS`."""
    on_cpu = extractor.device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    lanes = len(usable_cores()) if on_cpu else 1

    def seconds_for(some: Views, copies: int) -> float:
        start = clock()
        _compute(extractor, some, copies)
        return clock() - start

    some = _fewest_clips(views, extractor.recipe.model)
    seconds_for(some, 1)  # kernels are chosen and memory is taken
    budget = NETWORK_SECONDS * lanes / seconds_for(some, 1)
    if budget > len(views.clips) / len(some.clips):
        budget *= len(some.clips) / len(views.clips)
        some = views
    copies = max(1, min(int(budget), MOST_COPIES * lanes))
    _, crops, height, width, _ = some.pixels.shape
    pixels = crops * some.clips.size * height * width
    return NetworkTest(seconds_for(some, copies) / (copies * pixels), extractor.compute(some).array, len(some.clips))


def _fewest_clips(views: Views, model: ModelSpec) -> Views:
    """The fewest clips that the network can look at."""
    if model.neck_joins_video:
        return views
    return replace(views, clips=views.clips[group_clips(views.clips, model.segments, 1)[0]])


def _compute(extractor: Extractor, views: Views, copies: int) -> None:
    """Run the network on the same views several times at once, so that all cores have work to the end."""
    batcher = extractor.batcher()
    computations = [extractor.begin(batcher) for _ in range(copies)]
    for computation in computations:
        computation.add(views)
    for computation in computations:
        computation.result()
