"""How fast this machine is at each stage of the main path alone: some videos decoded, and a network run, for a while.

Seconds are of processor time wherever a CPU computes, so that what else the machine is doing at the moment does not
count.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from vidfeat.engine.decode_pool import DecodePool, PoolOptions, Task
from vidfeat.engine.decode_worker import Assignment
from vidfeat.engine.events import ChunkDecoded, Event, PoolFailed, VideoFailed, VideoPlanned
from vidfeat.errors import VideoError
from vidfeat.features import VideoFeatures
from vidfeat.inference.backends import Pixels
from vidfeat.inference.computation import Batcher, VideoComputation
from vidfeat.inference.runner import Batch, InferenceRunner
from vidfeat.preprocessing.clips import ClipBatch, PreprocessSpec, group_clips
from vidfeat.recipe import ModelSpec
from vidfeat.video import VideoInfo
from vidfeat.videos import VideoRef

_DISTINCT_BATCHES = 4


# --- decoding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodedVideo:
    """What decoding one video took.

    Attributes:
        video: which.
        info: what it is, as it was first probed.
        cpu_seconds: processor time of one core.
        clips: how many clips of its plan were there by then, from the first on.
    """

    video: VideoRef
    info: VideoInfo
    cpu_seconds: float
    clips: int


@dataclass(frozen=True, eq=False)
class DecodingTest:
    """What decoding some videos took.

    Attributes:
        decoded: the videos that were decoded, at least in part.
        failed: why others cannot be, by key.
        clips: the first clips of one of them; None where none was decoded.
    """

    decoded: tuple[DecodedVideo, ...]
    failed: Mapping[str, VideoError]
    clips: ClipBatch | None


def measure_decoding(
    spec: PreprocessSpec, videos: Sequence[VideoRef], options: PoolOptions, seconds: float
) -> DecodingTest:
    """Decode videos as a run does.

    Args:
        spec: what to make of them.
        videos: which.
        options: how.
        seconds: the time after which decoding ends, once one video has been decoded at least in part.

    Raises:
        VidfeatError: no decode process can be started.
    """
    inbox: SimpleQueue[Event] = SimpleQueue()
    decoded: dict[int, DecodedVideo] = {}
    failed: dict[str, VideoError] = {}
    infos: dict[int, VideoInfo] = {}
    clips: ClipBatch | None = None
    deadline, left = time.monotonic() + seconds, len(videos)
    with DecodePool(Assignment((spec,)), [Task(video) for video in videos], inbox.put, options):
        while left and (event := _next(inbox, deadline if decoded else math.inf)) is not None:
            if isinstance(event, PoolFailed):
                raise event.error
            if isinstance(event, VideoPlanned):
                infos.setdefault(event.index, event.info)
                continue
            video = videos[event.index]
            if isinstance(event, ChunkDecoded):
                clips = clips or event.clips
                so_far = event.clips.first_clip + len(event.clips.clips)
                decoded[event.index] = DecodedVideo(video, infos[event.index], event.cpu_seconds, so_far)
                event.release()
                continue
            left -= 1
            if isinstance(event, VideoFailed):
                decoded.pop(event.index, None)
                failed[video.key] = event.error
                event.release()
            else:
                decoded[event.index] = replace(decoded[event.index], cpu_seconds=event.cpu_seconds)
    return DecodingTest(tuple(decoded.values()), failed, clips if decoded else None)


def _next(inbox: SimpleQueue[Event], deadline: float) -> Event | None:
    """The next event; None where there is none by the deadline."""
    try:
        return inbox.get(timeout=None if deadline == math.inf else max(0.0, deadline - time.monotonic()))
    except Empty:
        return None


# --- inference --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InferenceSpeed:
    """What a network took for some samples, with all slots of its runner busy.

    Attributes:
        samples: how many.
        seconds: of the clock, if all slots had been busy to the end.
        cpu_seconds: processor time of this process.
    """

    samples: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, eq=False)
class InferenceTest:
    """What a network took.

    Attributes:
        seconds_per_pixel: for each pixel that passes through it: processor time on a CPU, else time on the GPU.
        features: of some clips, to see their shape.
        clips: how many clips those were.
    """

    seconds_per_pixel: float
    features: VideoFeatures
    clips: int


def measure_inference(runner: InferenceRunner, clips: ClipBatch, seconds: float) -> InferenceTest:
    """Run a network on some clips, in all slots at once, for so many seconds, unless its least batches take longer."""
    few = _fewest_clips(clips, runner.recipe.model)
    computation = VideoComputation(Batcher(runner), key="", encoder="")
    computation.add(few)
    features = computation.result()
    speed = time_inference(runner, clips, lambda samples, elapsed: elapsed >= seconds)
    _, crops, height, width, _ = few.pixels.shape
    pixels = crops * few.clips.size * height * width / len(few.samples(runner.recipe.model))
    taken = speed.cpu_seconds if runner.device.type == "cpu" else speed.seconds
    return InferenceTest(taken / (speed.samples * pixels), features, len(few.clips))


def time_inference(runner: InferenceRunner, clips: ClipBatch, enough: Callable[[int, float], bool]) -> InferenceSpeed:
    """Run a network on the samples of some clips, over and over, while nothing else runs.

    Args:
        runner: of the network.
        clips: of one video.
        enough: from the number of samples and the seconds up to now, whether to stop; every slot has two batches first.
    """
    batches = itertools.cycle(_batches(runner, clips))
    _compute(runner, itertools.islice(batches, runner.slots))  # code is chosen, and memory taken

    def until_enough() -> Iterator[Pixels]:
        samples, start = 0, time.monotonic()
        for number, pixels in enumerate(batches):
            if number >= 2 * runner.slots and enough(samples, time.monotonic() - start):
                return
            samples += len(pixels)
            yield pixels

    # What slots spend on a batch, and not what passes until the last is done, when some of them have nothing left.
    busy, cpu = runner.busy.seconds, time.process_time()
    samples = _compute(runner, until_enough())
    return InferenceSpeed(samples, (runner.busy.seconds - busy) / runner.slots, time.process_time() - cpu)


def _fewest_clips(clips: ClipBatch, model: ModelSpec) -> ClipBatch:
    """The fewest clips that the network can look at."""
    if model.neck_joins_video:
        return clips
    few = group_clips(clips.clips, model.segments, 1)[0]
    return replace(
        clips, clips=clips.clips[few], start_seconds=clips.start_seconds[few], end_seconds=clips.end_seconds[few]
    )


def _batches(runner: InferenceRunner, clips: ClipBatch) -> list[Pixels]:
    """A few full batches of the samples of some clips, over and over."""
    samples = clips.samples(runner.recipe.model)
    shape = (len(samples[0]), *clips.pixels.shape[2:])
    batches = [runner.new_batch(shape).pixels for _ in range(_DISTINCT_BATCHES)]
    for place, sample in zip(itertools.chain.from_iterable(batches), itertools.cycle(samples), strict=False):
        clips.gather(sample, place)
    return batches


def _compute(runner: InferenceRunner, batches: Iterator[Pixels]) -> int:
    """Compute batches; returns their number of samples."""
    submitted, samples = [], 0
    for pixels in batches:
        batch = Batch(pixels)
        runner.submit(batch)
        submitted.append(batch.rows)
        samples += len(pixels)
    for rows in submitted:
        rows.result()
    return samples
