"""Ctrl-C at a terminal: it reaches all processes of a command, and the command says what becomes of its work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from video.video_files import write_video

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent")

LONG = 120


def interrupt(arguments: list[object], when: Callable[[], bool], place: Path, times: int = 1) -> str:
    """The last line on stderr of a command that was interrupted as soon as something was so. Nothing of it lives on."""
    (place / "tmp").mkdir()
    errors = place / "stderr"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "vidfeat", *map(str, arguments)],
            stdout=file,
            stderr=file,
            env={**os.environ, "TMPDIR": str(place / "tmp")},
            start_new_session=True,
        )
    with process:
        deadline = time.monotonic() + LONG
        while not when() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        assert process.wait(LONG) == 130, errors.read_text()
    assert "Traceback" not in errors.read_text()
    assert list((place / "tmp").glob("vidfeat-*")) == []
    assert is_gone(process.pid)
    return errors.read_text().splitlines()[-1]


def is_gone(group: int) -> bool:
    """Whether the last process of a group ends within some seconds."""
    for _ in range(500):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def config(repository: Path) -> Path:
    return repository / "examples" / "tiny_slowonly.py"


@pytest.mark.parametrize("times", [1, 2])
def test_extract_keeps_what_is_finished(times: int, config: Path, repository: Path, tmp_path: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    (tmp_path / "clips").mkdir()
    first = write_video(tmp_path / "clips" / "0.mp4", frames=30, size=(96, 72))
    for number in range(1, 200):
        shutil.copy(first, tmp_path / "clips" / f"{number}.mp4")
    out = tmp_path / "out"
    command = ["extract", config, tmp_path / "clips", "--checkpoint", checkpoint, "-o", out]

    said = interrupt(command, lambda: len(list(out.glob("*.npy"))) > 1, tmp_path, times)
    assert said == "vidfeat: error: interrupted; what is finished is kept, run the same command again to go on"
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.npy")}
    assert 1 < len(finished) < 200
    done = subprocess.run([sys.executable, "-m", "vidfeat", *map(str, command)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("*.npy"))) == 200
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_bench_keeps_nothing_and_says_so(config: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", frames=30, size=(96, 72))
    command = ["bench", config, tmp_path / "clip.mp4", "--device", "cpu", "--json", tmp_path / "bench.json"]
    said = interrupt(command, lambda: (tmp_path / "stderr").stat().st_size > 0, tmp_path)
    assert said == "vidfeat: error: interrupted; what was measured is lost, run the same command again"
    assert not (tmp_path / "bench.json").exists()


def test_demo_says_that_it_is_not_finished(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    # PyAV is imported by then: an import of compiled code can swallow the signal.
    first_clip = folder / "clips" / "bounce" / "00.mp4"
    said = interrupt(["demo", "-o", folder, "-q"], first_clip.is_file, tmp_path)
    assert said == "vidfeat: error: interrupted; the folder is not finished, run the same command again"
    assert not (folder / "report.html").exists()
