"""Image networks that look across frames: TSM, TIN, TANet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vidfeat.mmaction.backbones.options import frozen, make, norm_eps, options
from vidfeat.mmaction.backbones.resnets import non_local_block, resnet_config
from vidfeat.mmaction.backbones.timm_torchvision import mobileone_config
from vidfeat.mmaction.node import Node
from vidfeat.models.mobilenet_v2 import MobileNetV2Config, MobileNetV2TSMConfig
from vidfeat.models.mobileone import MobileOneTSMConfig
from vidfeat.models.tanet import TAMConfig, TANetConfig
from vidfeat.models.tin import TINConfig
from vidfeat.models.tsm import TSMConfig
from vidfeat.recipe import BackboneConfig

ACROSS_FRAMES = (TSMConfig, TINConfig, TANetConfig, MobileNetV2TSMConfig, MobileOneTSMConfig)


def segments_of(config: BackboneConfig) -> int:
    """How many neighbouring frames an image network looks at together."""
    return config.segments if isinstance(config, ACROSS_FRAMES) else 1


def resnet_tsm(node: Node) -> BackboneConfig:
    names = ("shift_div", "is_shift", "shift_place", "temporal_pool")
    return _across(TSMConfig, node, {"resnet": resnet_config(node), **options(node, names), **_non_local(node)})


def resnet_tin(node: Node) -> BackboneConfig:
    # Of TSM, from which it is derived there; its own shift takes the place of that one.
    node.ignore({"is_shift", "shift_place", "temporal_pool"})
    names = ("shift_div", "is_tin")
    return _across(TINConfig, node, {"resnet": resnet_config(node), **options(node, names), **_non_local(node)})


def tanet(node: Node) -> BackboneConfig:
    tam = TAMConfig()
    if node.value("tam_cfg", None):
        inner = node.dict("tam_cfg")
        names = ("alpha", "adaptive_kernel_size", "beta", "conv1d_kernel_size")
        tam = make(TAMConfig, inner, options(inner, names))
        _keeps_length(inner, tam)
        inner.ignore({"init_std"})
        inner.refuse_rest("the options of a temporal adaptive module")
    return _across(TANetConfig, node, {"resnet": resnet_config(node), "tam": tam})


def _keeps_length(node: Node, tam: TAMConfig) -> None:
    """The adaptive convolution must return as many frames as it takes, which the original leaves to the config."""
    for key, wanted in (
        ("adaptive_convolution_stride", 1),
        ("adaptive_convolution_padding", tam.adaptive_kernel_size // 2),
    ):
        if node.value(key, 1) != wanted:
            raise node.error(
                key, expected=f"{wanted}, which keeps the number of frames", found=f"{node.value(key, 1)!r}"
            )


def mobilenet_v2(node: Node) -> BackboneConfig:
    return mobilenet_v2_config(node)


def mobilenet_v2_config(node: Node) -> MobileNetV2Config:
    for key, types in (("conv_cfg", ("Conv", "Conv2d")), ("act_cfg", ("ReLU6",))):
        if node.value(key, None) is not None:
            inner = node.dict(key)
            inner.choice("type", dict.fromkeys(types))
            inner.ignore({"inplace"})
            inner.refuse_rest("type")
    given = options(node, ("widen_factor", "out_indices"))
    config: MobileNetV2Config = make(MobileNetV2Config, node, {**given, "norm_eps": norm_eps(node)})
    return config


def mobilenet_v2_tsm(node: Node) -> BackboneConfig:
    given = options(node, ("is_shift", "shift_div"))
    return _across(MobileNetV2TSMConfig, node, {"mobilenet": mobilenet_v2_config(node), **given})


def mobileone_tsm(node: Node) -> BackboneConfig:
    given = options(node, ("is_shift", "shift_div"))
    return _across(MobileOneTSMConfig, node, {"mobileone": mobileone_config(node), **given})


def _across(config_class: Callable[..., Any], node: Node, given: dict[str, Any]) -> BackboneConfig:
    """The config, with the number of frames that belong together."""
    if "num_segments" in node.data:
        given["segments"] = node.positive("num_segments")
    config: BackboneConfig = make(config_class, node, given)
    return config


def _non_local(node: Node) -> dict[str, Any]:
    """Flags and options of non-local blocks; there are none without options, whatever the flags say."""
    flags = frozen(node.value("non_local", ()))
    if not node.value("non_local_cfg", None):
        return {}
    return {"non_local": flags, "non_local_block": non_local_block(node.dict("non_local_cfg"))}
