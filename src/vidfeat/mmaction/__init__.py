"""MMAction2: its config files and released models, compiled into recipes."""

from typing import TYPE_CHECKING

from vidfeat.lazy_import import lazy_names

if TYPE_CHECKING:
    from vidfeat.mmaction.compile import compile_config, compile_file, compile_recipe
    from vidfeat.mmaction.feature_script import FeatureRequest, LongVideo

__all__ = ["FeatureRequest", "LongVideo", "compile_config", "compile_file", "compile_recipe"]

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("compile_config", "compile_file", "compile_recipe"), "vidfeat.mmaction.compile"),
        **dict.fromkeys(("FeatureRequest", "LongVideo"), "vidfeat.mmaction.feature_script"),
    },
)
"""The compiler imports PyTorch, which the table of released models does without."""
