"""Layouts: outputs as the code that trains on features reads them. One consumer per module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.errors import ConfigError, UsageError
from vidfeat.formats import FILE_FORMATS, FORMATS, Sink
from vidfeat.formats.layouts.actionformer import ACTIONFORMER, ACTIONFORMER_EPIC
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
from vidfeat.formats.layouts.tridet import TRIDET, TRIDET_HACS
from vidfeat.formats.layouts.videomae_tad import VIDEOMAE_TAD
from vidfeat.preprocessing.segments import Segments
from vidfeat.recipe import Recipe, TimeGrid, part_to_json

if TYPE_CHECKING:
    from vidfeat.encoders import Encoder

__all__ = ["LAYOUTS", "Layout", "Rows", "open_layout", "require_layout"]

LAYOUTS: dict[str, Layout] = {
    "actionformer": ACTIONFORMER,
    "actionformer-epic": ACTIONFORMER_EPIC,
    "opentad": OPENTAD,
    "tridet": TRIDET,
    "tridet-hacs": TRIDET_HACS,
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


@dataclass(frozen=True)
class Rows:
    """What gives the rows of an output.

    Attributes:
        encoder: its name.
        grid: where they lie.
        size: numbers of a row, C.
        pooling: of the recipe, as JSON data.
        crops: of every frame.
    """

    encoder: str
    grid: TimeGrid
    size: int
    pooling: Mapping[str, Any]
    crops: int

    @classmethod
    def of(cls, encoder: Encoder) -> Rows:
        """The rows of an encoder with the grid and the pooling of a job."""
        pooling = encoder.description()["recipe"]["pooling"]
        return cls(encoder.name, encoder.grid, encoder.feature_size, pooling, encoder.preprocess.crops)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Rows:
        """The rows of an output that is there, from the first line of its manifest.

        Raises:
            UsageError: it does not say where they lie, or they are those of a layout that changes rows.
        """
        from vidfeat.preprocessing.clips import PreprocessSpec  # imports OpenCV

        written = LAYOUTS.get(header.get("layout", ""))
        if written is not None and written.convert is not None:
            raise UsageError("layout", expected="rows as they were computed", found=f"those of {written.name}")
        try:
            recipe = Recipe.from_json(header["recipe"])
        except (ConfigError, KeyError) as error:
            raise UsageError(
                "layout", expected="an output whose manifest says where its rows lie", found=f"{error}"
            ) from None
        crops = PreprocessSpec.of(recipe).crops
        return cls(header["encoder"], recipe.sampling, recipe.feature_size, part_to_json(recipe.pooling), crops)


def require_layout(name: str) -> Layout:
    """The layout of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in LAYOUTS:
        raise UsageError("layout", expected=f"one of {', '.join(LAYOUTS)}", found=repr(name))
    return LAYOUTS[name]


def open_layout(name: str, outs: Sequence[str], rows: Sequence[Rows]) -> tuple[Sink, ...]:
    """Outputs as one consumer reads them.

    Args:
        name: of a layout.
        outs: the folder of each encoder.
        rows: of each encoder.

    Raises:
        UsageError: the layout needs other rows, or a file is meant where a folder has to be.
    """
    layout = require_layout(name)
    outputs = []
    for out, of in zip(outs, rows, strict=True):
        if Path(out).suffix.lower() in {*FORMATS, *FILE_FORMATS} - {""} and not out.endswith("/"):
            raise UsageError(
                "out",
                expected="a folder, as `layout` says what is in it",
                found=repr(out),
                hint="Leave the suffix out.",
            )
        folder = layout.root(Path(out)).absolute()
        outputs.append(Output(of.encoder, str(folder), of.size, _row_grid(layout, of)))
    lines = layout.lines(outputs)
    return tuple(layout.open(Path(out), output.grid, lines) for out, output in zip(outs, outputs, strict=True))


def _row_grid(layout: Layout, rows: Rows) -> RowGrid:
    if not rows.grid.dense or isinstance(rows.grid, Segments):
        raise UsageError(
            "layout",
            expected="rows of windows, to which `grid.stride` leads",
            found=f"rows of whole videos or segments from {rows.encoder}",
            hint=layout.hint,
        )
    kept = [axis for axis in ("space", "time", "views") if rows.pooling[axis] == "keep"]
    crops = rows.crops if "views" in kept else 0
    if kept != ["views"] * bool(layout.crops_kept) or crops != layout.crops_kept:
        raise UsageError(
            "layout",
            expected=f"for {layout.name}, "
            + (f"the {layout.crops_kept} crops of every frame kept" if layout.crops_kept else "no axis but C kept"),
            found=f"{' and '.join(kept)} kept, of {rows.crops} crops" if kept else "none kept",
            hint="Give `pooling.views=keep` with a model of ten crops." if layout.crops_kept else "",
        )
    if rows.grid.clips_per_row is None and rows.pooling["views"] != "per_clip":
        found = repr(rows.pooling["views"])
        raise UsageError("pooling.views", expected="per_clip, for a row of each window", found=found)
    grid = RowGrid.of(rows.grid)
    if not layout.fits(grid):
        raise UsageError("layout", expected=f"for {layout.name}, {layout.needs}", found=f"{grid}", hint=layout.hint)
    return grid
