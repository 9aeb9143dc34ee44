"""MMAction2's necks: their options, compiled into config dataclasses."""

from __future__ import annotations

from typing import Any, TypeGuard

from vidfeat.mmaction.config import Node
from vidfeat.models.tpn import FusionConfig, TPNConfig
from vidfeat.recipe import NeckConfig


def compile_neck(node: Node, channels: tuple[int, ...]) -> NeckConfig:
    """The config dataclass of a neck.

    Args:
        node: the dict `model.neck`.
        channels: the channels of each map that the backbone returns.

    Raises:
        ConfigError: an unknown type or option, or a neck that does not fit the backbone.
    """
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


def _tpn(node: Node) -> TPNConfig:
    given = node.given(("in_channels", "out_channels"))
    spatial = node.dict("spatial_modulation_cfg")
    _only(spatial, "in_channels", given.get("in_channels"))
    _only(spatial, "out_channels", (given.get("in_channels") or (None,))[-1])
    spatial.refuse_rest("in_channels and out_channels")
    temporal = node.dict("temporal_modulation_cfg")
    given["temporal_scales"] = temporal.series("downsample_scales")
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
    neck = node.build(TPNConfig, given)
    node.refuse_rest("the options of this neck")
    return neck


def _fusion(node: Node, neck: dict[str, Any]) -> FusionConfig:
    fusion = node.dict("level_fusion_cfg")
    levels = len(neck.get("in_channels", ()))
    _only(fusion, "in_channels", (neck.get("out_channels"),) * levels)
    given = fusion.given(("mid_channels",), fusion.series) | fusion.given(("out_channels",), fusion.positive)
    scales = fusion.frozen("downsample_scales", ((1, 1, 1),) * 2)
    scales = tuple(map(_triple, scales)) if isinstance(scales, tuple) else ()
    if not scales or not all(map(_is_scale, scales)):
        raise fusion.error("downsample_scales", expected="a list of scales, three factors each", found=f"{scales!r}")
    config = fusion.build(FusionConfig, {**given, "scales": scales})
    fusion.refuse_rest("in_channels, mid_channels, out_channels and downsample_scales")
    return config


def _only(node: Node, key: str, wanted: object) -> None:
    """An option that has to repeat the value of another one."""
    found = node.frozen(key, None)
    if found != wanted:
        raise node.error(key, expected=f"{wanted!r}, the value of the neck's other options", found=f"{found!r}")


def _scale(node: Node, key: str, fixed: dict[str, str]) -> tuple[float, float, float]:
    """Factors over (time, height, width); each other option may only have its supported value."""
    for other, only in fixed.items():
        node.choice(other, {only: None}, default=only)
    default: object = (1, 2, 2) if key == "downsample_scale" else None
    scale = _triple(node.frozen(key, default))
    if not _is_scale(scale):
        raise node.error(key, expected="three factors above 0, for time, height and width", found=f"{scale!r}")
    node.refuse_rest(key)
    return scale


def _is_scale(scale: object) -> TypeGuard[tuple[float, float, float]]:
    return isinstance(scale, tuple) and len(scale) == 3 and all(type(x) in (int, float) and x > 0 for x in scale)


def _triple(scale: Any) -> Any:
    return (scale,) * 3 if isinstance(scale, int | float) else scale
