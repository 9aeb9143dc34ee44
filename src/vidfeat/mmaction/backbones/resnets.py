"""ResNet, C2D, I3D and SlowOnly."""

from __future__ import annotations

from typing import Any

from vidfeat.mmaction.backbones.options import make, norm_eps, options, plain_conv, rgb
from vidfeat.mmaction.node import Node
from vidfeat.models.c2d import C2DConfig
from vidfeat.models.nonlocal3d import NonLocalConfig
from vidfeat.models.resnet import ResNetConfig
from vidfeat.models.resnet3d import ResNet3dConfig
from vidfeat.recipe import BackboneConfig


def resnet(node: Node) -> BackboneConfig:
    return resnet_config(node)


def resnet_config(node: Node) -> ResNetConfig:
    plain_conv(node, {"Conv", "Conv2d"})
    given = options(node, ("depth", "in_channels", "num_stages", "out_indices", "strides", "dilations", "style"))
    config: ResNetConfig = make(ResNetConfig, node, {**given, "norm_eps": norm_eps(node)})
    rgb(node, config.in_channels)
    return config


def c2d(node: Node) -> BackboneConfig:
    config: C2DConfig = make(C2DConfig, node, {"net": resnet_config(node)})
    return config


def i3d(node: Node) -> BackboneConfig:
    config: ResNet3dConfig = make(ResNet3dConfig, node, {**I3D_DEFAULTS, **resnet3d_options(node)})
    rgb(node, config.in_channels)
    return config


I3D_DEFAULTS: dict[str, Any] = {"depth": 50, "conv1_kernel": (3, 7, 7), "inflate": 1, "with_pool2": True}
"""Where MMAction2's `ResNet3d` differs from SlowOnly."""


def slowonly(node: Node) -> BackboneConfig:
    if node.flag("lateral", False):
        raise node.error("lateral", expected="False: SlowOnly has one pathway", found="True")
    # They describe the other pathway of SlowFast, of which there is none.
    node.ignore(LATERAL_OPTIONS)
    config: ResNet3dConfig = make(ResNet3dConfig, node, {"depth": 50, **resnet3d_options(node)})
    rgb(node, config.in_channels)
    return config


LATERAL_OPTIONS = frozenset(
    """
    channel_ratio fusion_kernel lateral_activate lateral_infl lateral_inv lateral_norm speed_ratio
    """.split()
)
"""Options of a pathway that concern its connections with another one."""


def resnet3d_options(node: Node, conv: str = "Conv3d", eps: float = 1e-5) -> dict[str, Any]:
    """The options that `ResNet3d` and all that derive from it share.

    Args:
        node: the backbone.
        conv: the type of its convolutions.
        eps: the family's default epsilon.
    """
    plain_conv(node, {conv})
    names = """
    depth stage_blocks in_channels num_stages base_channels out_indices spatial_strides temporal_strides
    dilations conv1_kernel conv1_stride_s conv1_stride_t pool1_stride_s pool1_stride_t with_pool1 with_pool2
    style inflate inflate_style non_local
    """.split()
    given = options(node, names)
    if node.value("non_local_cfg", None):
        given["non_local_block"] = non_local_block(node.dict("non_local_cfg"))
    return {**given, "norm_eps": norm_eps(node, default=eps)}


def non_local_block(node: Node) -> NonLocalConfig:
    given = options(node, ("mode", "sub_sample", "use_scale", "reduction"))
    has_norm = node.value("norm_cfg", None) is not None
    config: NonLocalConfig = make(NonLocalConfig, node, {**given, "norm_eps": norm_eps(node) if has_norm else None})
    plain_conv(node, {"Conv3d"})
    node.ignore({"zeros_init"})
    node.refuse_rest("the options of a non-local block")
    return config
