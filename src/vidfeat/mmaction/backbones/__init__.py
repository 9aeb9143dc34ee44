"""MMAction2's backbone options, translated into the families' config dataclasses: one file per group of families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from vidfeat.mmaction.backbones import resnets
from vidfeat.mmaction.node import Node
from vidfeat.recipe import BackboneConfig

TRAINING_OPTIONS = frozenset(
    """
    frozen_stages init_cfg norm_eval partial_bn pretrained pretrained2d torchvision_pretrain with_cp
    zero_init_residual
    """.split()
)
"""Options that decide where weights start from or which of them learn."""

BACKBONES: dict[int, dict[str, Callable[[Node], BackboneConfig]]] = {
    2: {"ResNet": resnets.resnet},
    3: {"ResNet3dSlowOnly": resnets.slowonly},
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
    compile_one = node.choice("type", BACKBONES[dims])
    node.ignore(TRAINING_OPTIONS)
    config = compile_one(node)
    node.refuse_rest("the options of this backbone")
    return config
