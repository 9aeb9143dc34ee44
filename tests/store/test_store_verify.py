"""`vidfeat verify` against outputs that were damaged in every way one can think of."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_worker import SESSION, begin, commit, compute, features_of, run, values_of, videos_of

from vidfeat.errors import OutputError
from vidfeat.features import VideoFeatures
from vidfeat.formats import open_sink
from vidfeat.store import load, verify
from vidfeat.store.files import RunFiles

COUNT = 12
NAMES = ["feats.pkl", "feats.json", "feats.yaml", "feats.npz", "feats"]


def manifest_path(out: Path) -> Path:
    return RunFiles(out).manifest


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same features in every format; the fourth video failed."""
    folder = tmp_path_factory.mktemp("sound")
    for name in NAMES:
        run(folder / name, videos_of(COUNT), fails=(3,))
        assert verify(folder / name) == []
    return folder


@pytest.fixture(params=NAMES)
def out(sound: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy that may be damaged."""
    return shutil.copytree(sound, tmp_path / "copy") / request.param


Change = Callable[[list[dict[str, Any]]], object]


def with_manifest(out: Path, change: Change) -> list[str]:
    path = manifest_path(out)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return verify(out)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines.pop(), "declares 12 videos and lists 11"),
        (lambda lines: lines.append(lines[-1]), "declares 12 videos and lists 13"),
        (lambda lines: lines.insert(2, lines[1]), "line 3 of the manifest is not about video 1"),
        (lambda lines: lines[1].update(name="other.mp4"), "names in the manifest do not match its list_digest"),
        (lambda lines: lines[1].update(name="\ud800"), "names in the manifest do not match its list_digest"),
        (lambda lines: lines[1].update(name=7), "line 2 of the manifest is not about video 0"),
        (lambda lines: lines[2].update(index=0), "line 3 of the manifest is not about video 1"),
        (lambda lines: lines[0].update(list_digest="0" * 64), "names in the manifest do not match its list_digest"),
        (lambda lines: lines[0].update(recipe={"schema": 2}), "recipe does not match its recipe_digest"),
        (lambda lines: lines[0].update(failed=0), "declares 0 failures and lists 1"),
        (lambda lines: lines[4].update(status="done"), "line 5 of the manifest has no valid shape"),
        (lambda lines: lines[1].update(status="maybe"), "a status other than done and failed"),
        (lambda lines: lines[1].update(shape="64"), "line 2 of the manifest has no valid shape"),
        (lambda lines: lines[1].update(shape=[64.0]), "line 2 of the manifest has no valid shape"),
        (lambda lines: lines[1].update(sha256=None), "line 2 of the manifest has no hash"),
        (lambda lines: lines[4].update(error=None), "is a failure without an error"),
        (lambda lines: lines[1].update(shape=[32, 2]), "'folder 0/clip 0.mp4' (index 0): has shape [64], not [32, 2]"),
        (lambda lines: lines[1].update(sha256="0" * 64), "'folder 0/clip 0.mp4' (index 0): does not match its SHA-256"),
        (lambda lines: lines[1].update(status="failed", error={}), "declares 1 failures and lists 2"),
        (lambda lines: lines[1].update(session=1), "line 2 of the manifest names an unknown session"),
    ],
)
def test_a_manifest_that_was_changed(out: Path, change: Change, words: str) -> None:
    problems = with_manifest(out, change)
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"nothing",
        b"[" * 200_000,
        b'{"vidfeat_manifest": 2}',
        b'{"vidfeat_manifest": 3}',
        b"\xff\xfe",
        bytes(4096),
    ],
)
def test_a_manifest_that_is_none(out: Path, content: bytes) -> None:
    manifest_path(out).write_bytes(content)
    with pytest.raises(OutputError, match="expected a vidfeat manifest"):
        verify(out)


def test_every_byte_of_a_manifest_counts(out: Path) -> None:
    """What a changed byte does, if anything, is an error that is told or a problem that is named."""
    chance = random.Random(1)
    sound = manifest_path(out).read_bytes()
    found = 0
    for _ in range(60):
        data = bytearray(sound)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        manifest_path(out).write_bytes(data)
        try:
            found += bool(verify(out))
        except OutputError:
            found += 1
    assert found > 20  # the rest is in what nothing else depends on: frame rates, versions, messages


def test_every_changed_byte_of_the_features_is_found(out: Path) -> None:
    chance = random.Random(2)
    files = sorted(out.rglob("*.npy")) if out.is_dir() else [out]
    for _ in range(40):
        path = chance.choice(files)
        sound = path.read_bytes()
        data = bytearray(sound)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        problems = verify(out)
        path.write_bytes(sound)
        if not problems:  # a space, or a zero at the end of a number, where only text is; a date in a zip file
            before = read_plainly(out)
            path.write_bytes(data)
            assert np.array_equal(read_plainly(out), before)
            path.write_bytes(sound)


def read_plainly(out: Path) -> Any:
    import yaml

    if out.is_dir():
        rows = [np.load(path) for path in sorted(out.rglob("*.npy"))]
    elif out.suffix == ".npz":
        with np.load(out) as archive:
            rows = [archive[name] for name in sorted(archive)]
    else:
        read = {".pkl": pickle.loads, ".json": json.loads, ".yaml": yaml.safe_load}[out.suffix]
        rows = [row for row in read(out.read_bytes()) if row is not None]
    return np.array(rows, np.float32)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_cut_file_is_a_problem(out: Path, share: float) -> None:
    path = out if out.is_file() else out / "folder 1" / "clip 1.npy"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    problems = verify(out)
    assert problems
    if out.is_dir():
        (problem,) = problems
        assert problem.startswith("'folder 1/clip 1.mp4' (index 1): cannot be read")


def test_of_a_folder_every_damaged_file_is_named(sound: Path, tmp_path: Path) -> None:
    out = shutil.copytree(sound, tmp_path / "copy") / "feats"
    row = values_of(0)
    (out / "folder 0" / "clip 0.npy").unlink()
    (out / "folder 1" / "clip 1.npy").write_bytes(b"not an array")
    np.save(out / "folder 2" / "clip 2.npy", row[:5])
    np.save(out / "folder 0" / "clip 3.npy", row)  # of the one that failed
    np.save(out / "folder 1" / "clip 4.npy", values_of(4).astype(np.float64))
    np.save(out / "folder 2" / "clip 5.npy", np.full(64, np.inf, np.float32))
    np.save(out / "folder 0" / "clip 6.npy", row)
    np.savez(out / "folder 1" / "clip 7.npz", row)
    (out / "folder 1" / "clip 7.npz").replace(out / "folder 1" / "clip 7.npy")
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    bomb = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,), }".ljust(117) + b"\n"
    (out / "folder 2" / "clip 8.npy").write_bytes(header + bomb)
    (out / "folder 1" / "clip 10.npy").unlink()
    (out / "folder 1" / "clip 10.npy").mkdir()
    problems = verify(out)
    for index, words in enumerate(
        ("no features", "cannot be read", "shape [5]", "has features, though", "float64", "infinite", "does not match",
         "cannot be read", "instead of 39999999999996", None, "no features", None)
    ):  # fmt: skip
        mine = [problem for problem in problems if f"(index {index})" in problem]
        assert len(mine) == (words is not None), (index, mine)
        assert words is None or words in mine[0]


def test_features_of_no_video_are_named(sound: Path, tmp_path: Path) -> None:
    out = shutil.copytree(sound, tmp_path / "copy") / "feats"
    (out / "notes.txt").write_text("not features")
    np.save(out / "folder 1" / "clip 99.npy", values_of(0))
    assert verify(out) == ["'folder 1/clip 99.npy' is in the output, but is not the name of a listed video"]
    (out / "folder 0" / "clip 0.npy").unlink()  # as many files as videos again
    assert verify(out) == [
        "'folder 0/clip 0.mp4' (index 0): has no features, though the manifest says that it is done",
        "'folder 1/clip 99.npy' is in the output, but is not the name of a listed video",
    ]


def test_bytes_after_the_end_of_a_file_are_a_problem(out: Path) -> None:
    if out.is_file():
        out.write_bytes(out.read_bytes() + b"{more}")
        # A zip file's directory is looked for from the end: every reader takes it as it is.
        (problem,) = verify(out) if out.suffix != ".npz" else ["expected an output that can be read"]
        assert "expected an output that can be read" in problem
        out.unlink()
        assert verify(out) == [f"{out}: expected an output that can be read; found no such file."]


@pytest.mark.parametrize("line", [b'{"index": 4', b"\n", b"[]\n"])
def test_a_line_of_the_manifest_that_is_none_is_named(out: Path, line: bytes) -> None:
    with manifest_path(out).open("ab") as file:
        file.write(line)
    with pytest.raises(OutputError, match=f"found no (JSON|object) on line {COUNT + 2}"):
        verify(out)


def test_a_link_out_of_the_folder_is_not_followed(sound: Path, tmp_path: Path) -> None:
    out = shutil.copytree(sound, tmp_path / "copy") / "feats"
    shutil.move(out / "folder 1", tmp_path / "elsewhere")
    (out / "folder 1").symlink_to(tmp_path / "elsewhere")
    problems = verify(out)
    assert [problem.split(":")[0] for problem in problems] == [
        f"'folder 1/clip {index}.mp4' (index {index})" for index in (1, 4, 7, 10)
    ]
    assert all("a symbolic link to" in problem for problem in problems)


def test_exit_codes(sound: Path, tmp_path: Path) -> None:
    out = shutil.copytree(sound, tmp_path / "copy") / "feats.pkl"

    def run_command() -> tuple[int, str, str]:
        command = [sys.executable, "-m", "vidfeat", "verify", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert run_command() == (0, f"{out}: intact: 11 of 12 videos have features\n", "")
    sound_bytes = out.read_bytes()
    out.write_bytes(sound_bytes[:-30])
    code, told, errors = run_command()
    assert (code, errors) == (1, "")
    assert "expected an output that can be read" in told
    manifest_path(out).unlink()
    code, told, errors = run_command()
    assert (code, told) == (2, "")
    assert "expected the manifest of this output; found no such file" in errors


def test_a_folder_is_verified_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)  # the disk's patience is not what is measured
    out = tmp_path / "feats"
    videos = videos_of(600)
    with begin(out, videos) as store:
        store.commit([features_of(video, np.ones(2048, np.float32)) for video in videos], SESSION)
        store.finalize()
    tracemalloc.start()
    assert verify(out) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000  # a tenth of the features; 310,000 on Python 3.13


def test_not_every_one_of_very_many_problems_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    out = tmp_path / "feats"
    videos = videos_of(1500)
    with begin(out, videos) as store:
        store.commit([features_of(video, np.ones(4, np.float32)) for video in videos], SESSION)
        store.finalize()
    shutil.rmtree(out)
    problems = verify(out)
    assert len(problems) == 1001
    assert problems[-1].startswith("and more than these 1000")


# --- files with other rows --------------------------------------------------------------------------------------------


def replace_rows(out: Path, new: list[Any]) -> None:
    """Put other rows into an output, behind the store's back."""
    sink = open_sink(out)
    rows = [
        (f"folder {index % 3}/clip {index}.mp4", None if values is None else VideoFeatures("", "", values))
        for index, values in enumerate(new)
    ]
    if not sink.in_place:
        sink.finalize((key, row) for key, row in rows)
        return
    for key, row in rows[:3]:
        path = out / key.replace(".mp4", ".npy")
        path.unlink(missing_ok=True)
        if row is not None:
            path.parent.mkdir(exist_ok=True)
            np.save(path, row.values)


@pytest.fixture(params=NAMES)
def three(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    run(tmp_path / request.param, videos_of(3), fails=(1,))
    return Path(tmp_path / request.param)


def test_verify_names_what_is_wrong(three: Path) -> None:
    good = [values_of(0), None, values_of(2)]
    nan = values_of(0).copy()
    nan[3] = np.nan
    for new, problem in [
        ([values_of(2), None, values_of(2)], "'folder 0/clip 0.mp4' (index 0): does not match its SHA-256"),
        ([values_of(0)[:-1], None, good[2]], "'folder 0/clip 0.mp4' (index 0): has shape [63], not [64]"),
        ([good[0], None, None], "'folder 2/clip 2.mp4' (index 2): has no features, though"),
        ([good[0], good[0], good[2]], "'folder 1/clip 1.mp4' (index 1): has features, though"),
    ]:
        replace_rows(three, new)
        (found,) = verify(three)
        assert found.startswith(problem)
    if three.suffix in ("", ".pkl"):
        replace_rows(three, [nan, None, good[2]])
        assert verify(three) == ["'folder 0/clip 0.mp4' (index 0): has values that are infinite or NaN"]
    if open_sink(three).positional:
        replace_rows(three, good[:2])
        assert verify(three) == ["the output ends before 'folder 2/clip 2.mp4' (index 2)"]
        replace_rows(three, [*good, None])
        assert verify(three) == ["the output has 1 row(s) after the last video"]
    if three.suffix:
        three.write_bytes(three.read_bytes()[:-20])
        (found,) = verify(three)
        assert "expected an output that can be read" in found


def test_verify_names_what_is_wrong_with_the_manifest(three: Path) -> None:
    manifest = manifest_path(three)
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:3]))
    names = "the names in the manifest do not match its list_digest"
    assert verify(three) == ["the manifest declares 3 videos and lists 2", names]
    manifest.write_text("".join([lines[0], lines[2], lines[1], lines[3]]))
    assert verify(three) == [*(f"line {n} of the manifest is not about video {n - 2}" for n in (2, 3)), names]
    manifest.write_text("".join(lines) + "{")
    with pytest.raises(OutputError, match="expected a vidfeat manifest"):
        verify(three)
    manifest.unlink()
    with pytest.raises(OutputError, match="no such file"):
        verify(three)


