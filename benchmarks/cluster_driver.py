"""Measures what the driver of a Ray job costs by itself.

The list is long and its videos do not exist: workers commit a row of four numbers for each without computing it. The
scheduler, the parts and the manifest are real.

    python benchmarks/cluster_driver.py 1000 100000 1000000
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vidfeat
from vidfeat.cluster.actor import Answer, Place
from vidfeat.engine.decode_pool import Task
from vidfeat.features import VideoFeatures
from vidfeat.store.part_files import PartWriter


class Idle:
    """An actor that computes nothing."""

    def __init__(self, job: dict[str, Any], writers: Sequence[PartWriter], cores: int) -> None:
        self._writers = writers

    def start(self, driver: str) -> Place:
        """As of the real one."""
        return Place("benchmark", "benchmark")

    def compute(self, tasks: Sequence[Task]) -> Answer:
        """Commit a row for each task."""
        row = np.zeros(4, np.float32)
        rows = [(task.video, VideoFeatures(task.video.key, "idle", row)) for task in tasks]
        return Answer([(0, self._writers[0].commit(rows, {}))])


class IdleRay(vidfeat.Ray):
    """Ray with such actors."""

    @property
    def actor_class(self) -> type:
        """See `Idle`."""
        return Idle


def memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measure(videos: int, folder: Path) -> tuple[float, float]:
    """Seconds, and the growth of memory in MB from just before the run to its highest point."""
    names = folder / f"{videos}.txt"
    with names.open("w") as file:
        file.writelines(f"folder_{number % 1000}/video_{number}.mp4\n" for number in range(videos))
    repository = Path(__file__).resolve().parents[1]
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    encoder = vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    job = vidfeat.Job(videos=names, encoders=encoder, out=f"{folder}/out_{videos}/")
    before = highest = memory_mb()
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.2):
            highest = max(highest, memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    summary = vidfeat.run(job, executor=IdleRay(workers=2))
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    assert summary is not None
    assert summary.computed == videos
    return seconds, highest - before


def main() -> None:
    """Print a line for each length."""
    import ray

    ray.init(address="local", log_to_driver=False, include_dashboard=False)
    with tempfile.TemporaryDirectory() as folder:
        measure(100, Path(folder))  # imports, and the first connection
        for word in sys.argv[1:] or ["1000", "10000"]:
            seconds, growth = measure(int(word), Path(folder))
            print(
                f"{word} videos: {seconds:.1f} s, {int(word) / seconds:.0f} videos/s, memory +{growth:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
