"""Video Swin."""

from __future__ import annotations

from typing import Any

from vidfeat.mmaction.backbones.options import factors, flags, integers, layer_norm_eps, make, rgb, series
from vidfeat.mmaction.node import Node
from vidfeat.models.swin3d import SwinConfig
from vidfeat.recipe import BackboneConfig

_TINY = {"embed_dims": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)}
_SMALL = {"embed_dims": 96, "depths": (2, 2, 18, 2), "num_heads": (3, 6, 12, 24)}
_BASE = {"embed_dims": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32)}
_LARGE = {"embed_dims": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48)}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "t": _TINY,
    "tiny": _TINY,
    "s": _SMALL,
    "small": _SMALL,
    "b": _BASE,
    "base": _BASE,
    "l": _LARGE,
    "large": _LARGE,
}
"""The sizes of the paper, by the names that configs call them."""


def swin(node: Node) -> BackboneConfig:
    node.ignore({"attn_drop_rate", "drop_path_rate", "drop_rate"})
    _gelu(node)
    given = {
        **_architecture(node),
        **integers(node, ("in_channels",)),
        **series(node, ("patch_size", "window_size")),
        **series(node, ("out_indices",), least=0),
        **factors(node, ("mlp_ratio", "qk_scale")),
        **flags(node, ("qkv_bias", "patch_norm", "out_after_downsample")),
        "norm_eps": layer_norm_eps(node, default=1e-5),
    }
    config: SwinConfig = make(SwinConfig, node, given)
    rgb(node, config.in_channels)
    return config


def _architecture(node: Node) -> dict[str, Any]:
    arch = node.value("arch")
    if isinstance(arch, str):
        # The original does not care about upper and lower case.
        return Node.of({"arch": arch.lower()}, node.file, node.path).choice("arch", ARCHITECTURES)
    custom = node.dict("arch")
    lists = ("depths", "num_heads")
    for name in lists:
        custom.value(name)  # Raises where one is missing: a network of its own has no defaults.
    given: dict[str, Any] = {"embed_dims": custom.positive("embed_dims"), **series(custom, lists)}
    custom.refuse_rest("embed_dims, depths and num_heads")
    return given


def _gelu(node: Node) -> None:
    if "act_cfg" in node.data:
        act = node.dict("act_cfg")
        act.choice("type", {"GELU": None})
        act.refuse_rest("type")
