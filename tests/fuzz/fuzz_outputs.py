"""Fuzz targets: outputs, manifests and run databases. The answer is features or an `OutputError`, and no code runs."""

from __future__ import annotations

import functools
import io
import json
import math
import pickle
import random
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fuzzing
import numpy as np
from fuzz_checkpoint import CheckpointTarget

from made_outputs import write_output
from vidfeat import load
from vidfeat.errors import OutputError
from vidfeat.formats import open_sink
from vidfeat.store import verify
from vidfeat.store.files import RunFiles

NAMES = ("a.mp4", "b/c d.mp4", "é.avi")
ROWS = (np.arange(4.0), np.linspace(-1, 1, 6).reshape(2, 3), np.full(5, 1e-20))
WORDS = [
    *b"null true false NaN Infinity -1 0 1e999 1e-5 [ ] { } , : - & *a <<: ! !!python/object: | > ? ---".split(),
    *b"done failed void void float32 <f4 <f8 |O (2,) PK \x93NUMPY \x89HDF SQLite videos contents sha256 shape".split(),
    *(b"[" * 3000, b'{"a":' * 3000, b"9" * 400, b"\\ud800", b'"', b"'", b"\n", b"\xff" * 8, b"\0" * 8, b"\x7f" * 4),
    *(
        b"cposix\nsystem\n",
        b"cbuiltins\neval\n",
        b"\x8c\x05posix\x8c\x06system\x93",
        b"(\x8c\x02id\x85R",
        b"h\x00",
        b".",
    ),
]


