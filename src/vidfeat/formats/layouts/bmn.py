"""BMN (JJBOY): `csv_mean_100/VID.csv`, a header and 100 rows for a video of any length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from vidfeat.features import Values, VideoFeatures
from vidfeat.formats.layouts.layout import Layout, Output, RowGrid
from vidfeat.formats.video_file import FileFormat

ROWS = 100
_MARGIN_SECONDS = 1e-4

NEEDS = "rows centred at 0.5, 1.5, 2.5 ... strides, which are then resized to 100"
HINT = "Give `window` and `stride` the same length, such as 16."
FEATURE_FRAME = """\
# in the annotation of each video: "feature_frame" = {stride} * (rows before they were resized)"""


def is_centred(grid: RowGrid) -> bool:
    """Whether T rows cover the time from 0 to T strides in equal parts, but for half a frame."""
    return grid.stride is not None and abs(grid.centre - grid.stride / 2) <= 0.5


def hundred_rows(features: VideoFeatures) -> VideoFeatures:
    """Resize to 100 rows, by the arithmetic of BMN's own features (`poolData` of its `data_process.py`).

    Row i is the mean of three points, evenly spread over the i-th hundredth of the time from 0 to T strides, each
    interpolated between the two rows around it. A hundredth that lies before the centre of the first row or after that
    of the last, as in videos of less than 50 rows, is zero.
    """
    rows, start, end = features.values, features.start_seconds, features.end_seconds
    assert start is not None  # as the grid is dense
    assert end is not None
    count, middle = len(rows), len(rows) // 2
    stride = float(np.median(np.diff(start + end))) / 2 if count > 1 else float(end[0] - start[0])
    first = float(start[middle] + end[middle]) / 2 - (middle + 0.5) * stride
    edges = first + stride * count * np.arange(ROWS + 1) / ROWS
    values = np.repeat(rows, ROWS, axis=0) if count == 1 else _resized(rows, _MARGIN_SECONDS / stride)
    return replace(features, values=values, start_seconds=edges[:-1], end_seconds=edges[1:])


def _resized(rows: Values, margin: float) -> Values:
    """Positions are counted in rows: row k is at k."""
    last = len(rows) - 1
    edges = np.arange(ROWS + 1) / ROWS * len(rows) - 0.5
    low, high = np.maximum(edges[:-1], margin), np.minimum(edges[1:], last - margin)
    points = np.clip(np.linspace(low, high, 3), 0, last)
    before = np.minimum(points.astype(np.int64), last - 1)
    share = (points - before)[..., None]
    values = (rows[before] * (1 - share) + rows[before + 1] * share).mean(0)
    values[(high < 0) | (low > last)] = 0
    return values.astype(np.float32)


def _write(file: BinaryIO, features: VideoFeatures) -> None:
    np.savetxt(file, features.values, "%.9g", ",", header=_header(features.values.shape[1]), comments="")


def _read(path: Path) -> tuple[npt.NDArray[np.float32], None]:
    with path.open(encoding="ascii") as file:
        size = len(file.readline().split(","))
        return np.loadtxt(file, np.float32, delimiter=",", ndmin=2).reshape(-1, size), None


def _header(size: int) -> str:
    return ",".join(f"f{column}" for column in range(size))


CSV_100 = FileFormat(".csv", _write, _read)
"""A header `f0,f1,...`, and a line per row."""


def _lines(grid: RowGrid, outputs: Sequence[Output]) -> str:
    return "\n\n".join(
        f"""\
python main.py --mode train --feature_path {output.folder.rstrip("/")}/ --feat_dim {output.size} --temporal_scale {ROWS}
{FEATURE_FRAME.format(stride=f"{grid.stride:g}")}"""
        for output in outputs
    )


BMN = Layout(
    "bmn", _lines, NEEDS, is_centred, HINT, file=CSV_100, folder=f"csv_mean_{ROWS}/", convert=hundred_rows
)
