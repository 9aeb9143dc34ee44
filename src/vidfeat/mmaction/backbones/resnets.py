"""ResNet and SlowOnly."""

from __future__ import annotations

from typing import Any

from vidfeat.mmaction.backbones.options import make, norm_eps, options, plain_conv, rgb
from vidfeat.mmaction.node import Node
from vidfeat.models.nonlocal3d import NonLocalConfig
from vidfeat.models.resnet import ResNetConfig
from vidfeat.models.resnet3d import ResNet3dConfig
from vidfeat.recipe import BackboneConfig


def resnet(node: Node) -> BackboneConfig:
    plain_conv(node, {"Conv", "Conv2d"})
    given = options(node, ("depth", "in_channels", "num_stages", "out_indices", "strides", "dilations", "style"))
    config: ResNetConfig = make(ResNetConfig, node, {**given, "norm_eps": norm_eps(node)})
    if len(config.out_indices) != 1:
        raise node.error("out_indices", expected="one stage, without a neck", found=f"{config.out_indices}")
    rgb(node, config.in_channels)
    return config


def slowonly(node: Node) -> BackboneConfig:
    if node.flag("lateral", False):
        raise node.error("lateral", expected="False: SlowOnly has one pathway", found="True")
    # They describe the other pathway of SlowFast, of which there is none.
    node.ignore({"lateral_norm", "speed_ratio", "channel_ratio", "fusion_kernel"})
    config: ResNet3dConfig = make(ResNet3dConfig, node, resnet3d_options(node))
    rgb(node, config.in_channels)
    return config


def resnet3d_options(node: Node) -> dict[str, Any]:
    plain_conv(node, {"Conv3d"})
    names = """
    depth stage_blocks in_channels num_stages base_channels out_indices spatial_strides temporal_strides
    dilations conv1_kernel conv1_stride_s conv1_stride_t pool1_stride_s pool1_stride_t with_pool1 with_pool2
    style inflate inflate_style non_local
    """.split()
    given = options(node, names)
    if node.value("non_local_cfg", None):
        given["non_local_block"] = _non_local(node.dict("non_local_cfg"))
    return {**given, "norm_eps": norm_eps(node)}


def _non_local(node: Node) -> NonLocalConfig:
    given = options(node, ("mode", "sub_sample", "use_scale", "reduction"))
    has_norm = node.value("norm_cfg", None) is not None
    config: NonLocalConfig = make(NonLocalConfig, node, {**given, "norm_eps": norm_eps(node) if has_norm else None})
    plain_conv(node, {"Conv3d"})
    node.ignore({"zeros_init"})
    node.refuse_rest("the options of a non-local block")
    return config
