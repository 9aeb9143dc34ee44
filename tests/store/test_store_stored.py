"""Outputs read again by key: finished, under way, interrupted, and those of other programs."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_worker import SESSION, begin, commit, features_of, files, identity_of, info_of, run, values_of, videos_of

from made_outputs import clustered, write_output
from open_files import open_files, opened_since
from vidfeat.errors import OutputError, UsageError
from vidfeat.features import VideoFeatures
from vidfeat.store import StoredFeatures, load, verify
from vidfeat.store.files import RunFiles
from vidfeat.videos import VideoRef

NAMES = ["feats.pkl", "feats.json", "feats.yaml", "feats.npz", "feats"]


@pytest.fixture(params=NAMES)
def out(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / "outputs" / request.param


def check(stored: StoredFeatures, videos: list[VideoRef], failed: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    done = [video for number, video in enumerate(videos) if number not in failed]
    assert list(stored) == [video.key for video in done]
    assert len(stored) == len(done)
    for video in [*done, *done[::-1], *done[1::2]]:  # in order, and not
        number = int(video.path.stem.split()[1])
        features = stored[video.key]
        assert video.key in stored
        assert features.key == video.key
        assert features.values.dtype == np.float32
        np.testing.assert_array_equal(features.values, values_of(number))
    assert list(stored.failures) == [video.key for number, video in enumerate(videos) if number in failed]
    text = repr(stored.failures)
    assert text.startswith(f"<failures of {len(failed)} videos")
    assert len(text) < 200 + 3 * max(len(video.key) for video in videos)
    for key, failure in stored.failures.items():
        assert key not in stored
        assert (failure.key, failure.error.stage, failure.error.kind) == (key, "decode", "corrupt")
        assert str(failure.error).endswith("expected frames; found none.")


def test_a_finished_output(out: Path) -> None:
    videos = videos_of(9)
    run(out, videos, fails={2, 5})
    before = files(out.parent)
    with load(out) as stored:
        assert (stored.state, stored.notes, stored.out) == ("finished", (), out)
        assert stored.header["recipe"] == {"schema": 1}
        assert stored.header["encoder"] == "test"
        check(stored, videos, {2, 5})
        assert stored["folder 1/clip 1.mp4"].encoder == "test"
        assert [features.key for features in stored.values()] == list(stored)
        line = stored.line("folder 1/clip 4.mp4")
        assert line == json.loads(RunFiles(out).manifest.read_text().splitlines()[5])
        assert stored.line("folder 2/clip 5.mp4")["error"]["kind"] == "corrupt"
        assert [stored.problem(key) for key in stored] == [None] * 7
        for lookup in (stored, stored.failures):
            with pytest.raises(KeyError):
                lookup["other.mp4"]
        with pytest.raises(KeyError):
            stored.line("other.mp4")
    assert files(out.parent) == before


def test_a_run_under_way_and_interrupted(out: Path) -> None:
    videos = videos_of(9)
    with begin(out, videos) as store:
        with pytest.raises(UsageError) if out.suffix else pytest.raises(AssertionError):
            assert load(out).state != "foreign"  # an empty folder
        for number in (0, 1, 2, 3, 4):
            commit(store, videos[number], fails=number == 2)
        with load(out) as stored:
            assert stored.state == "unfinished"
            check(stored, videos[:5], {2})
            commit(store, videos[5])
            check(stored, videos[:5], {2})  # as it was
    before = files(out.parent)
    with load(out) as stored:
        assert stored.state == "unfinished"
        assert stored.header["recipe"] == {"schema": 1}
        assert stored.header["checkpoint"] == {"source": "model.pth", "sha256": "b" * 64}
        assert stored.header["precision"] == "fp32"
        assert len(stored.notes) == 1
        assert "not finished" in stored.notes[0]
        check(stored, videos[:6], {2})
        assert stored.line("folder 0/clip 3.mp4")["fps"] == 25.0
    assert files(out.parent) == before


def test_times_and_facts_come_back(out: Path) -> None:
    (video,) = videos_of(1)
    windows = np.arange(6, dtype=np.float32).reshape(2, 3)
    features = VideoFeatures(video.key, "test", windows, np.array([0.0, 1 / 3]), np.array([0.5, 0.9]), info_of(video))

    def check_times(stored: StoredFeatures) -> None:
        found = stored[video.key]
        np.testing.assert_array_equal(found.values, windows)
        assert found.start_seconds is not None
        assert found.end_seconds is not None
        assert found.start_seconds.tolist() == [0.0, 1 / 3]
        assert found.end_seconds.tolist() == [0.5, 0.9]
        assert found.info is not None
        assert (found.info.frames, found.info.codec, found.info.duration_seconds) == (4, "h264", 10.0)

    with begin(out, [video]) as store:
        store.commit([features], SESSION)
        with load(out) as stored:
            check_times(stored)
            info = stored[video.key].info
            assert info is not None
            assert features.info is not None
            assert info == features.info
            assert info.timeline == features.info.timeline
        store.finalize()
    with load(out) as stored:
        check_times(stored)
        info = stored[video.key].info
        assert info is not None
        assert len(info.timeline) == 0  # a manifest does not hold the presentation times
        assert info.timeline.fps == 25.0


def test_of_a_run_rows_of_the_identity_that_was_computed_last(out: Path) -> None:
    videos = videos_of(4)
    with begin(out, videos) as store:
        commit(store, videos[0])
        commit(store, videos[1])
    with begin(out, videos, identity_of("bf16")) as store:
        store.commit([features_of(videos[1], values_of(101)), features_of(videos[2], values_of(102))], SESSION)
    with load(out) as stored:
        assert stored.header["precision"] == "bf16"
        assert {key: features.values[0] for key, features in stored.items()} == {
            videos[1].key: values_of(101)[0],
            videos[2].key: values_of(102)[0],
        }


def test_a_run_that_replaces_an_output(out: Path) -> None:
    run(out, videos_of(3))
    with begin(out, videos_of(5)) as store:
        commit(store, store.pending()[0])
        with load(out) as stored:
            assert len(stored.notes) == 1
            if out.is_dir():
                assert stored.state == "unfinished"
                check(stored, videos_of(4))
            else:
                assert stored.state == "finished"
                assert "replaces this output" in stored.notes[0]
                check(stored, videos_of(3))


def test_restarted_rows_are_not_read(out: Path) -> None:
    run(out, videos_of(3))
    with begin(out, videos_of(3), restart=True) as store:
        commit(store, videos_of(3)[1])
    if not out.is_dir():  # not replaced so far
        RunFiles(out).manifest.unlink()
    with load(out) as stored:
        assert stored.state == "unfinished"
        assert list(stored) == [videos_of(3)[1].key]


@pytest.mark.parametrize("how", ["missing", "damaged", "short"])
def test_values_that_cannot_be_read(out: Path, how: str) -> None:
    videos = videos_of(3)
    run(out, videos)
    path = out / "folder 1" / "clip 1.npy" if out.is_dir() else out
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"junk" if how == "damaged" else path.read_bytes()[:-20])
    with load(out) as stored:
        assert stored.state == "finished"
        assert bool(stored.notes) == (how == "missing" and not out.is_dir())
        with pytest.raises(OutputError):
            _ = stored[videos[1].key].values
        problem = stored.problem(videos[1].key)
        assert problem
        if out.is_dir():
            np.testing.assert_array_equal(stored[videos[2].key].values, values_of(2))


def test_a_manifest_that_cannot_be_used(out: Path) -> None:
    run(out, videos_of(2))
    RunFiles(out).manifest.write_text("junk\n")
    with load(out) as stored:
        assert stored.state == "foreign"
        assert "The manifest cannot be used" in stored.notes[0]
        assert len(stored) == 2
        np.testing.assert_array_equal([features.values for features in stored.values()][1], values_of(1))


def test_another_programs_pickle(tmp_path: Path) -> None:
    out = tmp_path / "theirs.pkl"
    out.write_bytes(pickle.dumps([values_of(0), None, values_of(2)], 2))
    with load(out) as stored:
        assert stored.state == "foreign"
        assert (list(stored), list(stored.failures), stored.header) == (["#0", "#2"], ["#1"], {})
        np.testing.assert_array_equal(stored["#2"].values, values_of(2))
        assert stored["#0"].info is None
        assert (stored.line("#2")["index"], stored.line("#2")["frames"]) == (2, None)
        assert stored.problem("#2") is None


def test_another_programs_folder(tmp_path: Path) -> None:
    out = tmp_path / "theirs"
    (out / "a").mkdir(parents=True)
    np.save(out / "a" / "x.npy", values_of(0))
    np.save(out / "y.npy", values_of(1).astype(np.float64))
    with load(out) as stored:
        assert stored.state == "foreign"
        assert sorted(stored) == ["a/x", "y"]
        np.testing.assert_array_equal(stored["a/x"].values, values_of(0))
        assert stored["y"].values.dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected an output of vidfeat"):
        load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_other_users_may_read_a_run() -> None:
    """In folders that are not writable, also while the run is under way."""
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        out = Path(place) / "outputs" / "feats.pkl"
        with begin(out, videos_of(2)) as store:
            commit(store, videos_of(2)[0])
            assert first_values_for_another_user(out) == [float(values_of(0)[0])]
        assert first_values_for_another_user(out) == [float(values_of(0)[0])]


def first_values_for_another_user(out: Path) -> Any:
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.setgid(65534)
            os.setuid(65534)
            with load(out) as stored:
                found: Any = [float(features.values[0]) for features in stored.values()]
        except BaseException as error:
            found = repr(error)
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(process, 0)
    with os.fdopen(reading, "rb") as pipe:
        return json.loads(pipe.read())


def test_files_are_released_without_a_warning(tmp_path: Path) -> None:
    for name in ("feats.pkl", "feats"):
        with begin(tmp_path / name, videos_of(3)) as store:
            commit(store, store.pending()[0])
            opened = open_files()
            found: Any = load(tmp_path / name)
            _ = found["folder 0/clip 0.mp4"]
            assert opened_since(opened)
            del found
            gc.collect()
            assert opened_since(opened) == []
            for video in store.pending():
                commit(store, video)
            store.finalize()
        opened = open_files()
        found = load(tmp_path / name)
        assert opened_since(opened)
        found.close()
        found.close()
        assert opened_since(opened) == []


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt", "csv"])
@pytest.mark.parametrize("finish", [True, False])
def test_a_folder_is_read_by_its_own_name(tmp_path: Path, suffix: str, finish: bool) -> None:
    rows = clustered(3)
    write_output(tmp_path / "feats" / f"{{key}}.{suffix}", ["a.mp4", "b/c.avi", "d"], rows, fails=[2], finish=finish)
    for out in (tmp_path / "feats", f"{tmp_path}/feats/{{key}}.{suffix}"):
        with load(out) as found:
            assert found.state == ("finished" if finish else "unfinished")
            assert {key: features.values.tobytes() for key, features in found.items()} == {
                "a.mp4": rows[0].tobytes(),
                "b/c.avi": rows[1].tobytes(),
            }
        problems = verify(out)
        assert problems == ([] if finish else ["the run is not finished: 2 videos are done and 1 failed so far"])
    (tmp_path / "feats.manifest.jsonl").unlink(missing_ok=True)
    shutil.rmtree(tmp_path / "feats.vidfeat", ignore_errors=True)
    with load(tmp_path / "feats") as foreign:
        assert foreign.state == "foreign"
        assert foreign["b/c"].values.tobytes() == rows[1].tobytes()
