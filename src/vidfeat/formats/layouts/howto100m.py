"""HowTo100M: `VID.npy`, `[T, C]` float16, rows of length 1, one for each second; and the list of its extractor."""

from __future__ import annotations

import csv
import io
import shlex
from dataclasses import replace

import numpy as np

from vidfeat.features import VideoFeatures
from vidfeat.formats.layouts.layout import Layout, Listing, Output, for_each
from vidfeat.formats.layouts.row_grid import RowGrid

_EPSILON = 1e-12
_SECOND = 1.0


def _unit_rows(features: VideoFeatures, grid: RowGrid) -> VideoFeatures:
    """Rows divided by their length, at least 1e-12, as `torch.nn.functional.normalize` does."""
    length = np.maximum(np.linalg.norm(features.values, axis=-1, keepdims=True), _EPSILON)
    return replace(features, values=features.values / length)


def _lines(output: Output) -> str:
    folder = shlex.quote(output.folder)
    if output.grid.stride_seconds == _SECOND:
        paths = f"--features_path_2D {folder} --features_path_3D '' --feature_framerate 1"
        others = "--features_path_3D, with 1.5 rows a second"
    else:
        paths = f"--features_path_2D FOLDER --features_path_3D {folder}"
        others = "--features_path_2D, with a row for each second"
    return f"""\
python train.py {paths} --feature_dim {output.size}
# with a second folder, {others}, --feature_dim is the sum of both.
# The table of --train_csv needs the columns video_id, task and path, which is VID.npy"""


def _line(key: str, path: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([key, path])
    return line.getvalue()


HOWTO100M = Layout(
    "howto100m",
    for_each(_lines),
    "a row for every second, or for 16 frames at 24 fps, centred there",
    lambda grid: grid.stride_seconds in (_SECOND, 16 / 24) and grid.in_strides,
    "Give `grid.fps=1`, `grid.stride=1` and `grid.window=1`, or `grid.fps=24`, `grid.stride=16` and `grid.window=16`.",
    dtype="float16",
    convert=_unit_rows,
    listing=Listing("features.csv", _line, "video_path,feature_path"),
)
