"""The networks: one file per family, and the table that finds them.

A family's file holds its frozen config, its module with `forward_features`, and nothing about where weights come from.
Parameter names below `backbone.` are MMAction2's, so that released checkpoints load by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import nn

from vidfeat.models.layers import fold_norms
from vidfeat.models.resnet import ResNet, ResNetConfig
from vidfeat.models.resnet3d import ResNet3d, ResNet3dConfig
from vidfeat.recipe import ModelSpec

__all__ = ["BACKBONES", "Recognizer", "build", "fold_norms"]

BACKBONES: dict[type, Callable[[Any], nn.Module]] = {
    ResNetConfig: ResNet,
    ResNet3dConfig: ResNet3d,
}
"""Config class to module class, for every family."""


class _Backbone(Protocol):
    def forward_features(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]: ...


class Recognizer(nn.Module):
    """A backbone under the name that checkpoints give it."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.backbone = BACKBONES[type(spec.backbone)](spec.backbone)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps: `[N, 3, H, W]` or `[N, 3, T, H, W]` to `[N, C, ...]`, or a tuple of those."""
        return cast(_Backbone, self.backbone).forward_features(x)


def build(spec: ModelSpec) -> Recognizer:
    """The network of a recipe, without weights, in eval mode, on the CPU.

    Weights are left uninitialised memory: drawing random ones costs as much time as loading the real ones, and the
    strict loader refuses a checkpoint that does not fill them all. Tensors that a network computes for itself must be
    made with `device="cpu"` and are kept.
    """
    with torch.device("meta"):
        model = Recognizer(spec)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            memory = torch.empty_like(parameter, device="cpu")
            module.register_parameter(name, nn.Parameter(memory, requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                module.register_buffer(name, torch.empty_like(buffer, device="cpu"))
    return model.eval()
