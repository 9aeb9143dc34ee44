"""Made-up weights: the time that a network takes does not depend on them."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from vidfeat.models import build
from vidfeat.recipe import ModelSpec

SEED = 0


def write_random_weights(spec: ModelSpec, path: Path) -> Path:
    """Write a checkpoint that fits a network and is good for nothing but measuring; returns its path.

    Numbers keep a sane size from layer to layer: those next to nothing would be slow to compute with, and only so do
    rounded formats stay as close to fp32 as they do with trained weights. Weights of convolutions and linear layers are
    drawn after He et al. (arXiv:1502.01852, fan-in); weights of norms are 1 and biases 0; norms have seen data with
    mean 0 and variance 1.

    Args:
        spec: the network.
        path: a `.safetensors` file.
    """
    generator = torch.Generator().manual_seed(SEED)
    model = build(spec)
    state = model.state_dict()
    for name, tensor in state.items():
        if name in model.computed:
            continue
        if tensor.is_floating_point() and tensor.dim() > 1:
            tensor.normal_(0, math.sqrt(2 * len(tensor) / tensor.numel()), generator=generator)
        else:
            tensor.fill_(1 if name.endswith(("weight", "running_var")) else 0)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path
