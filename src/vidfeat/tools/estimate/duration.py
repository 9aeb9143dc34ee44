"""How long a run takes: the work of its videos, multiplied by the speed of this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vidfeat.tools.estimate.probe import Decodable

SAMPLE_VIDEOS = 8
"""Videos that are decoded at most, to see how fast that is."""

START_SECONDS = 4.0
"""From the command to the first video: importing PyTorch, and loading the network while the first videos are decoded.
Measured on 2 cores; design note 0004. It matters to short lists only."""

Bottleneck = Literal["decoding", "network"]


@dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes:
        cores: CPU cores that this process may use.
        decode_processes: more than `cores` or a few would not help.
        gpu: name of the GPU that runs the network, the first of several; None where the CPU does.
        gpus: how many GPUs run it, each the videos that are given to it.
    """

    cores: int
    decode_processes: int
    gpu: str | None
    gpus: int = 0


@dataclass(frozen=True)
class Timing:
    """What decoding one video took.

    Attributes:
        key: the video.
        cpu_seconds: processor time of one core.
        pixels: how much of `Workload.decoding_pixels` that was for.
    """

    key: str
    cpu_seconds: float
    pixels: int


@dataclass(frozen=True)
class Duration:
    """How long the decodable videos take.

    Attributes:
        seconds: the prediction, from the command to its end, on this machine with nothing else to do.
        at_least, at_most: the same for a decoding speed that is two standard errors of the sample higher or lower.
        decoding_core_seconds: seconds of one core that decoding takes.
        network_seconds: seconds of one core, or of one GPU, that the network takes.
        bottleneck: which of the two to make faster first.
        sample: the videos that were decoded for this, at least in part.
        random_weights: whether the network had random weights, which take the same time.
    """

    seconds: float
    at_least: float
    at_most: float
    decoding_core_seconds: float
    network_seconds: float
    bottleneck: Bottleneck
    sample: tuple[str, ...]
    random_weights: bool


def sample(videos: Sequence[Decodable], count: int = SAMPLE_VIDEOS) -> list[Decodable]:
    """Videos that stand for all of them: spread evenly from the least work of decoding to the most.

    Args:
        videos: the choice, in any order; the result does not depend on it.
        count: how many, at least 1; all of them where there are no more.

    Returns:
        The sample, least work first.
    """
    ranked = sorted(videos, key=lambda video: (video.work.decoding_pixels, video.video.key))
    count = min(count, len(ranked))
    return [ranked[(2 * number + 1) * len(ranked) // (2 * count)] for number in range(count)]


def predict_duration(
    videos: Sequence[Decodable],
    timings: Sequence[Timing],
    network_seconds_per_pixel: float,
    machine: Machine,
    *,
    random_weights: bool,
) -> Duration:
    """How long the decodable videos take, by the speed at which some were decoded and the network ran.

    Args:
        videos: all of them, at least one.
        timings: what decoding some of them took, at least one.
        network_seconds_per_pixel: as in `InferenceTest`.
        machine: what computes.
        random_weights: as in `Duration`.
    """
    pixels = sum(video.work.decoding_pixels for video in videos)
    network = network_seconds_per_pixel * sum(video.work.network_pixels for video in videos)
    per_pixel = sum(one.cpu_seconds for one in timings) / sum(one.pixels for one in timings)
    error = 2 * _standard_error(per_pixel, timings, len(videos)) * pixels
    decoding = per_pixel * pixels
    seconds, bottleneck = _elapsed(decoding, network, machine, len(videos))
    return Duration(
        seconds=seconds,
        at_least=_elapsed(max(0.0, decoding - error), network, machine, len(videos))[0],
        at_most=_elapsed(decoding + error, network, machine, len(videos))[0],
        decoding_core_seconds=decoding,
        network_seconds=network,
        bottleneck=bottleneck,
        sample=tuple(one.key for one in timings),
        random_weights=random_weights,
    )


def _standard_error(per_pixel: float, timings: Sequence[Timing], videos: int) -> float:
    """Of the seconds per pixel, as a ratio estimated from a part of all videos; 0 where only one was timed."""
    if len(timings) < 2:
        return 0.0
    variance = sum((one.cpu_seconds - per_pixel * one.pixels) ** 2 for one in timings) / (len(timings) - 1)
    mean_pixels = sum(one.pixels for one in timings) / len(timings)
    return math.sqrt((1 - len(timings) / videos) * variance / len(timings)) / mean_pixels


def _elapsed(decoding: float, network: float, machine: Machine, videos: int) -> tuple[float, Bottleneck]:
    """Seconds by the clock with starting up, and what to make faster first, from the core seconds of both stages.

    Both go on at the same time. On a CPU they share the cores, on GPUs only the slower one counts. Decoding is never
    faster than its processes, and no video is divided between GPUs.
    """
    decoding_alone = decoding / machine.decode_processes
    if machine.gpu is not None:
        network /= max(1, min(machine.gpus, videos))
        return START_SECONDS + max(decoding_alone, network), "decoding" if decoding_alone > network else "network"
    shared = (decoding + network) / machine.cores
    bottleneck: Bottleneck = "decoding" if decoding_alone > shared or decoding > network else "network"
    return START_SECONDS + max(decoding_alone, shared), bottleneck
