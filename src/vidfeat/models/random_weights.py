"""Random weights, for measurements: the time that a network takes does not depend on its weights."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from vidfeat.models import build
from vidfeat.recipe import ModelSpec

SEED = 0


def write_random_weights(spec: ModelSpec, path: Path) -> Path:
    """Write a checkpoint with random weights for a network; returns its path.

    Activations keep their magnitude from layer to layer: denormal numbers would be slow, and lower precisions would
    differ from fp32 more than they do with trained weights. Weights of convolutions and linear layers are initialised
    after He et al. (arXiv:1502.01852, fan-in); weights of norms are 1 and biases 0; running statistics of norms are
    mean 0 and variance 1. Non-local blocks end in a norm of weight 0, as MMAction2 initialises them: their products of
    three activations would overflow.

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
        if name.endswith("conv_out.bn.weight"):
            tensor.zero_()
        elif tensor.is_floating_point() and tensor.dim() > 1:
            tensor.normal_(0, math.sqrt(2 * len(tensor) / tensor.numel()), generator=generator)
        else:
            tensor.fill_(1 if name.endswith(("weight", "running_var")) else 0)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path
