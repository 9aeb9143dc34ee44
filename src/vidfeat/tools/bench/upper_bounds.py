"""Each stage of the work alone on the machine, and the limit that follows for both together.

Decoding is measured here, in processes that do nothing else; the network by each row for itself, as it depends on the
precision and the backend.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import pickle
import signal
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from threading import Barrier

from vidfeat.engine.subprocesses import block_sigint, unblock_sigint

LEAST_SECONDS, MOST_SECONDS = 1.0, 20.0
"""How long a stage is measured: as long as the list takes it, within these bounds."""


def enough(share: float, seconds: float) -> bool:
    """Whether a stage has been measured long enough.

    Args:
        share: how much of the list's work was done.
        seconds: that this took.
    """
    return seconds >= MOST_SECONDS or (share >= 1 and seconds >= LEAST_SECONDS)


def limit(decode: float, model: float, *, shares_cores: bool) -> float:
    """Videos per second that no way of running both stages beside each other can exceed.

    Args:
        decode: videos per second of decoding alone.
        model: videos per second of the network alone.
        shares_cores: whether both need the same cores, so that their times add up; else the slower stage decides.

    Examples:
        >>> limit(6.0, 3.0, shares_cores=True), limit(6.0, 3.0, shares_cores=False)
        (2.0, 3.0)
    """
    return 1 / (1 / decode + 1 / model) if shares_cores else min(decode, model)


def decode_rate(preprocess: bytes, paths: Sequence[Path], cores: int) -> float:
    """Videos per second where all cores do nothing but decode: probe, plan, decode, transform.

    Args:
        preprocess: as in `Facts`.
        paths: the videos.
        cores: how many there are, and so how many processes.

    Raises:
        VideoError: a video cannot be decoded.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        cores, context, initializer=_begin, initargs=(context.Barrier(cores),)
    ) as pool:
        with block_sigint():
            shares = [pool.submit(_decode_all, preprocess, paths, first, cores) for first in range(cores)]
        timings = [timing for share in shares for timing in share.result()]
    times: dict[int, list[float]] = defaultdict(list)
    for index, seconds in timings:
        times[index].append(seconds)
    # Every video counts once, however often there was time to decode it.
    return cores / fmean(fmean(some) for some in times.values())


_barrier: Barrier


def _begin(barrier: Barrier) -> None:
    global _barrier
    unblock_sigint(signal.SIG_DFL)  # Ctrl-C ends these processes, too, and without a traceback
    _barrier = barrier


def _decode_all(preprocess: bytes, paths: Sequence[Path], first: int, step: int) -> list[tuple[int, float]]:
    """Decode every `step`th video from the `first` on, from the list's end on to its start again, for long enough.

    Returns:
        Position in the list and seconds, of every decoding.
    """
    from vidfeat.preprocessing.clips import PreprocessSpec, read_clips
    from vidfeat.videos import VideoRef

    spec: PreprocessSpec = pickle.loads(preprocess)
    _barrier.wait()  # until all processes have imported what they need
    timings: list[tuple[int, float]] = []
    start = time.perf_counter()
    for turn in itertools.count():
        index = (first + turn * step) % len(paths)
        began = time.perf_counter()
        for _ in read_clips([spec], VideoRef(f"{index}", str(paths[index]))):
            pass
        ended = time.perf_counter()
        timings.append((index, ended - began))
        if enough(len(timings) * step / len(paths), ended - start):
            break
    return timings
