"""RTFM and others for anomalies: `VID_i3d.npy`, `[T, 10, C]` with ten crops, and a list with a path a line."""

from __future__ import annotations

from collections.abc import Sequence

from vidfeat.formats.layouts.layout import Layout, Output, RowGrid

_WINDOW = 16


def _fits(grid: RowGrid) -> bool:
    return (grid.stride, grid.start, grid.span) == (_WINDOW, 0, _WINDOW) and all(
        grid.rows(frames, grid.fps or 25.0) == frames // _WINDOW for frames in (320, 321, 335)
    )


def _lines(grid: RowGrid, outputs: Sequence[Output]) -> str:
    return "\n\n".join(
        f"""\
python main.py --feature-size {output.size}
# dataset.py reads its lists by name: make list/shanghai-i3d-train-10crop.list (or list/ucf-i3d.list) and the list of
# the test of the lines of {output.folder.rstrip("/")}/rtfm.list. In that of training the abnormal videos
# are first: 63 for ShanghaiTech, 810 for UCF-Crime. The ground truth of the test has {_WINDOW} values for each row"""
        for output in outputs
    )


RTFM = Layout(
    "rtfm",
    _lines,
    f"ten crops of windows of {_WINDOW} frames, without overlap, the incomplete last one dropped",
    _fits,
    f"Give `window={_WINDOW}` and `stride={_WINDOW}`.",
    tail="_i3d",
    views_kept=True,
    listing=("rtfm.list", lambda key, path: path),
)
