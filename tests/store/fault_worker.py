"""Runs under `failing_writes.c`: a run for each write that fails, or at which the process is killed, and one after it.

Prints a line for each: how the first ended, what it committed, and what the second one still had to compute.
"""

import ctypes
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

from store_worker import begin, commit, files, number_of, run, videos_of

from vidfeat.errors import WriteError

HOW = {"once": 0, "from then on": 1, "kill": 2}


COUNT = 4


def work(out: Path, scenario: str, place: Path, log: Path | None = None) -> list[int]:
    """A run; returns what it had to compute."""
    fails = {2} if scenario == "new" else set()
    with begin(out, videos_of(COUNT, place), restart=scenario == "restart" and log is not None) as store:
        pending = store.pending()
        for video in pending:
            commit(store, video, fails=number_of(video) in fails)
            if log is not None:
                with log.open("a") as file:
                    file.write(f"{number_of(video)}\n")
        store.finalize()
    return [number_of(video) for video in pending]


def end_of_work(out: Path, scenario: str, place: Path, log: Path) -> str:
    try:
        work(out, scenario, place, log)
    except WriteError as error:
        return "refused" if error.hint else str(error)
    return "finished"


def main(folder: str, name: str, scenario: str, how: str, step: str) -> None:
    warnings.simplefilter("error")
    shim = ctypes.CDLL(None)
    root, place = Path(folder), Path(folder) / "videos"
    earlier = root / "earlier"
    earlier.mkdir()
    if scenario != "new":
        run(earlier / name, videos_of(2 if scenario == "growth" else COUNT, place))
    shutil.copytree(earlier, root / "whole")
    work(root / "whole" / name, scenario, place)
    whole = files(root / "whole")
    status, point = 0, 0
    while status != 5:  # the fault was not reached
        out, log = shutil.copytree(earlier, root / str(point)) / name, root / f"log{point}"
        log.touch()
        process = os.fork()
        if not process:
            shim.arm(os.fsencode(out.parent), ctypes.c_long(point), HOW[how])
            end = end_of_work(out, scenario, place, log)
            print(json.dumps(end), flush=True)
            reached = shim.writes_left() < 0 or (how == "from then on" and shim.writes_left() == 0)
            os._exit(0 if reached else 5)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        before = [int(line) for line in log.read_text().split()]
        after = work(out, scenario, place)
        print(json.dumps([status, before, after, files(out.parent) == whole]), flush=True)
        point += int(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
