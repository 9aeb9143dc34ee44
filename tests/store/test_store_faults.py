"""Every single write of a run fails once, or from then on, or the process is killed before it.

VIDFEAT_SLOW=1 takes each write, and not every third.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """A library that lets writes fail, for LD_PRELOAD."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    library = tmp_path_factory.mktemp("shim") / "failing_writes.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "failing_writes.c", "-ldl"], check=True)
    return library


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
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
