"""What a job of many videos costs on a cluster, on paper: prints the table of docs/cluster.md.

    python benchmarks/cluster_model.py

Nothing is run. Each constant says where it is from; the table is as good as they are.
"""

from __future__ import annotations

import heapq
import random

from vidfeat import VideoRef
from vidfeat.cluster.ray_executor import CALLS_AHEAD, VIDEOS_PER_CALL, Calls
from vidfeat.engine.decode_pool import Task
from vidfeat.execution import Amount
from vidfeat.store.parts_reading import VIDEOS_PER_PART as VIDEOS_PER_COMPACTED_PART

# Measured with benchmarks/cluster_driver.py on two cores, with workers that compute nothing: docs/cluster.md.
VIDEOS_PER_DRIVER_SECOND = 7_227  # of 1,000,000 videos: listed, dispatched and finalised

# Of the code, as are the constants that are imported. Each call writes a part.
READS_PER_VIDEO = 3  # a HEAD to plan, a GET of all of an object of up to 64 MiB, a HEAD for its stamp: an upper bound
READS_PER_PART = 3  # to go on or to compact: a HEAD, the footer, the columns of keys
KEYS_PER_LISTING = 1_000  # of S3

# Prices of Amazon S3 Standard, us-east-1, as known in 2025; transfer within the region is free.
DOLLARS_PER_1000_PUTS_AND_LISTINGS = 0.005
DOLLARS_PER_1000_READS = 0.0004

# Assumptions, to be replaced by those of a job.
WORKERS = 1_000
SECONDS_PER_VIDEO = 4.0  # on average; exponentially distributed, so that one of 1,000 takes 28 s
BYTES_PER_SECOND = 1_000_000  # of that time: sizes go with durations
ROW_BYTES = 4 * 2_048  # one float32 row of 2,048 numbers
LIST_BYTES_PER_VIDEO = 120  # in the temporary file of the driver, with its index

LENGTHS = (10**6, 10**7, 10**8)
SIMULATED = 1_000 * WORKERS
"""Videos of the simulation. Those of a longer list fill their calls, and leave the end as it is."""


def simulate(workers: int, videos: int, *, lengths_known: bool, seed: int = 0) -> tuple[float, int]:
    """Give calls to workers as the driver of a Ray job does, each as soon as one can take another call.

    Args:
        workers: how many.
        videos: how many.
        lengths_known: whether the longest come first.
        seed: of the durations.

    Returns:
        Seconds from the end of the first worker to that of the last one; and the number of calls.
    """
    random_ = random.Random(seed)
    seconds = [random_.expovariate(1 / SECONDS_PER_VIDEO) for _ in range(videos)]
    if lengths_known:
        seconds.sort(reverse=True)
    sizes = [round(one * BYTES_PER_SECOND) if lengths_known else None for one in seconds]
    tasks = (Task(VideoRef("", "", bytes=size)) for size in sizes)
    calls = Calls(tasks, Amount(videos, sum(size or 0 for size in sizes)))
    durations, count = iter(seconds), 0
    # For each worker, when its calls end that are computed or wait to be; the one that can take the next call is first.
    free = [(0.0,) * CALLS_AHEAD] * workers
    while call := calls.next(workers):
        takes_at, *ends = free[0]
        end = max(takes_at, *ends) + sum(next(durations) for _ in call)
        heapq.heapreplace(free, (*ends, end))
        count += 1
    ends = [max(worker) for worker in free]
    return max(ends) - min(ends), count


def rows() -> list[tuple[str, ...]]:
    """The lines of the table, the first one with its head."""
    table: list[tuple[str, ...]] = [("videos", *(f"{videos:,}" for videos in LENGTHS))]

    def add(name: str, *values: str) -> None:
        table.append((name, *values))

    tail, calls = simulate(WORKERS, SIMULATED, lengths_known=True)
    parts = [calls + (videos - SIMULATED) // VIDEOS_PER_CALL for videos in LENGTHS]
    reads = [videos * READS_PER_VIDEO for videos in LENGTHS]
    listings = [-(-count // KEYS_PER_LISTING) for count in parts]
    puts = [(p + q) / 1000 * DOLLARS_PER_1000_PUTS_AND_LISTINGS for p, q in zip(parts, listings, strict=True)]
    gets = [count / 1000 * DOLLARS_PER_1000_READS for count in reads]
    again = [count * READS_PER_PART / 1000 * DOLLARS_PER_1000_READS for count in parts]
    add("driver: list, dispatch, manifest", *(f"{n / VIDEOS_PER_DRIVER_SECOND / 3600:.2f} h" for n in LENGTHS))
    add("driver: temporary list on disk", *(f"{n * LIST_BYTES_PER_VIDEO / 1e9:.1f} GB" for n in LENGTHS))
    add("features", *(f"{n * ROW_BYTES / 1e9:,.0f} GB" for n in LENGTHS))
    add("parts", *(f"{count:,}" for count in parts))
    add("parts after `vidfeat compact`", *(f"{-(-n // VIDEOS_PER_COMPACTED_PART):,}" for n in LENGTHS))
    add("requests that read videos", *(f"{count:,}" for count in reads))
    add("their price", *(f"${price:,.2f}" for price in gets))
    add("price of puts and listings", *(f"${price:,.2f}" for price in puts))
    add("price of going on once", *(f"${price:,.2f}" for price in again))
    add(f"computing, {WORKERS:,} workers", *(f"{n * SECONDS_PER_VIDEO / WORKERS / 3600:,.1f} h" for n in LENGTHS))
    few = 200 * WORKERS
    for name, seconds in (
        ("last after first worker, lengths known", tail),
        ("lengths unknown", simulate(WORKERS, SIMULATED, lengths_known=False)[0]),
        ("200 videos a worker, lengths known", simulate(WORKERS, few, lengths_known=True)[0]),
        ("200 videos a worker, lengths unknown", simulate(WORKERS, few, lengths_known=False)[0]),
    ):
        add(name, *[f"{seconds:.0f} s"] * len(LENGTHS))
    return table


def table() -> str:
    """The table, in Markdown."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows())
    return "\n".join([head, "|" + "---|" * (len(LENGTHS) + 1), *rest])


if __name__ == "__main__":
    print(table())
