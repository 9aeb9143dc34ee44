"""Made-up weights: the time that a network takes does not depend on them."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from vidfeat.models import build
from vidfeat.recipe import ModelSpec

SEED = 0


def made_up_weights(spec: ModelSpec, path: Path) -> None:
    """Write a checkpoint of random weights that keep numbers of a sane size from layer to layer.

    Only so do rounded formats stay as close to fp32 as they do with trained weights, which is checked on every first
    batch. Weights of convolutions and linear layers are drawn after He et al. (arXiv:1502.01852, fan-in); weights of
    norms are 1 and biases 0; norms have seen data with mean 0 and variance 1.
    """
    model = build(spec)
    generator = torch.Generator().manual_seed(SEED)
    state = model.state_dict()
    for name, tensor in state.items():
        if name in model.computed:
            continue
        leaf = name.rpartition(".")[2]
        if tensor.is_floating_point() and tensor.dim() >= 2:
            tensor.normal_(std=math.sqrt(2 / math.prod(tensor.shape[1:])), generator=generator)
        else:
            tensor.fill_(1 if leaf in ("weight", "running_var") else 0)
    torch.save(state, path)
