"""lighthouse: files as for Moment-DETR, in `features/DATASET/clip` and `.../slowfast`; CLIP first, then SlowFast."""

from __future__ import annotations

from collections.abc import Sequence

from vidfeat.formats.layouts.layout import Layout, Output
from vidfeat.formats.layouts.moment_detr import HINT, NEEDS, NPZ_FEATURES, clip_last, has_two_second_rows


def _lines(outputs: Sequence[Output]) -> str:
    ordered = clip_last(outputs)[::-1]
    folders = "\n".join(
        f"#   features/DATASET/{'clip' if 'clip' in output.encoder.lower() else 'slowfast'} -> {output.folder}"
        for output in ordered
    )
    return f"""\
# configs/feature/clip_slowfast.yml; the two more columns are the place in time, which lighthouse adds
v_feat_dim: {sum(output.size for output in ordered) + 2}
# configs/dataset/DATASET.yml
clip_length: 2
# link the folders; training joins their columns in this order, CLIP first, then SlowFast
{folders}
# to be added by you: features/DATASET/clip_text, with `qid<QID>.npz` of each query"""


LIGHTHOUSE = Layout("lighthouse", _lines, NEEDS, has_two_second_rows, HINT, file=NPZ_FEATURES)
