"""MMAction2: its config files and released models, compiled into recipes."""

from vidfeat.mmaction.compile import compile_config, compile_file, compile_model
from vidfeat.mmaction.feature_script import FeatureRequest, LongVideo

__all__ = ["FeatureRequest", "LongVideo", "compile_config", "compile_file", "compile_model"]
