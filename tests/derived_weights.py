"""Weights that follow from parameter names: whoever shares the names shares the weights, and no file has to travel.

The rule is the one with which the reference numbers were made: PCG64 seeded with the CRC-32 of the name gives uniform
numbers in [0, 1) (the top 24 bits of each draw), which are then scaled by what kind of parameter it is.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

NOT_DRAWN = ("relative_position_index", "attn_mask")


def value(name: str, shape: tuple[int, ...], gamma: float = 1.0) -> npt.NDArray[np.generic]:
    """The parameter of that name and shape; `gamma` scales the weights of normalisations."""
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    draws = np.random.PCG64(zlib.crc32(name.encode())).random_raw(math.prod(shape))
    uniform = ((draws >> np.uint64(40)).astype(np.float64) / 2**24).astype(np.float32)
    centred = uniform - 0.5
    if leaf == "running_var":
        drawn = uniform + 0.5
    elif leaf == "running_mean" or (len(shape) <= 1 and leaf != "weight"):
        drawn = 0.2 * centred
    elif len(shape) <= 1:
        drawn = gamma * (0.3 + 0.4 * uniform)
    elif leaf != "weight" and any(word in name for word in ("embed", "token", "pos_", "relative_position")):
        drawn = 0.5 * centred
    else:
        drawn = (2 * uniform - 1) * math.sqrt(3.0) * math.sqrt(2.0 / math.prod(shape[1:]))
        drawn = 0.3 * drawn if "non_local" in name else drawn
    return drawn.astype(np.float32).reshape(shape)


def state_of(model: nn.Module, gamma: float = 1.0) -> dict[str, torch.Tensor]:
    """A whole state dict for a model."""
    state = {}
    for name, tensor in model.state_dict().items():
        kept = any(word in name for word in NOT_DRAWN)
        drawn = not kept and (tensor.is_floating_point() or name.endswith("num_batches_tracked"))
        state[name] = torch.from_numpy(value(name, tuple(tensor.shape), gamma)) if drawn else tensor
    return state
