"""Fuzz targets: outputs, manifests and run databases. The answer is features or an `OutputError`, and no code runs."""

from __future__ import annotations

import functools
import io
import pickle
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import fuzzing
import numpy as np

from made_outputs import write_output
from vidfeat import load
from vidfeat.errors import OutputError
from vidfeat.store import verify

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
        self.suffix = changed.removeprefix("input")

    def prepare(self, folder: Path) -> None:
        """The output, whole."""
        out = folder / self._out
        write_output(out, NAMES, ROWS, fails={2}, finish=self._finished)
        if self._finished and not self._manifest:
            out.with_name(f"{out.name}.manifest.jsonl").unlink()

    def seeds(self) -> list[bytes]:
        """The file as it is written, and as other programs write it."""
        with tempfile.TemporaryDirectory() as folder:
            self.prepare(Path(folder))
            return [(Path(folder) / self._changed).read_bytes(), *BY_OTHERS.get(self.name, list)()]

    def mutate(self, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        """Anywhere; half of the time without changing the size, on which HDF5 and SQLite insist."""
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
        refused = 0
        with load(out) as stored:
            for key in stored.videos:
                stored.line(key)
                try:
                    if key in stored:
                        np.asarray(stored[key])
                except OutputError:
                    refused += 1
            found = f"{stored.state}, {len(stored.videos)} videos, {refused} refused, {len(problems)} problems"
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


BY_OTHERS: dict[str, Callable[[], list[bytes]]] = {"pkl": _pickles, "npz": _zip_files, "h5": _hdf5_files}

OUTPUTS: dict[str, Callable[[], OutputTarget]] = {
    "manifest": functools.partial(OutputTarget, "manifest", "input.json", "input.json.manifest.jsonl", manifest=True),
    "pkl": functools.partial(OutputTarget, "pkl", "input.pkl", "input.pkl"),
    "json": functools.partial(OutputTarget, "json", "input.json", "input.json"),
    "yaml": functools.partial(OutputTarget, "yaml", "input.yaml", "input.yaml"),
    "npz": functools.partial(OutputTarget, "npz", "input.npz", "input.npz"),
    "npy": functools.partial(OutputTarget, "npy", "input", "input/a.npy"),
    "h5": functools.partial(OutputTarget, "h5", "input.h5", "input.h5"),
    "database": functools.partial(
        OutputTarget, "database", "input.npz", "input.npz.vidfeat/rank-00000.sqlite", finished=False
    ),
}
