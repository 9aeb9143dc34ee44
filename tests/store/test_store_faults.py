"""Kills and write faults at the level of the store: nothing finished is lost, nothing is computed twice.

VIDFEAT_KILLS says how often processes are killed at random moments (24 by default).
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from store_worker import files, run, videos_of

from vidfeat.store import load, verify
from vidfeat.store.files import RunFiles

KILLS = int(os.environ.get("VIDFEAT_KILLS", "24"))
HERE = Path(__file__).parent
WORKER = HERE / "store_worker.py"


@pytest.fixture(params=["feats.pkl", "feats"])
def name(request):
    return request.param


def command(out, count, place, log, **options):
    return [sys.executable, str(WORKER), str(out), str(count), str(place), str(log), json.dumps(options)]


def start(*args, preexec_fn=None, **options):
    return subprocess.Popen(
        command(*args, **options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=preexec_fn
    )


def wait(process):
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


# --- kills ---


def test_killed_at_any_moment_nothing_finished_is_lost_or_computed_again(tmp_path, name):
    chance = random.Random(name)
    place = tmp_path / "videos"
    run(tmp_path / "whole" / name, videos_of(40, place), fails=(7,))
    kills = finished = 0
    while kills < KILLS // 2:
        folder = tmp_path / f"run{finished}"
        log = tmp_path / f"log{finished}"
        while not RunFiles(folder / name).manifest.exists():
            process = start(folder / name, 40, place, log, pause=0.002, fails=[7])
            process.stdout.readline()
            time.sleep(chance.random() * 0.25)
            process.send_signal(signal.SIGKILL)
            wait(process)
            kills += process.returncode == -signal.SIGKILL
            assert_readable(folder / name, log)
        assert run(folder / name, videos_of(40, place)).failed == 1
        committed = [int(line) for line in log.read_text().split("\n") if line]
        # The log line follows the commit: a kill in between loses the line and not the video.
        assert len(set(committed)) == len(committed)
        assert files(folder) == files(tmp_path / "whole")
        finished += 1


def assert_readable(out, log):
    """What was logged is there, and all that is there is whole."""
    committed = {int(line) for line in log.read_text().split("\n") if line} if log.exists() else set()
    if committed:
        assert not [problem for problem in verify(out) if "the run is not finished" not in problem]
        with load(out) as stored:
            numbers = {int(key[:-4].split()[-1]) for key in [*stored, *stored.failures]}
        assert committed <= numbers


def test_two_ranks_killed_at_any_moment(tmp_path, name):
    chance = random.Random(name)
    place, out = tmp_path / "videos", tmp_path / "two" / name
    run(tmp_path / "whole" / name, videos_of(30, place))
    for _ in range(max(2, KILLS // 8)):
        ranks = [start(out, 30, place, tmp_path / f"log{rank}", rank=rank, world_size=2, pause=0.01) for rank in (0, 1)]
        for process in ranks:
            process.stdout.readline()
        time.sleep(chance.random() * 0.15)
        for process in ranks:
            process.send_signal(signal.SIGKILL)
            wait(process)
    ranks = [start(out, 30, place, tmp_path / f"log{rank}", rank=rank, world_size=2) for rank in (0, 1)]
    assert [wait(process) for process in ranks] == [(0, "")] * 2
    assert files(out.parent) == files(tmp_path / "whole")
    committed = [line for rank in (0, 1) for line in (tmp_path / f"log{rank}").read_text().split()]
    assert len(set(committed)) == len(committed)


def test_killed_before_any_change_to_a_folder_the_run_goes_on(tmp_path, name):
    place = tmp_path / "videos"
    run(tmp_path / "whole" / name, videos_of(3, place), fails=(1,))
    points = 0
    while True:
        folder = tmp_path / f"run{points}"
        process = start(folder / name, 3, place, tmp_path / "log", fails=[1], die_before=points)
        code, errors = wait(process)
        if code == 0:
            break
        assert code == 77, errors
        points += 1
        run(folder / name, videos_of(3, place), fails=(1,))
        assert files(folder) == files(tmp_path / "whole")
    assert points > 5


# --- a disk that takes no more ---


def test_a_limit_on_file_sizes_stops_the_run_with_a_clear_error_and_it_goes_on_without(tmp_path, name):
    place = tmp_path / "videos"
    run(tmp_path / "whole" / name, videos_of(30, place))
    out, log = tmp_path / "limited" / name, tmp_path / "log"
    seen = set()
    for limit in (100, 5000, 30_000, 60_000, 63_000, 66_000, 70_000, 80_000):
        process = start(
            out, 30, place, log, preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit,) * 2)
        )
        code, errors = wait(process)
        seen.add(code)
        if code:
            assert "WriteError" in errors
            assert "run the same command again: finished videos are kept" in errors
        assert not list(out.parent.rglob("*.tmp"))
    run(out, videos_of(30, place))
    assert 1 in seen
    assert files(out.parent) == files(tmp_path / "whole")
    committed = log.read_text().split()
    assert len(committed) == len(set(committed)) > 0


def test_a_full_disk(tmp_path, name):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "none", disk], capture_output=True).returncode:
        pytest.skip("may not mount a small file system")
    try:
        place, log = tmp_path / "videos", tmp_path / "log"
        run(tmp_path / "whole" / name, videos_of(200, place))
        for size in (120, 200, 280):
            subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True, capture_output=True)
            code, errors = wait(start(disk / name, 200, place, log))
            assert code == 1
            assert "WriteError" in errors
            assert "finished videos are kept" in errors
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True, capture_output=True)
        assert wait(start(disk / name, 200, place, log)) == (0, "")
        assert files(disk) == files(tmp_path / "whole")
        committed = log.read_text().split()
        assert len(committed) == len(set(committed)) == 200
    finally:
        subprocess.run(["umount", disk], check=True, capture_output=True)


# --- every single write ---


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """A library that lets writes fail, for LD_PRELOAD."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    library = tmp_path_factory.mktemp("shim") / "failing_writes.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "failing_writes.c", "-ldl"], check=True)
    return library


@pytest.mark.parametrize("how", ["once", "from then on", "kill"])
@pytest.mark.parametrize("scenario", ["new", "growth", "restart"])
def test_a_fault_at_every_nth_write(tmp_path, shim, name, scenario, how):
    step = 1 if os.environ.get("VIDFEAT_SLOW") else 3
    done = subprocess.run(
        [sys.executable, HERE / "fault_worker.py", tmp_path, name, scenario, how, str(step)],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    ends = {result for result in results if isinstance(result, str)}
    assert ends == ({"finished"} if how == "kill" else {"finished", "refused"})
    results = [result for result in results if isinstance(result, list)]
    assert len(results) > 40 / step
    expected = [2, 3] if scenario == "growth" else [0, 1, 2, 3]
    for status, before, after, same in results:
        assert status in ({-signal.SIGKILL, 5} if how == "kill" else {0, 5})
        assert same
        assert not set(before) & set(after)
        if scenario == "restart" and not before:
            # The earlier output stands until the first result is committed, but for a file that is being replaced.
            assert after in ([], [0], [1, 2, 3], [0, 1, 2, 3])
            continue
        # What is in neither is where a kill came between the commit and the line about it.
        assert before == expected[: len(before)]
        assert after == expected[len(expected) - len(after) :]
        assert len(expected) - len(before) - len(after) <= 1
    assert results[-1] == [5, expected, [], True]
