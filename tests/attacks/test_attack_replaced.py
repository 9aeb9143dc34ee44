"""Videos that are replaced under their names: features of others are not passed off as theirs. The real command."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vidfeat.store import verify
from vidfeat.store.files import RunFiles

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("a.mp4", "b.mp4", "c.mp4")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    renderer = REPOSITORY / "examples" / "render_clips.py"
    subprocess.run([sys.executable, renderer, folder, "6"], check=True, capture_output=True)
    return sorted(folder.rglob("*.mp4"))


@pytest.fixture(scope="module")
def expected(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The features of each clip."""
    folder = tmp_path_factory.mktemp("expected")
    for number, clip in enumerate(clips):
        shutil.copyfile(clip, folder / f"{number}.mp4")
    return rows_of(extract(folder, folder.parent / "expected.pkl"), 0)


def start(videos: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    (checkpoint,) = (REPOSITORY / "examples").glob("*.safetensors")
    command = [sys.executable, "-m", "vidfeat", "extract", REPOSITORY / "examples" / "tiny_slowonly.py", videos]
    command += ["--checkpoint", checkpoint, "-o", out, "--device", "cpu", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def extract(videos: Path, out: Path, *options: str) -> tuple[int, str, Path]:
    process = start(videos, out, *options)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors, out


def rows_of(done: tuple[int, str, Path], code: int) -> list[np.ndarray]:
    assert done[0] == code, done[1]
    assert not any(problem for problem in verify(done[2]) if code == 0)
    return pickle.loads(done[2].read_bytes())


def folder_of(path: Path, clips: list[Path]) -> Path:
    path.mkdir(exist_ok=True)
    for name, clip in zip(NAMES, clips, strict=False):
        shutil.copyfile(clip, path / name)
    return path


def test_replaced_after_the_run(tmp_path: Path, clips: list[Path], expected: list[np.ndarray]) -> None:
    videos, out = folder_of(tmp_path / "videos", clips), tmp_path / "out.pkl"
    rows_of(extract(videos, out), 0)
    shutil.copyfile(clips[4], videos / "b.mp4")
    done = extract(videos, out)
    for row, number in zip(rows_of(done, 0), (0, 4, 2), strict=True):
        assert row.tobytes() == expected[number].tobytes()
    assert "1 video changed" in done[1]


def test_replaced_before_the_failures_are_tried_again(
    tmp_path: Path, clips: list[Path], expected: list[np.ndarray]
) -> None:
    videos, out = folder_of(tmp_path / "videos", clips), tmp_path / "out.pkl"
    (videos / "b.mp4").write_bytes(clips[1].read_bytes()[:9000])
    assert rows_of(extract(videos, out), 3)[1] is None
    folder_of(videos, [clips[3], clips[1], clips[2]])
    for row, number in zip(rows_of(extract(videos, out, "--retry-failed"), 0), (3, 1, 2), strict=True):
        assert row.tobytes() == expected[number].tobytes()


def test_replaced_during_the_run(tmp_path: Path, clips: list[Path], expected: list[np.ndarray]) -> None:
    """As soon as the first is committed, all are others. The next run of the same command puts it right."""
    videos, out = folder_of(tmp_path / "videos", clips), tmp_path / "out.pkl"
    process = start(videos, out, "-q")
    database = RunFiles(out).database(0)
    while process.poll() is None and not (database.exists() and database.stat().st_size > 4096):
        time.sleep(0.001)
    folder_of(videos, clips[3:])
    process.communicate(timeout=300)
    assert process.returncode in (0, 3)
    for row, number in zip(rows_of(extract(videos, out, "--retry-failed"), 0), (3, 4, 5), strict=True):
        assert row.tobytes() == expected[number].tobytes()


def test_dated_beyond_the_year_2262(tmp_path: Path, clips: list[Path], expected: list[np.ndarray]) -> None:
    """Nanoseconds since 1970 do not fit into 64 bits there. A copy from a camera with a wrong clock ends no run."""
    videos, out = folder_of(tmp_path / "videos", clips), tmp_path / "out.pkl"
    os.utime(videos / "b.mp4", ns=(2**63 + 10**9,) * 2)
    if (videos / "b.mp4").stat().st_mtime_ns < 2**63:
        pytest.skip("the file system has no such times")
    for _ in range(2):
        for row, number in zip(rows_of(extract(videos, out), 0), (0, 1, 2), strict=True):
            assert row.tobytes() == expected[number].tobytes()
