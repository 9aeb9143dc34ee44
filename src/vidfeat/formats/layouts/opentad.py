"""OpenTAD: `VID.npy`, `[T, C]` float32, and `missing_files.txt`: without it, a video that failed ends the training."""

from __future__ import annotations

import json

from vidfeat.formats.layouts.layout import MISSING_FILES, Layout, Output, for_each


def _lines(output: Output) -> str:
    """The variables of a config, and what belongs into each part of its `dataset`.

    OpenTAD places a time of t seconds at `(t * fps - int(offset_frames)) / feature_stride`.
    """
    grid = output.grid
    lost = grid.centre - int(grid.centre)
    way = "late" if lost > 0 else "early"
    note = f"  # OpenTAD takes {int(grid.centre)}: labels lie {abs(lost):g} frames too {way}" if lost else ""
    rate = "of the video" if grid.fps is None else f"of the video at {grid.fps:g} fps"
    fps = (
        "    # the EpicKitchens classes need `fps=`: resample all videos to one rate\n"
        if grid.fps is None
        else f"    fps={grid.fps:.10g},  # not for the Thumos classes\n"
    )
    return f"""\
data_path = {json.dumps(f"{output.folder}/")}
block_list = data_path + "{MISSING_FILES}"
# `frame` of the annotation: frames {rate}. In train, val and test:
dict(
    data_path=data_path,
    block_list=block_list,
    feature_stride={grid.stride:g},
    sample_stride=1,
    offset_frames={grid.centre:g},{note}
{fps}    pipeline=[dict(type="LoadFeats", feat_format="npy"), ...],
)
model = dict(projection=dict(in_channels={output.size}))"""


OPENTAD = Layout(
    "opentad",
    for_each(_lines),
    needs="a stride of a whole number of frames that is the same for all videos",
    fits=lambda grid: grid.stride is not None and grid.stride.is_integer(),
)
