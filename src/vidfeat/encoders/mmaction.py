"""Encoders of MMAction2: released models, configs, and recipes of the same networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.checkpoint import find, load_into, load_state
from vidfeat.encoders import recipe_encoder
from vidfeat.encoders.protocol import refuse_options
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.errors import UsageError
from vidfeat.mmaction import FeatureRequest, compile_model
from vidfeat.mmaction.feature_script import apply_request
from vidfeat.recipe import Recipe

if TYPE_CHECKING:
    from vidfeat.checkpoint import MatchReport
    from vidfeat.models import Recognizer

ORIGIN = "mmaction"


def compile_encoder(
    model: str | os.PathLike[str] | Recipe,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
    progress: bool = False,
    trust_remote_code: bool = False,
) -> RecipeEncoder:
    """Compile a released model, a config or a recipe, and find its checkpoint.

    Args:
        model: the name of a released model, the path of a config, or a recipe.
        checkpoint: path or URL of the weights; a released model has its own.
        cfg_options: overrides of the config, dotted key to value, such as `{"model.backbone.depth": 50}`.
        request: other poolings, views or windows than the default, the mean over all views; or class scores.
        progress: whether a download shows a progress bar on stderr.
        trust_remote_code: refused; for other origins.

    Raises:
        UsageError: an argument is missing, or of another type.
        ConfigError: the config asks for something that is not supported.
        CheckpointError: the checkpoint cannot be had.
    """
    _require("model", model, (str, os.PathLike, Recipe), "the name of a released model, the path of a config, a Recipe")
    _require("checkpoint", checkpoint, (str, os.PathLike, type(None)), "a path or a URL")
    _require("cfg_options", cfg_options, (Mapping, type(None)), 'a dict, such as {"model.backbone.depth": 50}')
    _require("request", request, (FeatureRequest, type(None)), "a vidfeat.FeatureRequest")
    refuse_options(ORIGIN, {"trust_remote_code": trust_remote_code})
    if isinstance(model, Recipe):
        if cfg_options:
            raise UsageError(
                "cfg_options", expected="none with a Recipe, which is not a config", found=repr(cfg_options)
            )
        recipe, released = model if request is None else apply_request(model, request), None
        name = type(recipe.model.backbone).__name__.removesuffix("Config").lower()
    else:
        recipe, released = compile_model(model, cfg_options, request)
        name = os.fspath(model) if released else Path(model).stem
    source = checkpoint or released
    if source is None:
        raise UsageError(
            "checkpoint",
            expected=f"the weights of {name}",
            found="none",
            hint="Give the path or URL of a checkpoint; only released models have their own.",
        )
    return RecipeEncoder(recipe, find(os.fspath(source), progress=progress), name, ORIGIN)


def compile_recipe(
    model: str, cfg_options: Mapping[str, Any] | None = None, request: FeatureRequest | None = None
) -> tuple[Recipe, str | None]:
    """The recipe of a released model or a config, and the URL of its checkpoint, or None. See `vidfeat.encoders`."""
    return compile_model(model, cfg_options, request)


def _require(argument: str, value: object, types: tuple[type, ...], expected: str) -> None:
    if not isinstance(value, types):
        raise UsageError(argument, expected=expected, found=f"{value!r}, of type {type(value).__name__}")


def load_model(encoder: RecipeEncoder) -> tuple[Recognizer, MatchReport]:
    """The network with its weights, which match it by name and shape.

    Raises:
        CheckpointError: the weights cannot be read, or do not fit the network.
    """
    from vidfeat.models import build

    model = build(encoder.recipe.model)
    state = load_state(encoder.weights)
    return model, load_into(model, state, source=encoder.weights.source, computed=model.computed)


def from_json(data: dict[str, Any]) -> RecipeEncoder:
    """The encoder that its `to_json` made `data` of; see `vidfeat.encoders.recipe_encoder.from_json`."""
    return recipe_encoder.from_json(data, is_file=True)
