"""Limits follow the machine, and what a file really holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from video.video_files import write_video
from vidfeat.engine.decode_pool import LEAST_MEMORY, MOST_MEMORY, DecodePool, PoolOptions, Task
from vidfeat.engine.decode_worker import size_of
from vidfeat.errors import VideoError
from vidfeat.hardware import memory_bytes
from vidfeat.video import decode, probe
from vidfeat.videos import VideoRef


def test_the_deadline_of_a_sparse_file_follows_its_bytes_on_the_disk(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=5)
    whole = size_of(path)
    assert whole == path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(2**40)
    assert size_of(path) < whole + 2**20
    assert size_of(tmp_path / "none.mp4") == 0


@pytest.mark.parametrize("processes", [1, 4, 16, 64])
def test_the_pool_shares_half_of_the_memory(processes: int) -> None:
    tasks = [Task(VideoRef(f"{number}.mp4", f"{number}.mp4")) for number in range(64)]
    pool = DecodePool(None, tasks, print, PoolOptions(processes))
    assert pool.processes == processes
    limit = pool._memory_bytes
    assert limit * processes <= memory_bytes() // 2 or limit == LEAST_MEMORY
    assert limit == MOST_MEMORY or limit * (processes + 1) > memory_bytes() // 2 - 2 * processes


@pytest.mark.parametrize("matrix", ["YCgCo", "GBR", "bt2020c", "chroma-derived-c", "ICtCp"])
def test_a_colour_matrix_that_cannot_be_converted_is_a_typed_failure(tmp_path: Path, matrix: str) -> None:
    path = write_video(
        tmp_path / "a.mp4", frames=3, pix_fmt="yuv444p", options={"x264-params": f"colormatrix={matrix}"}
    )
    info = probe(path)
    try:
        frames = list(decode(path, range(info.frames), info))
    except VideoError as error:
        assert (error.stage, error.where) == ("decode", str(path))  # noqa: PT017
    else:
        assert len(frames) == 3
