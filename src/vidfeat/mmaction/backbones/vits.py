"""Transformers over plain tokens: TimeSformer, VideoMAE and MViT."""

from __future__ import annotations

from typing import Any

from vidfeat.mmaction.backbones.options import flags, frozen, integers, layer_norm_eps, make, rgb
from vidfeat.mmaction.node import Node
from vidfeat.models.mvit import ARCHITECTURES, MViTConfig
from vidfeat.models.timesformer import TimeSformerConfig
from vidfeat.models.vit import VisionTransformerConfig
from vidfeat.recipe import BackboneConfig


def timesformer(node: Node) -> BackboneConfig:
    if node.value("transformer_layers", None) is not None:
        raise node.error("transformer_layers", expected="None: the blocks of the paper", found="blocks of its own")
    node.ignore({"dropout_ratio"})
    given = {
        **integers(node, ("embed_dims", "num_heads", "num_transformer_layers", "in_channels")),
        "num_frames": node.positive("num_frames"),
        "img_size": node.pair("img_size"),
        "patch_size": node.positive("patch_size"),
        "norm_eps": layer_norm_eps(node, 1e-6),
    }
    if "attention_type" in node.data:
        given["attention_type"] = node.text("attention_type")
    config: TimeSformerConfig = make(TimeSformerConfig, node, given)
    rgb(node, config.in_channels)
    return config


def vision_transformer(node: Node) -> BackboneConfig:
    if node.flag("return_feat_map", False):
        raise node.error("return_feat_map", expected="False: maps are for detection", found="True")
    node.ignore({"attn_drop_rate", "drop_path_rate", "drop_rate"})
    numbers = "img_size patch_size in_channels embed_dims depth num_heads num_frames tubelet_size".split()
    # The original takes any other value, 1 among them, for "no layer scale"; its size is only where training starts.
    layer_scale = node.value("init_values", 0.0)
    given = {
        **integers(node, numbers),
        **flags(node, ("qkv_bias", "use_learnable_pos_emb", "use_mean_pooling")),
        "mlp_ratio": _factor(node, "mlp_ratio", 4.0),
        "qk_scale": _factor(node, "qk_scale", None) if node.value("qk_scale", None) else None,
        "layer_scale": type(layer_scale) is float and layer_scale > 0,
        "norm_eps": layer_norm_eps(node, 1e-6),
    }
    config: VisionTransformerConfig = make(VisionTransformerConfig, node, given)
    rgb(node, config.in_channels)
    return config


def mvit(node: Node) -> BackboneConfig:
    # The first two say how training starts; the third leaves layers out in training.
    node.ignore({"pretrained_type", "rel_pos_zero_init", "drop_path_rate"})
    numbers = "spatial_size temporal_size in_channels dim_mul head_mul".split()
    switches = """
    use_abs_pos_embed rel_pos_embed residual_pooling dim_mul_in_attention with_cls_token output_cls_token qkv_bias
    """.split()
    given = {
        **_mvit_architecture(node),
        **integers(node, numbers),
        **flags(node, switches),
        **{name: _three(node, name) for name in ("pool_kernel", "adaptive_kv_stride") if name in node.data},
        **(_mvit_patches(node.dict("patch_cfg")) if "patch_cfg" in node.data else {}),
        "mlp_ratio": _factor(node, "mlp_ratio", 4.0),
        "norm_eps": layer_norm_eps(node, 1e-6),
    }
    if "interpolate_mode" in node.data:
        given["interpolate_mode"] = node.text("interpolate_mode")
    config: MViTConfig = make(MViTConfig, node, given)
    last = len(config.downscale_indices)
    if frozen(node.value("out_scales", -1)) not in (-1, (-1,), last, (last,)):
        raise node.error("out_scales", expected="-1: the head reads the last one", found=f"{node.value('out_scales')}")
    rgb(node, config.in_channels)
    return config


def _mvit_architecture(node: Node) -> dict[str, Any]:
    name = node.value("arch", "base")
    if isinstance(name, str):
        if name.lower() not in ARCHITECTURES:
            raise node.error("arch", expected=f"one of {', '.join(ARCHITECTURES)}, or a dict", found=f"{name!r}")
        return dict(ARCHITECTURES[name.lower()])
    arch = node.dict("arch")
    given: dict[str, Any] = {name: arch.positive(name) for name in ("embed_dims", "num_layers", "num_heads")}
    for name in ("downscale_indices", "dim_mul_indices"):
        if name in arch.data or name == "downscale_indices":
            given[name] = frozen(arch.value(name))
    arch.refuse_rest("embed_dims, num_layers, num_heads, downscale_indices and dim_mul_indices")
    return given


def _mvit_patches(node: Node) -> dict[str, Any]:
    given = {
        "patch_kernel": _three(node, "kernel_size"),
        "patch_stride": _three(node, "stride"),
        "patch_padding": _three(node, "padding", least=0),
    }
    node.refuse_rest("kernel_size, stride and padding")
    return given


def _three(node: Node, key: str, least: int = 1) -> tuple[int, ...]:
    """An integer for each of time, height and width, or one for all."""
    value = node.value(key)
    three = (value,) * 3 if type(value) is int else frozen(value)
    if not (isinstance(three, tuple) and len(three) == 3 and all(type(x) is int and x >= least for x in three)):
        raise node.error(key, expected=f"three integers from {least} up, or one for all", found=f"{value!r}")
    return three


def _factor(node: Node, key: str, default: float | None) -> float:
    value = node.value(key, default)
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise node.error(key, expected="a number above 0", found=f"{value!r}")
    return float(value)
