import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from store_worker import HEADER, commit, entries_of, error_of, features_of, identity_of

from vidfeat.errors import OutputError, UsageError, VideoError
from vidfeat.store import Entry, Failure, RunStore, Success, nothing_pending, verify
from vidfeat.store.journal import journal_folder, journal_path
from vidfeat.store.manifest import manifest_path
from vidfeat.store.streams import as_json, as_yaml, pickled

KILLS = int(os.environ.get("VIDFEAT_KILLS", "25"))
WORKER = Path(__file__).with_name("store_worker.py")


def run(out, entries, *, fails=(), **options):
    with RunStore.open(out, identity_of(entries), entries, **options) as store:
        for entry in store.pending():
            commit(store, entry, fails=entry.index in fails)
        return store.finish(HEADER, timeout=5.0, poll=0.01)


def start(out, count, log, **options):
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(out), str(count), str(log), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait(process):
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["feats.pkl", "feats.json", "feats.yaml", "feats"])
def test_a_run_leaves_the_output_its_manifest_and_nothing_else(tmp_path, name):
    entries = entries_of(5)
    summary = run(tmp_path / "new folder" / name, entries)
    out = tmp_path / "new folder" / name
    assert (summary.videos, summary.done, summary.failed) == (5, 5, 0)
    assert summary.out == out
    assert {p.name for p in out.parent.iterdir()} == {name, f"{name}.manifest.jsonl"}
    assert verify(out) == []


