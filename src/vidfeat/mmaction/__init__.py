"""All that knows MMAction2: its config files, compiled into recipes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vidfeat.mmaction.compile_v0 import compile_v0
from vidfeat.mmaction.pyconfig import read_config
from vidfeat.recipe import Recipe

__all__ = ["compile_file"]


def compile_file(path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a config file and compile it.

    Args:
        path: the config.
        overrides: dotted key to value, as `--cfg-options` gives them.

    Raises:
        ConfigError: the file cannot be read, or asks for something that is not supported.
    """
    config = read_config(os.fspath(path), overrides)
    return compile_v0(config.data, file=os.fspath(path), variables=config.variables)
