"""BMN, BSN and TCANet in MMAction2: `VID.csv`, a header and 100 rows, for `LoadLocalizationFeature`."""

from __future__ import annotations

import json

from vidfeat.formats.layouts.bmn import CSV_100, FEATURE_FRAME, hundred_rows
from vidfeat.formats.layouts.layout import Layout, Output, for_each


def _lines(output: Output) -> str:
    return f"""\
data_root = {json.dumps(f"{output.folder}/")}
data_root_val = data_root
model = dict(feat_dim={output.size}, temporal_dim=100)
{FEATURE_FRAME.format(stride=f"{output.grid.stride:g}")}"""


MMACTION2 = Layout("mmaction2", for_each(_lines), file=CSV_100, convert=hundred_rows)
