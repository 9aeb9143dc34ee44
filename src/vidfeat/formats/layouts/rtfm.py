"""RTFM and others for anomalies: `VID_i3d.npy`, `[T, 10, C]` with ten crops, and a list with a path a line."""

from __future__ import annotations

from vidfeat.formats.layouts.layout import Layout, Listing, Output, for_each
from vidfeat.formats.layouts.row_grid import RowGrid

_WINDOW = 16
_CROPS = 10
_LIST = "rtfm.list"


def _fits(grid: RowGrid) -> bool:
    return (grid.stride, grid.start, grid.span) == (_WINDOW, 0, _WINDOW) and all(
        grid.rows(frames, grid.fps or 25.0) == frames // _WINDOW for frames in (320, 321, 335)
    )


def _lines(output: Output) -> str:
    return f"""\
python main.py --feature-size {output.size}
# dataset.py reads its lists by name: make list/shanghai-i3d-train-10crop.list (or list/ucf-i3d.list) and the list of
# the test of the lines of {output.folder}/{_LIST}. In that of training the abnormal videos
# are first: 63 for ShanghaiTech, 810 for UCF-Crime. The ground truth of the test has {_WINDOW} values for each row"""


RTFM = Layout(
    "rtfm",
    for_each(_lines),
    f"windows of {_WINDOW} frames, without overlap, the incomplete last one dropped",
    _fits,
    f"Give `grid.window={_WINDOW}` and `grid.stride={_WINDOW}`.",
    tail="_i3d",
    in_seconds=False,
    crops_kept=_CROPS,
    listing=Listing(_LIST, lambda key, path: path),
)
