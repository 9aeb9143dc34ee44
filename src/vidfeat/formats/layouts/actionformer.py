"""ActionFormer: `VID.npy`, `[T, C]` float32. Read by its data sets `thumos`, `anet` and `ego4d`."""

from __future__ import annotations

from collections.abc import Sequence

from vidfeat.formats.layouts.layout import Layout, Output, RowGrid


def yaml_lines(grid: RowGrid, outputs: Sequence[Output]) -> str:
    """The part `dataset` of a config of ActionFormer or TriDet.

    Both place a time of t seconds at `(t * fps - num_frames / 2) / feat_stride`, in numbers that may be fractions.
    """
    fps = "~,  # the annotation's `fps` of each video" if grid.fps is None else f"{grid.fps:g},"
    return "\n\n".join(
        f"""\
dataset: {{
  feat_folder: {output.folder},
  file_prefix: ~,
  file_ext: .npy,
  input_dim: {output.size},
  feat_stride: {grid.stride:g},
  num_frames: {2 * grid.centre:g},
  default_fps: {fps}
}}"""
        for output in outputs
    )


ACTIONFORMER = Layout("actionformer", yaml_lines)
