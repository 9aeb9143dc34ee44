"""Encoders: compiled from what a user names, by origin.

    encoder("tsn_r50_320p_1x1x3_100e_kinetics400_rgb")      # a released model
    encoder("config.py", checkpoint="weights.pth")          # a config of MMAction2
    encoder(recipe, checkpoint="weights.pth")               # a vidfeat.Recipe
    encoder("hf:openai/clip-vit-base-patch32")              # a repository of transformers, or a folder like one
    encoder("timm:resnet50.a1_in1k")                        # a pretrained network of timm, or torchvision:NAME

An origin is a module with `compile_encoder`, `compile_recipe`, `from_json` and `load_model`, and a line in `ORIGINS`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vidfeat.encoders.protocol import ClipSpec, Encoder, LoadedEncoder
from vidfeat.errors import ConfigError
from vidfeat.lazy_import import lazy_names

if TYPE_CHECKING:
    from torch import nn

    from vidfeat.mmaction import FeatureRequest, LongVideo
    from vidfeat.recipe import Recipe

__all__ = [
    "ClipSpec",
    "Encoder",
    "FeatureRequest",
    "LoadedEncoder",
    "LongVideo",
    "compile_recipe",
    "encoder",
    "encoder_from_json",
]

__getattr__ = lazy_names(__name__, {"FeatureRequest": "vidfeat.mmaction", "LongVideo": "vidfeat.mmaction"})

ORIGINS = {
    "mmaction": "vidfeat.encoders.mmaction",
    "hf": "vidfeat.encoders.transformers",
    "timm": "vidfeat.encoders.timm",
    "torchvision": "vidfeat.encoders.torchvision",
    "module": "vidfeat.encoders.module",
}
"""The module of each origin, imported when it is used. `origin:` before a model's name selects it; the first one is the
default."""


def encoder(
    model: str | os.PathLike[str] | Recipe | nn.Module,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
    progress: bool = False,
    trust_remote_code: bool = False,
    **options: Any,
) -> Encoder:
    """Compile a model into an encoder. Its checkpoint is found, or downloaded, and hashed, but not read.

    Args:
        model: the name of a released model of MMAction2, the path of one of its configs, a `Recipe`, a module; or
            "hf:ORG/NAME", "timm:NAME", "torchvision:NAME", and a folder in Hugging Face's layout.
        checkpoint: path or URL of the weights; released models and those of libraries have their own.
        cfg_options: overrides of a config, dotted key to value, such as `{"model.backbone.depth": 50}`.
        request: other poolings, views or windows than the default, the mean over all views; or class scores.
        progress: whether a download shows a progress bar on stderr.
        trust_remote_code: whether Python code of a Hugging Face repository may define the network. It runs in this
            process.
        options: of a module: `recipe`, or `clip`, `preprocess`, `grid` and `name`, as for `Encoder.from_module`.

    Raises:
        UsageError: an argument is missing or of another kind, or the model's origin does not have it.
        ConfigError: the model asks for something that is not supported.
        CheckpointError: the weights cannot be had.
    """
    origin, rest = _split(model)
    given = {"checkpoint": checkpoint, "cfg_options": cfg_options, "request": request, "progress": progress}
    given["trust_remote_code"] = trust_remote_code
    # An origin need not know of what is left at its default.
    options |= {name: value for name, value in given.items() if value is not None and value is not False}
    compiled: Encoder = origin_module(origin).compile_encoder(rest, **options)
    return compiled


def compile_recipe(model: Any, **options: Any) -> tuple[Recipe, str | None]:
    """The recipe of a model, and the source of its weights, where it has some; they are neither found nor read.

    Args:
        model, options: as for `encoder`: `cfg_options`, `request`.

    Raises:
        UsageError, ConfigError, CheckpointError: as `encoder` does.
    """
    origin, rest = _split(model)
    compiled: tuple[Recipe, str | None] = origin_module(origin).compile_recipe(rest, **options)
    return compiled


def _split(model: Any) -> tuple[str, Any]:
    """The origin of a model, and what that origin takes."""
    if isinstance(model, str) and model.partition(":")[0] in ORIGINS:
        origin, _, rest = model.partition(":")
        return origin, rest
    if isinstance(model, str | os.PathLike) and Path(model, "config.json").is_file():
        return "hf", os.fspath(model)
    if hasattr(model, "state_dict"):  # a torch.nn.Module; torch need not be imported
        return "module", model
    return next(iter(ORIGINS)), model


def origin_module(name: str) -> ModuleType:
    """The module of an origin."""
    return importlib.import_module(ORIGINS[name])


def encoder_from_json(data: dict[str, Any]) -> Encoder:
    """The encoder that `Encoder.to_json` made `data` of. Its checkpoint is found, or downloaded, and verified.

    Raises:
        ConfigError: the data is not that of an encoder.
        CheckpointError: there is no such checkpoint, or it is another one.
    """
    if data.get("origin") not in ORIGINS:
        raise ConfigError("encoder.origin", expected=" or ".join(ORIGINS), found=repr(data.get("origin")))
    read: Encoder = origin_module(data["origin"]).from_json(data)
    return read
