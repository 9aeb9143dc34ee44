"""MS-TCN and ASFormer: `VID.npy`, `[C, T]`, a row for every frame; names end at the first dot."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from vidfeat.features import VideoFeatures
from vidfeat.formats.layouts.layout import Layout, Output, for_each, stem
from vidfeat.formats.layouts.row_grid import RowGrid
from vidfeat.formats.video_file import NPY, FileFormat


def _write(file: BinaryIO, features: VideoFeatures) -> None:
    NPY.write(file, replace(features, values=np.ascontiguousarray(features.values.T)))


BY_COLUMNS = FileFormat(".npy", _write, lambda path: (NPY.read(path)[0].T, None))
"""A `.npy` of `[C, T]`."""


def has_a_row_per_frame(grid: RowGrid) -> bool:
    """Whether row i is that of frame i, and no video has more rows than frames."""
    fps = grid.fps or 25.0
    return grid.stride == 1 and abs(grid.centre - 0.5) <= 0.5 and grid.rows(300, fps) <= 300


def _has_a_row_for_each_label(grid: RowGrid) -> bool:
    """The same, and no video has fewer rows: MS-TCN's `eval.py` counts through all labels."""
    return has_a_row_per_frame(grid) and all(grid.rows(frames, grid.fps or 25.0) == frames for frames in (300, 301))


NEEDS = "a row for every frame, centred there, as there is a label for each"
HINT = "Give `grid.stride=1`, `grid.placement=centre` and `grid.tail=clamp`."


def _lines(output: Output) -> str:
    rate = "each frame of the video" if output.grid.fps is None else f"each frame at {output.grid.fps:g} fps"
    return f"""\
# main.py; the labels of groundTruth/ are for {rate}
features_dim = {output.size}
features_path = {json.dumps(f"{output.folder}/")}
sample_rate = 1"""


MS_TCN = Layout(
    "ms-tcn",
    for_each(_lines),
    f"{NEEDS}, also for the last",
    _has_a_row_for_each_label,
    HINT,
    file=BY_COLUMNS,
    name_of=lambda key: stem(key).split(".")[0],
    in_seconds=False,
)
