"""The dict `model`, which both dialects write alike: a recognizer's backbone and neck."""

from __future__ import annotations

from typing import Literal

from vidfeat.mmaction.backbones import compile_backbone
from vidfeat.mmaction.backbones.tsm import segments_of
from vidfeat.mmaction.necks import compile_neck
from vidfeat.mmaction.node import Node
from vidfeat.recipe import ModelSpec

TEST_CFG_KEYS = frozenset(["average_clips", "fcn_test", "feature_extraction", "flip", "max_testing_views", "num_segs"])
"""Keys of `model.test_cfg`: how scores are averaged, or how work is cut up; features do not depend on them."""


def compile_model(node: Node) -> ModelSpec:
    """The network of a recognizer.

    Args:
        node: the dict `model`; keys of one dialect only are read before.

    Raises:
        ConfigError: another kind of model, an unknown option, or options that make no network.
    """
    # RecognizerOmni takes images, too, when it is trained; clips it takes as Recognizer3D does.
    recognizers: dict[str, Literal[2, 3]] = {"Recognizer2D": 2, "Recognizer3D": 3, "RecognizerOmni": 3}
    recognizer = node.choice("type", recognizers)
    # The head turns features into scores; features are taken before it.
    node.ignore({"cls_head", "train_cfg"})
    test_cfg = node.dict("test_cfg") if isinstance(node.value("test_cfg", None), dict) else None
    if test_cfg is not None:
        test_cfg.ignore(TEST_CFG_KEYS)
        test_cfg.refuse_rest("settings of score averaging")
    backbone = compile_backbone(node.dict("backbone"), dims=recognizer)
    neck = compile_neck(node, backbone, dims=recognizer)
    node.refuse_rest("type, backbone, neck, cls_head, train_cfg and test_cfg")
    return ModelSpec(
        backbone=backbone,
        dims=recognizer,
        segments=segments_of(backbone),
        neck=neck,
        neck_joins_video=neck is not None and recognizer == 2,
    )
