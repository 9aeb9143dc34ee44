"""Fuzz a reader of files: configs, checkpoints, lists, outputs. Usage: fuzz.py TARGET SECONDS [SEED]

TARGET is one of `tests/fuzz/targets.py`.

Prints a line every half minute. An input that breaks a rule ends it with code 1 and is kept
in the folder that is named; so does a crash of the process, which is why the work is done in a child.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
REPORT_EVERY_SECONDS = 30.0


def work(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Fuzz in this process."""
    sys.path[:0] = [str(REPOSITORY / folder) for folder in ("tests/fuzz", "tests", "src")]
    from fuzzing import Tally, fuzz
    from targets import TARGETS

    start = time.monotonic()
    reported = [start]

    def goes_on(tally: Tally) -> bool:
        now = time.monotonic()
        if now - reported[0] > REPORT_EVERY_SECONDS:
            reported[0] = now
            print(f"{now - start:.0f} s: {_words(tally)}", flush=True)
        return now - start < seconds

    target = TARGETS[name]()
    tally = fuzz(target, folder, seed=seed, goes_on=goes_on)
    print(f"{name}, seed {seed}, {time.monotonic() - start:.0f} s: {_words(tally)}, nothing found", flush=True)


def _words(tally: object) -> str:
    return f"{tally.inputs} inputs, {tally.accepted} accepted, {len(tally.answers)} different answers"  # type: ignore[attr-defined]


def main(name: str, seconds: str, seed: str = "0") -> int:
    """Fuzz in a child process; returns its code."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    child = [sys.executable, __file__, "--work", name, seconds, seed, str(folder)]
    code = subprocess.run(child, check=False).returncode
    if code:
        print(f"found with code {code}: see the input in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--work":
        work(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        sys.exit(main(*sys.argv[1:]))
