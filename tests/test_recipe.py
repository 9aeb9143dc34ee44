"""Recipes as JSON data: what is written can be read, and unknown parts are refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from vidfeat.errors import ConfigError
from vidfeat.mmaction import compile_file
from vidfeat.mmaction.zoo import ZooEntry, released
from vidfeat.models import CONFIGS
from vidfeat.recipe import Recipe


def test_every_released_model_is_the_same_after_a_round_trip() -> None:
    recipes = [recipe for entry in released() if (recipe := recipe_of(entry)) is not None]
    assert len(recipes) > 260
    for recipe in recipes:
        read = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
        assert read == recipe
        assert read.digest == recipe.digest


def recipe_of(entry: ZooEntry) -> Recipe | None:
    try:
        return entry.recipe()
    except ConfigError:  # a network of a library that is not installed
        return None


def test_digests_do_not_change(repository: Path) -> None:
    """Finished work is found by them. This one was computed by version 0.1."""
    recipe = compile_file(repository / "examples" / "tiny_slowonly.py")
    assert recipe.digest == "3630de7397ac43e02b88f5ff283e26a5304086906a84e47e7cffa61ddb7d4d6a"


def test_the_name_of_a_config_class_names_one() -> None:
    assert len({kind.__name__ for kind in CONFIGS}) == len(CONFIGS)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("schema",), 2, "recipe.schema: expected 1; found 2"),
        (("type",), "Pooling", "recipe: expected the fields of Pooling; found .*sampling"),
        (("sampling", "type"), "RandomSampling", r"recipe\.sampling: expected .* known `type`; found type 'RandomSam"),
        (("sampling", "type"), None, r"recipe\.sampling: expected .* found type None"),
        (("sampling", "clips"), 3, r"recipe\.sampling: expected the fields of \w+; found .*clips"),
        (("model", "backbone", "depht"), 50, r"recipe\.model\.backbone: expected the fields of \w+; found .*depht"),
        (("transforms", 0, "type"), "Resize", r"recipe\.transforms\[0\]: expected .* found type 'Resize'"),
        (
            ("transforms", 0),
            {"type": "Pooling"},
            r"transforms: expected a list of ResizeShortEdge or .*Pooling\(",
        ),
        (("transforms",), {"type": "Flip", "direction": "vertical"}, r"recipe\.transforms: expected a list of .*Flip"),
        (("normalize",), None, r"recipe\.normalize: expected Normalize; found None"),
    ],
)
def test_what_is_unknown_is_refused(path: tuple[str | int, ...], value: Any, words: str, repository: Path) -> None:
    data = copy.deepcopy(compile_file(repository / "examples" / "tiny_slowonly.py").to_json())
    part: Any = data
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ConfigError, match=words):
        Recipe.from_json(data)
