"""Ctrl-C at the worst of moments: amidst imports, where it gets lost, in what cleans up. It always ends the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_cli_interrupted import is_gone

from video.video_files import write_video

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent")

LONG = 60

COMMAND = """
import argparse, sys, time
sys.path.insert(0, {folder!r})
from vidfeat.cli import guarded

def ready():
    print("ready", flush=True)

def run(options):
{body}
    ready()
    time.sleep({long})
    return 0

sys.exit(guarded(run, argparse.Namespace(debug=False, interrupted="interrupted; all is well")))
"""
SWALLOWS = """
try:
    __main__.ready()
    time.sleep({seconds})
except BaseException:
    print("lost")
"""

BODIES = {
    "in plain work": ("pass", "ready"),
    "swallowed": (SWALLOWS.format(seconds=LONG).replace("__main__.", ""), "ready lost ready"),
    "in an import that would swallow it": ("import swallowing", "ready"),
    "in an import that takes for ever": ("import lasting", "ready"),
    "in a callback that cannot raise": (
        "import ctypes; ctypes.CFUNCTYPE(None)(lambda: (ready(), time.sleep(0.5), [None for _ in range(9)]))()",
        "ready ready",
    ),
    "where it got lost, and is held back now": (
        "from vidfeat.engine.subprocesses import block_sigint\n"
        "try: ready(); time.sleep(60)\nexcept BaseException: pass\n"
        "with block_sigint(): time.sleep(0.3); print('done')\n",
        "ready done",
    ),
    "in what then fails": ("try: ready(); time.sleep(60)\nexcept BaseException: raise ImportError('numpy')", "ready"),
}


def command(name: str, body: str, folder: Path) -> subprocess.Popen[str]:
    for module, seconds in (("swallowing", 0.3), ("lasting", LONG)):
        source = "import __main__, time\n" + SWALLOWS.format(seconds=seconds)
        (folder / f"{module}.py").write_text(source)
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    script = COMMAND.format(folder=str(folder), body=indented, long=LONG)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )


def press(process: subprocess.Popen[str], waits: Sequence[float] = (0.1,)) -> tuple[int, list[str], list[str]]:
    """Exit code, words on stdout, lines on stderr, after Ctrl-C some seconds after the process is ready and later."""
    assert process.stdout is not None
    first = process.stdout.readline().split()
    for wait in waits:
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG / 2)
    return process.returncode, first + out.split(), err.splitlines()


@pytest.mark.parametrize("moment", BODIES)
def test_it_gets_through(moment: str, tmp_path: Path) -> None:
    body, said = BODIES[moment]
    code, words, errors = press(command(moment, body, tmp_path))
    assert (code, errors[-1]) == (130, "vidfeat: error: interrupted; all is well")
    assert set(words) <= set(said.split())
    assert "done" in words or "done" not in said
    assert moment == "in a callback that cannot raise" or len(errors) == 1


CLEANING = """
try:
    ready()
    time.sleep({long})
finally:
    time.sleep({seconds})
    print("cleaned")
"""


def test_a_second_one_at_once_leaves_cleaning_alone(tmp_path: Path) -> None:
    process = command("", CLEANING.format(long=LONG, seconds=0.5), tmp_path)
    code, words, errors = press(process, (0.1, 0.1, 0.1))
    assert (code, words) == (130, ["ready", "cleaned"])
    assert errors == ["vidfeat: error: interrupted; all is well"]


def test_a_second_one_later_ends_what_hangs(tmp_path: Path) -> None:
    process = command("", CLEANING.format(long=LONG, seconds=LONG), tmp_path)
    code, words, errors = press(process, (0.1, 1.3))
    assert (code, words) == (130, ["ready"])
    assert errors == ["vidfeat: error: interrupted; all is well"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is being imported")
@pytest.mark.parametrize(
    ("name", "library"), [("extract", "_multiarray_umath"), ("extract", "libtorch_cpu"), ("plan", "libtorch_python")]
)
def test_amidst_the_imports_of_a_command(name: str, library: str, repository: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=30, size=(96, 72))
    config = repository / "examples" / "tiny_slowonly.py"
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    words = {
        "extract": ["extract", config, video, "--checkpoint", checkpoint, "-o", tmp_path / "out.pkl"],
        "plan": ["plan", video, config],
    }[name]
    with subprocess.Popen(
        [sys.executable, "-m", "vidfeat.cli", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while process.poll() is None and library not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=LONG)
    assert is_gone(process.pid)
    assert process.returncode == 130
    (line,) = errors.splitlines()
    assert line.startswith("vidfeat: error: interrupted; ")
    assert not (tmp_path / "out.pkl.journal").exists()
