"""One run of one process: what it leaves, what it refuses, what it keeps."""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from store_worker import (
    SESSION,
    begin,
    commit,
    compute,
    failure_of,
    features_of,
    files,
    identity_of,
    number_of,
    run,
    values_of,
    videos_of,
)

from vidfeat.errors import OutputError, UsageError, VideoError
from vidfeat.features import VideoFailure, VideoFeatures
from vidfeat.store import verify
from vidfeat.store.files import RunFiles
from vidfeat.videos import VideoRef

NAMES = ["feats.pkl", "feats.json", "feats.yaml", "feats.npz", "feats"]


def numbers(videos):
    return [number_of(video) for video in videos]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_leaves_the_output_its_manifest_and_nothing_else(tmp_path, name):
    summary = run(tmp_path / "new folder" / name, videos_of(5))
    out = tmp_path / "new folder" / name
    assert (summary.videos, summary.computed, summary.kept, summary.failed, summary.done) == (5, 5, 0, 0, 5)
    assert summary.out == out
    assert {p.name for p in out.parent.iterdir()} == {name, f"{name}.manifest.jsonl"}
    assert summary.manifest == out.with_name(f"{name}.manifest.jsonl")
    assert verify(out) == []


def test_the_pickle_holds_the_features_in_list_order_with_none_for_failures(tmp_path):
    out = tmp_path / "feats.pkl"
    with begin(out, videos_of(4)) as store:
        for video in reversed(store.pending()):
            commit(store, video, fails=number_of(video) == 2)
        store.finalize()
    rows = pickle.loads(out.read_bytes())
    assert rows[2] is None
    for index in (0, 1, 3):
        assert rows[index].dtype == np.float32
        np.testing.assert_array_equal(rows[index], values_of(index))


def test_the_folder_keeps_relative_paths(tmp_path):
    out = tmp_path / "feats"
    run(out, videos_of(3), fails=(1,))
    assert set(files(out)) == {"folder 0/clip 0.npy", "folder 2/clip 2.npy"}
    np.testing.assert_array_equal(np.load(out / "folder 2/clip 2.npy"), values_of(2))


def test_one_row_per_window_is_kept_as_such_with_its_times(tmp_path):
    out = tmp_path / "feats.json"
    (video,) = videos_of(1)
    windows = np.arange(6, dtype=np.float32).reshape(2, 3)
    with begin(out, [video]) as store:
        store.commit([VideoFeatures(video.key, "test", windows, np.array([0.0, 0.1]), np.array([1 / 3, 0.7]))], SESSION)
        store.finalize()
    assert json.loads(out.read_text()) == [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]
    line = json.loads(RunFiles(out).manifest.read_text().splitlines()[1])
    assert line["start_seconds"] == [0.0, 0.1]
    assert line["end_seconds"] == [1 / 3, 0.7]
    assert verify(out) == []


