"""Several processes, on one output: they never talk, see each other's commits, and keep out of each other's way."""

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from store_worker import (
    SESSION,
    begin,
    commit,
    compute,
    features_of,
    files,
    number_of,
    run,
    values_of,
    videos_of,
)

from vidfeat.errors import OutputError, UsageError
from vidfeat.store import load, verify
from vidfeat.store.files import RunFiles

WORKER = Path(__file__).with_name("store_worker.py")


@pytest.fixture(params=["feats.pkl", "feats"])
def out(tmp_path, request):
    return tmp_path / "outputs" / request.param


def start(out, count, place, log, **options):
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(out), str(count), str(place), str(log), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait(process):
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def open_ranks(out, videos, order=(0, 1), **options):
    return {rank: begin(out, videos, rank=rank, world_size=len(order), **options) for rank in order}


def numbers(videos):
    return [number_of(video) for video in videos]


def test_ranks_in_processes_give_the_bytes_of_one(tmp_path, out):
    place = tmp_path / "videos"
    run(tmp_path / "one" / out.name, videos_of(23, place), fails=(5,))
    log = tmp_path / "log"
    ranks = [start(out, 23, place, log, rank=rank, world_size=3, pause=0.002, fails=[5]) for rank in range(3)]
    assert [wait(process) for process in ranks] == [(0, "")] * 3
    assert files(out.parent) == files(tmp_path / "one")
    assert sorted(map(int, log.read_text().split())) == list(range(23))


def test_another_number_of_ranks_may_finish_the_run(out):
    videos = videos_of(10)
    for rank in range(3):
        with begin(out, videos, rank=rank, world_size=3) as store:
            commit(store, store.pending()[0])
    with begin(out, videos) as store:
        assert numbers(store.pending()) == [3, 4, 5, 6, 7, 8, 9]
        compute(store)
        summary = store.finalize()
        assert (summary.computed, summary.kept) == (7, 3)
    assert verify(out) == []
    assert not RunFiles(out).folder.exists()


def test_a_rank_sees_what_others_commit(out):
    videos = videos_of(4)
    stores = open_ranks(out, videos)
    other = begin(out, videos, rank=2, world_size=3)  # of another launch: 2 is rank 0's as well
    assert numbers(stores[0].pending()) == [0, 2]
    compute(other)
    assert numbers(stores[0].pending()) == [0]
    for store in (other, *stores.values()):
        store.close()


def test_a_rank_that_never_comes_is_named(out):
    with begin(out, videos_of(6), world_size=3) as store:
        compute(store)
        with pytest.raises(OutputError, match=r"4 missing, of the share of rank\(s\) 1, 2: .*index 1"):
            store.finalize(timeout=0.2, poll=0.01)


def test_the_wait_is_as_long_as_somebody_commits(tmp_path, out):
    other = start(out, 12, tmp_path / "videos", tmp_path / "log", rank=1, world_size=2, pause=0.3)
    videos = videos_of(12, tmp_path / "videos")
    other.stdout.readline()
    with begin(out, videos, world_size=2) as store:
        compute(store)
        # Six pauses of 0.3 s: longer than the timeout, together.
        assert store.finalize(timeout=1.2, poll=0.01).videos == 12
    assert wait(other) == (0, "")


def test_of_two_commits_of_one_video_the_first_stands(out):
    videos = videos_of(3)
    first, second = begin(out, videos, rank=1, world_size=2), begin(out, videos)
    first.commit([features_of(videos[1], values_of(101))], SESSION)
    second.commit([features_of(video) for video in videos], SESSION)  # does not know of it
    first.commit([features_of(videos[2], values_of(102))], SESSION)  # nor this one
    summary = second.finalize()
    first.close()
    assert (summary.computed, summary.failed) == (3, 0)
    assert verify(out) == []
    expected = [values_of(0), values_of(101), values_of(2)]
    if out.is_dir():  # one file each: there the last stands, with its own row
        expected = [values_of(0), values_of(1), values_of(102)]
    with load(out) as stored:
        for features, values in zip(stored.values(), expected, strict=True):
            np.testing.assert_array_equal(features.values, values)
    assert not RunFiles(out).folder.exists()


def test_two_commits_of_one_video_in_an_interrupted_run(out):
    videos = videos_of(2)
    stores = open_ranks(out, videos)
    for rank, store in stores.items():
        store.commit([features_of(videos[0], values_of(100 + rank))], SESSION)
        commit(store, videos[1])
    for store in stores.values():
        store.close()
    with load(out) as stored:
        assert stored.state == "unfinished"
        assert [stored.problem(key) for key in stored] == ([None, None] if not out.is_dir() else [
            "does not match its SHA-256 in the manifest", None
        ])  # fmt: skip
    with begin(out, videos) as store:
        assert store.pending() == []
        assert store.finalize().kept == 2
    assert verify(out) == []
    with load(out) as stored:
        np.testing.assert_array_equal(stored[videos[0].key].values, values_of(101 if out.is_dir() else 100))


