"""A decode process that a video has taken over may say what it likes: that fails the video, and nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

import lying_worker
import pytest
from test_engine_faults import LONG, SPEC, collect, is_alive, pool_of, within

from vidfeat.engine.decode_pool import PoolOptions
from vidfeat.engine.events import Event
from vidfeat.errors import VideoError, VidfeatError
from vidfeat.preprocessing.clips import ClipBatch


def read(names: Sequence[str], processes: int = 1) -> list[list[ClipBatch] | VideoError]:
    inbox: SimpleQueue[Event] = SimpleQueue()
    options = PoolOptions(processes, LONG, budget_bytes=lying_worker.SIZE, command=lying_worker.command())
    with pool_of(SPEC, [Path(f"{name}.mp4") for name in names], inbox.put, options):
        results = collect(inbox, len(names))
    return [results[index] for index in range(len(names))]


def test_every_lie_fails_its_video_and_none_the_next() -> None:
    names = [name for lie in lying_worker.LIES for name in (lie, "honest")]
    found = dict(zip(names, read(names, processes=2), strict=True))
    honest = found.pop("honest")
    assert isinstance(honest, list)
    assert [batch.pixels.shape for batch in honest] == [tuple(lying_worker.SHAPE)]
    for name, error in found.items():
        assert isinstance(error, VideoError), name
        assert (error.where, error.stage, error.kind) == (f"{name}.mp4", "decode", "crashed")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no memory is shared")
def test_pixels_that_are_taken_away_while_they_are_looked_at() -> None:
    """Touching them would end this process with a SIGBUS."""
    (batches,) = read(["shrinking"])
    assert isinstance(batches, list)
    assert [int(some.pixels.sum()) for some in batches] == [0]


def test_a_signal_that_has_no_name() -> None:
    first, error, last = read(["honest", "real_time", "honest"])
    assert isinstance(error, VideoError)
    assert "ended by signal 40" in error.found
    assert isinstance(first, list)
    assert isinstance(last, list)


def test_leaving_does_not_wait_for_who_else_holds_the_socket(tmp_path: Path) -> None:
    """As after a process that not even SIGKILL ends."""
    pid = tmp_path / "pid"
    script = f"exec 3<&0; sleep 600 & echo $! > {pid}; exec " + '"$@"'
    options = PoolOptions(1, LONG, command=("sh", "-c", script, "sh", *lying_worker.command()))
    inbox: SimpleQueue[Event] = SimpleQueue()
    try:
        with pool_of(SPEC, [Path("honest.mp4"), Path("sleep.mp4")], inbox.put, options):
            collect(inbox, 1)
            time.sleep(0.2)
            start = time.monotonic()
        assert time.monotonic() - start < LONG / 2
    finally:
        os.kill(int(pid.read_text()), 9)
    assert within(5, lambda: not is_alive(int(pid.read_text())))


def test_a_process_that_is_refused_for_a_moment(tmp_path: Path) -> None:
    """As by a limit on processes that others use up."""
    program = tmp_path / "program"
    inbox: SimpleQueue[Event] = SimpleQueue()
    options = PoolOptions(1, LONG, command=(str(program), *lying_worker.command()[1:]))
    with pool_of(SPEC, [Path("honest.mp4")], inbox.put, options):
        program.symlink_to(sys.executable)
        assert isinstance(collect(inbox, 1)[0], list)


def test_a_process_that_is_always_refused_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfeat.engine.decode_pool._START_ATTEMPTS", 1)
    inbox: SimpleQueue[Event] = SimpleQueue()
    pool = pool_of(SPEC, [Path("honest.mp4")], inbox.put, PoolOptions(1, command=("/no/such/interpreter",)))
    with pytest.raises(VidfeatError, match="1 that did not; the last one was refused: No such file"), pool:
        collect(inbox, 1)
