"""Compares a job on a Ray cluster of this machine with a local one, on the same cores: small real clips and network.

    python benchmarks/cluster_overhead.py [CLIPS [ROUNDS]]

The executors alternate. Each runs a job of one clip, which is the time to start, and one of all clips; what counts is
the difference. Both write parts, and run networks eagerly. The load of the machine is printed with each round.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import vidfeat
from vidfeat.hardware import usable_cores

FRAMES, WIDTH, HEIGHT = 12, 128, 96


def write_clips(folder: Path, count: int) -> None:
    """Small H.264 clips, no two alike."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        with av.open(str(folder / f"{number:04d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for index in range(FRAMES):
                pixels = random.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def seconds(clips: Path, out: Path, executor: vidfeat.Ray | None) -> float:
    """How long a run takes."""
    repository = Path(__file__).resolve().parents[1]
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    encoder = vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    job = vidfeat.Job(videos=clips, encoders=encoder, out=f"file://{out}", compiled=False)
    start = time.perf_counter()
    summary = vidfeat.run(job, executor=executor, quiet=True)
    assert summary is not None
    assert summary.computed == summary.videos
    return time.perf_counter() - start


def main() -> None:
    """Print a line for each round, and the median of the ratios."""
    import ray

    count, rounds = map(int, (*sys.argv[1:], *("500", "3")[len(sys.argv) - 1 :]))
    cores = len(usable_cores())
    # It is 15 by default, and then the other processes of the machine would decide.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    ray.init(address="local", num_cpus=cores, log_to_driver=False, include_dashboard=False)
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder / "one", 1)
        write_clips(folder / "all", count)
        for round_ in range(rounds):
            took = {}
            for executor in (None, vidfeat.Ray(workers=1, cpus_per_worker=cores)):
                start = seconds(folder / "one", folder / f"one-{round_}-{executor is None}", executor)
                whole = seconds(folder / "all", folder / f"all-{round_}-{executor is None}", executor)
                took["local" if executor is None else "ray"] = whole - start
                print(f"  {'local' if executor is None else 'ray'}: start {start:.2f} s, all {whole:.2f} s", flush=True)
            ratios.append(took["ray"] / took["local"])
            print(f"round {round_ + 1}: ratio {ratios[-1]:.3f}, load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{count} clips on {cores} cores: median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
