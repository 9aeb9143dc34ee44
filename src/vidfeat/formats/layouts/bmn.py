"""BMN (JJBOY): `csv_mean_100/VID.csv`, a header and 100 rows for a video of any length."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from vidfeat.features import Values, VideoFeatures
from vidfeat.formats.layouts.layout import Layout, Output, for_each
from vidfeat.formats.layouts.row_grid import RowGrid
from vidfeat.formats.video_file import FileFormat

ROWS = 100
_MARGIN_SECONDS = 1e-4

FEATURE_FRAME = """\
# in the annotation: "feature_frame" = {stride} * (rows before they were resized); with windows of 16 frames and
# a stride of 16 that is 16 * (duration_frame // 16)"""


def hundred_rows(features: VideoFeatures, grid: RowGrid) -> VideoFeatures:
    """Resize to 100 rows, by the arithmetic of BMN's own features (`poolData` of its `data_process.py`).

    Row i is the mean of three points, evenly spread over the i-th hundredth of the time from 0 to T strides, each
    interpolated between the two rows around it. A hundredth that lies before the centre of the first row, or after that
    of the last, is zero, as in videos of less than 50 rows.
    """
    rows, start, end = features.values, features.start_seconds, features.end_seconds
    assert start is not None  # as the grid is dense
    assert end is not None
    assert grid.stride is not None  # as the layout needs
    count, middle = len(rows), len(rows) // 2
    # Away from the ends of the video, where times are cut off.
    frame = float(np.median(np.diff(start))) / grid.stride if count > 1 else float(end[0] - start[0]) / grid.span
    first = float(start[middle]) - (grid.start + middle * grid.stride) * frame
    edges = np.arange(ROWS + 1) / ROWS * count
    if count > 1:
        values = _resized(rows, edges - grid.centre / grid.stride, _MARGIN_SECONDS / (grid.stride * frame))
    else:
        values = np.repeat(rows, ROWS, axis=0)
    times = first + edges * grid.stride * frame
    return replace(features, values=values, start_seconds=times[:-1], end_seconds=times[1:])


def _resized(rows: Values, edges: npt.NDArray[np.float64], margin: float) -> Values:
    """Positions are counted in rows: the centre of row k is at k."""
    last = len(rows) - 1
    low, high = np.maximum(edges[:-1], margin), np.minimum(edges[1:], last - margin)
    points = np.clip(np.linspace(low, high, 3), 0, last)
    before = np.minimum(points.astype(np.int64), last - 1)
    share = (points - before)[..., None]
    values = (rows[before] * (1 - share) + rows[before + 1] * share).mean(0)
    values[(high < 0) | (low > last)] = 0
    return values.astype(np.float32)


def _write(file: BinaryIO, features: VideoFeatures) -> None:
    header = ",".join(f"f{column}" for column in range(features.values.shape[1]))
    np.savetxt(file, features.values, "%.9g", ",", header=header, comments="")


def _read(path: Path) -> tuple[npt.NDArray[np.float32], None]:
    with path.open(encoding="ascii") as file:
        size = len(file.readline().split(","))
        return np.loadtxt(file, np.float32, delimiter=",", ndmin=2).reshape(-1, size), None


CSV_100 = FileFormat(".csv", _write, _read)
"""A header `f0,f1,...`, and a line per row."""


def _lines(output: Output) -> str:
    return f"""\
python main.py --mode train --feature_path {shlex.quote(f"{output.folder}/")} --feat_dim {output.size}
{FEATURE_FRAME.format(stride=f"{output.grid.stride:g}")}"""


BMN = Layout("bmn", for_each(_lines), file=CSV_100, folder=f"csv_mean_{ROWS}/", convert=hundred_rows)
