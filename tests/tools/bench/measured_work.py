"""Work for the fresh processes of the tests: functions of a module that imports little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np

from vidfeat.errors import UsageError, VideoError
from vidfeat.tools.bench.process import Clock


def sleep(seconds: float, clock: Clock) -> str:
    time.sleep(0.2)
    clock.start()
    time.sleep(seconds)
    clock.stop()
    time.sleep(0.2)
    return "slept"


def hold(before: int, own: int, below: int, clock: Clock) -> None:
    """Hold so many bytes before the clock starts, then others here and in a process below."""
    held = np.ones(before, np.uint8)
    time.sleep(0.2)
    del held
    clock.start()
    code = f"import time; held = bytearray(b'x') * {below}; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        held = np.ones(own, np.uint8)
        time.sleep(0.3)
        child.kill()
    clock.stop()
    held = np.ones(4 * (before + own + below), np.uint8)
    time.sleep(0.2)
    del held


def misuse(clock: Clock) -> None:
    raise UsageError("here", expected="this", found="that", hint="Mend it.")


def break_video(clock: Clock) -> None:
    raise VideoError("x.mp4", stage="decode", kind="corrupt", expected="this", found="that")


def blunder(clock: Clock) -> None:
    raise ValueError("of all things")


def die(clock: Clock) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(clock: Clock) -> None:
    os._exit(7)