# --- runs that are not finished ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_of_a_run_is_checked(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    videos = videos_of(6)
    unfinished = "the run is not finished: 3 videos are done and 1 failed so far"
    with begin(out, videos) as store:
        for number, video in enumerate(videos[:4]):
            commit(store, video, fails=number == 2)
        assert verify(out) == [unfinished]  # under way
    assert verify(out) == [unfinished]  # interrupted
    if out.is_dir():
        (out / "folder 0" / "clip 0.npy").unlink()
        np.save(out / "folder 1" / "clip 1.npy", values_of(7))
        assert verify(out) == [
            unfinished,
            "'folder 0/clip 0.mp4': has no features, though it is finished",
            "'folder 1/clip 1.mp4': does not match its SHA-256 in the manifest",
        ]
    else:
        database = RunFiles(out).database(0)
        data = database.read_bytes()
        database.write_bytes(data.replace(values_of(1).tobytes(), values_of(7).tobytes()))
        (first, second) = verify(out)
        assert first == unfinished
        assert second.startswith("'folder 1/clip 1.mp4': ")
        assert "does not match its SHA-256 in the manifest" in second
        with load(out) as stored, pytest.raises(OutputError, match="does not match its SHA-256"):
            _ = stored["folder 1/clip 1.mp4"]
        with begin(out, videos) as store:
            compute(store)
            with pytest.raises(OutputError, match=r"folder 1/clip 1.mp4.*does not match its SHA-256"):
                store.finalize()
