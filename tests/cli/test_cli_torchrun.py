"""Several processes under MMAction2's command name: what is in the current folder, and signals to the agent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli_interrupted import is_gone

from video.video_files import write_video

LONG = 120


def start(repository: Path, place: Path, videos: int) -> subprocess.Popen[str]:
    """Two processes that extract from copies of one video, in a folder with modules named as the standard library's."""
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    first = write_video(place / "0.mp4", frames=30, size=(96, 72))
    for number in range(1, videos):
        shutil.copy(first, place / f"{number}.mp4")
    (place / "list.txt").write_text("\n".join(f"{number}.mp4" for number in range(videos)))
    for name in ("typing", "torch", "click", "vidfeat"):
        (place / f"{name}.py").write_text("raise SystemExit('a module of the current folder was imported')")
    script = repository / "tools" / "misc" / "dist_clip_feature_extraction.sh"
    command = ["bash", script, repository / "examples" / "tiny_slowonly.py", checkpoint, 2]
    return subprocess.Popen(
        [str(word) for word in [*command, "--video-list", "list.txt", "--video-root", ".", "--out", "out"]],
        cwd=place,
        env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_modules_in_the_current_folder_are_not_imported(repository: Path, tmp_path: Path) -> None:
    process = start(repository, tmp_path, videos=2)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == 0, errors
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.npy", "1.npy"]


@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGHUP, False)],
)
def test_a_signal_ends_it_cleanly(number: signal.Signals, to_all: bool, repository: Path, tmp_path: Path) -> None:
    process = start(repository, tmp_path, videos=400)
    deadline = time.monotonic() + LONG
    while not list((tmp_path / "out").glob("*.npy")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    (os.killpg if to_all else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert is_gone(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is being imported")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_its_start_ends_it_cleanly(number: signal.Signals, repository: Path, tmp_path: Path) -> None:
    process = start(repository, tmp_path, videos=2)
    while process.poll() is None and "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode in (128 + number, -number)
    assert "Traceback" not in errors
    assert is_gone(process.pid)
