"""MMAction2's classification heads: their options, compiled into config dataclasses.

`HEADS`, at the end, lists the types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vidfeat.mmaction.config import Node
from vidfeat.models.c3d import C3DConfig
from vidfeat.models.heads import LinearHeadConfig, OmniHeadConfig, RelationHeadConfig, X3DHeadConfig
from vidfeat.models.mvit import MViTConfig
from vidfeat.models.slowfast import SlowFastConfig
from vidfeat.models.tsm import TSMConfig
from vidfeat.recipe import HeadConfig, ModelSpec

_TRAINING_OPTIONS = frozenset(
    """
    channel_map dropout_ratio image_dropout_ratio init_cfg init_scale init_std label_smooth_eps loss_cls multi_class
    topk video_dropout_ratio
    """.split()
)
"""Options that determine initial weights or training."""


@dataclass(frozen=True)
class Head:
    """A compiled head.

    Attributes:
        config: its config dataclass.
        segments: neighbouring frames of an image network that it scores together.
        joins_views: whether its scores are those of all frames of a video, of every crop, before the softmax.
    """

    config: HeadConfig
    segments: int = 1
    joins_views: bool = False


def compile_head(model: Node, spec: ModelSpec) -> Head:
    """The head of a model.

    Args:
        model: the dict `model`.
        spec: its network, without a head.

    Raises:
        ConfigError: there is none, it has an unknown type or option, or it does not fit the network.
    """
    if model.value("cls_head", None) is None:
        raise model.error(
            "cls_head",
            expected="a classification head, which gives the scores",
            found="none",
            hint="Configs for feature extraction have none: use the one that the model is tested with.",
        )
    node = model.dict("cls_head")
    compile_one = node.choice("type", HEADS[spec.dims])
    node.ignore({*_TRAINING_OPTIONS, "average_clips"})  # which `vidfeat.mmaction.compile` reads
    channels = node.positive("in_channels", spec.feature_size)
    if channels != spec.feature_size:
        expected = f"{spec.feature_size}, the channels that the network before it returns"
        raise node.error("in_channels", expected=expected, found=f"{channels}")
    head = compile_one(node, spec)
    node.refuse_rest("the options of this head")
    return head


def _linear(node: Node, spec: ModelSpec) -> LinearHeadConfig:
    fast = spec.backbone.fast.feature_size if isinstance(spec.backbone, SlowFastConfig) else 0
    return LinearHeadConfig(spec.feature_size, node.positive("num_classes"), fast)


def _pooled(node: Node, spec: ModelSpec) -> LinearHeadConfig:
    """A layer after the mean over space, which C3D, whose output is a vector, does without."""
    _only(node, "spatial_type", "avg", *([None] if isinstance(spec.backbone, C3DConfig) else []))
    return _linear(node, spec)


def _averaged(node: Node, spec: ModelSpec) -> LinearHeadConfig:
    """The same, and a mean over frames."""
    if node.value("consensus", None) is not None:
        consensus = node.dict("consensus")
        consensus.choice("type", {"AvgConsensus": None})
        _only(consensus, "dim", 1)
        consensus.refuse_rest("type and dim")
    return _pooled(node, spec)


def _tsm(node: Node, spec: ModelSpec) -> Head:
    pooled = isinstance(spec.backbone, TSMConfig) and spec.backbone.temporal_pool
    if (node.flag("temporal_pool", False) and node.flag("is_shift", True)) != pooled:
        raise node.error("temporal_pool", expected=f"{pooled}, as in the backbone", found=f"{not pooled}")
    node.ignore({"is_shift"})
    return Head(_averaged(node, spec), _segments(node, spec))


def _trn(node: Node, spec: ModelSpec) -> Head:
    _only(node, "spatial_type", "avg")
    segments = _segments(node, spec)
    given = {
        "in_channels": spec.feature_size,
        "classes": node.positive("num_classes"),
        "segments": segments,
        "hidden": node.positive("hidden_dim", 256),
        "multi_scale": node.choice("relation_type", {"TRNMultiScale": True, "TRN": False}, default="TRNMultiScale"),
    }
    return Head(node.build(RelationHeadConfig, given), segments)


def _segments(node: Node, spec: ModelSpec) -> int:
    segments = node.positive("num_segments", 8)
    if segments % spec.segments:
        expected = f"a multiple of the {spec.segments} frames that the backbone combines"
        raise node.error("num_segments", expected=expected, found=f"{segments}")
    return segments


def _x3d(node: Node, spec: ModelSpec) -> Head:
    _only(node, "spatial_type", "avg")
    return Head(X3DHeadConfig(spec.feature_size, node.positive("num_classes"), node.flag("fc1_bias", False)))


def _mvit(node: Node, spec: ModelSpec) -> Head:
    has_token = not isinstance(spec.backbone, MViTConfig) or spec.backbone.output_cls_token
    if node.flag("with_cls_token", True) != has_token:
        raise node.error("with_cls_token", expected=f"{has_token}, as in the backbone", found=f"{not has_token}")
    return Head(_linear(node, spec))


def _omni(node: Node, spec: ModelSpec) -> Head:
    classes, images = node.positive("video_classes"), node.positive("image_classes")
    return Head(OmniHeadConfig(spec.feature_size, classes, images, node.flag("video_nl_head", True)))


def _only(node: Node, key: str, *accepted: object) -> None:
    """An option, by default the first of the accepted values."""
    value = node.value(key, accepted[0])
    if value not in accepted:
        raise node.error(key, expected=" or ".join(map(repr, accepted)), found=f"{value!r}")


HEADS: dict[int, dict[str, Callable[[Node, ModelSpec], Head]]] = {
    2: {
        "TSNHead": lambda node, spec: Head(_averaged(node, spec), joins_views=True),
        "TSMHead": _tsm,
        "TRNHead": _trn,
        "TPNHead": lambda node, spec: Head(_averaged(node, spec)),
    },
    3: {
        "I3DHead": lambda node, spec: Head(_pooled(node, spec)),
        "SlowFastHead": lambda node, spec: Head(_pooled(node, spec)),
        "TPNHead": lambda node, spec: Head(_averaged(node, spec)),
        "X3DHead": _x3d,
        "TimeSformerHead": lambda node, spec: Head(_linear(node, spec)),
        "UniFormerHead": lambda node, spec: Head(_linear(node, spec)),
        "MViTHead": _mvit,
        "OmniHead": _omni,
    },
}
"""The heads of each kind of recognizer, 2D and 3D, by their type in a config."""
