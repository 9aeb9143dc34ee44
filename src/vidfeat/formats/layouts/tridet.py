"""TriDet: files and config as for ActionFormer, for its data sets `thumos` and `anet`; and pickles of two tensors for
`hacs`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vidfeat.features import VideoFeatures
from vidfeat.formats.layouts.actionformer import yaml_lines
from vidfeat.formats.layouts.layout import Layout, Output, for_each
from vidfeat.formats.pkl import ArrayPickler, load_arrays
from vidfeat.formats.video_file import FileFormat

TRIDET = Layout("tridet", for_each(yaml_lines))

_SLOW, _FAST = "slow_feature", "fast_feature"
_SLOW_CHANNELS = 2048
"""Of the slow pathway of SlowFast with ResNet-50 or ResNet-101, whose columns come first."""


class _TensorPickler(ArrayPickler):
    def reducer_override(self, obj: Any) -> Any:
        """A tensor is pickled as the array that it is made of, which every version of PyTorch reads."""
        import torch

        if isinstance(obj, torch.Tensor):
            return torch.Tensor, (obj.numpy(),)
        return super().reducer_override(obj)


def _write(file: BinaryIO, features: VideoFeatures) -> None:
    import torch

    columns = features.values.T[None]
    parts = {_SLOW: columns[:, :_SLOW_CHANNELS], _FAST: columns[:, _SLOW_CHANNELS:]}
    pickler = _TensorPickler(file, protocol=4)
    pickler.fast = True
    pickler.dump({name: torch.from_numpy(np.array(part, part.dtype.newbyteorder("="))) for name, part in parts.items()})


def _read(path: Path) -> tuple[npt.NDArray[Any], None]:
    with path.open("rb") as file:
        parts = load_arrays(file, frozenset({"EMPTY_DICT", "SETITEM", "SETITEMS"}), {"torch.Tensor": _array})
    slow, fast = parts[_SLOW], parts[_FAST]
    (columns,) = np.concatenate([slow, fast], axis=1)
    return columns.T, None


def _array(array: Any) -> npt.NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.ndim != 3:
        raise ValueError("a tensor of three axes was expected")
    return array


def _hacs_lines(output: Output) -> str:
    folder = Path(output.folder)
    lines = yaml_lines(replace(output, folder=str(folder.parent)), "file_ext: .pkl,\n  backbone_type: slowfast")
    return f"""\
# TriDet adds the first name of a split to feat_folder: train_split or val_split must be [ '{folder.name}' ]
{lines}"""


TRIDET_HACS = Layout("tridet-hacs", for_each(_hacs_lines), file=FileFormat(".pkl", _write, _read))