def test_a_finished_run_is_finished(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(3)
    first = run(out, videos)
    before = files(tmp_path)
    with begin(out, videos) as store:
        assert store.finished
        assert store.notes == ()
        assert store.pending() == []
        again = store.finalize()
        assert (again.computed, again.kept, again.failed, again.out) == (0, 3, 0, first.out)
        with pytest.raises(OutputError, match="finished or closed"):
            commit(store, videos[0])
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_an_interrupted_run_goes_on(tmp_path, name):
    videos = videos_of(6)
    with begin(tmp_path / "parts" / name, videos) as store:
        for video in videos[:4]:
            commit(store, video)
    with begin(tmp_path / "parts" / name, videos) as store:
        assert numbers(store.pending()) == [4, 5]
        compute(store)
        assert store.pending() == []
        summary = store.finalize()
        assert (summary.computed, summary.kept) == (2, 4)
    run(tmp_path / "whole" / name, videos)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_many_outcomes_are_one_commit(tmp_path, monkeypatch):
    synced = []
    videos = videos_of(60)
    with begin(tmp_path / "feats.pkl", videos) as store:
        commit(store, videos[0])
        database = RunFiles(tmp_path / "feats.pkl").database(0)
        before = int.from_bytes(database.read_bytes()[24:28], "big")  # SQLite's counter of transactions
        store.commit([features_of(video) for video in videos[1:]], SESSION)
        synced.append(int.from_bytes(database.read_bytes()[24:28], "big") - before)
        assert store.pending() == []
    assert synced == [1]


def test_finalizing_too_early_names_what_is_missing(tmp_path):
    videos = videos_of(9)
    with begin(tmp_path / "feats.pkl", videos) as store:
        commit(store, videos[0])
        with pytest.raises(OutputError, match=r"8 missing.*'folder 1/clip 1.mp4' \(index 1\).* and 3 more"):
            store.finalize()


def test_a_file_gone_from_the_folder_is_computed_again(tmp_path):
    out = tmp_path / "feats"
    videos = videos_of(3)
    with begin(out, videos) as store:
        compute(store)
        (out / "folder 1/clip 1.npy").unlink()
        with pytest.raises(OutputError, match=r"none, or different ones, for 'folder 1/clip 1.mp4'"):
            store.finalize()
    with begin(out, videos) as store:
        assert numbers(store.pending()) == [1]
        compute(store)
        assert store.finalize().failed == 0
    (out / "folder 2/clip 2.npy").unlink()
    with begin(out, videos) as store:
        assert not store.finished
        assert store.notes == ("1 video is gone from the output; it is computed again",)
        assert compute(store) == [2]
        store.finalize()
    assert verify(out) == []


# --- whose output it is ---


def test_a_file_that_is_not_ours_is_never_replaced_unasked(tmp_path):
    out = tmp_path / "feats.pkl"
    out.write_text("years of work")
    videos = videos_of(2)
    with pytest.raises(OutputError, match="a file that vidfeat did not write"):
        begin(out, videos)
    assert files(tmp_path) == {"feats.pkl": b"years of work"}
    with begin(out, videos, restart=True) as store:
        pass
    assert files(tmp_path) == {"feats.pkl": b"years of work"}
    with begin(out, videos, restart=True) as store:
        commit(store, videos[0])
    assert out.read_text() == "years of work"
    run(out, videos)
    assert verify(out) == []


def test_a_folder_that_is_not_ours_keeps_its_files(tmp_path):
    out = tmp_path / "feats"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    run(out, videos_of(2))
    assert (out / "notes.txt").read_text() == "mine"


def test_a_mistake_before_the_first_commit_leaves_no_trace(tmp_path):
    for name in ("new/folder/feats.pkl", "new/feats"):
        with contextlib.suppress(ZeroDivisionError), begin(tmp_path / name, videos_of(2)) as store:
            store.pin_backend("eager")
            raise ZeroDivisionError
        assert list(tmp_path.iterdir()) == []


def test_a_rank_beyond_the_last_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a rank from 0 to 1; found 2"):
        begin(tmp_path / "feats", videos_of(3), rank=2, world_size=2)


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_a_deleted_output_is_computed_again(tmp_path, name):
    out = tmp_path / name
    videos = videos_of(2)
    run(out, videos)
    whole = files(tmp_path)
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    with begin(out, videos) as store:
        assert not store.finished
        assert numbers(store.pending()) == [0, 1]
    run(out, videos)
    assert files(tmp_path) == whole


@pytest.mark.parametrize("content", ["{}\n", "", '{"vidfeat_manifest": 3}\n', "\0"])
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    out = tmp_path / "feats.pkl"
    videos = videos_of(2)
    run(out, videos)
    RunFiles(out).manifest.write_text(content)
    with pytest.raises(OutputError, match="expected a vidfeat manifest"):
        begin(out, videos)
    with begin(out, videos, restart=True) as store:
        commit(store, videos[0])
    run(out, videos)
    assert verify(out) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    for name in ("feats.pkl", "feats", "new/feats.pkl"):
        with pytest.raises(OutputError, match="Permission denied"):
            begin(locked / name, videos_of(1))


def test_a_file_in_place_of_the_folder_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected a folder to write to"):
        begin(tmp_path / "file" / "feats.pkl", videos_of(1))
    with pytest.raises(UsageError, match="found a file"):
        begin(tmp_path / "file", videos_of(1))


def test_keys_that_repeat_are_refused(tmp_path):
    with pytest.raises(UsageError, match="expected different keys"):
        begin(tmp_path / "feats.pkl", [VideoRef("a.mp4", "a.mp4"), VideoRef("a.mp4", "b.mp4")])


# --- what is committed ---


@pytest.mark.parametrize(
    "values",
    [np.zeros(3), np.zeros(3, np.float16), np.float32(1).reshape(()), np.zeros(0, np.float32)],
    ids=["float64", "float16", "scalar", "empty"],
)
def test_only_float32_rows_are_features(tmp_path, values):
    (video,) = videos_of(1)
    with (
        begin(tmp_path / "feats.pkl", [video]) as store,
        pytest.raises(OutputError, match="expected float32 features of shape"),
    ):
        store.commit([features_of(video, values)], SESSION)


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_features_that_are_not_finite_are_the_videos_failure(tmp_path, name):
    videos = videos_of(2)
    out = tmp_path / name
    with begin(out, videos) as store:
        bad = np.array([1, np.nan, np.inf], np.float32)
        (failure,) = store.commit([features_of(videos[0], bad), features_of(videos[1])], SESSION)
        assert (failure.key, failure.error.stage, failure.error.kind) == (videos[0].key, "model", "corrupt")
        assert "2 of 3 values" in str(failure.error)
        summary = store.finalize()
        assert (summary.done, summary.failed) == (1, 1)
    assert verify(out) == []


def test_a_name_that_the_file_system_does_not_take_is_the_videos_failure(tmp_path):
    videos = [VideoRef("x" * 300 + ".mp4", "clip 0.mp4"), *videos_of(2)]
    with begin(tmp_path / "feats", videos) as store:
        (failure,) = store.commit([features_of(video) for video in videos], SESSION)
        assert (failure.key, failure.error.stage) == (videos[0].key, "write")
        assert store.finalize().failed == 1
    assert verify(tmp_path / "feats") == []


def test_a_video_that_is_not_in_the_list_is_refused(tmp_path):
    with begin(tmp_path / "feats.pkl", videos_of(1)) as store, pytest.raises(OutputError, match="a video of this run"):
        store.commit([failure_of(VideoRef("other.mp4", "clip 0.mp4"))], SESSION)


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_the_first_commit_of_a_video_stands(tmp_path, name):
    out = tmp_path / name
    videos = videos_of(2)
    with begin(out, videos) as store:
        compute(store)
        store.commit([features_of(videos[0], values_of(99)), failure_of(videos[1])], SESSION)
        assert store.finalize().failed == 0
    with begin(out, videos) as store:
        assert store.finished
    assert verify(out) == []
    rows = [np.load(path) for path in sorted(out.rglob("*.npy"))] if out.is_dir() else pickle.loads(out.read_bytes())
    np.testing.assert_array_equal(rows[0], values_of(0))


def test_an_unbounded_message_is_cut(tmp_path):
    (video,) = videos_of(1)
    out = tmp_path / "feats.pkl"
    with begin(out, [video]) as store:
        error = VideoError("x", stage="open", kind="corrupt", expected="a", found="\udcff" * 10**6)
        store.commit([VideoFailure(video.key, "test", error)], SESSION)
        store.finalize()
    assert RunFiles(out).manifest.stat().st_size < 40_000


# --- failures, tried again ---


@pytest.mark.parametrize("name", ["feats.json", "feats"])
def test_failures_are_tried_again_only_when_asked(tmp_path, name):
    out = tmp_path / name
    videos = videos_of(5)
    assert run(out, videos, fails=(1, 3)).failed == 2
    with begin(out, videos) as store:
        assert store.finished
        assert store.finalize().failed == 2
    with begin(out, videos, retry_failed=True) as store:
        assert store.notes == ("2 videos failed before; they are tried again",)
        assert compute(store, fails=(1,)) == [1, 3]
        assert store.finalize().failed == 1
    assert verify(out) == []
    assert run(out, videos, retry_failed=True).failed == 0
    assert not RunFiles(out).folder.exists()
    assert verify(out) == []
    with begin(out, videos, retry_failed=True) as store:
        assert store.finished


def test_a_retry_that_is_interrupted_leaves_the_finished_output(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(4)
    run(out, videos, fails=(1, 2))
    before = out.read_bytes()
    with begin(out, videos, retry_failed=True) as store:
        commit(store, videos[1])
    assert out.read_bytes() == before
    assert verify(out) == []
    with begin(out, videos, retry_failed=True) as store:
        assert numbers(store.pending()) == [2]


def test_failures_of_an_interrupted_run_can_be_tried_again(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(3)
    with begin(out, videos) as store:
        commit(store, videos[0], fails=True)
    with begin(out, videos) as store:
        assert numbers(store.pending()) == [1, 2]
    assert run(out, videos, retry_failed=True).failed == 0


# --- the backend ---


def test_the_first_backend_that_is_proposed_stays_for_all_sessions_of_an_identity(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(3)
    with begin(out, videos) as store:
        assert store.pin_backend(None) is None
        assert store.pin_backend("compiled") == "compiled"
        assert store.pin_backend("eager") == "compiled"
        commit(store, videos[0])
    with begin(out, videos) as store:
        assert store.pin_backend("eager") == "compiled"
        compute(store)
        store.finalize()
    with begin(out, videos_of(5)) as store:  # the folder of the run is gone, the manifest says it
        assert store.pin_backend("eager") == "compiled"
        commit(store, videos_of(5)[4])
    with begin(out, videos, identity_of("bf16")) as store:
        assert store.pin_backend("eager") == "eager"
    with begin(out, videos_of(5), restart=True) as store:
        assert store.pin_backend("eager") == "eager"


# --- memory and bytes ---


def test_finalizing_many_rows_needs_little_memory(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(8_000)
    values = np.ones(64, np.float32)
    with begin(out, videos) as store:
        for start in range(0, len(videos), 1000):
            store.commit([features_of(video, values) for video in videos[start : start + 1000]], SESSION)
        tracemalloc.start()
        store.finalize()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert out.stat().st_size > 2_000_000
    assert peak < 1_500_000


def test_the_manifest_to_the_byte(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = [VideoRef('é "1".mp4', str(tmp_path / "clip 7.mp4")), VideoRef("b\udcff.mp4", "b")]
    videos[0].path.write_bytes(b"1234")
    os.utime(videos[0].path, ns=(0, 123456789))
    features = features_of(videos[0], np.array([1, 2], np.float32))
    assert features.info is not None
    object.__setattr__(features.info, "fps", float("inf"))
    with begin(out, videos) as store:
        store.pin_backend("eager")
        store.commit([features, failure_of(videos[1])], SESSION)
        store.finalize()
    identity = identity_of()
    lines = [
        f'{{"vidfeat_manifest": 2, "recipe": {{"schema": 1}}, "recipe_digest": "{identity.recipe_digest}", '
        f'"checkpoint": {{"source": "model.pth", "sha256": "{identity.checkpoint_sha256}"}}, "precision": "fp32", '
        '"decoder": "pyav", "dtype": "float32", "encoder": "test", "backend": "eager", '
        '"sessions": [{"device": "cpu", "versions": {"python": "3", "vidfeat": "0"}}], '
        '"list_digest": "fced94eb2df4bd60b6d812c9d5d065cb3989dc69282e9498cadd4aa904ac6028", '
        '"videos": 2, "failed": 1, "output": "feats.pkl", "format": "pkl"}',
        '{"index": 0, "name": "\\u00e9 \\"1\\".mp4", "status": "done", "shape": [2], "dtype": "float32", '
        '"sha256": "b9c80b5adeca450753a16950c3cc655d271f7bef7a485bc83f112b72fef21d37", '
        '"start_seconds": null, "end_seconds": null, "stamp": [4, 123456789], "segment": null, '
        '"session": 0, "error": null, '
        '"frames": 11, "frames_declared": null, "salvaged": false, "fps": null, "seconds": 10.0, "info": '
        f'{{"path": "{videos[0].uri}", "bytes": 4, "container": "mov", "codec": "h264", '
        '"pixel_format": "yuv420p", "width": 64, "height": 48, "rotation": 0, "fps": null, "start_seconds": 0.0, '
        '"duration_seconds": 10.0, "frames": 11, "frames_from": "packets", '
        '"timeline": {"fps": 25.0, "duration_seconds": null}, "modified_ns": 123456789, "frames_declared": null, '
        '"mirrored": false, "length_verified": false}}',
        '{"index": 1, "name": "b\\udcff.mp4", "status": "failed", "shape": null, "dtype": null, "sha256": null, '
        '"start_seconds": null, "end_seconds": null, "stamp": [null, null], "segment": null, "session": 0, "error": '
        '{"stage": "decode", "kind": "corrupt", "message": "b: expected frames; found none.", "where": "b", '
        '"expected": "frames", "found": "none", "hint": ""}, "frames": null, "frames_declared": null, '
        '"salvaged": null, "fps": null, "seconds": null, "info": null}',
        "",
    ]
    assert RunFiles(out).manifest.read_bytes().decode("ascii").split("\n") == lines


def test_what_a_kill_right_after_the_manifest_leaves_is_removed(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(2)
    with begin(out, videos) as store:
        compute(store)
        shutil.copytree(RunFiles(out).folder, tmp_path / "kept", ignore=shutil.ignore_patterns("*.lock"))
        store.finalize()
    shutil.copytree(tmp_path / "kept", RunFiles(out).folder)
    with begin(out, videos) as store:
        assert store.finished
    assert not RunFiles(out).folder.exists()


def test_opening_imports_neither_torch_nor_av():
    code = "import sys, vidfeat.store; print(sorted({'torch', 'av', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", done.stderr
    assert Path(sys.executable).exists()
