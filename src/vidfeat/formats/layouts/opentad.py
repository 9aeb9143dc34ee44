"""OpenTAD: `VID.npy`, `[T, C]` float32, and `missing_files.txt`, without which a video that failed ends its training."""

from __future__ import annotations

from collections.abc import Sequence

from vidfeat.formats.layouts.layout import Layout, Output, RowGrid


def _lines(grid: RowGrid, outputs: Sequence[Output]) -> str:
    """The variables of a config, and what belongs into each part of its `dataset`.

    OpenTAD places a time of t seconds at `(t * fps - int(offset_frames)) / feature_stride`.
    """
    offset = int(grid.centre)
    lost = grid.centre - offset
    note = f"  # of {grid.centre:g}: OpenTAD takes whole frames, so labels lie {abs(lost):g} frames too "
    note = note + ("late" if lost > 0 else "early") if lost else ""
    rate = "of the video" if grid.fps is None else f"of the video at {grid.fps:g} fps"
    fps = "" if grid.fps is None else f"    fps={grid.fps:g},  # not for the Thumos classes\n"
    return "\n\n".join(
        f"""\
data_path = "{output.folder.rstrip("/")}/"
block_list = data_path + "missing_files.txt"
# `frame` of the annotation: frames {rate}. In train, val and test:
dict(
    data_path=data_path,
    block_list=block_list,
    feature_stride={grid.stride:g},
    sample_stride=1,
    offset_frames={offset},{note}
{fps}    pipeline=[dict(type="LoadFeats", feat_format="npy"), ...],
)
model = dict(projection=dict(in_channels={output.size}))"""
        for output in outputs
    )


OPENTAD = Layout(
    "opentad",
    _lines,
    needs="a stride of a whole number of frames, the same for all videos",
    fits=lambda grid: grid.stride is not None and grid.stride.is_integer(),
)
