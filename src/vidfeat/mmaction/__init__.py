"""All that knows MMAction2: its config files, compiled into recipes."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from vidfeat.errors import ConfigError
from vidfeat.mmaction.compile_v0 import compile_v0
from vidfeat.mmaction.compile_v1 import compile_v1
from vidfeat.mmaction.feature_script import FeatureRequest, LongVideo, apply_request
from vidfeat.mmaction.pyconfig import read_config
from vidfeat.recipe import Recipe

__all__ = ["FeatureRequest", "LongVideo", "compile_config", "compile_file", "compile_model"]


def compile_file(
    path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None, request: FeatureRequest | None = None
) -> Recipe:
    """Read a config file and compile it.

    Args:
        path: the config.
        overrides: dotted key to value, as `--cfg-options` gives them.
        request: what is wanted of it beside what it says; all views and their mean where None.

    Raises:
        ConfigError: the file cannot be read, or asks for something that is not supported.
        UsageError: the config does not give what is requested.
    """
    config = read_config(os.fspath(path), overrides)
    recipe = compile_config(config.data, file=os.fspath(path), variables=config.variables)
    return recipe if request is None else apply_request(recipe, request)


def compile_model(
    model: str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
) -> tuple[Recipe, str | None]:
    """Compile a config file, or the config of a released model.

    Args:
        model: a path, or a name such as `tsn_r50_320p_1x1x3_100e_kinetics400_rgb`; see `vidfeat models`.
        overrides, request: as for `compile_file`.

    Returns:
        The recipe, and the address of the released checkpoint; None for a config file.

    Raises:
        UsageError: no released model of that name; the nearest ones are named.
        ConfigError: as for `compile_file`.
    """
    from vidfeat.mmaction.zoo import find_model, is_name  # it imports this package's compilers

    name = os.fspath(model)
    if not is_name(name):
        return compile_file(name, overrides, request), None
    entry = find_model(name)
    recipe = entry.recipe(overrides)
    return (recipe if request is None else apply_request(recipe, request)), entry.checkpoint


def compile_config(config: dict[str, Any], *, file: str, variables: Collection[str] = ()) -> Recipe:
    """Compile a config of either generation: 1.x has `test_dataloader`, 0.x has `data.test`.

    Args:
        config, file, variables: as for `compile_v1`.

    Raises:
        ConfigError: it is neither, or asks for something that is not supported.
    """
    if "test_dataloader" in config:
        return compile_v1(config, file=file, variables=variables)
    if "data" in config:
        return compile_v0(config, file=file, variables=variables)
    raise ConfigError(
        f"{file}: config",
        expected="a key `test_dataloader` (MMAction2 1.x) or `data` (0.x), with the test pipeline",
        found="neither",
        hint="Give a config for testing; those of skeleton, detection or localisation models are not supported.",
    )
