"""Outputs of Parquet parts, in folders and on a real S3 server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vidfeat
from video.video_files import write_video
from vidfeat import Job, OutputError, UsageError, VideoError, VideoFailure, VideoFeatures, VideoRef, load, run, verify
from vidfeat.store import PartsStore, WorkIdentity
from vidfeat.store.part_files import PartFolder, parts_of
from vidfeat.store.parts_reading import compact

parquet = pytest.importorskip("pyarrow.parquet")

IDENTITY = WorkIdentity("a" * 64, "b" * 64, "fp32")
DESCRIPTION = {"encoder": "tiny", "recipe": {}, "checkpoint": {"source": "weights"}}


def open_store(out: Path | str, keys: list[str], **options: Any) -> PartsStore:
    videos = [VideoRef(key, f"/nowhere/{key}") for key in keys]
    options = {"identity": IDENTITY, "backend": "eager", **options}
    return PartsStore.open(str(out), options.pop("identity"), videos, description=DESCRIPTION, **options)


def features(key: str, rows: int = 1, width: int = 4, seed: int = 0) -> VideoFeatures:
    values = np.random.default_rng([seed, *key.encode()]).normal(size=(rows, width)).astype(np.float32)
    if rows == 1:
        return VideoFeatures(key, "tiny", values[0])
    return VideoFeatures(key, "tiny", values, np.arange(rows) / 2.0, np.arange(rows) / 2.0 + 1)


def failure(key: str) -> VideoFailure:
    return VideoFailure(key, "tiny", VideoError(key, stage="open", kind="missing", expected="a file", found="none"))


def assert_holds(out: Path | str, expected: list[VideoFeatures]) -> None:
    with load(out) as found:
        assert set(found) == {one.key for one in expected}
        for one in expected:
            there = found[one.key]
            assert np.array_equal(there.values, one.values)
            for name in ("start_seconds", "end_seconds"):
                assert np.array_equal(getattr(there, name), getattr(one, name)) or getattr(one, name) is None


def test_rows_times_and_failures_come_back(tmp_path: Path) -> None:
    results = [features("a.mp4"), features("b/é.mp4", rows=3), features("c.mp4", rows=2, width=7), failure("d.mp4")]
    with open_store(tmp_path / "out", [one.key for one in results]) as store:
        assert store.commit(results, {"device": "cpu"}) == []
        assert not store.finished
        summary = store.finalize()
    assert (summary.videos, summary.computed, summary.kept, summary.failed) == (4, 3, 0, 1)
    assert_holds(tmp_path / "out", [one for one in results if isinstance(one, VideoFeatures)])
    with load(tmp_path / "out") as found:
        assert found.state == "finished"
        assert found.failures["d.mp4"].error.kind == "missing"
        assert found.header["encoder"] == "tiny"
    with open_store(tmp_path / "out", [one.key for one in results]) as store:
        assert store.finished
        assert list(store.pending()) == []


def test_other_readers_read_the_parts(tmp_path: Path) -> None:
    results = [features("a.mp4", rows=3), features("b.mp4", rows=2)]
    with open_store(tmp_path / "out", ["a.mp4", "b.mp4"]) as store:
        store.commit(results, {})
    table = parquet.read_table(tmp_path / "out" / "parts")
    assert table.column("key").to_pylist() == ["a.mp4"] * 3 + ["b.mp4"] * 2
    assert table.column("row").to_pylist() == [0, 1, 2, 0, 1]
    values = np.array(table.column("values").to_pylist(), np.float32)
    assert np.array_equal(values, np.concatenate([one.values for one in results]))
    assert table.column("start_seconds").to_pylist() == [0.0, 0.5, 1.0, 0.0, 0.5]


def test_what_is_committed_counts_whatever_the_list(tmp_path: Path) -> None:
    with open_store(tmp_path / "out", ["a", "b", "c"]) as store:
        store.commit([features("a"), failure("b")], {})
    with open_store(tmp_path / "out", ["d", "c", "b", "a"]) as store:
        assert [video.key for video in store.pending()] == ["d", "c"]
        with pytest.raises(OutputError, match="none of 2 videos, such as 'd', 'c'"):
            store.finalize()
    with open_store(tmp_path / "out", ["a", "b"], retry_failed=True) as store:
        assert [video.key for video in store.pending()] == ["b"]
        store.commit([features("b")], {})
        assert store.finalize().failed == 0
    assert_holds(tmp_path / "out", [features("a"), features("b")])


def test_of_two_rows_of_a_video_all_readers_take_the_newer(tmp_path: Path) -> None:
    with open_store(tmp_path / "out", ["a", "b"]) as one, open_store(tmp_path / "out", ["a", "b"]) as other:
        one.commit([features("a", seed=1), features("b", seed=1)], {})
        other.commit([features("b", seed=2)], {})
        one.finalize()
    assert_holds(tmp_path / "out", [features("a", seed=1), features("b", seed=2)])
    assert verify(tmp_path / "out") == []
    assert compact(str(tmp_path / "out")) == (2, 1)
    assert_holds(tmp_path / "out", [features("a", seed=1), features("b", seed=2)])
    assert verify(tmp_path / "out") == []


def test_changed_files_are_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"1")
    video = VideoRef("a", str(path))
    with PartsStore.open(str(tmp_path / "out"), IDENTITY, [video], description=DESCRIPTION, backend="eager") as store:
        store.commit([features("a")], {})
    path.write_bytes(b"22")
    with PartsStore.open(str(tmp_path / "out"), IDENTITY, [video], description=DESCRIPTION, backend="eager") as store:
        assert list(store.pending()) == [video]
        assert store.notes == ("1 videos have changed and are computed again.",)


def test_other_computations_do_not_mix(tmp_path: Path) -> None:
    with open_store(tmp_path / "out", ["a"]) as store:
        store.commit([features("a")], {})
        store.finalize()
    other = WorkIdentity("c" * 64, "b" * 64, "fp32")
    with pytest.raises(OutputError, match=r"another recipe \(aaaaaaaa… there, cccccccc… now\)"):
        open_store(tmp_path / "out", ["a"], identity=other)
    with open_store(tmp_path / "out", ["a"], identity=other, restart=True) as store:
        store.commit([features("a", seed=5)], {})
        store.finalize()
    assert_holds(tmp_path / "out", [features("a", seed=5)])
    assert verify(tmp_path / "out") == []
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 1


def test_damage_is_noticed(tmp_path: Path) -> None:
    with open_store(tmp_path / "out", ["a", "b"]) as store:
        store.commit([features("a")], {})
        store.commit([features("b")], {})
        store.finalize()
    first, second = sorted((tmp_path / "out" / "parts").iterdir())
    content = bytearray(first.read_bytes())
    place = content.index(features("a").values.tobytes()[:8])
    content[place] ^= 1
    first.write_bytes(content)
    assert ["'a' in" in problem for problem in verify(tmp_path / "out")] == [True]
    second.unlink()
    assert any("announces 2 videos, and the parts hold 1" in problem for problem in verify(tmp_path / "out"))
    first.write_bytes(content[: len(content) // 2])
    with pytest.raises(OutputError, match="a part that vidfeat wrote"):
        open_store(tmp_path / "out", ["a", "b"])


def test_a_list_with_a_repeated_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="videos with different names"):
        open_store(tmp_path / "out", ["a", "b", "a"])
    assert not (tmp_path / "out").exists()


def test_a_run_to_a_server_is_continued(s3: Any, repository: Path, tmp_path: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    encoder = vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        write_video(folder / f"{number}.mp4", frames=20 + number)
    job = Job(videos=folder, encoders=encoder, out="s3://videos/out/", decode_processes=1)
    summary = run(job, quiet=True)
    assert (summary.videos, summary.computed, summary.out) == (3, 3, "s3://videos/out/")
    assert json.loads(s3.cat_file("videos/out/manifest.json"))["videos"] == 3
    assert verify("s3://videos/out/") == []
    write_video(folder / "more.mp4", frames=30)
    summary = run(job, quiet=True)
    assert (summary.computed, summary.kept) == (1, 3)
    local = Job(videos=folder, encoders=encoder, out=tmp_path / "local.npz", decode_processes=1)
    run(local, quiet=True)
    with load("s3://videos/out") as there, load(tmp_path / "local.npz") as here:
        assert set(there) == set(here)
        for key in here:
            assert np.array_equal(there[key].values, here[key].values)
            assert there[key].info is not None
    assert run(job, quiet=True).computed == 0
    assert len(list(parts_of(PartFolder("s3://videos/out")))) == 2
