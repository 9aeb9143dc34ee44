"""Moment-DETR and QD-DETR: `VID.npz` with `features`, a row for every 2 seconds; SlowFast first, then CLIP."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from vidfeat.formats.layouts.layout import Layout, Output
from vidfeat.formats.layouts.row_grid import RowGrid
from vidfeat.formats.video_file import npz_file

CLIP_SECONDS = 2
NEEDS = "a row for every 2 s, also for the last and shorter one, as times are counted in rows"
HINT = "Give `grid.stride=2s`, `grid.window=2s` and `grid.tail=pad`."
NPZ_FEATURES = npz_file("features")


def has_two_second_rows(grid: RowGrid) -> bool:
    """Whether a video of any length has ceil(duration / 2) rows, row i for the time from 2i to 2i + 2 seconds."""
    return (
        grid.stride_seconds == CLIP_SECONDS
        and grid.in_strides
        and all(
            grid.rows(frames, fps) == math.ceil(frames / fps / CLIP_SECONDS)
            for fps in (24.0, 30.0)
            for frames in (480, 481, 499, 510, 527, 540)
        )
    )


def clip_last(outputs: Sequence[Output]) -> list[Output]:
    """The outputs in the order in which Moment-DETR joins columns: CLIP after the others."""
    return sorted(outputs, key=lambda output: "clip" in output.encoder.lower())


def _lines(outputs: Sequence[Output]) -> str:
    ordered = clip_last(outputs)
    return f"""\
# the order of the folders is that of the columns of the model: SlowFast first, then CLIP
v_feat_dirs=({shlex.join(output.folder for output in ordered)})
v_feat_dim={sum(output.size for output in ordered)}
# to be added by you: t_feat_dir, with `qid<QID>.npz` of each query, key `last_hidden_state`"""


MOMENT_DETR = Layout("moment-detr", _lines, NEEDS, has_two_second_rows, HINT, file=NPZ_FEATURES)
