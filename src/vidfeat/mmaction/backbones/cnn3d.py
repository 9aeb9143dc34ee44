"""R(2+1)D, CSN, C3D, SlowFast, X3D and OmniResNet."""

from __future__ import annotations

from typing import Any

from vidfeat.mmaction.backbones.options import TRAINING_OPTIONS, make, norm_eps, options, plain_conv, rgb
from vidfeat.mmaction.backbones.resnets import I3D_DEFAULTS, LATERAL_OPTIONS, resnet3d_options
from vidfeat.mmaction.node import Node
from vidfeat.models.c3d import C3DConfig
from vidfeat.models.csn import CSNConfig
from vidfeat.models.omni_resnet import OmniResNetConfig
from vidfeat.models.r2plus1d import ResNet2Plus1dConfig
from vidfeat.models.resnet3d import ResNet3dConfig
from vidfeat.models.slowfast import LateralConfig, SlowFastConfig
from vidfeat.models.x3d import X3DConfig
from vidfeat.recipe import BackboneConfig


def r2plus1d(node: Node) -> BackboneConfig:
    # The original requires the key, and that it says so.
    node.dict("conv_cfg").choice("type", {"Conv2plus1d": None})
    config: ResNet2Plus1dConfig = make(ResNet2Plus1dConfig, node, {"net": _whole_net(node, "Conv2plus1d")})
    rgb(node, config.net.in_channels)
    return config


def csn(node: Node) -> BackboneConfig:
    modes: dict[str, Any] = {"ip": "ip", "ir": "ir"}
    mode = node.choice("bottleneck_mode", modes, default="ir")
    node.ignore({"bn_frozen"})
    defaults = {**I3D_DEFAULTS, "temporal_strides": (1, 2, 2, 2), "inflate_style": "3x3x3"}
    net: ResNet3dConfig = make(ResNet3dConfig, node, {**defaults, **resnet3d_options(node, eps=1e-3)})
    config: CSNConfig = make(CSNConfig, node, {"net": net, "mode": mode})
    rgb(node, net.in_channels)
    return config


def _whole_net(node: Node, conv: str) -> ResNet3dConfig:
    """A `ResNet3d` run by a forward pass that always pools in space, never over time, and returns the last stage."""
    fixed = {"with_pool1": True, "with_pool2": False, "out_indices": (node.positive("num_stages", 4) - 1,)}
    given = {**I3D_DEFAULTS, **resnet3d_options(node, conv), **fixed}
    net: ResNet3dConfig = make(ResNet3dConfig, node, given)
    return net


def c3d(node: Node) -> BackboneConfig:
    plain_conv(node, {"Conv3d"})
    # `style` is read by nobody there; the other two concern training.
    node.ignore({"style", "dropout_ratio", "init_std"})
    given: dict[str, Any] = {"flat_size": node.positive("out_dim", 8192)}
    if node.value("norm_cfg", None) is not None:
        given["norm_eps"] = norm_eps(node)
    config: C3DConfig = make(C3DConfig, node, given)
    return config


def slowfast(node: Node) -> BackboneConfig:
    rates = {name: node.positive(name, 8) for name in ("resample_rate", "speed_ratio", "channel_ratio")}
    slow = _pathway(node, "slow_pathway", _SLOW_DEFAULTS)
    fast = _pathway(node, "fast_pathway", _FAST_DEFAULTS)
    lateral = _lateral(slow)
    if fast.flag("lateral", False):
        raise fast.error("lateral", expected="False: connections lead into the slow pathway only", found="True")
    fast.ignore(LATERAL_OPTIONS)
    nets = {"slow": _whole_net(slow, "Conv3d"), "fast": _whole_net(fast, "Conv3d")}
    for pathway, net in zip((slow, fast), nets.values(), strict=True):
        rgb(pathway, net.in_channels)
        pathway.refuse_rest("the options of a pathway")
    config: SlowFastConfig = make(SlowFastConfig, node, {**rates, **nets, "lateral": lateral})
    return config


_SLOW_DEFAULTS = {"type": "resnet3d", "lateral": True, "conv1_kernel": (1, 7, 7), "inflate": (0, 0, 1, 1)}
_FAST_DEFAULTS = {"type": "resnet3d", "lateral": False, "base_channels": 8, "conv1_kernel": (5, 7, 7)}
"""The pathways of a config that does not describe them; one that it does describe has the defaults of `ResNet3d`."""


def _pathway(node: Node, key: str, default: dict[str, Any]) -> Node:
    node.value(key, None)
    pathway = node.dict(key) if key in node.data else Node.of(default, node.file, f"{node.path}.{key}")
    pathway.choice("type", {"resnet3d": None})
    pathway.ignore(TRAINING_OPTIONS)
    # The ratios of the whole backbone override a pathway's own.
    pathway.ignore({"speed_ratio", "channel_ratio"})
    return pathway


def _lateral(slow: Node) -> LateralConfig | None:
    """The connections into the slow pathway."""
    if slow.flag("lateral_inv", False):
        raise slow.error("lateral_inv", expected="False: the fast pathway has more frames already", found="True")
    active = slow.value("lateral_activate", (1, 1, 1, 1))
    if not isinstance(active, list | tuple) or not all(flag == 1 for flag in active):
        raise slow.error("lateral_activate", expected="1 for every stage", found=f"{active!r}")
    kernel, factor = slow.positive("fusion_kernel", 5), slow.positive("lateral_infl", 2)
    eps = norm_eps(slow) if slow.flag("lateral_norm", False) else None
    config: LateralConfig = make(LateralConfig, slow, {"kernel": kernel, "channel_factor": factor, "norm_eps": eps})
    return config if slow.flag("lateral", False) else None


def x3d(node: Node) -> BackboneConfig:
    plain_conv(node, {"Conv3d"})
    # The original has a swish in every block, whatever this says.
    node.ignore({"use_swish"})
    given = options(node, ("in_channels", "num_stages", "spatial_strides", "se_style", "se_ratio"))
    for name in ("gamma_w", "gamma_b", "gamma_d"):
        given[name] = _factor(node, name)
    config: X3DConfig = make(X3DConfig, node, {**given, "norm_eps": norm_eps(node)})
    rgb(node, config.in_channels)
    return config


def _factor(node: Node, key: str) -> float:
    value = node.value(key, 1.0)
    if type(value) not in (int, float) or not 0 < value < 100:
        raise node.error(key, expected="a number above 0 and below 100", found=f"{value!r}")
    return float(value)


def omni_resnet(node: Node) -> BackboneConfig:
    node.ignore({"pretrain_2d"})
    config: OmniResNetConfig = make(OmniResNetConfig, node, options(node, ("layers",)))
    return config
