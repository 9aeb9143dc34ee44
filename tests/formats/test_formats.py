"""What holds for every output format, and for opening one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sink_rows import features, read_elsewhere, same, write

from vidfeat.errors import OutputError, UsageError, WriteError
from vidfeat.features import VideoFeatures
from vidfeat.formats import FILE_FORMATS, FORMATS, FolderSink, Sink, Unreadable, as_little_endian, open_sink
from vidfeat.formats.atomic import replace_all

FOLDERS = ["feats", "feats/{key}.npz", "feats/{key}.pt", "feats/{key}.csv"]
OUTPUTS = [*FOLDERS, "feats.pkl", "feats.json", "feats.yaml", "feats.npz", "feats.h5", "feats.parquet"]
ANY_SHAPES = [name for name in OUTPUTS if name != "feats.parquet"]
KEYED = [*FOLDERS, "feats.npz", "feats.h5", "feats.parquet"]

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
arrays = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=5, max_side=3), elements=finite)


def test_every_format_is_tested() -> None:
    assert {type(open_sink(name)) for name in OUTPUTS} == set(FORMATS.values())
    assert {Path(name).suffix for name in FOLDERS} == {"", *FILE_FORMATS} - {".npy"}


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "name"),
    [
        ("a.pkl", "pkl"),
        ("a.PICKLE", "pkl"),
        ("a.json", "json"),
        ("a.yaml", "yaml"),
        ("b/a.yml", "yaml"),
        ("a.npz", "npz"),
        ("a.h5", "h5"),
        ("a.HDF5", "h5"),
        ("a.Parquet", "parquet"),
        ("a", "npy"),
        ("a.v2/", "npy"),
        ("there.pkl", "npy"),
        (".", "npy"),
        ("a/{key}.npy", "npy"),
        ("a.v2/{key}.NPZ", "npz"),
        ("{key}.pt", "pt"),
        ("a/../{key}.csv", "csv"),
    ],
)
def test_the_path_says_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pkl").mkdir()
    sink = open_sink(out)
    assert sink.name == name
    assert sink.out.name not in ("", "..")
    assert sink.positional is (name in ("pkl", "json", "yaml"))
    assert sink.in_place is isinstance(sink, FolderSink) is (name == "npy" or "{key}" in out)


def test_other_suffixes_are_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one of \.pkl, \.pickle, \.json, \.yaml, \.yml, .* found '\.mat'.*slash"):
        open_sink(tmp_path / "a.mat")


@pytest.mark.parametrize("out", ["a/{key}", "a/{key}.h5", "a/{key}/b.npy", "{key}/{key}.npy", "a/x{key}.npy"])
def test_the_key_stands_for_the_whole_name_of_a_file(out: str) -> None:
    with pytest.raises(UsageError, match=r"a folder, and in it \{key\} with one of \.npy, \.npz, \.pt, \.csv"):
        open_sink(out)
    with pytest.raises(UsageError, match=r"or a name such as features/\{key\}\.pt; found '\.pt'"):
        open_sink("a.pt")


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(UsageError, match="output: expected a path; found an empty one"):
        open_sink("")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "feats").write_text("")
    for out in (tmp_path / "feats", f"{tmp_path}/feats/"):
        with pytest.raises(UsageError, match="expected a folder or a new name for one; found a file"):
            open_sink(out)
    with pytest.raises(UsageError, match="found the root of the file system"):
        open_sink("/")


class Csv(Sink):
    """A format that vidfeat does not have: keys and numbers, a line each."""

    name = "csv"

    def check_keys(self, keys: Sequence[str]) -> None:
        if any("," in key for key in keys):
            raise UsageError("video", expected="a name without a comma", found="one")

    def prepare(self) -> None:
        self.out.parent.mkdir(exist_ok=True)

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        made = [",".join([key, *map(repr, row.values.tolist())]) for key, row in rows if row is not None]
        self.out.write_text("\n".join(made))

    def _rows(self) -> dict[str, list[float]]:
        lines = (line.split(",") for line in self.out.read_text().splitlines())
        return {key: list(map(float, values)) for key, *values in lines}

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        rows = self._rows()
        return (rows.get(key) for key in keys)

    def keys(self) -> Iterator[str]:
        return iter(self._rows())


def test_a_format_is_one_class_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, ".csv", Csv)
    sink = write(open_sink(tmp_path / "feats.csv"), [("a.mp4", [0.5, 2.0]), ("b.mp4", None)])
    assert sink.out.read_text() == "a.mp4,0.5,2.0"
    assert list(sink.read(["b.mp4", "a.mp4"])) == [None, [0.5, 2.0]]
    assert list(sink.orphans(["c.mp4"], present=0)) == ["a.mp4"]
    assert sink.holds("a.mp4")
    assert sink.write([]) == {}


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANY_SHAPES)
@given(rows=st.lists(st.none() | arrays, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_values_are_exact(tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[np.ndarray | None]) -> None:
    keys = [f"folder {index % 2}/{index}" for index in range(len(rows))]
    sink = write(open_sink(tmp_path_factory.mktemp("out") / name), list(zip(keys, rows, strict=True)))
    same(sink.read(keys), rows)
    if not sink.positional:
        same(sink.read([*keys[::-1], "absent"]), [*rows[::-1], None])
        assert sorted(sink.keys()) == sorted(key for key, row in zip(keys, rows, strict=True) if row is not None)


@pytest.mark.parametrize("name", ANY_SHAPES)
def test_other_programs_read_it(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(0)
    rows = [
        random.standard_normal(2048, np.float32),
        None,
        random.standard_normal((3, 8), np.float32),
        random.standard_normal((2, 3, 1, 2, 2), np.float32),
        np.array([1e-5, -1e20, 1.5e-7, -0.0, 3.4028235e38, 1e-45, 0, 2**-20, 2**60, 1e16], np.float32),
        np.asfortranarray(random.standard_normal((4, 5)).astype(">f4")),
    ]
    keys = [f"a/{index}" for index in range(len(rows))]
    sink = write(open_sink(tmp_path / name), list(zip(keys, rows, strict=True)))
    expected = [None if row is None else np.ascontiguousarray(row, "<f4") for row in rows]
    same(read_elsewhere(sink, keys, tmp_path / "into"), expected)


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_videos(tmp_path: Path, name: str) -> None:
    sink = write(open_sink(tmp_path / name), [])
    assert list(sink.read([])) == []
    assert list(sink.keys()) == []


@pytest.mark.parametrize("name", ANY_SHAPES)
def test_no_numbers(tmp_path: Path, name: str) -> None:
    empty = np.zeros((0, 4), np.float32)
    sink = write(open_sink(tmp_path / f"empty {name}"), [("a", empty)])
    found = np.asarray(next(sink.read(["a"])), np.float32)
    assert found.shape == ((0,) if sink.name in ("json", "yaml", "csv") else (0, 4))


@pytest.mark.parametrize("name", OUTPUTS)
def test_any_name_that_a_list_can_have(tmp_path: Path, name: str) -> None:
    keys = ["my clip", " two\nlines\t", "жук 蟲/é", "e\u0301", "a'b\"c", "%s {0}", "v1.5", "..x", "-o", "x" * 200]
    expected = [np.array([index], np.float32) for index in range(len(keys))]
    sink = write(open_sink(tmp_path / name), list(zip(keys, expected, strict=True)))
    same(sink.read(keys), expected)
    same(read_elsewhere(sink, keys, tmp_path / "into"), expected)
    if not sink.positional:
        assert sorted(sink.keys()) == sorted(keys)
        assert list(sink.orphans(keys, len(keys))) == []
        (orphan,) = sink.orphans(keys[1:], len(keys) - 1)
        assert orphan.removesuffix(f".{sink.name}") == keys[0]


@pytest.mark.parametrize("name", ["feats", "feats.pkl"])
def test_names_in_other_encodings(tmp_path: Path, name: str) -> None:
    sink = write(open_sink(tmp_path / name), [("caf\udce9.mp4", [1.0])])
    same(sink.read(["caf\udce9.mp4"]), [np.array([1], np.float32)])


@pytest.mark.parametrize("name", KEYED)
def test_names_that_are_no_text(tmp_path: Path, name: str) -> None:
    keys = ["\ud800", "a\0b"] if name in FOLDERS else ["\ud800", "caf\udce9.mp4", "a\0b"]
    for key in keys:
        with pytest.raises(UsageError) as caught:
            open_sink(tmp_path / name).check_keys(["ok", key])
        assert repr(key) in f"{caught.value.where} {caught.value.found}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in OUTPUTS if name != "feats.h5"])
def test_the_bytes_depend_on_keys_and_values_alone(tmp_path: Path, name: str) -> None:
    shared = np.arange(6, dtype=np.float32).reshape(2, 3)
    key = "a/b"
    rows = [
        [(key, shared), (f"{key}c", shared)],
        [("/".join("ab"), shared.copy()), ("a/bc", np.asfortranarray(shared))],
        [("a/b", shared.astype(">f4")), ("a/bc", np.repeat(shared, 2, axis=0)[::2])],
    ]
    written = []
    for number, made in enumerate(rows):
        sink = open_sink(tmp_path / f"{number}" / name)
        sink.prepare()
        kept = [(key, VideoFeatures(key, "encoder", values)) for key, values in made]
        sink.write([row for _, row in kept])
        sink.finalize(kept)
        files = [sink.out] if sink.out.is_file() else sorted(path for path in sink.out.rglob("*") if path.is_file())
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1] == written[2]


def test_what_hashes_are_taken_of() -> None:
    values = np.array([[1, 2], [3, 4]], ">f4").T
    assert as_little_endian(values).hex() == "0000803f000040400000004000008040"


# --- failures ---------------------------------------------------------------------------------------------------------

FILL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from sink_rows import write
from vidfeat.errors import WriteError
from vidfeat.formats import open_sink
import numpy as np
limit = int(sys.argv[2])
import h5py, pyarrow.parquet, yaml  # before the limit, as Python may write compiled files
if sys.argv[1].endswith('.pt'):
    import torch
sink = open_sink(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write(sink, [(f"folder/{n}", np.full(500, n + 0.25, np.float32)) for n in range(20)])
except WriteError as error:
    print(error.found)
"""


