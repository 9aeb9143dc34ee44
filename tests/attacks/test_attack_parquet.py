"""Parquet files of a few kilobytes that expand to gigabytes, read in a process of its own, whose memory is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MOST_BYTES = 500 << 20
LONG = "a" * 1_000_000

PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
"""


def memory_of(script: str) -> tuple[list[str], int]:
    """The lines that a script prints, and the most memory that its process took, in bytes."""
    command = [sys.executable, "-c", f"{PEAK}{script}print(peak())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    *lines, peak = done.stdout.splitlines()
    return lines, int(peak)


def repeated(text: str, times: int) -> Any:
    return pa.array([text]).take(pa.array(np.zeros(times, np.int64)))


@pytest.mark.parametrize("use_dictionary", [True, False])
def test_a_list_of_long_names(tmp_path: Path, use_dictionary: bool) -> None:
    path = tmp_path / "list.parquet"
    table = pa.table({"path": repeated(LONG, 800)})
    pq.write_table(table, path, compression="zstd", use_dictionary=use_dictionary, write_batch_size=8)
    assert path.stat().st_size < 1_000_000
    lines, peak = memory_of(f"""
from vidfeat.errors import UsageError
from vidfeat.videos import read_list
try:
    read_list({str(path)!r}, None)
except UsageError as error:
    print(error.expected)
""")
    assert lines == ["a name of at most 4,096 bytes, as a file can have"]
    assert peak < MOST_BYTES


def table_of(rows: int, **columns: Any) -> Any:
    seconds = pa.nulls(rows, pa.float64())
    return pa.table(
        {
            "key": repeated("a", rows),
            "row": pa.array(np.zeros(rows, np.int32)),
            "start_seconds": seconds,
            "end_seconds": seconds,
            "values": pa.nulls(rows, pa.list_(pa.float32(), 4)),
            "video": pa.nulls(rows, pa.string()),
            **columns,
        }
    )


BOMBS = {
    "names": lambda: table_of(10, key=repeated(LONG, 10)),
    "what is known of a video": lambda: table_of(10, video=repeated(json.dumps({"x": LONG}), 10)),
    "rows": lambda: table_of(250_000),
    "values": lambda: table_of(
        100, values=pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2_500_000, np.float32)), 25_000)
    ),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS.keys())
def test_a_part_that_expands(tmp_path: Path, make: Any) -> None:
    """A hundred groups of rows, each of which takes ten megabytes or more."""
    path = tmp_path / "parts" / "00000000000000000001-00000000.parquet"
    path.parent.mkdir()
    table = make()
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(100):
            writer.write_table(table)
    assert path.stat().st_size < 2_000_000
    lines, peak = memory_of(f"""
from vidfeat.errors import OutputError
from vidfeat.store.part_files import part_folder, read_part
try:
    read_part(part_folder({str(tmp_path)!r}), {path.name!r})
except OutputError as error:
    print(error.found)
""")
    assert "made to expand" in lines[0]
    assert peak < MOST_BYTES
