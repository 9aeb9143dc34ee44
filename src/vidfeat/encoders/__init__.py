"""Encoders: compiled from what a user names, by origin.

    encoder("tsn_r50_320p_1x1x3_100e_kinetics400_rgb")      # a released model
    encoder("config.py", checkpoint="weights.pth")          # a config of MMAction2
    encoder(recipe, checkpoint="weights.pth")               # a vidfeat.Recipe
    encoder("hf:openai/clip-vit-base-patch32")              # a repository of transformers, or a folder like one
    encoder("timm:resnet50.a1_in1k")                        # a pretrained network of timm, or torchvision:NAME

An origin is a module with `compile_recipe`, and a line in `ORIGINS`. Where its weights are not one file with the names
that its network has here, or no recipe says all, it has `compile_encoder`, `from_json` and `load_model`, too.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vidfeat.encoders.protocol import ClipSpec, Encoder, LoadedEncoder, refuse_options
from vidfeat.errors import ConfigError, UsageError
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
    "mmaction": "vidfeat.mmaction.compile",
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
    options |= _asked_for({**given, "trust_remote_code": trust_remote_code})
    module = origin_module(origin)
    if not hasattr(module, "compile_encoder"):
        return _with_weights(origin, rest, **options)
    compiled: Encoder = module.compile_encoder(rest, **options)
    return compiled


def _with_weights(
    origin: str,
    model: Any,
    *,
    checkpoint: Any = None,
    cfg_options: Any = None,
    request: Any = None,
    progress: bool = False,
    trust_remote_code: bool = False,
) -> Encoder:
    """The encoder of a recipe whose weights are a file, which is found; see `encoder`."""
    from vidfeat.checkpoint import find
    from vidfeat.encoders.recipe_encoder import RecipeEncoder
    from vidfeat.mmaction.feature_script import FeatureRequest, apply_request
    from vidfeat.recipe import Recipe

    _require("model", model, (str, os.PathLike, Recipe), "the name of a released model, the path of a config, a Recipe")
    _require("checkpoint", checkpoint, (str, os.PathLike, type(None)), "a path or a URL")
    _require("cfg_options", cfg_options, (Mapping, type(None)), 'a dict, such as {"model.backbone.depth": 50}')
    _require("request", request, (FeatureRequest, type(None)), "a vidfeat.FeatureRequest")
    refuse_options(origin, {"trust_remote_code": trust_remote_code})
    if isinstance(model, Recipe):
        if cfg_options:
            raise UsageError(
                "cfg_options", expected="none with a Recipe, which is not a config", found=repr(cfg_options)
            )
        recipe, released = model if request is None else apply_request(model, request), None
        name = type(recipe.model.backbone).__name__.removesuffix("Config").lower()
    else:
        recipe, released = origin_module(origin).compile_recipe(model, cfg_options, request)
        name = os.fspath(model) if released else Path(model).stem
    source = checkpoint or released
    if source is None:
        raise UsageError(
            "checkpoint",
            expected=f"the weights of {name}",
            found="none",
            hint="Give the path or URL of a checkpoint; only released models have their own.",
        )
    return RecipeEncoder(recipe, find(os.fspath(source), progress=progress), name, origin)


def _require(argument: str, value: object, types: tuple[type, ...], expected: str) -> None:
    if not isinstance(value, types):
        raise UsageError(argument, expected=expected, found=f"{value!r}, of type {type(value).__name__}")


def compile_recipe(model: Any, **options: Any) -> tuple[Recipe, str | None]:
    """The recipe of a model, and the source of its weights, where it has some; they are neither found nor read.

    Args:
        model, options: as for `encoder`: `cfg_options`, `request`, `trust_remote_code`.

    Raises:
        UsageError, ConfigError, CheckpointError: as `encoder` does.
    """
    origin, rest = _split(model)
    compiled: tuple[Recipe, str | None] = origin_module(origin).compile_recipe(rest, **_asked_for(options))
    return compiled


def _asked_for(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not at their default: an origin need not know of the others."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


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
    from vidfeat.encoders.recipe_encoder import from_json

    read: Encoder = getattr(origin_module(data["origin"]), "from_json", from_json)(data)
    return read