class OutputTarget:
    """One file that belongs to an output: the features, the manifest, or the database of a run.

    Args:
        name: of the target.
        out: what the output is called in the folder.
        changed: which of its files is changed, relative to the folder.
        manifest: whether the manifest is there; otherwise the features are read as those of another program.
        finished: whether the run is; otherwise its database is there.
    """

    def __init__(self, name: str, out: str, changed: str, *, manifest: bool = False, finished: bool = True) -> None:
        self.name, self._out, self._changed = name, out, changed
        self._manifest, self._finished = manifest, finished
        self._change = CHANGES.get(name)
        self.suffix = changed.removeprefix("input")

    def prepare(self, folder: Path) -> None:
        """The output, whole."""
        out = folder / self._out
        rows = ROWS if self.name != "parquet" else [ROWS[1]] * 3  # which has rows of one shape
        write_output(out, NAMES, rows, fails={2}, finish=self._finished)
        if self._finished and not self._manifest:
            RunFiles(open_sink(out).out).manifest.unlink()

    def seeds(self) -> list[bytes]:
        """The file as it is written, and as other programs write it."""
        with tempfile.TemporaryDirectory() as folder:
            self.prepare(Path(folder))
            return [(Path(folder) / self._changed).read_bytes(), *BY_OTHERS.get(self.name, list)()]

    def mutate(self, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        """In the structure of the format, or anywhere; then half of the time without changing the size."""
        if self._change is not None and rng.random() < 0.6:
            return self._change(rng, data, others)
        if rng.random() < 0.5 or not data:
            return fuzzing.change_bytes(rng, data, WORDS, others)
        changed = bytearray(data)
        for _ in range(rng.choice([1, 2, 8])):
            at, word = rng.randrange(len(changed)), rng.choice([*WORDS, rng.randbytes(1), rng.randbytes(4), bytes(8)])
            changed[at : at + len(word)] = word[: len(changed) - at]
        return bytes(changed)

    def read(self, path: Path) -> str:
        """Read everything that there is, and compare it with the manifest."""
        out = Path(str(path).removesuffix(self._changed) + self._out)
        kept = path.read_bytes() if not self._finished else b""
        problems = verify(out) if self._manifest or not self._finished else []
        outcomes = []
        with load(out) as stored:
            for key in stored.videos:
                stored.line(key)
                try:
                    if key in stored:
                        values = np.asarray(stored[key])
                        outcomes.append(f"{values.dtype}, {values.ndim} axes")
                        if values.dtype.kind != "f" or not values.size:
                            raise fuzzing.Finding(f"features of {values.size} {values.dtype}")
                except OutputError as error:
                    outcomes.append(fuzzing.shape_of(error.found.rpartition("found ")[2]))
            found = f"{stored.state}, {len(stored.videos)} videos, {outcomes[:3]}, {len(problems)} problems"
        if kept and path.read_bytes() != kept:
            raise fuzzing.Finding("reading changed the database")
        return found


def _pickles() -> list[bytes]:
    rows = [row.astype(np.float32) for row in ROWS]
    return [pickle.dumps([*rows, None], protocol) for protocol in (2, 4, 5)][:2]


def _zip_files() -> list[bytes]:
    stream = io.BytesIO()
    np.savez(stream, a=ROWS[0], b=ROWS[1])
    return [stream.getvalue()]


def _hdf5_files() -> list[bytes]:
    """In the oldest layout, whose metadata have no checksums; with groups, links, chunks and a filter."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w", libver="earliest") as file:
        file["a"], file["b/c"] = ROWS[0].astype("<f4"), ROWS[1]
        file["b/link"], file["b/file"] = h5py.SoftLink("/a"), h5py.ExternalLink("input.h5", "/a")
        file.create_dataset("d", data=np.zeros(100, np.float32), chunks=(10,), compression="gzip")
    return [stream.getvalue()]


def _npy_files() -> list[bytes]:
    files = []
    for values in (ROWS[1].astype(">f8"), np.asfortranarray(ROWS[1]), np.arange(6, dtype="<i2").reshape(1, 2, 3)):
        np.save(stream := io.BytesIO(), values)
        files.append(stream.getvalue())
    np.lib.format.write_array(stream := io.BytesIO(), ROWS[0], version=(2, 0))
    return [*files, stream.getvalue()]


def _parquet_files() -> list[bytes]:
    """As pyarrow writes a table, in one group and in two."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype=np.float32)), 3)
    columns = {
        "key": pa.array(["a", "b", "b", "c"]),
        "row": pa.array([None, 0, 1, 0], pa.int32()),
        "start_seconds": pa.array([None, 0.0, 1.0, 0.0]),
        "end_seconds": pa.array([None, 1.0, 2.0, 1.0]),
        "values": values,
    }
    files = []
    for options in ({"row_group_size": 2, "data_page_version": "2.0"}, {"write_statistics": False}):
        pq.write_table(pa.table(columns), stream := io.BytesIO(), compression="none", use_dictionary=["key"], **options)
        files.append(stream.getvalue())
    return files


# --- changes in the structure of a format -----------------------------------------------------------------------------

DTYPES = "<f4 >f8 <f2 |i1 <u8 |b1 <c8 |O |S4 <U2 |V3 <M8[s] =f4 <f16 f4,f4 (2,)f4 x".split()
SIZES = (0, 1, 2, 3, 4, 6, 24, 2**16, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**30, -1, -(2**63))


def _change_npy(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A header made of odd values, before the numbers that it announces or others."""
    shape = tuple(
        rng.choice(SIZES[:7] if rng.random() < 0.7 else SIZES) for _ in range(rng.choice([0, 1, 1, 2, 3, 40]))
    )
    fields: dict[str, Any] = {
        "descr": rng.choice(
            [*DTYPES, DTYPES[0], [("a", "<f4")], [("a", "<f4", (2**40,))], ("<f4", (3,)), None, 4, b"<f4"]
        ),
        "fortran_order": rng.choice([False, False, True, 0, 1, "no", None]),
        "shape": rng.choice([shape, shape, shape, shape, list(shape), 5, None, (1.5,), (True,), "(2,)"]),
    }
    if rng.random() < 0.1:
        fields.pop(rng.choice(list(fields)))
    text = repr(fields) if rng.random() < 0.8 else json.dumps(fields, default=str)
    if rng.random() < 0.2:
        text = text.replace(", ", rng.choice(["L, ", ",", ", # ", ", (", ",\n", ", 'x': 1, "]), rng.choice([1, 9]))
    header = text.encode() + b" " * rng.choice([0, 0, 10, 64, 70_000]) + rng.choice([b"\n", b"\n", b""])
    if rng.random() < 0.2:
        header = fuzzing.change_bytes(rng, header, WORDS, others)
    version = rng.choice([b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\1\1", b"\xff\xff"])
    length = len(header) + rng.choice([0] * 8 + [-1, 1, 1000])
    size = max(length, 0).to_bytes(4, "little")[: 2 if version[0] == 1 else 4]
    try:
        count = math.prod(shape) * np.dtype(fields.get("descr", "<f4")).itemsize
    except (TypeError, ValueError):
        count = 24
    count += rng.choice([0] * 8 + [-1, 1, 8])
    return b"\x93NUMPY" + version + size + header + (data[-64:] * 2000)[: min(max(count, 0), 100_000)]


def _change_zip(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """An archive whose checksums are right, of entries that are changed arrays, compressed or of odd names."""
    names = (
        "a.mp4.npy",
        "b/c d.mp4.npy",
        "start_seconds/a.mp4.npy",
        "x.npy",
        ".npy",
        "../x.npy",
        "a.mp4",
        "/.npy",
        "\0.npy",
    )
    with warnings.catch_warnings(), zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(rng.choice([0, 1, 2, 5])):
            entry = rng.choice([rng.choice(NPY_SEEDS), _change_npy(rng, bytes(range(64)), others)])
            if rng.random() < 0.2:
                entry = fuzzing.change_bytes(rng, entry, WORDS, others)
            method = rng.choice([zipfile.ZIP_STORED] * 4 + [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
            archive.writestr(zipfile.ZipInfo(rng.choice(names)), entry, method)
    made = bytearray(stream.getvalue())
    if rng.random() < 0.4:  # in the directory, or a header of an entry
        mark = rng.choice([b"PK\1\2", b"PK\3\4", b"PK\5\6"])
        at = made.rfind(mark) + rng.randrange(4, 46)
        word = rng.choice([b"\xff" * 4, bytes(4), b"\xff" * 2, b"\1", b"\x08\0", rng.randbytes(2)])
        made[at : at + len(word)] = word
    return bytes(made)


NPY_SEEDS = _npy_files()
CHANGES: dict[str, Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = {
    "npy": _change_npy,
    "npz": _change_zip,
    "parquet": lambda rng, data, others: fuzzing.change_parquet_footer(rng, data),
    "pt": CheckpointTarget().mutate,
}

BY_OTHERS: dict[str, Callable[[], list[bytes]]] = {
    "pkl": _pickles,
    "npz": _zip_files,
    "npy": _npy_files,
    "h5": _hdf5_files,
    "parquet": _parquet_files,
}

OUTPUTS: dict[str, Callable[[], OutputTarget]] = {
    "manifest": functools.partial(OutputTarget, "manifest", "input.json", "input.json.manifest.jsonl", manifest=True),
    "pkl": functools.partial(OutputTarget, "pkl", "input.pkl", "input.pkl"),
    "json": functools.partial(OutputTarget, "json", "input.json", "input.json"),
    "yaml": functools.partial(OutputTarget, "yaml", "input.yaml", "input.yaml"),
    "npz": functools.partial(OutputTarget, "npz", "input.npz", "input.npz"),
    "npy": functools.partial(OutputTarget, "npy", "input", "input/a.npy"),
    "pt": functools.partial(OutputTarget, "pt", "input/{key}.pt", "input/a.pt"),
    "csv": functools.partial(OutputTarget, "csv", "input/{key}.csv", "input/a.csv"),
    "h5": functools.partial(OutputTarget, "h5", "input.h5", "input.h5"),
    "parquet": functools.partial(OutputTarget, "parquet", "input.parquet", "input.parquet"),
    "database": functools.partial(
        OutputTarget, "database", "input.npz", "input.npz.vidfeat/rank-00000.sqlite", finished=False
    ),
}
