"""MMAction2's necks, translated into config dataclasses."""

from __future__ import annotations

from typing import Any, Literal

from vidfeat.mmaction.backbones.options import make, options
from vidfeat.mmaction.node import Node
from vidfeat.models.mobilenet_v2 import MobileNetV2Config, MobileNetV2TSMConfig
from vidfeat.models.resnet import ResNetConfig
from vidfeat.models.resnet3d import ResNet3dConfig
from vidfeat.models.tanet import TANetConfig
from vidfeat.models.tin import TINConfig
from vidfeat.models.tpn import FusionConfig, TPNConfig
from vidfeat.models.tsm import TSMConfig
from vidfeat.recipe import BackboneConfig, NeckConfig


def compile_neck(model: Node, backbone: BackboneConfig, dims: Literal[2, 3]) -> NeckConfig | None:
    """The config dataclass of a neck.

    Args:
        model: the dict `model`.
        backbone: the compiled backbone, whose maps the neck takes.
        dims: 2 in a Recognizer2D, 3 in a Recognizer3D.

    Returns:
        None where the model has no neck.

    Raises:
        ConfigError: an unknown type or option, a neck that does not fit the backbone, or several maps of an image
            network without a neck to join them.
    """
    channels = _map_channels(backbone)
    if model.value("neck", None) is None:
        if dims == 2 and len(channels) > 1:
            raise model.dict("backbone").error(
                "out_indices", expected="one output, without a neck", found=f"{len(channels)} of them"
            )
        return None
    node = model.dict("neck")
    node.choice("type", {"TPN": None})
    neck = _tpn(node)
    if channels != neck.in_channels:
        raise node.error(
            "in_channels",
            expected=f"the channels that the backbone returns, {channels}",
            found=f"{neck.in_channels}",
            hint="Let backbone.out_indices and neck.in_channels name the same stages.",
        )
    return neck


def _map_channels(backbone: BackboneConfig) -> tuple[int, ...]:
    """Channels of each map that a backbone returns; one entry for families that return vectors, or one map."""
    if isinstance(backbone, TSMConfig | TINConfig | TANetConfig):
        return _map_channels(backbone.resnet)
    if isinstance(backbone, MobileNetV2TSMConfig):
        return _map_channels(backbone.mobilenet)
    if isinstance(backbone, MobileNetV2Config):
        return tuple(backbone.layer_channels[layer] for layer in backbone.out_indices)
    if isinstance(backbone, ResNetConfig | ResNet3dConfig):
        return tuple(backbone.stage_channels[stage] for stage in backbone.out_indices)
    return (backbone.feature_size,)


def _tpn(node: Node) -> TPNConfig:
    given = options(node, ("in_channels", "out_channels"))
    spatial = node.dict("spatial_modulation_cfg")
    _only(spatial, "in_channels", given.get("in_channels"))
    _only(spatial, "out_channels", (given.get("in_channels") or (None,))[-1])
    spatial.refuse_rest("in_channels and out_channels")
    temporal = node.dict("temporal_modulation_cfg")
    given["temporal_scales"] = options(temporal, ("downsample_scales",)).get("downsample_scales")
    temporal.refuse_rest("downsample_scales")
    given["fusion"] = _fusion(node, given)
    if node.value("upsample_cfg", None) is not None:
        given["upsample"] = _scale(node.dict("upsample_cfg"), "scale_factor", {"mode": "nearest"})
    if node.value("downsample_cfg", None) is not None:
        given["downsample"] = _scale(node.dict("downsample_cfg"), "downsample_scale", {"downsample_position": "after"})
    if node.value("aux_head_cfg", None) is not None:
        aux = node.dict("aux_head_cfg")
        given["aux_classes"] = aux.positive("out_channels")
        aux.ignore({"loss_weight", "loss_cls"})
        aux.refuse_rest("out_channels, loss_weight and loss_cls")
    if "flow_type" in node.data:
        given["flow"] = node.text("flow_type")
    neck: TPNConfig = make(TPNConfig, node, given)
    node.refuse_rest("the options of this neck")
    return neck


def _fusion(node: Node, given: dict[str, Any]) -> FusionConfig:
    fusion = node.dict("level_fusion_cfg")
    levels = len(given.get("in_channels", ()))
    _only(fusion, "in_channels", (given.get("out_channels"),) * levels)
    read = options(fusion, ("mid_channels", "out_channels", "downsample_scales"))
    scales = read.pop("downsample_scales", ((1, 1, 1),) * 2)
    config: FusionConfig = make(FusionConfig, fusion, {**read, "scales": tuple(map(_triple, scales))})
    fusion.refuse_rest("in_channels, mid_channels, out_channels and downsample_scales")
    return config


def _only(node: Node, key: str, wanted: object) -> None:
    """An option that has to repeat what another one says."""
    found = options(node, (key,)).get(key)
    if found != wanted:
        raise node.error(key, expected=f"{wanted!r}, as the neck's other options have it", found=f"{found!r}")


def _scale(node: Node, key: str, fixed: dict[str, str]) -> tuple[float, float, float]:
    """Factors over (time, height, width); other options may only say what is built anyway."""
    for other, only in fixed.items():
        node.choice(other, {only: None}, default=only)
    default: object = (1, 2, 2) if key == "downsample_scale" else None
    scale = _triple(options(node, (key,)).get(key, default))
    if not (isinstance(scale, tuple) and len(scale) == 3 and all(type(x) in (int, float) and x > 0 for x in scale)):
        raise node.error(key, expected="three factors above 0, for time, height and width", found=f"{scale!r}")
    node.refuse_rest(key)
    return scale


def _triple(scale: Any) -> Any:
    return (scale,) * 3 if isinstance(scale, int | float) else scale
