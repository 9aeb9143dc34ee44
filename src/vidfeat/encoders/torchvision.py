"""Encoders of torchvision: `torchvision:NAME`, of images and of clips, with the preprocessing of its weights.

Weights are PyTorch files from torchvision's own address, verified by the hash in their names, and read without running
code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from vidfeat.checkpoint import MatchReport, find
from vidfeat.encoders.libraries import finish, frames_of_a_video, load_model_of, not_supported
from vidfeat.encoders.protocol import refuse_options
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.lazy_import import import_extra
from vidfeat.mmaction.feature_script import FeatureRequest
from vidfeat.preprocessing.sampling import SegmentSampling
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
    from vidfeat.models import Recognizer

ORIGIN: Literal["torchvision"] = "torchvision"

CLIP_FRAMES = 16
"""Of networks of clips; MViT's weights say it themselves. Four clips of a video, of neighbouring frames, two apart."""


def compile_encoder(
    model: str,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    request: FeatureRequest | None = None,
    progress: bool = False,
    **options: Any,
) -> RecipeEncoder:
    """Compile a model of torchvision with its default weights.

    Args:
        model: its name, such as "resnet50" or "swin3d_t".
        checkpoint: path or URL of other weights, with torchvision's names.
        request: as for MMAction2's models.
        progress: whether a download shows a progress bar on stderr.
        options: refused, apart from those at None.

    Raises:
        UsageError: torchvision is not installed, or an argument is of another kind.
        ConfigError: there is no such model, or an option of its preprocessing is not supported.
        CheckpointError: the weights cannot be had.
    """
    refuse_options(ORIGIN, options)
    recipe, source = compile_recipe(model, request=request)
    return RecipeEncoder(recipe, find(os.fspath(checkpoint or source), progress=progress), model, ORIGIN)


def compile_recipe(
    model: str, cfg_options: Mapping[str, Any] | None = None, request: FeatureRequest | None = None
) -> tuple[Recipe, str]:
    """The recipe of a model, and the URL of its weights.

    Raises:
        UsageError, ConfigError: as `compile_encoder` does.
    """
    refuse_options(ORIGIN, {"cfg_options": cfg_options})
    models = import_extra("torchvision.models", ORIGIN, "model", f"{ORIGIN}:{model}")
    from vidfeat.models.timm_torchvision import LibraryConfig

    where = f"torchvision:{model}"
    clips = model in models.list_models(module=models.video)
    if not clips and model not in models.list_models(module=models):
        hint = "See torchvision.models.list_models()."
        raise not_supported(where, "a classification model of torchvision", "none of that name", hint)
    weights = models.get_model_weights(model).DEFAULT
    preset = weights.transforms()
    transforms, normalize = processing(vars(preset), where, antialiased=not clips)
    crop = transforms[-1]
    assert isinstance(crop, CenterCrop)
    frames = int(weights.meta.get("min_temporal_size") or 1) if clips else 1
    grid = SegmentSampling(max(frames, CLIP_FRAMES), 2, 4) if clips else frames_of_a_video()
    shape = (3, grid.clip_len, crop.height, crop.width) if clips else (3, crop.height, crop.width)
    backbone = LibraryConfig(ORIGIN, model, pooled="own", input_shape=shape)
    recipe = Recipe(grid, transforms, normalize, ModelSpec(backbone, 3 if clips else 2))
    return finish(recipe, where, request), weights.url


def processing(
    preset: Mapping[str, Any], where: str, *, antialiased: bool
) -> tuple[tuple[FrameTransform, ...], Normalize]:
    """The preprocessing of a preset, `ImageClassification` or `VideoClassification`.

    Args:
        preset: its attributes.
        where: the model, for errors.
        antialiased: whether it resizes with antialiasing, as that of images does; that of clips does not.

    Raises:
        ConfigError: an option is not supported.
    """
    name = str(getattr(preset["interpolation"], "value", preset["interpolation"]))
    table: dict[str, Interpolation] = {"bilinear": "bilinear_float"}
    if antialiased:
        table = {"bilinear": "pillow_bilinear", "bicubic": "pillow_bicubic"}
    if name not in table:
        raise not_supported(f"{where}: interpolation", " or ".join(table), repr(name))
    size, crop = list(preset["resize_size"]), list(preset["crop_size"])
    resize = (
        ResizeShortEdge(size[0], table[name], "down") if len(size) == 1 else ResizeTo(size[1], size[0], table[name])
    )
    mean, std = ([255.0 * value for value in preset[key]] for key in ("mean", "std"))
    cut = CenterCrop(crop[-1], crop[0], rounding="half_even", smaller="pad")
    return (resize, cut), Normalize((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def load_model(encoder: RecipeEncoder) -> tuple[Recognizer, MatchReport]:
    """The network with its weights.

    Raises:
        CheckpointError: the weights cannot be read, or do not fit the network.
    """
    import torch
    from torchvision.models import get_model

    from vidfeat.models.timm_torchvision import classifier_of

    config: Any = encoder.recipe.model.backbone
    with torch.device("meta"):
        classifier = classifier_of(get_model(config.name, weights=None))
    return load_model_of(encoder, (classifier,))
