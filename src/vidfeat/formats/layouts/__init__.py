"""Layouts: outputs as the code that trains on features reads them. One consumer per module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidfeat.errors import UsageError
from vidfeat.formats import FILE_FORMATS, FORMATS, Sink
from vidfeat.formats.layouts.actionformer import ACTIONFORMER
from vidfeat.formats.layouts.bmn import BMN
from vidfeat.formats.layouts.gtad import GTAD
from vidfeat.formats.layouts.howto100m import HOWTO100M
from vidfeat.formats.layouts.layout import Layout, Output
from vidfeat.formats.layouts.lighthouse import LIGHTHOUSE
from vidfeat.formats.layouts.lstr import LSTR
from vidfeat.formats.layouts.mmaction2 import MMACTION2
from vidfeat.formats.layouts.moment_detr import MOMENT_DETR
from vidfeat.formats.layouts.ms_tcn import MS_TCN
from vidfeat.formats.layouts.opentad import OPENTAD
from vidfeat.formats.layouts.row_grid import RowGrid
from vidfeat.formats.layouts.rtfm import RTFM
from vidfeat.formats.layouts.tridet import TRIDET
from vidfeat.formats.layouts.videomae_tad import VIDEOMAE_TAD
from vidfeat.preprocessing.segments import Segments

if TYPE_CHECKING:
    from vidfeat.encoders import Encoder

__all__ = ["LAYOUTS", "Layout", "open_layout"]

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


def open_layout(name: str, outs: Sequence[str], encoders: Sequence[Encoder]) -> tuple[Sink, ...]:
    """The outputs of encoders as one consumer reads them.

    Args:
        name: of a layout.
        outs: the folder of each encoder.
        encoders: with the grids and the pooling of the job.

    Raises:
        UsageError: the layout needs other rows than the encoders give, or a file is meant where a folder has to be.
    """
    layout = LAYOUTS[name]
    outputs = []
    for out, encoder in zip(outs, encoders, strict=True):
        if Path(out).suffix.lower() in {**FORMATS, **FILE_FORMATS} and not out.endswith("/") and Path(out).suffix:
            raise UsageError(
                "out",
                expected="a folder, as `layout` says what is in it",
                found=repr(out),
                hint="Leave the suffix out.",
            )
        folder = layout.root(Path(out)).absolute()
        outputs.append(Output(encoder.name, str(folder), encoder.feature_size, _row_grid(layout, encoder)))
    lines = layout.lines(outputs)
    return tuple(layout.open(Path(out), output.grid, lines) for out, output in zip(outs, outputs, strict=True))


def _row_grid(layout: Layout, encoder: Encoder) -> RowGrid:
    if not encoder.grid.dense or isinstance(encoder.grid, Segments):
        raise UsageError(
            "layout",
            expected="rows of windows, to which `grid.stride` leads",
            found=f"rows of whole videos or segments from {encoder.name}",
            hint=layout.hint,
        )
    pooling = encoder.description()["recipe"]["pooling"]
    kept = [axis for axis in ("space", "time", "views") if pooling[axis] == "keep"]
    crops = encoder.preprocess.crops if "views" in kept else 0
    if kept != ["views"] * bool(layout.crops_kept) or crops != layout.crops_kept:
        raise UsageError(
            "layout",
            expected=f"for {layout.name}, "
            + (f"the {layout.crops_kept} crops of every frame kept" if layout.crops_kept else "no axis but C kept"),
            found=f"{' and '.join(kept)} kept, of {encoder.preprocess.crops} crops" if kept else "none kept",
            hint="Give `pooling.views=keep` with a model of ten crops." if layout.crops_kept else "",
        )
    if encoder.grid.clips_per_row is None and pooling["views"] != "per_clip":
        raise UsageError("pooling.views", expected="per_clip, for a row of each window", found=repr(pooling["views"]))
    grid = RowGrid.of(encoder.grid)
    if not layout.fits(grid):
        raise UsageError("layout", expected=f"for {layout.name}, {layout.needs}", found=f"{grid}", hint=layout.hint)
    return grid
