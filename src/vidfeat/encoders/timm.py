"""Encoders of timm: `timm:NAME`, with the preprocessing of the model's `pretrained_cfg`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from vidfeat.checkpoint import MatchReport, find
from vidfeat.checkpoint.hub import Repository, downloads
from vidfeat.encoders.libraries import finish, frames_of_a_video, load_model_of, not_supported
from vidfeat.encoders.protocol import refuse_options
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.encoders.recipe_encoder import from_json as read_encoder
from vidfeat.lazy_import import import_extra
from vidfeat.mmaction.feature_script import FeatureRequest
from vidfeat.recipe import (
    CenterCrop,
    FrameTransform,
    Interpolation,
    ModelSpec,
    Normalize,
    Recipe,
    ResizeShortEdge,
    ResizeTo,
)

if TYPE_CHECKING:
    from vidfeat.checkpoint import CheckpointFile
    from vidfeat.models import Recognizer

ORIGIN: Literal["timm"] = "timm"

_INTERPOLATION: dict[str, Interpolation] = {"bilinear": "pillow_bilinear", "bicubic": "pillow_bicubic"}


def compile_encoder(
    model: str,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    request: FeatureRequest | None = None,
    progress: bool = False,
    **options: Any,
) -> RecipeEncoder:
    """Compile a model of timm, and find its weights.

    Args:
        model: its name, with or without a tag, such as "resnet50.a1_in1k".
        checkpoint: path or URL of other weights, with timm's names.
        request: as for MMAction2's models.
        progress: whether downloads show progress bars on stderr.
        options: refused, apart from those at None.

    Raises:
        UsageError: timm is not installed, or an argument is of another kind.
        ConfigError: there is no such model, or an option of its preprocessing is not supported.
        CheckpointError: the weights cannot be had as safetensors.
    """
    refuse_options(ORIGIN, options)
    recipe, source = compile_recipe(model, request=request)
    with downloads(progress=progress):
        weights = find(os.fspath(checkpoint), progress=progress) if checkpoint else _weights(source)
    return RecipeEncoder(recipe, weights, model.rpartition("/")[2], ORIGIN)


def compile_recipe(
    model: str, cfg_options: Mapping[str, Any] | None = None, request: FeatureRequest | None = None
) -> tuple[Recipe, str]:
    """The recipe of a model, and the repository of its weights.

    Raises:
        UsageError, ConfigError: as `compile_encoder` does.
    """
    refuse_options(ORIGIN, {"cfg_options": cfg_options})
    timm = import_extra("timm", ORIGIN, "model", f"{ORIGIN}:{model}")
    from vidfeat.models.timm_torchvision import LibraryConfig

    where = f"timm:{model}"
    known = timm.get_pretrained_cfg(model, allow_unregistered=False) if timm.is_model(model) else None
    if known is None:
        raise not_supported(where, "a model of timm", "none of that name", "See timm.list_models().")
    values = known.to_dict()
    transforms, normalize = processing(values, where)
    backbone = LibraryConfig(ORIGIN, model, pooled="own", input_shape=tuple(values["input_size"]))
    recipe = Recipe(frames_of_a_video(), transforms, normalize, ModelSpec(backbone, 2))
    return finish(recipe, where, request), f"hf:{values.get('hf_hub_id') or ''}"


def processing(values: Mapping[str, Any], where: str) -> tuple[tuple[FrameTransform, ...], Normalize]:
    """The preprocessing of a `pretrained_cfg`, as timm's `create_transform` builds it for inference.

    Args:
        values: its fields.
        where: the model, for errors.

    Raises:
        ConfigError: an option is not supported.
    """
    channels, height, width = values["input_size"]
    mode, name = values.get("crop_mode") or "center", values.get("interpolation") or "bilinear"
    if name not in _INTERPOLATION:
        raise not_supported(f"{where}: interpolation", " or ".join(_INTERPOLATION), repr(name))
    if mode not in ("center", "squash") or (mode == "center" and height != width):
        raise not_supported(f"{where}: crop_mode", "center, of a square, or squash", f"{mode}, {width}x{height}")
    mean, std = tuple(values["mean"]), tuple(values["std"])
    if channels != 3 or len(mean) != 3 or len(std) != 3:
        raise not_supported(f"{where}: input_size", "RGB", f"{channels} channels")
    scaled = [math.floor(edge / (values.get("crop_pct") or 0.875)) for edge in (width, height)]
    resize = (
        ResizeTo(scaled[0], scaled[1], _INTERPOLATION[name])
        if mode == "squash"
        else ResizeShortEdge(scaled[0], _INTERPOLATION[name], "down")
    )
    crop = CenterCrop(width, height, rounding="half_even", smaller="pad")
    return (resize, crop), Normalize(
        (mean[0] * 255, mean[1] * 255, mean[2] * 255), (std[0] * 255, std[1] * 255, std[2] * 255)
    )


def from_json(data: dict[str, Any]) -> RecipeEncoder:
    """The encoder that its `to_json` made `data` of.

    Raises:
        ConfigError, CheckpointError: as for other encoders.
    """
    return read_encoder(data, find=lambda source: _weights(source) if source.startswith("hf:") else find(source))


def load_model(encoder: RecipeEncoder) -> tuple[Recognizer, MatchReport]:
    """The network with its weights.

    Raises:
        CheckpointError: the weights cannot be read, or do not fit the network.
    """
    config: Any = encoder.recipe.model.backbone
    import timm

    heads = timm.get_pretrained_cfg(config.name).classifier or ()
    return load_model_of(encoder, (heads,) if isinstance(heads, str) else tuple(heads))


def _weights(source: str) -> CheckpointFile:
    return Repository.open(source.removeprefix("hf:")).weights()
