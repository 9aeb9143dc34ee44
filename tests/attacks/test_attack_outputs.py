"""Hostile outputs and run databases: read, they run nothing, change no other file, and end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from made_outputs import clustered, names_of, write_output
from vidfeat import load
from vidfeat.errors import OutputError
from vidfeat.formats import open_sink
from vidfeat.store import WorkIdentity, verify
from vidfeat.store.database import pin
from vidfeat.store.files import RunFiles


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """An output of which there is only the database."""
    return write_output(tmp_path / "out.npz", names_of(4), clustered(4), finish=False)


def read_all(out: Path) -> None:
    """By both ways in."""
    for read in (verify, load):
        with pytest.raises(OutputError):
            read(out)


# --- run databases ----------------------------------------------------------------------------------------------------


def journal_of(database: Path) -> bytes:
    """What a process that was killed in the middle of a commit leaves beside the database."""
    connection = sqlite3.connect(database, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE contents SET payload = zeroblob(100000)")
        data = database.with_name(f"{database.name}-journal").read_bytes()
        connection.execute("ROLLBACK")
    assert data
    return data


def naming(journal: bytes, victim: Path) -> bytes:
    """The journal as a part of a commit to several databases, which `victim` is the list of."""
    name = os.fsencode(victim)
    end = len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + bytes.fromhex("d9d505f920a163d7")
    return journal + (2**30 // 4096 + 1).to_bytes(4, "big") + name + end


def test_a_journal_names_a_file_which_sqlite_would_remove(unfinished: Path, tmp_path: Path) -> None:
    database = RunFiles(unfinished).database(0)
    journal = database.with_name(f"{database.name}-journal")
    victim = tmp_path / "precious.txt"
    victim.write_text("of somebody else\n")
    hostile = naming(journal_of(database), victim)
    copy = tmp_path / "copy.sqlite"
    shutil.copy(database, copy)
    copy.with_name(f"{copy.name}-journal").write_bytes(hostile)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("SELECT count(*) FROM videos").fetchone()
    assert not victim.exists()  # the attack works on SQLite itself
    victim.write_text("of somebody else\n")
    journal.write_bytes(hostile)
    read_all(unfinished)
    assert victim.read_text() == "of somebody else\n"


def test_a_journal_of_a_killed_process_is_still_rolled_back(unfinished: Path) -> None:
    database = RunFiles(unfinished).database(0)
    database.with_name(f"{database.name}-journal").write_bytes(journal_of(database))
    with load(unfinished) as stored:
        assert len([features.values for features in stored.values()]) == 4


NUMBERS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n"


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE superseded", f"CREATE VIEW superseded AS {NUMBERS} AS source, n AS through FROM c"],
        ["CREATE TRIGGER t AFTER INSERT ON videos BEGIN DELETE FROM videos; END"],
        ["CREATE TRIGGER t AFTER INSERT ON videos BEGIN INSERT INTO identities VALUES (9, 'a', zeroblob(9e8)); END"],
        ["ALTER TABLE contents ADD COLUMN more BLOB AS (zeroblob(900000000))"],
        ["ALTER TABLE sessions RENAME TO s", f"CREATE VIEW sessions AS {NUMBERS} AS id, n AS session FROM c"],
        ["CREATE VIRTUAL TABLE more USING fts5(text)"],
        ["CREATE INDEX i ON videos (hex(zeroblob(bytes)))"],
    ],
)
def test_databases_with_anything_else_than_the_tables_of_vidfeat(unfinished: Path, statements: list[str]) -> None:
    database = RunFiles(unfinished).database(0)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        try:
            for statement in statements:
                connection.execute(statement)
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no such statement")
    with pytest.raises(OutputError, match="which vidfeat does not make"):
        load(unfinished)
    with pytest.raises(OutputError, match="which vidfeat does not make"):
        write_output(unfinished, names_of(5), clustered(5))


@pytest.mark.parametrize("value", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, '"\\ud800"', "null", "[[1]]", "\0"])
@pytest.mark.parametrize("column", ["identities.identity", "videos.shape", "videos.segment", "contents.info"])
def test_texts_in_a_database(unfinished: Path, column: str, value: str) -> None:
    table, name = column.split(".")
    with contextlib.closing(sqlite3.connect(RunFiles(unfinished).database(0), isolation_level=None)) as connection:
        connection.execute(f"UPDATE {table} SET {name} = ?", (value,))
    with contextlib.suppress(OutputError), load(unfinished) as stored:
        for key in stored:
            with contextlib.suppress(OutputError):
                stored.line(key)
                np.asarray(stored[key])


@pytest.mark.parametrize("value", [None, b"7", "seven", 7, 7.5, "x" * 100_000])
@pytest.mark.parametrize(
    "column",
    "database.id superseded.source superseded.through sqlite_sequence.seq identities.identity sessions.session"
    " videos.key videos.committed videos.bytes".split(),
)
def test_values_of_other_types_in_a_database(unfinished: Path, column: str, value: object) -> None:
    """SQLite reads them from a changed file, whatever the column was declared as."""
    table, name = column.split(".")
    with contextlib.closing(sqlite3.connect(RunFiles(unfinished).database(0), isolation_level=None)) as connection:
        connection.execute("INSERT INTO superseded VALUES ('a', 0)")
        connection.execute("PRAGMA writable_schema = ON")
        (text,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        loose = text.replace(" NOT NULL", "")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (loose, table))
    with contextlib.closing(sqlite3.connect(RunFiles(unfinished).database(0), isolation_level=None)) as connection:
        connection.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = 1", (value,))
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (text, table))
    for read in (verify, load):
        with contextlib.suppress(OutputError):
            list(read(unfinished))


def test_an_emptied_file_of_pins_is_begun_again(unfinished: Path) -> None:
    """Version 1 kept the backend of a run in a file whose loss ended the run for good."""
    identity = WorkIdentity("a" * 64, "b" * 64, "fp32")
    pins = RunFiles(unfinished).pins
    assert pin(pins, identity, "compiled") == "compiled"
    assert pin(pins, identity, "eager") == "compiled"
    pins.write_bytes(b"")
    assert pin(pins, identity, "eager") == "eager"
    write_output(unfinished, names_of(4), clustered(4))
    assert [path.name for path in unfinished.parent.iterdir() if path.suffix == ".vidfeat"] == []


# --- files that have no end, or expand --------------------------------------------------------------------------------


def read_in_a_process(out: Path, megabytes: int = 600) -> subprocess.CompletedProcess[str]:
    """`load` and everything in it, with that much memory more than the interpreter needs, and not for ever."""
    program = (
        "import resource, sys, vidfeat, h5py, yaml; from vidfeat.formats import open_sink\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20,) * 2)\n"
        "try:\n"
        "    with vidfeat.load(sys.argv[1]) as stored: print([stored[key].values.shape for key in stored])\n"
        "except vidfeat.OutputError as error: print(error)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(out)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("suffix", ["pkl", "json", "yaml", "npz", "h5"])
@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_pipes_and_devices_in_place_of_an_output(tmp_path: Path, suffix: str, target: str) -> None:
    out = tmp_path / f"out.{suffix}"
    if target == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to(target)
    with pytest.raises(OutputError, match="no regular file"):
        load(out)


@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_pipes_and_devices_in_place_of_a_manifest(tmp_path: Path, target: str) -> None:
    out = write_output(tmp_path / "out.json", names_of(2), clustered(2))
    manifest = RunFiles(out).manifest
    manifest.unlink()
    if target == "pipe":
        os.mkfifo(manifest)
    else:
        manifest.symlink_to(target)
    with pytest.raises(OutputError, match="no regular file"):
        verify(out)
    with load(out) as stored:
        assert "no regular file" in stored.notes[0]


def test_a_manifest_of_one_line_that_does_not_end(tmp_path: Path) -> None:
    out = write_output(tmp_path / "out.json", names_of(2), clustered(2))
    with RunFiles(out).manifest.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(OutputError, match="a line of more than"):
        verify(out)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "text",
    [
        *("[" * 1_000_000, "- " * 1_000_000, "{a: " * 1_000_000, "? " * 1_000_000, '["]",' * 1_000_000),
        *("- a]]]]\n" + "- [[" * 500_000, "- " + ":".join(["59"] * 300_000), "a: &a [*a, *a]"),
        "".join(f"{' ' * depth}-\n" for depth in range(2000)),
    ],
)
def test_yaml_that_nests_until_the_parser_crashes(tmp_path: Path, text: str) -> None:
    (tmp_path / "out.yaml").write_text(text)
    done = read_in_a_process(tmp_path / "out.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "not part of a list of numbers" in done.stdout or "levels of lists" in done.stdout


@pytest.mark.parametrize(
    "text", ["- [1.0, -2.5e-05, .nan]\n- null\n- - 1\n  - .inf\n- ~\n", "[[1.5, 2], null]", "[]\n"]
)
def test_yaml_as_other_programs_write_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "out.yaml").write_text(text)
    with load(tmp_path / "out.yaml") as stored:
        assert len(stored.videos) == (4 if "nan" in text else 2 if "null" in text else 0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_sparse_array_costs_no_memory(tmp_path: Path) -> None:
    """A terabyte in a file of one block. There is no such memory, and no need to try."""
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**38,)})
        file.truncate(file.tell() + 2**40)
    done = read_in_a_process(tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bytes" in done.stdout
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with load(tmp_path / "out") as stored, pytest.raises(OutputError):
        np.asarray(stored["a"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 100_000  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("suffix", ["pkl", "json", "yaml", "npz", "h5"])
def test_sparse_files_cost_no_memory(tmp_path: Path, suffix: str) -> None:
    """A terabyte each, of zeros behind an intact beginning."""
    out = write_output(tmp_path / f"out.{suffix}", names_of(2), clustered(2))
    RunFiles(out).manifest.unlink()
    with out.open("r+b") as file:
        file.truncate(2**40)
    done = read_in_a_process(out)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("gigabytes", [0.8, 900])
def test_a_sparse_hdf5_file_is_refused_before_it_costs_memory(tmp_path: Path, gigabytes: float) -> None:
    """Datasets, and the names of a group, in the hole of a file: HDF5 would read all of their zeros."""
    h5py = pytest.importorskip("h5py")
    count = int(gigabytes * 2**28)
    with h5py.File(tmp_path / "out.h5", "w", libver="earliest") as output:
        space = h5py.h5s.create_simple((count,))
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        h5py.h5d.create(output.id, b"a", h5py.h5t.IEEE_F32LE, space, early)
        output["b"] = np.ones(3, np.float32)
    status = (tmp_path / "out.h5").stat()
    assert status.st_size > 4 * count
    if status.st_blocks > 10_000:
        pytest.skip("this file system has no sparse files")
    done = read_in_a_process(tmp_path / "out.h5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "are on the disk" in done.stdout


@pytest.mark.parametrize("suffix", ["npz", "npy", "pkl"])
def test_a_sparse_array_that_would_fit_into_memory_is_refused(tmp_path: Path, suffix: str) -> None:
    """Of 800 MB, which are 4 kB on the disk."""
    size = 200_000_000
    out = tmp_path / "out"
    out.mkdir()
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (size,)})
    if suffix == "npy":
        path = out / "a.npy"
        path.write_bytes(head.getvalue())
        os.truncate(path, len(head.getvalue()) + 4 * size)
    else:
        out = tmp_path / f"out.{suffix}"
        write_output(out, names_of(2), clustered(2))
        RunFiles(out).manifest.unlink()
        os.truncate(out, 4 * size)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OutputError, match="are on the disk"), load(out) as stored:
        np.asarray(stored["a"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 100_000  # KiB


def npy_file(header: str, numbers: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + numbers


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}" + " " * 9_000 + "\0",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)" + " " * 9_000,
        *("(" * 9_000, "-" * 9_000 + "1", "{'descr': " * 800, " " * 60_000, "[0" + "+0" * 4_000 + "]", "1" * 9_000),
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1" + "0" * 30 + ")}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '(1000000000,)f4', 'fortran_order': False, 'shape': ()}",
    ],
)
def test_hostile_headers_of_arrays_cost_no_time(tmp_path: Path, header: str) -> None:
    """NumPy's own reader takes seconds for a header of blanks that it does not understand."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.npy").write_bytes(npy_file(header, bytes(4)))
    np.savez(tmp_path / "out.npz", b=np.ones(1, np.float32))
    with zipfile.ZipFile(tmp_path / "out.npz", "a") as archive:
        archive.writestr("a.npy", npy_file(header, bytes(4)))
    for out in (tmp_path / "out", tmp_path / "out.npz"):
        start = time.process_time()
        with load(out) as stored, pytest.raises(OutputError):
            np.asarray(stored["a"])
        assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("header", "shape"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }   \n", (2, 1)),
        ('{"shape": (1, 2), "fortran_order": True, "descr": "<f4"}', (1, 2)),
        ("  {'descr':'|u1','fortran_order':False,'shape':(8,)}\n", (8,)),
    ],
)
def test_headers_of_arrays_as_other_programs_write_them(tmp_path: Path, header: str, shape: tuple[int, ...]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.npy").write_bytes(npy_file(header, bytes(8)))
    with load(tmp_path / "out") as stored:
        assert stored["a"].values.shape == shape


def test_datasets_of_the_same_bytes_are_not_read_for_ever(tmp_path: Path) -> None:
    """Two megabytes under a hundred names."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "out.h5", "w") as output:
        output["0"] = np.ones(500_000, np.float32)
        for number in range(1, 100):
            output[str(number)] = output["0"]
    found = list(open_sink(tmp_path / "out.h5").read(map(str, range(100))))
    readable = sum(isinstance(values, np.ndarray) for values in found)
    assert 5 < readable < 20


def test_hdf5_that_announces_more_than_the_file_holds(tmp_path: Path) -> None:
    """HDF5 itself takes the memory for a driver's description of two gigabytes, and fills it with zeros."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "out.h5", "w", libver="earliest") as output:
        output["a"] = np.ones(3, np.float32)
    data = bytearray((tmp_path / "out.h5").read_bytes())
    data[48:56] = len(data).to_bytes(8, "little")  # in the superblock, where that description is
    data += bytes(4) + (2**31).to_bytes(4, "little") + b"NCSAmult"
    (tmp_path / "out.h5").write_bytes(data)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OutputError, match="can be read"):
        load(tmp_path / "out.h5")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 100_000  # KiB


