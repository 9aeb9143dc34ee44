"""Outputs of version 0.1: finished ones are read and taken over, interrupted ones are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from store_worker import SESSION, begin, compute, failure_of, features_of, files
from version_1 import IDENTITY, KEYS, VALUES, write_finished, write_interrupted

from vidfeat.errors import OutputError, UsageError
from vidfeat.features import VideoFeatures
from vidfeat.store import load, verify
from vidfeat.store.files import RunFiles
from vidfeat.videos import VideoRef


@pytest.fixture(params=["feats.pkl", "feats"])
def out(tmp_path, request):
    out = tmp_path / "outputs" / request.param
    out.parent.mkdir()
    write_finished(out)
    return out


@pytest.fixture
def videos(tmp_path):
    """Files for the videos, of which version 0.1 kept neither size nor time."""
    videos = [VideoRef(key, str(tmp_path / key)) for key in [*KEYS, "d.mp4"]]
    for video in videos:
        video.path.write_bytes(video.key.encode())
    return videos


def test_a_finished_output_is_whole(out):
    assert verify(out) == []
    path = RunFiles(out).manifest
    path.write_text(path.read_text().replace('"shape": [3]', '"shape": [4]', 1))
    assert verify(out) == ["'a.mp4' (index 0): has shape [3], not [4]"]


def test_a_finished_output_is_loaded(out):
    with load(out) as stored:
        assert stored.state == "finished"
        assert {key: features.values.tolist() for key, features in stored.items()} == VALUES
        assert stored["a.mp4"].info is None
        assert stored["a.mp4"].start_seconds is None
        assert (stored.failures["b.mp4"].error.stage, stored.failures["b.mp4"].error.kind) == ("decode", "corrupt")
        assert "b.mp4: expected frames; found none." in str(stored.failures["b.mp4"].error)
        line = stored.line("c.mp4")
        assert (line["frames"], line["frames_declared"], line["salvaged"]) == (252, 300, True)
        assert (line["fps"], line["seconds"]) == (29.97, 252 / 29.97)
        assert stored.header["sessions"][0]["versions"] == {"vidfeat": "0.1.0", "python": "3"}


def test_a_finished_output_of_the_same_list_is_finished(out, videos):
    before = files(out.parent)
    with begin(out, videos[:3], IDENTITY) as store:
        assert store.finished
        assert (store.notes, store.pending()) == ((), [])
        assert store.finalize().kept == 2
    assert files(out.parent) == before


def test_a_finished_output_is_taken_over(out, videos):
    before = files(out.parent)
    with begin(out, videos[::-1], IDENTITY, retry_failed=True) as store:
        assert store.notes == ("1 video is new", "1 video failed before; it is tried again")
        assert [video.key for video in store.pending()] == ["d.mp4", "b.mp4"]
        assert before.items() <= files(out.parent).items()
        assert store.pin_backend("compiled") == "eager"
        for video in store.pending():
            store.commit([VideoFeatures(video.key, "test", np.array([9.0, 8.0], np.float32))], SESSION)
        summary = store.finalize()
        assert (summary.computed, summary.kept, summary.failed) == (2, 2, 0)
    assert verify(out) == []
    with load(out) as stored:
        assert list(stored) == ["d.mp4", "c.mp4", "b.mp4", "a.mp4"]
        assert {key: stored[key].values.tolist() for key in VALUES} == VALUES
    header, *lines = (json.loads(line) for line in RunFiles(out).manifest.read_text().splitlines())
    assert header["vidfeat_manifest"] == 2
    assert [session["device"] for session in header["sessions"]] == ["cpu", "cpu"]
    taken = lines[1]
    assert (taken["frames"], taken["frames_declared"], taken["salvaged"]) == (252, 300, True)
    assert (taken["fps"], taken["seconds"]) == (29.97, 252 / 29.97)
    status = videos[2].path.stat()
    assert taken["stamp"] == [status.st_size, status.st_mtime_ns]  # from now on it is known
    assert header["sessions"][taken["session"]]["numerics"]["kernels"] == "eager"
    assert not RunFiles(out).version_1_journals()
    videos[0].path.write_bytes(b"changed")
    with begin(out, videos[::-1], IDENTITY) as store:
        assert [video.key for video in store.pending()] == ["a.mp4"]


def test_values_that_do_not_fit_their_hash_are_not_taken_over(tmp_path, videos):
    out = tmp_path / "feats.pkl"
    write_finished(out)
    data = out.read_bytes()
    out.write_bytes(data.replace(b"\x00\x00\xc2\x80?", b"\x00\x00\xc2\x80>"))
    assert out.read_bytes() != data
    with begin(out, videos, IDENTITY) as store:
        store.commit([VideoFeatures("d.mp4", "test", np.ones(3, np.float32))], SESSION)
        with pytest.raises(OutputError, match=r"none, or different ones, for 'a.mp4'"):
            store.finalize()
    with begin(out, videos, IDENTITY) as store:
        assert [video.key for video in store.pending()] == ["a.mp4"]


def test_restart_replaces_a_finished_output(out, videos):
    with begin(out, videos[:3], restart=True) as store:
        assert len(store.pending()) == 3
        store.commit([failure_of(video) for video in videos[:3]], SESSION)
        assert store.finalize().failed == 3
    assert verify(out) == ["none of the 3 videos has features"]
    assert not RunFiles(out).version_1_journals()


def test_an_interrupted_run_is_refused_with_what_to_do(tmp_path):
    out = tmp_path / "feats.pkl"
    write_interrupted(out)
    videos = [VideoRef(key, "clip 1.mp4") for key in KEYS]
    before = files(tmp_path)
    with pytest.raises(OutputError, match=r"version 0.1 started and did not finish.*vidfeat 0.1, or give `restart"):
        begin(out, videos, IDENTITY)
    with pytest.raises(UsageError, match=r"a run of version 0.1 that was not finished.*vidfeat 0.1"):
        load(out)
    assert files(tmp_path) == before
    with begin(out, videos, IDENTITY, restart=True) as store:
        store.commit([features_of(videos[0])], SESSION)
    with begin(out, videos, IDENTITY) as store:  # goes on, whatever else is there
        assert len(compute(store)) == 2
        store.finalize()
    assert verify(out) == []
    assert {path.name for path in Path(tmp_path).iterdir()} == {"feats.pkl", "feats.pkl.manifest.jsonl"}


def test_an_emptied_journal_is_no_run(tmp_path):
    out = tmp_path / "feats.pkl"
    write_interrupted(out)
    next(iter(RunFiles(out).version_1_journals())).write_bytes(b"")
    begin(out, [VideoRef("a.mp4", "clip 1.mp4")]).close()
    shutil.rmtree(tmp_path / "feats.pkl.journal")
