"""ActionFormer: `VID.npy`, `[T, C]` float32, for its data sets `thumos`, `anet` and `ego4d`; and `VID.npz` with `feats`
for `epic`.
"""

from __future__ import annotations

import json

from vidfeat.formats.layouts.layout import Layout, Output, for_each
from vidfeat.formats.video_file import npz_file


def yaml_lines(output: Output, files: str = "file_prefix: ~,\n  file_ext: .npy") -> str:
    """The part `dataset` of a config of ActionFormer or TriDet.

    Args:
        output: the output.
        files: the lines that say how its files are named.

    Both place a time of t seconds at `(t * fps - num_frames / 2) / feat_stride`, in numbers that may be fractions.
    """
    fps = "~" if output.grid.fps is None else f"{output.grid.fps:.10g}"
    note = "  # the `fps` of each video in the annotation" if output.grid.fps is None else ""
    return f"""\
dataset: {{
  feat_folder: {json.dumps(output.folder)},
  {files},
  input_dim: {output.size},
  feat_stride: {output.grid.stride:g},
  num_frames: {2 * output.grid.centre:g},
  default_fps: {fps},{note}
}}"""


ACTIONFORMER = Layout("actionformer", for_each(yaml_lines))

ACTIONFORMER_EPIC = Layout(
    "actionformer-epic",
    for_each(lambda output: yaml_lines(output, "file_prefix: ~,\n  file_ext: .npz")),
    file=npz_file("feats"),
)
