"""How much of each video has to be decoded for usual plans, and what leaving out the rest saves.

For each file and plan: packets that the decoder gets, of those that a decode from the start up to the last wanted
frame needs; processor time of both, without and with the probe; and whether the frames are the same. Where the number
of frames is an estimate, the comparison is between counting first and counting on the way.

usage: python benchmarks/decode.py [--repeat K] FILE ...
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterator

import numpy as np

from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.recipe import TimeGrid
from vidfeat.video import VideoInfo, decode, probe, with_exact_frames
from vidfeat.video.packets import plan_feed

PLANS: dict[str, TimeGrid] = {
    "TSN, 25 x 1": SegmentSampling(clip_len=1, num_clips=25),
    "SlowOnly, 10 x 4 x 16": SegmentSampling(clip_len=4, frame_interval=16, num_clips=10),
    "SlowOnly, 1 x 4 x 16": SegmentSampling(clip_len=4, frame_interval=16),
    "SlowOnly, 1 x 8 x 8": SegmentSampling(clip_len=8, frame_interval=8),
    "I3D, 1 x 32 x 2": SegmentSampling(clip_len=32, frame_interval=2),
    "C3D, 10 x 16": SegmentSampling(clip_len=16, num_clips=10),
}


def wanted_frames(info: VideoInfo, sampling: TimeGrid) -> list[int]:
    """The distinct frames of a plan."""
    return [int(index) for index in np.unique(sampling.frame_index(info.frames))]


def packets_fed(info: VideoInfo, wanted: list[int]) -> tuple[int, int]:
    """How many packets are decoded, and how many would be from the start up to the last wanted frame."""
    if info.packets is None:
        return info.frames, info.frames
    last = int(np.flatnonzero(np.isin(info.packets.ranks, wanted))[-1])
    return int(plan_feed(info.packets, wanted).fed.sum()), last + 1


def hashes(path: str, wanted: list[int], info: VideoInfo, to_end: bool) -> list[str]:
    """The wanted frames, each as a hash."""
    return [hashlib.sha256(frame.pixels.data).hexdigest() for frame in decode(path, wanted, info, to_end=to_end)]


def least_time(work: Callable[[], object], repeat: int) -> float:
    """Least processor time of `repeat` runs, in milliseconds; other work on the machine disturbs it little."""

    def times() -> Iterator[float]:
        for _ in range(repeat):
            start = time.process_time()
            work()
            yield (time.process_time() - start) * 1000

    return min(times())


def consume(path: str, wanted: list[int], info: VideoInfo, to_end: bool) -> None:
    """Decode and forget."""
    for _ in decode(path, wanted, info, to_end=to_end):
        pass


def decode_plainly(path: str, wanted: list[int], guess: VideoInfo) -> None:
    """Every packet up to the last wanted frame, after all frames were counted where their number was an estimate."""
    consume(path, wanted, dataclasses.replace(with_exact_frames(guess), packets=None), False)


def compare(path: str, repeat: int) -> None:
    """Print a row per plan."""
    guess = probe(path)
    known = with_exact_frames(guess)
    plain = dataclasses.replace(known, packets=None)
    probing = least_time(lambda: probe(path), repeat)
    print(f"\n{path}: {known.codec} {known.width} x {known.height}, {known.frames} frames, probe {probing:.1f} ms")
    for name, sampling in PLANS.items():
        wanted = wanted_frames(known, sampling)
        fed, total = packets_fed(known, wanted)
        before = least_time(functools.partial(decode_plainly, path, wanted, guess), repeat)
        after = least_time(functools.partial(consume, path, wanted, guess, not guess.frames_exact), repeat)
        same = hashes(path, wanted, plain, False) == hashes(path, wanted, guess, not guess.frames_exact)
        print(
            f"  {name:22} {len(wanted):4} wanted  {fed:5} of {total:5} packets  {before:7.1f} -> {after:7.1f} ms"
            f"  {before / after:5.2f}x  with probe {(before + probing) / (after + probing):5.2f}x"
            f"  {1000 * len(wanted) / after:6.0f} wanted frames/s  {'same frames' if same else 'FRAMES DIFFER'}",
            flush=True,
        )


def main() -> None:
    """Compare for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the fastest counts")
    arguments = parser.parse_args()
    for path in arguments.files:
        compare(path, arguments.repeat)


if __name__ == "__main__":
    main()