@pytest.mark.parametrize(
    ("name", "share"),
    [(name, share) for name in OUTPUTS for share in (0.0, 0.3, 0.9, 0.999) if name not in FOLDERS[1:] or share == 0.9],
)
def test_a_full_disk_leaves_the_old_output_whole(tmp_path: Path, name: str, share: float) -> None:
    sink = open_sink(tmp_path / name)
    write(sink, [(f"folder/{n}", np.full(500, n + 0.5, np.float32)) for n in range(20)])
    files = [sink.out] if sink.out.is_file() else sorted(path for path in sink.out.rglob("*") if path.is_file())
    before = [file.read_bytes() for file in files]
    limit = int(len(before[0]) * share)
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", FILL, str(tmp_path / name), str(limit), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (process.stdout, process.stderr) == ("File too large\n", "")
    assert [file.read_bytes() for file in files] == before
    there = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(there) == files


@pytest.mark.parametrize("name", ["feats.pkl", "feats.json", "feats.yaml", "feats.npz", "feats.h5", "feats.parquet"])
def test_rows_that_cannot_be_had_leave_the_old_output_whole(tmp_path: Path, name: str) -> None:
    def rows() -> Iterator[tuple[str, VideoFeatures]]:
        yield "a", features("a", [2.0])
        raise OutputError("the run", expected="rows", found="none")

    sink = write(open_sink(tmp_path / name), [("a", [1.0])])
    with pytest.raises(OutputError, match="the run: expected rows"):
        sink.finalize(rows())
    same(sink.read(["a"]), [np.array([1], np.float32)])
    assert list(tmp_path.iterdir()) == [sink.out]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_folder_that_takes_no_files_is_found_before_the_work(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="expected a folder to write to, or to create"):
        open_sink(tmp_path / "new" / name).prepare()


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_where_the_folder_should_be_is_found_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "new").write_text("")
    with pytest.raises(OutputError, match="expected a folder to write to, or to create"):
        open_sink(tmp_path / "new" / name).prepare()


