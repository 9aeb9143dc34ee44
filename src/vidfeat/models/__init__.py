"""The networks: one file per family, and the table from config to module.

A family's file holds its frozen config and its module with `forward_features`, and nothing about the origin of weights.
Parameter names below `backbone.` are MMAction2's, so that released checkpoints load by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from vidfeat.errors import ConfigError
from vidfeat.models.c2d import C2D, C2DConfig
from vidfeat.models.c3d import C3D, C3DConfig
from vidfeat.models.csn import CSN, CSNConfig
from vidfeat.models.heads import HEADS
from vidfeat.models.layers import channels_last, fold_norms
from vidfeat.models.mobilenet_v2 import MobileNetV2, MobileNetV2Config, MobileNetV2TSM, MobileNetV2TSMConfig
from vidfeat.models.mobileone import MobileOne, MobileOneConfig, MobileOneTSM, MobileOneTSMConfig
from vidfeat.models.module import ModuleConfig, OwnModule
from vidfeat.models.mvit import MViT, MViTConfig
from vidfeat.models.nonlocal3d import NonLocalConfig
from vidfeat.models.omni_resnet import OmniResNet, OmniResNetConfig
from vidfeat.models.packed import pack
from vidfeat.models.r2plus1d import ResNet2Plus1d, ResNet2Plus1dConfig
from vidfeat.models.resnet import ResNet, ResNetConfig
from vidfeat.models.resnet3d import ResNet3d, ResNet3dConfig
from vidfeat.models.resnext import ResNeXt, ResNeXtConfig
from vidfeat.models.slowfast import LateralConfig, SlowFast, SlowFastConfig
from vidfeat.models.swin3d import Swin3d, SwinConfig
from vidfeat.models.tanet import TAMConfig, TANet, TANetConfig
from vidfeat.models.timesformer import TimeSformer, TimeSformerConfig
from vidfeat.models.timm_torchvision import LibraryConfig, library_network
from vidfeat.models.tin import ResNetTIN, TINConfig
from vidfeat.models.tpn import TPN, FusionConfig, TPNConfig
from vidfeat.models.transformers import TransformersConfig, TransformersNetwork
from vidfeat.models.tsm import ResNetTSM, TSMConfig
from vidfeat.models.uniformer import UniFormer, UniFormerConfig
from vidfeat.models.uniformerv2 import UniFormerV2, UniFormerV2Config
from vidfeat.models.vit import VisionTransformer, VisionTransformerConfig
from vidfeat.models.x3d import X3D, X3DConfig
from vidfeat.recipe import ModelSpec

__all__ = ["BACKBONES", "CONFIGS", "Recognizer", "build", "channels_last", "fold_norms", "pack"]

BACKBONES: dict[type, Callable[[Any], nn.Module]] = {
    ResNetConfig: ResNet,
    ResNet3dConfig: ResNet3d,
    TSMConfig: ResNetTSM,
    TINConfig: ResNetTIN,
    TANetConfig: TANet,
    MobileNetV2Config: MobileNetV2,
    MobileNetV2TSMConfig: MobileNetV2TSM,
    MobileOneConfig: MobileOne,
    MobileOneTSMConfig: MobileOneTSM,
    ResNeXtConfig: ResNeXt,
    LibraryConfig: library_network,
    ResNet2Plus1dConfig: ResNet2Plus1d,
    CSNConfig: CSN,
    C2DConfig: C2D,
    C3DConfig: C3D,
    SlowFastConfig: SlowFast,
    X3DConfig: X3D,
    OmniResNetConfig: OmniResNet,
    MViTConfig: MViT,
    TimeSformerConfig: TimeSformer,
    VisionTransformerConfig: VisionTransformer,
    SwinConfig: Swin3d,
    UniFormerConfig: UniFormer,
    UniFormerV2Config: UniFormerV2,
    TransformersConfig: TransformersNetwork,
    ModuleConfig: OwnModule,
}
"""Config class to module class, for every family."""

NECKS: dict[type, Callable[[Any], nn.Module]] = {TPNConfig: TPN}
"""Config class to module class, for the networks between backbone and pooling."""

MAX_MODULES = 10_000
"""Of a network. The largest released ones have about a thousand."""

CONFIGS: tuple[type, ...] = (*BACKBONES, *NECKS, *HEADS, FusionConfig, LateralConfig, NonLocalConfig, TAMConfig)
"""Every config class that a recipe may hold: of families, necks, heads, and their parts."""


class _Backbone(Protocol):
    def forward_features(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]: ...


class Recognizer(nn.Module):
    """A backbone, an optional neck and an optional head, under the names that checkpoints use.

    Attributes:
        spec: the specification that it was built from.
        computed: names of buffers that the network computes; checkpoints need not have them.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.computed: frozenset[str] = frozenset()
        self.backbone = BACKBONES[type(spec.backbone)](spec.backbone)
        if spec.neck is not None:
            self.neck = NECKS[type(spec.neck)](spec.neck)
        if spec.head is not None:
            self.cls_head = HEADS[type(spec.head)](spec.head)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps: `[N, 3, H, W]` or `[N, 3, T, H, W]` to `[N, C, ...]`, or a tuple of those.

        An image network with a neck takes its frames clip by clip, as `spec` says, and returns `[clips, C, T', ...]`.
        """
        maps = cast(_Backbone, self.backbone).forward_features(x)
        if self.spec.neck is None:
            return maps
        if self.spec.dims == 2:
            clips = 1 if self.spec.neck_joins_video else len(x) // self.spec.segments
            maps = tuple(stage.view(clips, -1, *stage.shape[1:]).transpose(1, 2) for stage in maps)
        return self.neck(maps)


def build(spec: ModelSpec) -> Recognizer:
    """The network of a recipe, without weights, in eval mode, on the CPU.

    Weights are uninitialised memory: initialising them would take as long as loading them, and the strict loader
    refuses a checkpoint that does not fill them all. Tensors that a network computes must be created with
    `device="cpu"`, and are kept.

    Raises:
        ConfigError: the network has more than `MAX_MODULES` modules, sizes that PyTorch refuses, or weights that do
            not fit into memory.
    """
    try:
        with torch.device("meta"), _limited_modules():
            model = Recognizer(spec)
        model.computed = frozenset(name for name, buffer in model.named_buffers() if not buffer.is_meta)
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                module.register_parameter(name, nn.Parameter(_memory_for(parameter), requires_grad=False))
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta:
                    module.register_buffer(name, _memory_for(buffer))
    except (RuntimeError, MemoryError, OverflowError, TypeError, ValueError) as error:  # of strangers' numbers
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise ConfigError(
            "model",
            expected="sizes that make a network, and weights that fit into memory",
            found=f"{type(error).__name__}: {reason}",
        ) from error
    return model.eval()


@contextlib.contextmanager
def _limited_modules() -> Iterator[None]:
    """Refuse to make more than `MAX_MODULES` modules, which would take minutes."""
    count = 0

    def add(*_: object) -> None:
        nonlocal count
        count += 1
        if count > MAX_MODULES:
            raise ConfigError("model", expected=f"a network of at most {MAX_MODULES:,} modules", found="a larger one")

    hook = register_module_module_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()


def _memory_for(tensor: torch.Tensor) -> torch.Tensor:
    # `empty_like` of a meta tensor imports sympy first, which takes half a second.
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
