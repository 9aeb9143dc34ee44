"""LSTR and TeSTra: `rgb_kinetics_resnet50/VID.npy`, `[T, C]`, a row for every 6 frames at 24 fps."""

from __future__ import annotations

import json

from vidfeat.formats.layouts.layout import Layout, Output, for_each
from vidfeat.formats.layouts.row_grid import RowGrid

_FPS, _CHUNK = 24.0, 6
_FEATURE = "rgb_kinetics_resnet50"


def _fits(grid: RowGrid) -> bool:
    return (grid.fps, grid.stride) == (_FPS, _CHUNK) and all(
        grid.rows(frames, _FPS) in (frames // _CHUNK, frames // _CHUNK + 1) for frames in (600, 601, 605)
    )


def _lines(output: Output) -> str:
    return f"""\
DATA:
  DATA_ROOT: {json.dumps(output.folder)}
  FPS: {int(_FPS) // _CHUNK}
INPUT:
  VISUAL_FEATURE: '{_FEATURE}'
# in models/feature_head.py: FEATURE_SIZES['{_FEATURE}'] = {output.size}
# to be added by you, with as many rows for each video: target_perframe/ and flow_kinetics_bninception/; with
# INPUT.MODALITY 'visual' its numbers do not matter"""


LSTR = Layout(
    "lstr",
    for_each(_lines),
    f"a row for every {_CHUNK} frames at {_FPS:g} fps, as the labels have",
    _fits,
    f"Give `grid.fps={_FPS:g}`, `grid.stride={_CHUNK}` and `grid.window={_CHUNK}`; for the 4th frame of each alone, "
    "`grid.window=1` and `grid.placement=centre`.",
    folder=f"{_FEATURE}/",
)
