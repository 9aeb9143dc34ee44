"""How videos are grouped into calls."""

from __future__ import annotations

from vidfeat import VideoRef
from vidfeat.cluster.ray_executor import VIDEOS_PER_CALL, Calls
from vidfeat.engine.decode_pool import Task
from vidfeat.execution import Amount


def calls_of(sizes: list[int], workers: int) -> list[list[int]]:
    tasks = [Task(VideoRef(f"{n}", f"s3://b/{n}", bytes=size or None), (0,)) for n, size in enumerate(sizes)]
    calls = Calls(iter(tasks), Amount.of(tasks))
    found = []
    while call := calls.next(workers):
        found.append([task.video.bytes or 0 for task in call])
    assert [size for call in found for size in call] == sizes
    return found


def test_calls_of_videos_of_unknown_size_get_smaller_towards_the_end() -> None:
    counts = [len(call) for call in calls_of([0] * 1000, workers=2)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (VIDEOS_PER_CALL, 1)


def test_no_call_has_more_than_a_part_of_the_even_share_of_the_bytes() -> None:
    sizes = sorted((1000 // (n + 1) + 1 for n in range(400)), reverse=True)
    left = sum(sizes)
    for call in calls_of(sizes, workers=2):
        assert len(call) == 1 or sum(call) <= left / 8
        left -= sum(call)


def test_one_worker_and_one_video() -> None:
    assert calls_of([5], workers=0) == [[5]]
    assert calls_of([], workers=1) == []
