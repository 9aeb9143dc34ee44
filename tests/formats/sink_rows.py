"""Rows of features for tests, and what other programs read of an output."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat.features import VideoFeatures
from vidfeat.formats import Sink

READERS = {
    "pkl": "import pickle; rows = pickle.load(open(out, 'rb'))",
    "json": "import json; rows = json.load(open(out))",
    "yaml": "import yaml; rows = yaml.safe_load(open(out))",
    "npy": "rows = [np.load(f'{out}/{key}.npy') if os.path.exists(f'{out}/{key}.npy') else None for key in keys]",
    "npz": "file = np.load(out); rows = [file[key] if key in file else None for key in keys]",
    "folder of npz": "rows = [np.load(file)['features'] if os.path.exists(file := f'{out}/{key}.npz') else None "
    "for key in keys]",
    "folder of pt": "import torch; rows = [torch.load(file, weights_only=True).numpy() "
    "if os.path.exists(file := f'{out}/{key}.pt') else None for key in keys]",
    "folder of csv": "import csv\n"
    "def table(file):\n"
    "    header, *lines = csv.reader(open(file))\n"
    "    shape = [int(size) + 1 for size in header[-1].split('/')]\n"
    "    rows = np.array([list(map(float, line)) for line in lines]).astype(np.float32)\n"
    "    return np.array(rows[:, 1:]).reshape(-1, *shape) if header[0] == 'row' else rows.reshape(shape)\n"
    "rows = [table(file) if os.path.exists(file := f'{out}/{key}.csv') else None for key in keys]",
    "parquet": "import pyarrow.parquet as pq\n"
    "table = pq.read_table(out, use_threads=False); shape = table.field('values').metadata[b'shape']\n"
    "lines = table.to_pylist(); rows = []\n"
    "for key in keys:\n"
    "    found = [line for line in lines if line['key'] == key]\n"
    "    values = np.array([line['values'] for line in found], np.float32)\n"
    "    values = values.reshape(-1, *ast.literal_eval(shape.decode()))\n"
    "    rows.append(None if not found else values[0] if found[0]['row'] is None else values)",
    "h5": "import h5py; file = h5py.File(out); rows = [file[key][:] if key in file else None for key in keys]",
}
"""What somebody without vidfeat types to read an output of each format."""


def features(key: str, values: Any, times: bool = False) -> VideoFeatures:
    array = np.asarray(values, np.float32)
    start = np.arange(len(array), dtype=np.float64) / 3 if times else None
    return VideoFeatures(key, "encoder", array, start, None if start is None else start + 1.5)


def write(sink: Sink, rows: Sequence[tuple[str, Any]]) -> Sink:
    """The output as a run leaves it; values of None are a video without features."""
    sink.check_keys([key for key, _ in rows])
    sink = sink.for_keys([key for key, _ in rows])
    sink.prepare()
    made = [(key, None if values is None else features(key, values)) for key, values in rows]
    assert sink.write([row for _, row in made if row is not None] if sink.in_place else []) == {}
    sink.finalize(iter(made))
    return sink


def read_elsewhere(sink: Sink, keys: Sequence[str], into: Path) -> list[np.ndarray | None]:
    """The rows, as a fresh Python without vidfeat reads them; warnings are errors there."""
    code = (
        "import os, sys, ast, pickle; import numpy as np\n"
        "out, keys, into = sys.argv[1:]; keys = ast.literal_eval(keys)\n"
        f"{READERS[('folder of ' if sink.in_place and sink.name != 'npy' else '') + sink.name]}\n"
        "assert type(rows) is list and 'vidfeat' not in sys.modules\n"
        "kinds = {type(row) for row in rows} - {type(None)}; assert kinds <= {list} or kinds <= {np.ndarray}, kinds\n"
        "for row in rows:\n"
        "    if type(row) is np.ndarray:\n"
        "        assert row.dtype == np.float32 and row.flags.writeable and row.flags.c_contiguous\n"
        "pickle.dump([row if row is None else np.asarray(row, np.float32) for row in rows], open(into, 'wb'))"
    )
    arguments = [str(sink.out), repr(list(keys)), str(into)]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *arguments], check=True, capture_output=True, text=True)
    return list(pickle.loads(into.read_bytes()))


def same(found: Sequence[Any] | Iterator[Any], expected: Sequence[Any]) -> None:
    found = list(found)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if other is None:
            assert one is None
            continue
        array, wanted = np.asarray(one, np.float32), np.asarray(other, np.float32)
        assert array.shape == wanted.shape
        assert array.tobytes() == wanted.tobytes()