def test_the_pickle_holds_the_features_in_list_order_with_none_for_failures(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(4)
    with RunStore.open(out, identity_of(entries), entries) as store:
        for entry in reversed(store.pending()):
            commit(store, entry, fails=entry.index == 2)
        store.finish(HEADER)
    rows = pickle.loads(out.read_bytes())
    assert rows[2] is None
    for index in (0, 1, 3):
        assert rows[index].dtype == np.float32
        np.testing.assert_array_equal(rows[index], features_of(index))


def test_the_folder_keeps_relative_paths(tmp_path):
    out = tmp_path / "feats"
    run(out, entries_of(3), fails=(1,))
    assert set(files(out)) == {"folder 0/clip 0.npy", "folder 2/clip 2.npy"}
    np.testing.assert_array_equal(np.load(out / "folder 2/clip 2.npy"), features_of(2))


def test_one_row_per_window_is_kept_as_such(tmp_path):
    out = tmp_path / "feats.json"
    entries = entries_of(1)
    windows = np.arange(6, dtype=np.float32).reshape(2, 3)
    with RunStore.open(out, identity_of(entries), entries) as store:
        store.commit(Success(entries[0], windows, frames=1, fps=None, seconds=None))
        store.finish(HEADER)
    assert json.loads(out.read_text()) == [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]
    assert verify(out) == []


def test_a_finished_run_is_finished(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(3)
    first = run(out, entries)
    before = files(tmp_path)
    with RunStore.open(out, identity_of(entries), entries) as store:
        assert store.finished
        assert store.pending() == []
        assert store.finish(HEADER) == first
        with pytest.raises(OutputError, match="finished or closed"):
            commit(store, entries[0])
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_an_interrupted_run_goes_on(tmp_path, name):
    entries = entries_of(6)
    with RunStore.open(tmp_path / "parts" / name, identity_of(entries), entries) as store:
        for entry in entries[:4]:
            commit(store, entry)
    with RunStore.open(tmp_path / "parts" / name, identity_of(entries), entries) as store:
        assert [entry.index for entry in store.pending()] == [4, 5]
        for entry in store.pending():
            commit(store, entry)
        assert store.pending() == []
        store.finish(HEADER)
    run(tmp_path / "whole" / name, entries)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_finishing_too_early_names_what_is_missing(tmp_path):
    entries = entries_of(9)
    with RunStore.open(tmp_path / "feats.pkl", identity_of(entries), entries) as store:
        commit(store, entries[0])
        with pytest.raises(OutputError, match=r"8 missing.*'folder 1/clip 1.mp4' \(index 1\).* and 3 more"):
            store.finish(HEADER)


def test_a_file_gone_from_the_folder_is_computed_again(tmp_path):
    out = tmp_path / "feats"
    entries = entries_of(3)
    with RunStore.open(out, identity_of(entries), entries) as store:
        for entry in entries:
            commit(store, entry)
        (out / "folder 1/clip 1.npy").unlink()
        with pytest.raises(OutputError, match=r"no file for 'folder 1/clip 1.mp4'"):
            store.finish(HEADER)
    with RunStore.open(out, identity_of(entries), entries) as store:
        assert [entry.index for entry in store.pending()] == [1]
        commit(store, entries[1])
        assert store.finish(HEADER).failed == 0


# --- whose output it is ---


def test_an_output_of_another_run_is_refused_and_says_what_differs(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(2)
    run(out, entries)
    before = files(tmp_path)
    with pytest.raises(OutputError, match=r"precision is 'fp32' there and 'bf16' now.*--restart"):
        RunStore.open(out, identity_of(entries, "bf16"), entries)
    assert files(tmp_path) == before


def test_a_journal_of_another_run_is_refused(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(2)
    with RunStore.open(out, identity_of(entries), entries) as store:
        commit(store, entries[0])
    longer = entries_of(3)
    with pytest.raises(OutputError, match="list of videos is"):
        RunStore.open(out, identity_of(longer), longer)
    with pytest.raises(OutputError, match="list of videos is"):
        RunStore.open(out, identity_of(longer), longer, rank=1, world_size=2)


def test_restart_replaces_an_output_of_another_run(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(2)
    run(out, entries, fails=(1,))
    more = entries_of(4)
    with RunStore.open(out, identity_of(more), more, restart=True) as store:
        assert len(store.pending()) == 4
        commit(store, more[0])
    assert run(out, more).failed == 0  # goes on without another --restart
    assert verify(out) == []


def test_restart_with_another_list_leaves_no_features_of_the_first_behind(tmp_path):
    out = tmp_path / "feats"
    run(out, entries_of(3))
    (out / "mine.npy").write_bytes(b"not vidfeat's")
    other = [Entry(0, "folder 1/clip 1.avi", Path("x.avi")), Entry(1, "new.mp4", Path("new.mp4"))]
    run(out, other, restart=True)
    left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.npy"))
    assert left == ["folder 1/clip 1.npy", "mine.npy", "new.npy"]
    assert verify(out) == ["'mine.npy' is in the output and belongs to no video of the list"]


def test_restart_removes_nothing_outside_of_the_output(tmp_path):
    out = tmp_path / "feats"
    run(out, entries_of(3))
    (tmp_path / "clip 0.npy").write_bytes(b"precious")
    manifest = manifest_path(out)
    manifest.write_text(manifest.read_text().replace("folder 0/clip 0.mp4", "../clip 0.mp4"))
    run(out, entries_of(1), restart=True)
    assert (tmp_path / "clip 0.npy").read_bytes() == b"precious"


def test_restart_of_two_ranks_in_either_order(tmp_path):
    entries = entries_of(4)
    for order in ((0, 1), (1, 0)):
        out = tmp_path / f"feats{order[0]}.pkl"
        old = entries_of(7)
        for rank in (0, 1):
            with RunStore.open(out, identity_of(old), old, rank=rank, world_size=2) as store:
                commit(store, store.pending()[0])
        options = {"world_size": 2, "restart": True}
        stores = {rank: RunStore.open(out, identity_of(entries), entries, rank=rank, **options) for rank in order}
        for store in stores.values():
            for entry in store.pending():
                commit(store, entry)
        assert stores[1].finish(HEADER) is None
        assert stores[0].finish(HEADER, timeout=5).videos == 4
        assert verify(out) == []


def test_a_file_that_is_not_ours_is_never_replaced_unasked(tmp_path):
    out = tmp_path / "feats.pkl"
    out.write_text("years of work")
    entries = entries_of(2)
    with pytest.raises(OutputError, match="a file that vidfeat did not write"):
        RunStore.open(out, identity_of(entries), entries)
    assert files(tmp_path) == {"feats.pkl": b"years of work"}
    run(out, entries, restart=True)
    assert verify(out) == []


def test_a_folder_that_is_not_ours_keeps_its_files(tmp_path):
    out = tmp_path / "feats"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    run(out, entries_of(2))
    assert (out / "notes.txt").read_text() == "mine"


def test_a_video_that_fails_has_no_file_of_an_earlier_run(tmp_path):
    out = tmp_path / "feats"
    run(out, entries_of(3))
    run(out, entries_of(3), fails=(1,), restart=True)
    assert set(files(out)) == {"folder 0/clip 0.npy", "folder 2/clip 2.npy"}
    assert verify(out) == []


def test_a_rank_beyond_the_last_is_refused(tmp_path):
    entries = entries_of(3)
    with pytest.raises(UsageError, match="a rank from 0 to 1; found 2"):
        RunStore.open(tmp_path / "feats", identity_of(entries), entries, rank=2, world_size=2)


def test_a_deleted_output_is_computed_again(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(2)
    run(out, entries)
    whole = out.read_bytes()
    out.unlink()
    with RunStore.open(out, identity_of(entries), entries) as store:
        assert not store.finished
    run(out, entries)
    assert out.read_bytes() == whole


def test_a_manifest_that_is_none_is_refused(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(2)
    run(out, entries)
    manifest_path(out).write_text("{}\n")
    with pytest.raises(OutputError, match="expected a vidfeat manifest"):
        RunStore.open(out, identity_of(entries), entries)
    run(out, entries, restart=True)
    assert verify(out) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    entries = entries_of(1)
    for name in ("feats.pkl", "feats", "new/feats.pkl"):
        with pytest.raises(OutputError, match="Permission denied"):
            RunStore.open(locked / name, identity_of(entries), entries)


def test_a_file_in_place_of_the_folder_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    entries = entries_of(1)
    with pytest.raises(OutputError, match="expected a folder to write to"):
        RunStore.open(tmp_path / "file" / "feats.pkl", identity_of(entries), entries)
    with pytest.raises(UsageError, match="found a file"):
        RunStore.open(tmp_path / "file", identity_of(entries), entries)


# --- what is committed ---


@pytest.mark.parametrize(
    "array",
    [np.zeros(3), np.zeros(3, np.float16), np.float32(1).reshape(()), np.zeros(0, np.float32)],
    ids=["float64", "float16", "scalar", "empty"],
)
def test_only_float32_rows_are_features(tmp_path, array):
    entries = entries_of(1)
    with (
        RunStore.open(tmp_path / "feats.pkl", identity_of(entries), entries) as store,
        pytest.raises(OutputError, match="expected float32 features of shape"),
    ):
        store.commit(Success(entries[0], array, frames=1, fps=None, seconds=None))


def test_features_that_are_not_finite_are_the_videos_failure(tmp_path):
    entries = entries_of(1)
    out = tmp_path / "feats.pkl"
    with RunStore.open(out, identity_of(entries), entries) as store:
        bad = np.array([1, np.nan, np.inf], np.float32)
        with pytest.raises(VideoError, match="2 of 3 values") as caught:
            store.commit(Success(entries[0], bad, frames=1, fps=None, seconds=None))
        store.commit(Failure(entries[0], caught.value))
        assert store.finish(HEADER).failed == 1
    assert pickle.loads(out.read_bytes()) == [None]


def test_a_stranger_is_no_entry_of_the_run(tmp_path):
    entries = entries_of(1)
    with RunStore.open(tmp_path / "feats.pkl", identity_of(entries), entries) as store:
        for stranger in (
            Entry(0, "other.mp4", Path()),
            Entry(1, entries[0].name, Path()),
            Entry(-1, entries[0].name, Path()),
        ):
            with pytest.raises(OutputError, match="expected an entry of this run"):
                store.commit(Failure(stranger, error_of(stranger)))


def test_an_unbounded_message_is_cut(tmp_path):
    entries = entries_of(1)
    out = tmp_path / "feats.pkl"
    with RunStore.open(out, identity_of(entries), entries) as store:
        error = VideoError("x", stage="open", kind="corrupt", expected="a", found="\udcff" * 10**6)
        store.commit(Failure(entries[0], error))
        store.finish(HEADER)
    assert manifest_path(out).stat().st_size < 20_000


# --- failures, tried again ---


@pytest.mark.parametrize("name", ["feats.json", "feats"])
def test_failures_are_tried_again_only_when_asked(tmp_path, name):
    out = tmp_path / name
    entries = entries_of(5)
    assert run(out, entries, fails=(1, 3)).failed == 2
    with RunStore.open(out, identity_of(entries), entries) as store:
        assert store.finished
        assert store.finish(HEADER).failed == 2
    with RunStore.open(out, identity_of(entries), entries, retry_failed=True) as store:
        assert [entry.index for entry in store.pending()] == [1, 3]
        commit(store, entries[1], fails=True)
        commit(store, entries[3])
        assert store.finish(HEADER).failed == 1
    assert verify(out) == []
    assert run(out, entries, retry_failed=True).failed == 0
    assert not journal_folder(out).exists()
    assert verify(out) == []


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_whether_anything_is_pending_can_be_known_before_the_identity_is(tmp_path, name):
    """At every stage of a run, `nothing_pending` says what `RunStore.open` finds."""
    entries = entries_of(3)

    def asked(folder):
        for number, options in enumerate(({}, {"retry_failed": True}, {"restart": True})):
            out = shutil.copytree(folder, folder.with_name(f"{folder.name}-{number}")) / name
            told = nothing_pending(out, **options)
            with RunStore.open(out, identity_of(entries), entries, **options) as store:
                assert store.finished == told
            yield told

    folders = [tmp_path / stage for stage in ("new", "some failed", "done", "gone")]
    for folder in folders:
        folder.mkdir()
    run(folders[1] / name, entries, fails=(1,))
    run(folders[2] / name, entries)
    shutil.copy(manifest_path(folders[2] / name), folders[3])
    assert [list(asked(folder)) for folder in folders] == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
        [False, False, False],
    ]


def test_a_retry_that_is_interrupted_leaves_the_finished_output(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(4)
    run(out, entries, fails=(1, 2))
    before = out.read_bytes()
    with RunStore.open(out, identity_of(entries), entries, retry_failed=True) as store:
        commit(store, entries[1])
    assert out.read_bytes() == before
    assert verify(out) == []
    with RunStore.open(out, identity_of(entries), entries, retry_failed=True) as store:
        assert [entry.index for entry in store.pending()] == [2]


def test_failures_of_an_interrupted_run_can_be_tried_again(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(3)
    with RunStore.open(out, identity_of(entries), entries) as store:
        commit(store, entries[0], fails=True)
    with RunStore.open(out, identity_of(entries), entries) as store:
        assert [entry.index for entry in store.pending()] == [1, 2]
    assert run(out, entries, retry_failed=True).failed == 0


def test_two_ranks_try_failures_again(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(6)
    stores = [RunStore.open(out, identity_of(entries), entries, rank=r, world_size=2) for r in (0, 1)]
    for store in stores:
        for entry in store.pending():
            commit(store, entry, fails=entry.index in (2, 3))
    stores[1].finish(HEADER)
    assert stores[0].finish(HEADER).failed == 2
    again = {"world_size": 2, "retry_failed": True}
    stores = [RunStore.open(out, identity_of(entries), entries, rank=r, **again) for r in (0, 1)]
    assert [[entry.index for entry in store.pending()] for store in stores] == [[2], [3]]
    commit(stores[0], entries[2])
    with pytest.raises(OutputError, match=r"1 missing, of the share of rank\(s\) 1"):
        stores[0].finish(HEADER, timeout=0.05, poll=0.01)
    commit(stores[1], entries[3])
    assert stores[0].finish(HEADER, timeout=5).failed == 0
    stores[1].close()
    assert verify(out) == []


# --- several ranks ---


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_ranks_in_processes_give_the_bytes_of_one(tmp_path, name):
    run(tmp_path / "one" / name, entries_of(23), fails=(5,))
    log = tmp_path / "log"
    ranks = [
        start(tmp_path / "three" / name, 23, log, rank=rank, world_size=3, pause=0.002, fails=[5]) for rank in range(3)
    ]
    assert [wait(process) for process in ranks] == [(0, "")] * 3
    shutil.rmtree(journal_folder(tmp_path / "one" / name))
    shutil.rmtree(journal_folder(tmp_path / "three" / name))
    assert files(tmp_path / "three") == files(tmp_path / "one")
    assert sorted(map(int, log.read_text().split())) == list(range(23))


def test_another_number_of_ranks_may_finish_the_run(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(10)
    for rank in range(3):
        with RunStore.open(out, identity_of(entries), entries, rank=rank, world_size=3) as store:
            commit(store, store.pending()[0])
    with RunStore.open(out, identity_of(entries), entries) as store:
        assert [entry.index for entry in store.pending()] == [3, 4, 5, 6, 7, 8, 9]
    run(out, entries)
    assert verify(out) == []
    assert not journal_folder(out).exists()


def test_a_rank_that_never_comes_is_named(tmp_path):
    entries = entries_of(6)
    with RunStore.open(tmp_path / "feats.pkl", identity_of(entries), entries, world_size=3) as store:
        for entry in store.pending():
            commit(store, entry)
        begin = time.monotonic()
        with pytest.raises(OutputError, match=r"4 missing, of the share of rank\(s\) 1, 2: .*index 1"):
            store.finish(HEADER, timeout=0.2, poll=0.01)
        assert 0.2 <= time.monotonic() - begin < 5


def test_the_wait_is_as_long_as_somebody_commits(tmp_path):
    out = tmp_path / "feats.pkl"
    other = start(out, 12, tmp_path / "log", rank=1, world_size=2, pause=0.2)
    entries = entries_of(12)
    other.stdout.readline()
    with RunStore.open(out, identity_of(entries), entries, world_size=2) as store:
        for entry in store.pending():
            commit(store, entry)
        begin = time.monotonic()
        assert store.finish(HEADER, timeout=0.8, poll=0.01).videos == 12
        assert time.monotonic() - begin > 0.8
    assert wait(other) == (0, "")


def test_the_same_video_from_two_ranks_must_be_equal(tmp_path):
    for differ in (False, True):
        out = tmp_path / f"feats{differ}.pkl"
        entries = entries_of(2)
        stores = [RunStore.open(out, identity_of(entries), entries, rank=r, world_size=2) for r in (0, 1)]
        for store in stores:
            for entry in entries:
                commit(store, entry)
        if differ:
            stores[1].commit(Success(entries[0], features_of(99), frames=1, fps=None, seconds=None))
            with pytest.raises(OutputError, match="other features for the same video"):
                stores[0].finish(HEADER)
        else:
            stores[0].finish(HEADER)
            assert verify(out) == []
        for store in stores:
            store.close()


def test_a_second_process_on_one_output_is_told(tmp_path):
    out = tmp_path / "feats.pkl"
    first = start(out, 3, tmp_path / "log", pause=0.3)
    first.stdout.readline()
    code, errors = wait(start(out, 3, tmp_path / "log2"))
    assert code != 0
    assert "another process that is writing it" in errors
    assert wait(first) == (0, "")
    assert verify(out) == []


# --- kills and faults ---


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_killed_at_any_moment_nothing_finished_is_lost_or_computed_again(tmp_path, name):
    chance = random.Random(name)
    whole = tmp_path / "whole" / name
    run(whole, entries_of(40), fails=(7,))
    kills = finished = 0
    while kills < KILLS // 2 + 1:
        folder = tmp_path / f"run{finished}"
        log = tmp_path / f"log{finished}"
        while not manifest_path(folder / name).exists():
            process = start(folder / name, 40, log, pause=0.002, fails=[7])
            process.stdout.readline()
            time.sleep(chance.random() * 0.12)
            process.send_signal(signal.SIGKILL)
            wait(process)
            kills += process.returncode == -signal.SIGKILL
        assert run(folder / name, entries_of(40)).failed == 1
        committed = [int(line) for line in log.read_text().split("\n") if line]
        # The log line follows the commit: a kill in between loses the line and not the video.
        assert len(set(committed) - {7}) == len([i for i in committed if i != 7])
        shutil.rmtree(journal_folder(folder / name), ignore_errors=True)
        expected = {k: v for k, v in files(whole.parent).items() if ".journal/" not in k}
        assert files(folder) == expected
        finished += 1


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_killed_before_any_change_to_a_folder_the_run_goes_on(tmp_path, name):
    run(tmp_path / "whole" / name, entries_of(3), fails=(1,))
    points = 0
    while True:
        folder = tmp_path / f"run{points}"
        process = start(folder / name, 3, tmp_path / "log", fails=[1], die_before=points)
        code, errors = wait(process)
        if code == 0:
            break
        assert code == 77, errors
        points += 1
        run(folder / name, entries_of(3), fails=(1,))
        for place in (folder / name, tmp_path / "whole" / name):
            shutil.rmtree(journal_folder(place), ignore_errors=True)
        assert files(folder) == files(tmp_path / "whole")
    assert points > 5


@pytest.mark.skipif(os.name == "nt", reason="no file size limits")
@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_a_limit_on_file_sizes_stops_the_run_with_a_clear_error_and_it_goes_on_without(tmp_path, name):
    entries = entries_of(30)
    run(tmp_path / "whole" / name, entries)
    largest = max(len(data) for data in files(tmp_path / "whole").values())
    out = tmp_path / "limited" / name
    script = (
        "import resource, sys; sys.argv = sys.argv[1:]; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2); "
        f"sys.path.insert(0, {str(WORKER.parent)!r}); from store_worker import main; main(*sys.argv[1:])"
    )
    seen = set()
    for limit in range(200, largest + 6000, max(2000, largest // 4)):
        process = subprocess.run(
            [sys.executable, "-c", script, "x", str(limit), str(out), "30", str(tmp_path / "log"), "{}"],
            capture_output=True,
            text=True,
            check=False,
        )
        seen.add(process.returncode)
        if process.returncode:
            assert "WriteError" in process.stderr
            assert "File too large" in process.stderr or "bytes were taken" in process.stderr
        assert not list(out.parent.rglob("*.tmp"))
    run(out, entries)
    assert 1 in seen
    assert files(out.parent) == files(tmp_path / "whole")
    committed = (tmp_path / "log").read_text().split()
    assert len(committed) == len(set(committed))


# --- memory and bytes ---


@pytest.mark.parametrize("encode", [pickled, as_json, as_yaml])
def test_writing_holds_one_batch_in_memory(encode):
    rows = (np.full(64, index, np.float32) for index in range(4000))
    tracemalloc.start()
    size = sum(map(len, encode(rows)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 1_000_000
    assert peak < 100_000


def test_a_merge_of_many_rows_needs_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)  # the disk's patience is not what is measured
    out = tmp_path / "feats.pkl"
    entries = entries_of(20_000)
    features = np.ones(64, np.float32)
    with RunStore.open(out, identity_of(entries), entries) as store:
        for entry in entries:
            store.commit(Success(entry, features, frames=1, fps=25.0, seconds=1.0))
        tracemalloc.start()
        store.finish(HEADER)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert out.stat().st_size > 5_000_000
    assert peak < 2_500_000


def test_the_manifest_to_the_byte(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = [Entry(0, 'é "1".mp4', Path("a")), Entry(1, "b\udcff.mp4", Path("b"))]
    with RunStore.open(out, identity_of(entries), entries) as store:
        store.commit(Success(entries[0], np.array([1, 2], np.float32), frames=250, fps=29.97, seconds=float("inf")))
        store.commit(Failure(entries[1], error_of(entries[1])))
        store.finish(HEADER)
    identity = identity_of(entries)
    lines = [
        f'{{"vidfeat_manifest": 1, "recipe": {{"schema": 1}}, "recipe_digest": "{identity.recipe_digest}", '
        f'"checkpoint": {{"source": "model.pth", "sha256": "{identity.checkpoint_sha256}"}}, "precision": "fp32", '
        '"decoder": "pyav", "device": "cpu", "numerics": {}, "versions": {"vidfeat": "0", "python": "3"}, '
        f'"list_digest": "{identity.list_digest}", "videos": 2, "failed": 1, "output": "feats.pkl", "format": "pkl"}}',
        '{"index": 0, "name": "\\u00e9 \\"1\\".mp4", "status": "done", "shape": [2], "dtype": "float32", '
        '"frames": 250, "frames_declared": null, "salvaged": false, "fps": 29.97, "seconds": null, '
        '"sha256": "b9c80b5adeca450753a16950c3cc655d271f7bef7a485bc83f112b72fef21d37", "error": null}',
        '{"index": 1, "name": "b\\udcff.mp4", "status": "failed", "shape": null, "dtype": null, "frames": null, '
        '"frames_declared": null, "salvaged": null, "fps": null, "seconds": null, "sha256": null, "error": '
        '{"stage": "decode", "kind": "corrupt", "message": '
        '"b: expected frames; found none."}}',
        "",
    ]
    assert manifest_path(out).read_bytes().decode("ascii").split("\n") == lines


def test_a_journal_left_after_the_manifest_is_removed(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(2)
    run(out, entries)
    journal_path(out, 0).parent.mkdir()
    journal_path(out, 0).write_bytes(b"left by a kill")
    RunStore.open(out, identity_of(entries), entries).close()
    assert not journal_folder(out).exists()
