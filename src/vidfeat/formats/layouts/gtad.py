"""G-TAD on THUMOS: `rgb_val.h5` and `rgb_test.h5`, a dataset `[T, C]` for each video, a row for every frame."""

from __future__ import annotations

from collections.abc import Sequence

from vidfeat.formats.layouts.layout import Layout, Output, RowGrid
from vidfeat.formats.layouts.ms_tcn import HINT, NEEDS, has_a_row_per_frame

SPLITS = ("val", "test")
"""In the order in which G-TAD looks for them in the name of a video."""


def _lines(grid: RowGrid, outputs: Sequence[Output]) -> str:
    return "\n\n".join(
        f"""\
--feature_path {output.folder.rstrip("/")} --feat_dim {output.size} --skip_videoframes 5
# to be added by you: {output.folder.rstrip("/")}/flow_val.h5 and flow_test.h5 with the same videos, whose columns
# are put first; feat_dim is then {output.size} and their number of columns together. Without them G-TAD does not start"""
        for output in outputs
    )


GTAD = Layout("gtad", _lines, NEEDS, has_a_row_per_frame, HINT)
