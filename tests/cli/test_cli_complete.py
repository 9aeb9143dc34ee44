"""A command whose output is complete starts no process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from video.video_files import write_video

# PyTorch for CUDA starts programs of the system, too.
AUDITED = """
import sys
def hook(event, arguments):
    if event == "subprocess.Popen" and arguments[0] == sys.executable:
        print("started a process", flush=True)
sys.addaudithook(hook)
from vidfeat.cli.main import main
sys.exit(main())
"""


@pytest.fixture
def command(repository: Path, tmp_path: Path) -> list[str]:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    video = write_video(tmp_path / "0.mp4", frames=20, size=(96, 72))
    words = ["extract", repository / "examples" / "tiny_slowonly.py", video, "--checkpoint", checkpoint]
    return [str(word) for word in [*words, "-o", tmp_path / "out.pkl"]]


def run(*words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", AUDITED, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_only_where_there_is_something_to_do(command: list[str]) -> None:
    code, started, _ = run(*command, "--on-error", "fail")
    assert (code, started) == (0, "started a process\n")
    code, started, said = run(*command)
    assert (code, started) == (0, "")
    assert "complete already" in said
