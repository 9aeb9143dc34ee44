"""Videos and lists on a store that refuses, loses and delays: retried within a bound, and then one error."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.faulty_s3 import ALWAYS, Fault
from video.video_files import write_video
from vidfeat import UsageError, VideoError, storage
from vidfeat.video import decode, probe, remote
from vidfeat.videos import expand

TRANSIENT = ["refuse", "cut", "stall", "lose"]


@pytest.fixture(scope="module")
def video(s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_video(tmp_path_factory.mktemp("faulty") / "a.mp4", frames=60, size=(96, 64), options={"g": "6"})
    s3.pipe_file("s3://videos/faulty/a.mp4", path.read_bytes())
    return path


@pytest.fixture(autouse=True)
def forgotten() -> None:
    """What was fetched before does not count."""
    if remote._Fetched._last is not None:
        remote._Fetched._last._file.close()
    remote._Fetched._last = None


@pytest.fixture
def by_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "STAGED_BYTES", 0)
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1 << 12)


def assert_decodes(path: Path) -> None:
    uri, wanted = "s3://videos/faulty/a.mp4", [1, 30, 59]
    frames = list(decode(uri, wanted, probe(uri)))
    assert len(frames) == len(wanted)
    for there, here in zip(frames, decode(path, wanted), strict=True):
        assert there.pts_seconds == here.pts_seconds
        assert np.array_equal(there.pixels, here.pixels)


@pytest.mark.parametrize("does", TRANSIENT)
def test_a_staged_video_survives(faulty: Any, video: Path, does: Any) -> None:
    faulty.faults = [Fault("refuse", "HEAD"), Fault(does, path="a.mp4", times=2)]
    assert_decodes(video)
    assert faulty.left == 0
    assert faulty.count("GET", "a.mp4") == 3


@pytest.mark.parametrize("does", TRANSIENT)
def test_a_video_read_by_range_survives(faulty: Any, by_range: None, video: Path, does: Any) -> None:
    faulty.faults = [Fault("lose", "HEAD"), Fault(does, path="a.mp4", times=2)]
    assert_decodes(video)
    assert faulty.left == 0


@pytest.mark.parametrize("does", ["refuse", "cut"])
@pytest.mark.parametrize("staged", [True, False])
def test_a_store_that_stays_faulty_is_one_error_of_the_video(
    faulty: Any, video: Path, does: Any, staged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not staged:
        monkeypatch.setattr(remote, "STAGED_BYTES", 0)
    faulty.faults = [Fault(does, path="a.mp4", times=ALWAYS)]
    with pytest.raises(VideoError) as error:
        probe("s3://videos/faulty/a.mp4")
    assert (error.value.kind, error.value.where) == ("io", "s3://videos/faulty/a.mp4")
    assert faulty.count("GET", "a.mp4") == storage.ATTEMPTS
    assert "\n" not in str(error.value)


def test_a_refused_description_is_one_error_of_the_video(faulty: Any, video: Path) -> None:
    faulty.faults = [Fault("refuse", "HEAD", times=ALWAYS)]
    with pytest.raises(VideoError) as error:
        probe("s3://videos/faulty/a.mp4")
    assert error.value.kind == "io"
    assert faulty.count("HEAD", "") == storage.ATTEMPTS


def test_a_video_that_is_not_there_is_not_asked_for_again(faulty: Any) -> None:
    with pytest.raises(VideoError, match="no file of that name"):
        probe("s3://videos/faulty/nothing.mp4")
    assert faulty.count("HEAD", "nothing") == 1


def test_credentials_that_are_missing_are_not_asked_for_again(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(VideoError, match="Unable to locate credentials") as error:
        probe("s3://videos/faulty/a.mp4")
    assert error.value.kind == "io"
    assert faulty.requests == []


@pytest.mark.parametrize("does", TRANSIENT)
def test_lists_and_folders_survive(s3: Any, faulty: Any, video: Path, does: Any) -> None:
    lines = b"".join(b"%d.mp4 %d\n" % (number, number) for number in range(1000))
    s3.pipe_file("s3://videos/faulty/list.txt", lines)
    faulty.faults = [Fault(does, path="list.txt"), Fault(does, path="list-type=2")]
    assert [ref.label for ref in expand("s3://videos/faulty/list.txt")] == [str(number) for number in range(1000)]
    assert [ref.key for ref in expand("s3://videos/faulty/")] == ["a.mp4"]
    assert faulty.left == 0


def test_a_list_in_parquet_survives(s3: Any, faulty: Any, video: Path) -> None:
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    table = arrow.table({"video": ["a.mp4", "s3://videos/faulty/b.mp4", "../c.mp4"], "label": [1, 2, 3]})
    for name, rows in (("good", 2), ("bad", 3)):
        buffer = io.BytesIO()
        parquet.write_table(table.slice(0, rows), buffer)
        s3.pipe_file(f"s3://videos/faulty/{name}.parquet", buffer.getvalue())
    faulty.faults = [Fault("refuse", path="good.parquet"), Fault("cut", path="good.parquet")]
    found = expand("s3://videos/faulty/good.parquet")
    assert [(ref.uri, ref.label) for ref in found] == [
        ("s3://videos/faulty/a.mp4", "1"),
        ("s3://videos/faulty/b.mp4", "2"),
    ]
    assert faulty.left == 0
    with pytest.raises(UsageError, match=r"bad\.parquet:3: expected a path below"):
        expand("s3://videos/faulty/bad.parquet")


def test_a_list_that_cannot_be_read_is_one_error(s3: Any, faulty: Any, video: Path) -> None:
    s3.pipe_file("s3://videos/faulty/list.txt", b"a.mp4\n")
    faulty.faults = [Fault("cut", path="list.txt", times=ALWAYS), Fault("refuse", path="list-type=2", times=ALWAYS)]
    with pytest.raises(UsageError, match=r"list\.txt: expected a readable list of videos"):
        expand("s3://videos/faulty/list.txt")
    with pytest.raises(UsageError, match="a store that can be listed"):
        expand("s3://videos/faulty/")
    assert len(faulty.requests) < 4 * storage.ATTEMPTS


def test_a_video_that_is_listed_late_is_found(faulty: Any, video: Path) -> None:
    faulty.faults = [Fault("hide", path="list-type=2", times=1, keys="a.mp4")]
    assert storage.stamp("s3://videos/faulty/a.mp4", listed=True)[0] == video.stat().st_size
    assert faulty.left == 0