@pytest.mark.parametrize("name", [name for name in OUTPUTS if name not in FOLDERS])
@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"PK\x05\x06", b"\x89HDF\r\n\x1a\n", os.urandom(3000)])
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, data: bytes) -> None:
    sink = open_sink(tmp_path / name)
    with pytest.raises(OutputError, match="expected an output that can be read; found no such file"):
        sink.read([])
    sink.out.write_bytes(data)
    with pytest.raises(OutputError, match=f"{name}: expected (an output that can be read|a list with a row)"):
        sink.read([])


@pytest.mark.parametrize("name", ANY_SHAPES)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_damage_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """Cut, or with some bytes changed: there is an error, or there are rows; nothing else."""
    sink = write(open_sink(tmp_path_factory.mktemp("out") / name), [("a", [1.0, 2.0]), ("b", [[3.0]])])
    file = sink.out if sink.out.is_file() else sink.out / f"a.{sink.name}"
    raw = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(OutputError):
        found = list(sink.read(["a", "b"]))
        assert all(row is None or isinstance(row, Unreadable | np.ndarray | list) for row in found) or sink.positional


def test_a_file_that_is_shorter_than_what_was_written_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "a.bin"
    out.write_bytes(b"old")

    def write_and_lose(file: BinaryIO) -> None:
        file.write(b"abcdef")
        file.flush()
        os.truncate(file.fileno(), 3)

    with pytest.raises(WriteError, match="3 of 6 bytes on disk"):
        replace_all({out: write_and_lose})
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["feats.pkl", "feats.json", "feats.yaml"])
def test_memory_does_not_grow_with_rows(tmp_path: Path, name: str) -> None:
    count = 20_000 if name == "feats.pkl" else 2_000
    sink = open_sink(tmp_path / name)
    rows = ((f"{number}", features(f"{number}", np.full(256, number))) for number in range(count))
    tracemalloc.start()
    sink.finalize(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sink.out.stat().st_size > 1000 * count
    assert peak < 1 << 20


def test_hdf5_and_npz_need_little_per_row(tmp_path: Path) -> None:
    code = (
        "import resource, sys; import numpy as np; import h5py, zipfile\n"
        "sys.path.insert(0, sys.argv[2]); from sink_rows import features; from vidfeat.formats import open_sink\n"
        "row = np.zeros(25_000, np.float32); sink = open_sink(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sink.finalize((f'{n}', features(f'{n}', row)) for n in range(800))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    for name in ("feats.npz", "feats.h5"):
        out = tmp_path / name
        found = subprocess.run(
            [sys.executable, "-c", code, str(out), str(Path(__file__).parent)], capture_output=True, check=True
        )
        assert out.stat().st_size > 80_000_000
        assert int(found.stdout) < 40_000  # kilobytes
        out.unlink()