@pytest.mark.parametrize("depth", [2000, 200_000])
def test_json_that_nests(tmp_path: Path, depth: int) -> None:
    (tmp_path / "out.json").write_text("[" * depth + "]" * depth)
    with contextlib.suppress(OutputError), load(tmp_path / "out.json") as stored, pytest.raises(OutputError):
        np.asarray(stored["#0"])
    out = write_output(tmp_path / "two.json", names_of(2), clustered(2))
    lines = RunFiles(out).manifest.read_text().splitlines()
    for number in (0, 1):
        changed = [
            *lines[:number],
            json.dumps(json.loads(lines[number]))[:-1] + ', "x": ' + "[" * depth,
            *lines[number + 1 :],
        ]
        RunFiles(out).manifest.write_text("\n".join(changed))
        with pytest.raises(OutputError):
            verify(out)


def test_no_byte_of_a_parquet_description_aborts_the_process(tmp_path: Path) -> None:
    """pyarrow itself aborts where it is asked for a column whose statistics do not fit."""
    pytest.importorskip("pyarrow")
    whole = write_output(tmp_path / "out.parquet", names_of(2), clustered(2, size=4)).read_bytes()
    program = (
        "import sys, vidfeat; path = sys.argv[1]; whole = open(path, 'rb').read(); refused = 0\n"
        "for at in range(len(whole) - 8 - int.from_bytes(whole[-8:-4], 'little'), len(whole) - 8):\n"
        "    open(path, 'r+b').write(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:])\n"
        "    try:\n"
        "        with vidfeat.load(path) as stored: [stored[key].values.sum() for key in stored]\n"
        "    except vidfeat.OutputError: refused += 1\n"
        "print(refused)"
    )
    (tmp_path / "other.parquet").write_bytes(whole)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "other.parquet")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 100


@pytest.mark.filterwarnings("error")
def test_numbers_that_cannot_be_cast_give_no_warning(tmp_path: Path) -> None:
    """A signalling NaN, and one too large for float32."""
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out" / "a.npy", np.array([0x7FF0000000000001, 0x7FE0000000000000], "<u8").view("<f8"))
    with load(tmp_path / "out") as stored:
        assert not np.isfinite(stored["a"].values).any()
