"""All formats: times and number formats of what a run writes, and from each format to another."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import version_1
from store_worker import SESSION, begin, failure_of, features_of, files, identity_of, videos_of

from vidfeat.errors import OutputError, UsageError
from vidfeat.features import VideoFeatures
from vidfeat.store import WorkIdentity, convert, load, verify
from vidfeat.store.files import RunFiles, is_locked
from vidfeat.videos import VideoRef

FORMATS = ["a.pkl", "a.json", "a.yaml", "a.npz", "a.h5", "a.parquet"]
FORMATS += ["a/{key}.npy", "a/{key}.npz", "a/{key}.pt", "a/{key}.csv"]
WITH_TIMES = ["a.npz", "a.h5", "a.parquet", "a/{key}.npz", "a/{key}.csv"]
"""Those that have the times of rows inside, beside the manifest."""

SHAPES = {"vectors": [(4,)] * 5, "windows": [(count, 4) for count in (1, 3, 0, 40, 2)], "kept axes": [(2, 3, 4)] * 5}


def made(shape: tuple[int, ...], number: int) -> VideoFeatures:
    (video,) = videos_of(number + 1)[number:]
    values = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
    start = np.arange(shape[0]) / 3 + number if len(shape) > 1 else None
    return VideoFeatures(
        video.key, "test", values, start, None if start is None else start + 1.5, features_of(video).info
    )


def write(
    out: Any, shapes: list[tuple[int, ...]], dtype: str = "float32", *, finish: bool = True
) -> list[VideoFeatures]:
    """A run of one video for each shape; where a size is 0, the video fails."""
    features = [made(shape, number) for number, shape in enumerate(shapes)]
    identity = WorkIdentity(identity_of().recipe_digest, "b" * 64, "fp32", dtype=dtype)
    videos = videos_of(len(shapes))
    with begin(out, videos, identity) as store:
        outcomes = [f if f.values.size else failure_of(video) for f, video in zip(features, videos, strict=True)]
        assert store.commit(outcomes, SESSION) == []
        if finish:
            store.finalize(timeout=1.0)
    return [row for row in features if row.values.size]


def require(out: Any, expected: list[VideoFeatures], dtype: str = "float32", *, times: bool = True) -> None:
    with load(out) as found:
        assert list(found) == [row.key for row in expected] or found.state == "foreign"
        for row in expected:
            key = row.key if row.key in found else row.key.removesuffix(".mp4")
            one = found[key]
            assert one.values.dtype == dtype
            assert one.values.tobytes() == row.values.astype(dtype).tobytes()
            assert one.values.shape == row.values.shape
            for name in ("start_seconds", "end_seconds") if times else ():
                seconds, wanted = getattr(one, name), getattr(row, name)
                assert (seconds is None) == (wanted is None)
                assert wanted is None or seconds.tobytes() == wanted.tobytes()


def lines(out: Any) -> list[dict[str, Any]]:
    header, *rows = RunFiles(Path(out)).manifest.read_text().splitlines()
    return [{**json.loads(header), "output": "", "format": ""}, *map(json.loads, rows)]


# --- what a run writes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_values_and_times_of_every_format(tmp_path: Path, name: str, shapes: str) -> None:
    expected = write(tmp_path / name, SHAPES[shapes])
    assert verify(tmp_path / name) == []
    require(tmp_path / name, expected)
    if name in WITH_TIMES:
        (tmp_path / "a.manifest.jsonl").unlink(missing_ok=True)
        (tmp_path / f"{name}.manifest.jsonl").unlink(missing_ok=True)
        require(tmp_path / name, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_float16_of_every_format(tmp_path: Path, name: str) -> None:
    expected = write(tmp_path / name, SHAPES["windows"], "float16")
    assert verify(tmp_path / name) == []
    require(tmp_path / name, expected, "float16")
    out = tmp_path / name.partition("/")[0]
    assert {line["dtype"] for line in lines(out)} == {"float16", None}
    with begin(tmp_path / name, videos_of(5)) as store:  # float32: the rest of the job must not be mixed with it
        assert len(store.pending()) == 5
        assert store.notes == ("5 videos were computed with another dtype (float16 there, float32 now); "
                               "they are computed again",)  # fmt: skip


def test_other_programs_see_float16(tmp_path: Path) -> None:
    import h5py
    import pyarrow.parquet as pq
    import torch

    (first, *_) = write(tmp_path / "a.npz", SHAPES["vectors"], "float16")
    for name in FORMATS:
        convert(tmp_path / "a.npz", tmp_path / "b" / name.replace("/", name[-3:] + "/"))
    key, b = first.key, tmp_path / "b"
    found = [
        np.load(b / "a.npz")[key],
        np.load(b / "anpz" / f"{key[:-4]}.npz")["features"],
        np.load(b / "anpy" / f"{key[:-4]}.npy"),
        torch.load(b / "a.pt" / f"{key[:-4]}.pt", weights_only=True).numpy(),
        pickle.loads((b / "a.pkl").read_bytes())[0],
        np.array(pq.read_table(b / "a.parquet")["values"][0].values),
    ]
    with h5py.File(b / "a.h5") as file:
        found.append(file[key][:])
    assert {str(values.dtype) for values in found} == {"float16"}
    assert {values.tobytes() for values in found} == {first.values.astype(np.float16).tobytes()}
    assert json.loads((b / "a.json").read_text())[0] == first.values.astype(np.float16).tolist()


def test_a_value_that_float16_does_not_hold_is_a_failure_of_that_video(tmp_path: Path) -> None:
    videos = videos_of(2)
    identity = WorkIdentity(identity_of().recipe_digest, "b" * 64, "fp32", dtype="float16")
    with begin(tmp_path / "a.npz", videos, identity) as store:
        outcomes = [
            features_of(videos[0], np.array([65_519.0, 1e-9], np.float32)),
            features_of(videos[1], np.float32([7e4])),
        ]
        (failure,) = store.commit(outcomes, SESSION)
        store.finalize()
    assert (failure.key, failure.error.stage, failure.error.kind) == (videos[1].key, "write", "too_large")
    assert "features of at most 65504, as float16 holds them; found 70000" in str(failure.error)
    with load(tmp_path / "a.npz") as found:
        assert found[videos[0].key].values.tolist() == [65504, 0]
    assert verify(tmp_path / "a.npz") == []


# --- from one to another ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back(tmp_path: Path, name: str, shapes: str) -> None:
    expected = write(tmp_path / "a.npz", SHAPES[shapes])
    there, back = tmp_path / "there" / name, tmp_path / "back.npz"
    found = convert(tmp_path / "a.npz", there)
    assert (found.videos, found.converted, found.failed, found.unreadable) == (5, len(expected), 5 - len(expected), 0)
    assert verify(there) == []
    require(there, expected)
    assert lines(there.parent if "{key}" in name else there) == lines(tmp_path / "a.npz")
    convert(there, back)
    assert back.read_bytes() == (tmp_path / "a.npz").read_bytes()
    assert lines(back) == lines(tmp_path / "a.npz")
    if "{key}" not in name:  # the same bytes as those of a run that writes this format
        write(tmp_path / name, SHAPES[shapes]) if name != "a.npz" else None
        assert (tmp_path / name).read_bytes() == there.read_bytes() or name == "a.h5"
    with begin(there, videos_of(5)) as store:  # a run goes on with it
        assert store.finished


def test_float16_and_back(tmp_path: Path) -> None:
    expected = write(tmp_path / "a.npz", SHAPES["windows"])
    convert(tmp_path / "a.npz", tmp_path / "b.h5", dtype="float16")
    require(tmp_path / "b.h5", expected, "float16")
    assert verify(tmp_path / "b.h5") == []
    convert(tmp_path / "b.h5", tmp_path / "c.npz", dtype="float32")
    rounded = [VideoFeatures(row.key, "", row.values.astype(np.float16).astype(np.float32)) for row in expected]
    require(tmp_path / "c.npz", rounded, times=False)
    assert verify(tmp_path / "c.npz") == []
    with pytest.raises(UsageError, match="dtype: expected float32 or float16; found 'bfloat16'"):
        convert(tmp_path / "a.npz", tmp_path / "d.npz", dtype="bfloat16")


def test_an_unfinished_run_is_converted_as_far_as_it_is(tmp_path: Path) -> None:
    expected = write(tmp_path / "a.npz", SHAPES["windows"], finish=False)
    found = convert(tmp_path / "a.npz", tmp_path / "b.parquet")
    assert found.notes == ("The run is not finished: this is what is committed. Run the same command again to go on.",)
    require(tmp_path / "b.parquet", expected)
    with begin(tmp_path / "b.parquet", videos_of(7)) as store:
        assert [video.key for video in store.pending()] == [video.key for video in videos_of(7)[5:]]


def test_what_cannot_be_read_is_a_failure_and_the_rest_is_there(tmp_path: Path) -> None:
    out = tmp_path / "a" / "{key}.npy"
    expected = write(out, SHAPES["windows"])
    damaged, changed, gone = ((tmp_path / "a" / row.key).with_suffix(".npy") for row in expected[:3])
    damaged.write_bytes(damaged.read_bytes()[:-1])
    np.save(changed, np.load(changed) + 1)
    gone.unlink()
    found = convert(out, tmp_path / "b.npz")
    assert (found.videos, found.converted, found.failed, found.unreadable) == (5, 1, 1, 3)
    require(tmp_path / "b.npz", expected[3:])
    assert verify(tmp_path / "b.npz") == []
    with load(tmp_path / "b.npz") as made:
        errors = [made.failures[row.key].error for row in expected[:3]]
    assert [(error.stage, error.kind) for error in errors] == [("write", "corrupt")] * 3
    assert [error.found.split(":")[0] for error in errors] == [
        "cannot be read",
        "does not match its SHA-256 in the manifest in the source",
        "has no features, though it is finished in the source",
    ]
    with begin(tmp_path / "b.npz", videos_of(5), retry_failed=True) as store:
        assert len(store.pending()) == 4


@pytest.mark.parametrize("name", ["a.npz", "a.pkl", "a.parquet", "a.h5"])
def test_nothing_is_written_of_a_source_that_is_damaged(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, SHAPES["vectors"])
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50])
    before = files(tmp_path)
    with pytest.raises(OutputError, match=f"{name}: expected features that can be read; found"):
        convert(tmp_path / name, tmp_path / "b" / "b.npz")
    assert files(tmp_path) == before
    assert not (tmp_path / "b").exists()


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    expected = write(tmp_path / "a.npz", SHAPES["windows"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.npy").write_bytes(b"precious")
    (tmp_path / "other.pkl").write_bytes(b"precious")
    write(tmp_path / "b.npz", SHAPES["vectors"])
    before = files(tmp_path)
    for out in ("other", "other.pkl", "b.npz"):
        with pytest.raises(OutputError, match=r"expected a new output; found one that exists.*`restart=True`"):
            convert(tmp_path / "a.npz", tmp_path / out)
    for out in ("a.npz", "other/../a.npz"):
        with pytest.raises(UsageError, match="an output other than the one being converted"):
            convert(tmp_path / "a.npz", tmp_path / out, restart=True)
    assert files(tmp_path) == before
    for out in ("other", "other.pkl", "b.npz"):
        convert(tmp_path / "a.npz", tmp_path / out, restart=True)
        require(tmp_path / out, expected)
    assert (tmp_path / "other" / "x.npy").read_bytes() == b"precious"
    with pytest.raises(UsageError, match="expected an output of vidfeat extract"):
        convert(tmp_path / "absent.npz", tmp_path / "c.npz")


@pytest.mark.parametrize("name", ["feats.pkl", "feats"])
def test_outputs_of_version_1(tmp_path: Path, name: str) -> None:
    version_1.write_finished(tmp_path / name)
    found = convert(tmp_path / name, tmp_path / "b.npz")
    assert (found.converted, found.failed, found.unreadable) == (2, 1, 0)
    assert verify(tmp_path / "b.npz") == []
    with load(tmp_path / "b.npz") as made:
        assert {key: made[key].values.tolist() for key in made} == version_1.VALUES
        assert made.failures["b.mp4"].error.kind == "corrupt"


def test_a_list_of_another_program(tmp_path: Path) -> None:
    rows = [np.full(3, number, np.float32) for number in range(3)]
    (tmp_path / "mm.pkl").write_bytes(pickle.dumps(rows))
    with pytest.raises(UsageError, match=r"names: expected the names of the videos.*Give the list.*`names`"):
        convert(tmp_path / "mm.pkl", tmp_path / "b.npz")
    with pytest.raises(UsageError, match="names: expected 3 names, one for each row; found 2"):
        convert(tmp_path / "mm.pkl", tmp_path / "b.npz", names=["a", "b"])
    convert(tmp_path / "mm.pkl", tmp_path / "b.npz", names=["a.mp4", "b/c.mp4", "d.mp4"])
    assert verify(tmp_path / "b.npz") == []
    with np.load(tmp_path / "b.npz") as found:
        assert {key: found[key].tolist() for key in found.files} == {
            "a.mp4": [0] * 3,
            "b/c.mp4": [1] * 3,
            "d.mp4": [2] * 3,
        }
    with pytest.raises(UsageError, match="names: expected none, as the output has the names"):
        convert(tmp_path / "b.npz", tmp_path / "c.npz", names=["a", "b", "c"])
    with begin(tmp_path / "b.npz", [VideoRef("a.mp4", "a.mp4")]) as store:
        assert len(store.pending()) == 1
        assert "computed with another recipe" in " ".join(store.notes)


# --- interruptions ----------------------------------------------------------------------------------------------------


def start(source: Path, out: Path | str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "vidfeat", "convert", str(source), str(out)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", ["b.parquet", "b/{key}.npz"])
def test_killed_at_any_moment_the_same_command_goes_on(tmp_path: Path, name: str) -> None:
    count = 1000
    videos = videos_of(count)
    with begin(tmp_path / "a.npz", videos) as store:
        store.commit(list(map(features_of, videos)), SESSION)
        store.finalize()
    kills = 0
    folder = RunFiles(tmp_path / "b.parquet" if name == "b.parquet" else tmp_path / "b").folder
    for signal_number in (signal.SIGKILL, signal.SIGINT, None):
        process = start(tmp_path / "a.npz", tmp_path / name)
        if signal_number is not None:
            while not is_locked(folder / "rank-00000.lock") and process.poll() is None:
                time.sleep(0.005)
            time.sleep(0.05)
            process.send_signal(signal_number)
        _, errors = process.communicate(timeout=60)
        kills += process.returncode == (130 if signal_number == signal.SIGINT else -9)
        if process.returncode == 130:
            assert errors.endswith("interrupted; what is converted is kept, run the same command again to go on\n")
    assert kills == 2
    assert process.returncode == 0
    assert f"{count} of {count} videos in" in errors
    assert verify(tmp_path / name) == []
    convert(tmp_path / name, tmp_path / "c.npz")
    assert (tmp_path / "c.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()


def test_the_command(tmp_path: Path) -> None:
    expected = write(tmp_path / "a" / "{key}.npy", SHAPES["windows"])
    os.truncate((tmp_path / "a" / expected[0].key).with_suffix(".npy"), 10)
    process = start(tmp_path / "a", f"{tmp_path}/b/{{key}}.csv")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "expected features as they were written; found cannot be read" in errors
    assert errors.endswith(f"3 of 5 videos in {tmp_path}/b, 1 failed before, 1 cannot be converted\n")
    require(tmp_path / "b", expected[1:])


def test_memory_is_that_of_one_video(tmp_path: Path) -> None:
    code = (
        "import resource, sys, numpy, h5py, pyarrow.parquet, zipfile; from vidfeat.store import convert\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "convert(sys.argv[1], sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    with begin(tmp_path / "a.h5", videos_of(24)) as store:
        for video in store.pending():
            store.commit([features_of(video, np.full((1000, 1024), 0.5, np.float32))], SESSION)
        store.finalize()
    for name in ("b.parquet", "b/{key}.npy"):
        command = [sys.executable, "-c", code, str(tmp_path / "a.h5"), str(tmp_path / name)]
        found = subprocess.run(command, capture_output=True, check=True)
        assert int(found.stdout) < 75_000  # kilobytes; the values are 98 MB
