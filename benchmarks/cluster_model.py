"""What a job of many videos costs on a cluster, on paper: prints the table of docs/cluster.md.

    python benchmarks/cluster_model.py

Nothing is run. Each constant says where it is from; the table is as good as they are.
"""

from __future__ import annotations

import heapq
import random

from vidfeat.cluster.ray_executor import SHARE_OF_REST, VIDEOS_PER_CALL
from vidfeat.store.parts_reading import VIDEOS_PER_PART as VIDEOS_PER_COMPACTED_PART

# Measured with benchmarks/cluster_driver.py on two cores, with workers that compute nothing: docs/cluster.md.
VIDEOS_PER_DRIVER_SECOND = 6_576  # of 1,000,000 videos: listed, dispatched and finalised
DRIVER_MB = 47  # growth of memory with them; 18 MB with 50,000, as the list is in a file

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
ROW_BYTES = 4 * 2_048  # one float32 row of 2,048 numbers
LIST_BYTES_PER_VIDEO = 120  # in the temporary file of the driver, with its index

LENGTHS = (10**6, 10**7, 10**8)
SIMULATED = 1_000_000
"""Videos of the simulation of stragglers; its result stands for all lengths."""


def straggling(workers: int, videos: int, *, largest_first: bool, seed: int = 0) -> float:
    """Seconds from the end of the first worker to that of the last one, in a simulation.

    A worker has a second call waiting while it computes one, as in vidfeat.cluster.ray_executor.

    Args:
        workers: how many.
        videos: how many.
        largest_first: whether sizes are known, so that the longest come first.
        seed: of the durations.
    """
    random_ = random.Random(seed)
    seconds = [random_.expovariate(1 / SECONDS_PER_VIDEO) for _ in range(videos)]
    if largest_first:
        seconds.sort(reverse=True)
    left, given = sum(seconds), 0
    free = [(0.0, 0.0)] * workers  # when a worker takes another call, and when it has done all that it has
    while given < videos:
        # As `vidfeat.cluster.ray_executor.Calls` does: a part of the even share of the videos, and of their bytes.
        shares = SHARE_OF_REST * workers
        end = given + max(1, min(VIDEOS_PER_CALL, (videos - given) // shares))
        call = seconds[given]
        given += 1
        while given < end and (not largest_first or call + seconds[given] <= left / shares):
            call += seconds[given]
            given += 1
        left -= call
        takes_at, done_at = free[0]
        heapq.heapreplace(free, (done_at, max(takes_at, done_at) + call))
    ends = [done_at for _, done_at in free]
    return max(ends) - min(ends)


def rows() -> list[tuple[str, ...]]:
    """The lines of the table, the first one with its head."""
    table: list[tuple[str, ...]] = [("videos", *(f"{videos:,}" for videos in LENGTHS))]

    def add(name: str, *values: str) -> None:
        table.append((name, *values))

    parts = [videos // VIDEOS_PER_CALL for videos in LENGTHS]
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
    for name, videos, known in (
        ("last after first worker, lengths known", SIMULATED, True),
        ("lengths unknown", SIMULATED, False),
        ("200 videos a worker, lengths known", 200 * WORKERS, True),
        ("200 videos a worker, lengths unknown", 200 * WORKERS, False),
    ):
        add(name, *[f"{straggling(WORKERS, videos, largest_first=known):.0f} s"] * len(LENGTHS))
    return table


def table() -> str:
    """The table, in Markdown."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows())
    return "\n".join([head, "|" + "---|" * (len(LENGTHS) + 1), *rest])


if __name__ == "__main__":
    print(table())
