"""HowTo100M: `VID.npy`, `[T, C]` float16, rows of length 1, one for each second; and the list of its extractor."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vidfeat.features import VideoFeatures
from vidfeat.formats.layouts.layout import Layout, Output, RowGrid

_EPSILON = 1e-12


def _half_unit_rows(features: VideoFeatures) -> VideoFeatures:
    """Rows divided by their length (at least 1e-12, as `torch.nn.functional.normalize`), in float16."""
    length = np.maximum(np.linalg.norm(features.values, axis=-1, keepdims=True), _EPSILON)
    return replace(features, values=(features.values / length).astype(np.float16))


def _fits(grid: RowGrid) -> bool:
    return grid.stride_seconds in (1.0, 16 / 24)


def _lines(grid: RowGrid, outputs: Sequence[Output]) -> str:
    rate = 1 / (grid.stride_seconds or 1)
    return "\n\n".join(
        f"""\
feature_framerate={rate:g}  # --feature_framerate of programs that read HowTo100M's features
feature_dim={output.size}
features_path={output.folder}  # float16, of length 1"""
        for output in outputs
    )


def _line(key: str, path: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([key, path])
    return line.getvalue()


HOWTO100M = Layout(
    "howto100m",
    _lines,
    "a row for every second, or for 16 frames at 24 fps",
    _fits,
    "Give `fps=1` and `stride=1`, or `fps=24`, `stride=16` and `window=16`.",
    convert=_half_unit_rows,
    listing=("features.csv", _line),
)
