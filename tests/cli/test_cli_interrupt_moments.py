"""Ctrl-C at any moment: during imports, where it gets lost, in what cleans up. It always ends the command."""

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
import sys, time
sys.path.insert(0, {folder!r})
from vidfeat.cli import process

process.GRACE_SECONDS = {grace}

def ready():
    print("ready", flush=True)

def main():
    process.ctrl_c.words = "interrupted; all is well"
    {begin}
{body}
    ready()
    time.sleep({long})
    return 0

process.run_process(main)
"""
SWALLOWS = """
try:
    __main__.ready()
    time.sleep({seconds})
except BaseException:
    print("lost")
"""

BEFORE = {
    "in plain work": "pass",
    "in an import that would swallow it": "import swallowing",
    "in an import that takes for ever": "import lasting",
}
"""Moments before the work has begun."""

DURING = {
    "in plain work": ("pass", "ready"),
    "swallowed": (SWALLOWS.format(seconds=LONG).replace("__main__.", ""), "ready lost ready"),
    "in a callback that cannot raise": (
        "import ctypes; ctypes.CFUNCTYPE(None)(lambda: (ready(), time.sleep(0.5), [None for _ in range(9)]))()",
        "ready ready",
    ),
    "while it is held back": (
        "from vidfeat.engine.subprocesses import block_sigint\n"
        "with block_sigint(): ready(); time.sleep(0.5); print('done')",
        "ready done",
    ),
    "while it is held back, and another thread gets it": (
        "from threading import Thread; Thread(target=time.sleep, args=[60], daemon=True).start()\n"
        "from vidfeat.engine.subprocesses import block_sigint\n"
        "with block_sigint(): ready(); time.sleep(0.5); print('done')",
        "ready done",
    ),
    "where it got lost, and is held back now": (
        "from vidfeat.engine.subprocesses import block_sigint\n"
        "try: ready(); time.sleep(60)\nexcept BaseException: pass\n"
        "with block_sigint(): time.sleep(0.3); print('done')\n",
        "ready done ready",
    ),
    "in compiled code that does not come back": (
        "import hashlib; ready(); hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)",
        "ready",
    ),
    "in what then fails": ("try: ready(); time.sleep(60)\nexcept BaseException: raise ImportError('numpy')", "ready"),
}
"""Moments of the work, each with the words that may be printed."""


def command(body: str, folder: Path, *, has_begun: bool = True, grace: int = 1) -> subprocess.Popen[str]:
    for module, seconds in (("swallowing", 0.3), ("lasting", LONG)):
        source = "import __main__, time\n" + SWALLOWS.format(seconds=seconds)
        (folder / f"{module}.py").write_text(source)
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    begin = "process.ctrl_c.begin_work()" if has_begun else "pass"
    script = COMMAND.format(folder=str(folder), body=indented, long=LONG, begin=begin, grace=grace)
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


@pytest.mark.parametrize("moment", BEFORE)
def test_it_ends_at_once_what_has_not_begun(moment: str, tmp_path: Path) -> None:
    code, words, errors = press(command(BEFORE[moment], tmp_path, has_begun=False, grace=LONG))
    assert (code, words, errors) == (130, ["ready"], ["vidfeat: error: interrupted; all is well"])


@pytest.mark.parametrize("moment", DURING)
def test_it_gets_through(moment: str, tmp_path: Path) -> None:
    body, said = DURING[moment]
    code, words, errors = press(command(body, tmp_path))
    assert (code, errors[-1]) == (130, "vidfeat: error: interrupted; all is well")
    assert words == said.split()[: len(words)]
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
    process = command(CLEANING.format(long=LONG, seconds=0.5), tmp_path, grace=LONG)
    code, words, errors = press(process, (0.1, 0.1, 0.1))
    assert (code, words) == (130, ["ready", "cleaned"])
    assert errors == ["vidfeat: error: interrupted; all is well"]


@pytest.mark.parametrize(("waits", "grace"), [((0.1, 1.3), LONG), ((0.1,), 1)])
def test_what_hangs_ends_with_a_second_one_or_after_a_while(
    waits: tuple[float, ...], grace: int, tmp_path: Path
) -> None:
    process = command(CLEANING.format(long=LONG, seconds=LONG), tmp_path, grace=grace)
    code, words, errors = press(process, waits)
    assert (code, words) == (130, ["ready"])
    assert errors == ["vidfeat: error: interrupted; all is well"]


def test_it_is_ignored_where_the_shell_says_so(tmp_path: Path) -> None:
    script = COMMAND.format(folder=str(tmp_path), body="    pass", long=0.5, begin="pass", grace=1)
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{script}"
    process = subprocess.Popen(
        [sys.executable, "-c", ignoring], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert press(process) == (0, ["ready"], [])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is being imported")
@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("extract", "_multiarray_umath"),
        ("extract", "libtorch_cpu"),
        ("estimate", "libtorch_python"),
    ],
)
def test_amidst_the_imports_of_a_command(name: str, library: str, repository: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=30, size=(96, 72))
    config = repository / "examples" / "tiny_slowonly.py"
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    words = {
        "extract": ["extract", config, video, "--checkpoint", checkpoint, "-o", tmp_path / "out.pkl"],
        "estimate": ["estimate", config, video],
    }[name]
    with subprocess.Popen(
        [sys.executable, "-m", "vidfeat", *map(str, words)],
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
    assert line.startswith("vidfeat: error: interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