def test_two_ranks_try_failures_again(out):
    videos = videos_of(6)
    stores = open_ranks(out, videos)
    for store in stores.values():
        compute(store, fails=(2, 3))
    assert stores[1].finalize() is None
    assert stores[0].finalize(timeout=5).failed == 2
    stores = open_ranks(out, videos, retry_failed=True)
    assert [numbers(store.pending()) for store in stores.values()] == [[2], [3]]
    commit(stores[0], videos[2])
    with pytest.raises(OutputError, match=r"1 missing, of the share of rank\(s\) 1"):
        stores[0].finalize(timeout=0.05, poll=0.01)
    commit(stores[1], videos[3])
    assert stores[0].finalize(timeout=5).failed == 0
    stores[1].close()
    assert verify(out) == []
    assert not RunFiles(out).folder.exists()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("at_once", [False, True])
def test_restart_of_two_ranks_in_either_order(out, order, at_once):
    """Also where one has committed, or is even done, before the other one is there."""
    old = videos_of(7)
    for rank in (0, 1):
        with begin(out, old, rank=rank, world_size=2) as store:
            store.commit([features_of(video, values_of(99)) for video in store.pending()], SESSION)
    videos = videos_of(4)
    stores = {}
    for rank in order:
        stores[rank] = begin(out, videos, rank=rank, world_size=2, restart=True)
        if at_once:
            assert len(compute(stores[rank])) == 2
    for store in stores.values():
        assert len(compute(store)) == (0 if at_once else 2)
    assert stores[1].finalize() is None
    assert stores[0].finalize(timeout=5).computed + stores[0].finalize().kept == 4
    assert verify(out) == []
    with load(out) as stored:
        for video in videos:
            np.testing.assert_array_equal(stored[video.key].values, values_of(number_of(video)))


def test_an_interrupted_restart_of_two_ranks_does_not_go_back_to_old_rows(out):
    old = videos_of(4)
    for rank in (0, 1):
        with begin(out, old, rank=rank, world_size=2) as store:
            store.commit([features_of(video, values_of(99)) for video in store.pending()], SESSION)
    with begin(out, old, world_size=2, restart=True) as store:
        commit(store, old[0])
    with begin(out, old) as store:
        assert compute(store) == [1, 2, 3]
        store.finalize()
    with load(out) as stored:
        for video in old:
            np.testing.assert_array_equal(stored[video.key].values, values_of(number_of(video)))


def test_all_ranks_use_one_backend(out):
    stores = open_ranks(out, videos_of(4))
    assert stores[1].pin_backend(None) is None
    assert stores[1].pin_backend("compiled") == "compiled"
    assert stores[0].pin_backend("eager") == "compiled"
    assert stores[0].pin_backend(None) == "compiled"
    stores[1].close()  # a mistake of one leaves what the other uses
    assert stores[0].pin_backend("eager") == "compiled"
    stores[0].close()
    assert not RunFiles(out).folder.exists()


def test_a_second_process_with_the_same_rank_is_refused(tmp_path, out):
    first = start(out, 6, tmp_path / "videos", tmp_path / "log", pause=0.5)
    first.stdout.readline()
    code, errors = wait(start(out, 3, tmp_path / "videos", tmp_path / "log2"))
    assert code != 0
    assert "OutputError" in errors
    assert "another process that is writing it" in errors
    assert wait(first) == (0, "")
    assert verify(out) == []


def test_a_rank_that_commits_after_another_finished_the_output_is_told(out):
    videos = videos_of(2)
    late = begin(out, videos, rank=1, world_size=2)
    commit(late, videos[1])
    run(out, videos)
    with pytest.raises(OutputError, match="another process finished this output"):
        commit(late, videos[0])
    late.close()
    assert not RunFiles(out).folder.exists()
    assert verify(out) == []


def test_a_reader_does_not_disturb_a_process_that_writes(tmp_path):
    out = tmp_path / "feats.pkl"
    other = start(out, 60, tmp_path / "videos", tmp_path / "log", pause=0.03)
    other.stdout.readline()
    seen = [0]
    deadline = time.monotonic() + 60
    while seen[-1] < 60 and time.monotonic() < deadline:
        try:
            stored = load(out)
        except UsageError:  # there is nothing yet
            assert seen == [0]
            continue
        with stored:
            seen.append(len(stored))
            for key, features in stored.items():
                np.testing.assert_array_equal(features.values, values_of(int(key[:-4].split()[-1])))
            if stored.state == "unfinished":
                assert stored.notes
    assert wait(other) == (0, "")
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert pickle.loads(out.read_bytes())[59].shape == (64,)
