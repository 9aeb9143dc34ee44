"""Every video of a list probed: what it is, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidfeat.engine.decode_pool import PoolOptions
from vidfeat.engine.probing import Probed, probe_all
from vidfeat.errors import VideoError
from vidfeat.recipe import Recipe
from vidfeat.tools.estimate.workload import Workload, Workloads
from vidfeat.video import VideoInfo
from vidfeat.videos import VideoRef


@dataclass(frozen=True)
class Decodable:
    """A video that opens.

    Attributes:
        video: which one.
        info: what it is, without the times of its frames: those of a million videos are gigabytes.
        work: what the recipe asks of it.
    """

    video: VideoRef
    info: VideoInfo
    work: Workload


@dataclass(frozen=True)
class Failing:
    """A video that would fail.

    Attributes:
        video: which one.
        error: why.
    """

    video: VideoRef
    error: VideoError


def probe(
    videos: Sequence[VideoRef], recipe: Recipe, options: PoolOptions, done: Callable[[], object] = lambda: None
) -> list[Decodable | Failing]:
    """Probe every video. Nothing but its first frame is decoded, so damage further in is not seen.

    Args:
        videos: which, with different keys.
        recipe: what is to be done to them.
        options: how many processes probe, and how long they may take.
        done: called after every video.

    Returns:
        What was found, in the order of the videos.

    Raises:
        VidfeatError: no decode process can be started.
    """
    workloads = Workloads(recipe)
    found = {}
    for probed in probe_all(videos, processes=options.processes, timeout_seconds=options.timeout_seconds):
        found[probed.video.key] = _judged(probed, workloads)
        done()
    return [found[video.key] for video in videos]


def _judged(probed: Probed, workloads: Workloads) -> Decodable | Failing:
    if probed.error is not None:
        return Failing(probed.video, probed.error)
    assert probed.info is not None
    try:
        work = workloads.of(probed.info, probed.video.cut)
    except VideoError as error:
        return Failing(probed.video, error)
    timeline = replace(probed.info.timeline, pts_seconds=np.empty(0))
    return Decodable(probed.video, replace(probed.info, timeline=timeline), work)
