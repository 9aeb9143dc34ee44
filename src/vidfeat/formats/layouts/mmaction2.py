"""BMN, BSN and TCANet in MMAction2: `VID.csv`, a header and 100 rows, for `LoadLocalizationFeature`."""

from __future__ import annotations

from collections.abc import Sequence

from vidfeat.formats.layouts.bmn import CSV_100, FEATURE_FRAME, HINT, NEEDS, hundred_rows, is_centred
from vidfeat.formats.layouts.layout import Layout, Output, RowGrid


def _lines(grid: RowGrid, outputs: Sequence[Output]) -> str:
    return "\n\n".join(
        f"""\
data_root = '{output.folder.rstrip("/")}/'
data_root_val = '{output.folder.rstrip("/")}/'
model = dict(feat_dim={output.size}, temporal_dim=100)
{FEATURE_FRAME.format(stride=f"{grid.stride:g}")}"""
        for output in outputs
    )


MMACTION2 = Layout("mmaction2", _lines, NEEDS, is_centred, HINT, file=CSV_100, convert=hundred_rows)
