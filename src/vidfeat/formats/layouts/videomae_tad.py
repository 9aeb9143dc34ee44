"""VideoMAEv2's `extract_tad_feature.py`: `VID.npy`, `[T, C]`, windows of 16 frames, every 4th or 16th."""

from __future__ import annotations

from vidfeat.formats.layouts.actionformer import yaml_lines
from vidfeat.formats.layouts.layout import Layout, for_each
from vidfeat.formats.layouts.row_grid import RowGrid

_WINDOW = 16


def _fits(grid: RowGrid) -> bool:
    if grid.stride not in (4, 16) or (grid.start, grid.span) != (0, _WINDOW):
        return False
    stride = int(grid.stride)
    return all(grid.rows(frames, 25.0) == (frames - _WINDOW) // stride + 1 for frames in (320, 321, 327, 335))


VIDEOMAE_TAD = Layout(
    "videomae-tad",
    for_each(yaml_lines),  # of ActionFormer, which is trained on them
    f"windows of {_WINDOW} frames that start at every 4th or 16th frame, whole ones only",
    _fits,
    f"Give `grid.window={_WINDOW}`, and `grid.stride=4` or `grid.stride={_WINDOW}`.",
)
