"""Layouts: outputs as the code that trains on features reads them. One consumer per module."""

from __future__ import annotations

from vidfeat.formats.layouts.actionformer import ACTIONFORMER
from vidfeat.formats.layouts.bmn import BMN
from vidfeat.formats.layouts.gtad import GTAD
from vidfeat.formats.layouts.howto100m import HOWTO100M
from vidfeat.formats.layouts.layout import Layout, Output, RowGrid
from vidfeat.formats.layouts.lighthouse import LIGHTHOUSE
from vidfeat.formats.layouts.lstr import LSTR
from vidfeat.formats.layouts.mmaction2 import MMACTION2
from vidfeat.formats.layouts.moment_detr import MOMENT_DETR
from vidfeat.formats.layouts.ms_tcn import MS_TCN
from vidfeat.formats.layouts.opentad import OPENTAD
from vidfeat.formats.layouts.rtfm import RTFM
from vidfeat.formats.layouts.tridet import TRIDET
from vidfeat.formats.layouts.videomae_tad import VIDEOMAE_TAD

__all__ = ["LAYOUTS", "Layout", "Output", "RowGrid"]

LAYOUTS: dict[str, Layout] = {
    "actionformer": ACTIONFORMER,
    "opentad": OPENTAD,
    "tridet": TRIDET,
    "bmn": BMN,
    "gtad": GTAD,
    "moment-detr": MOMENT_DETR,
    "lighthouse": LIGHTHOUSE,
    "lstr": LSTR,
    "ms-tcn": MS_TCN,
    "rtfm": RTFM,
    "howto100m": HOWTO100M,
    "videomae-tad": VIDEOMAE_TAD,
    "mmaction2": MMACTION2,
}
"""The layout of each consumer, by the name that `Job.layout` has."""
