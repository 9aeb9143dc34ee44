"""MMAction2's backbone options, translated into the families' config dataclasses: one file per group of families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from vidfeat.mmaction.backbones import cnn3d, resnets, swin, timm_torchvision, tsm, uniformer, vits
from vidfeat.mmaction.backbones.options import TRAINING_OPTIONS
from vidfeat.mmaction.node import Node
from vidfeat.recipe import BackboneConfig

BACKBONES: dict[int, dict[str, Callable[[Node], BackboneConfig]]] = {
    2: {
        "ResNet": resnets.resnet,
        "ResNetTSM": tsm.resnet_tsm,
        "ResNetTIN": tsm.resnet_tin,
        "TANet": tsm.tanet,
        "MobileNetV2": tsm.mobilenet_v2,
        "MobileNetV2TSM": tsm.mobilenet_v2_tsm,
        "MobileOneTSM": tsm.mobileone_tsm,
        "mmcls.MobileOne": timm_torchvision.mobileone,
        "mmcls.ResNeXt": timm_torchvision.resnext,
        "mmpretrain.MobileOne": timm_torchvision.mobileone,
        "mmpretrain.ResNeXt": timm_torchvision.resnext,
    },
    3: {
        "C2D": resnets.c2d,
        "C3D": cnn3d.c3d,
        "OmniResNet": cnn3d.omni_resnet,
        "ResNet2Plus1d": cnn3d.r2plus1d,
        "ResNet3d": resnets.i3d,
        "ResNet3dCSN": cnn3d.csn,
        "ResNet3dSlowFast": cnn3d.slowfast,
        "ResNet3dSlowOnly": resnets.slowonly,
        "X3D": cnn3d.x3d,
        "SwinTransformer3D": swin.swin,
        "UniFormer": uniformer.uniformer,
        "UniFormerV2": uniformer.uniformerv2,
        "MViT": vits.mvit,
        "TimeSformer": vits.timesformer,
        "VisionTransformer": vits.vision_transformer,
    },
}
"""For each kind of recognizer, 2D and 3D, the backbones that it can have."""


def compile_backbone(node: Node, dims: Literal[2, 3]) -> BackboneConfig:
    """The config dataclass of a backbone.

    Args:
        node: the dict `model.backbone`.
        dims: 2 in a Recognizer2D, 3 in a Recognizer3D.

    Raises:
        ConfigError: an unknown type or option, or a value that makes no network.
    """
    by_library = timm_torchvision.by_library(node.value("type")) if dims == 2 else None
    compile_one = by_library or node.choice("type", BACKBONES[dims])
    node.ignore(TRAINING_OPTIONS)
    config = compile_one(node)
    node.refuse_rest("the options of this backbone")
    return config
