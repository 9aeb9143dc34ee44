"""UniFormer and UniFormerV2."""

from __future__ import annotations

from vidfeat.mmaction.backbones.options import factors, flags, integers, make, rgb, series
from vidfeat.mmaction.node import Node
from vidfeat.models.uniformer import UniFormerConfig
from vidfeat.models.uniformerv2 import UniFormerV2Config
from vidfeat.recipe import BackboneConfig


def uniformer(node: Node) -> BackboneConfig:
    # The size of the image decides nothing: there is no embedding of absolute positions.
    node.ignore({"attn_drop_rate", "drop_path_rate", "drop_rate", "img_size"})
    given = {
        **series(node, ("depth", "embed_dim")),
        **integers(node, ("head_dim", "in_chans")),
        **factors(node, ("mlp_ratio", "qk_scale")),
        **flags(node, ("qkv_bias",)),
    }
    config: UniFormerConfig = make(UniFormerConfig, node, given)
    rgb(node, config.in_chans)
    return config


def uniformerv2(node: Node) -> BackboneConfig:
    node.ignore({"backbone_drop_path_rate", "clip_pretrained", "drop_path_rate", "mlp_dropout"})
    sizes = "input_resolution patch_size width layers heads t_size kernel_size n_layers n_dim n_head".split()
    given = {
        **integers(node, sizes),
        **factors(node, ("dw_reduction", "mlp_factor")),
        **flags(node, ("temporal_downsample", "no_lmhra", "double_lmhra")),
        **series(node, ("return_list",), least=0),
    }
    config: UniFormerV2Config = make(UniFormerV2Config, node, given)
    return config
