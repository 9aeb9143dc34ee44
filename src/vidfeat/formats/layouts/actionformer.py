"""ActionFormer: `VID.npy`, `[T, C]` float32. Read by its data sets `thumos`, `anet` and `ego4d`."""

from __future__ import annotations

import json

from vidfeat.formats.layouts.layout import Layout, Output, for_each


def yaml_lines(output: Output) -> str:
    """The part `dataset` of a config of ActionFormer or TriDet.

    Both place a time of t seconds at `(t * fps - num_frames / 2) / feat_stride`, in numbers that may be fractions.
    """
    fps = "~" if output.grid.fps is None else f"{output.grid.fps:.10g}"
    note = "  # the `fps` of each video in the annotation" if output.grid.fps is None else ""
    return f"""\
dataset: {{
  feat_folder: {json.dumps(output.folder)},
  file_prefix: ~,
  file_ext: .npy,
  input_dim: {output.size},
  feat_stride: {output.grid.stride:g},
  num_frames: {2 * output.grid.centre:g},
  default_fps: {fps},{note}
}}"""


ACTIONFORMER = Layout("actionformer", for_each(yaml_lines))
