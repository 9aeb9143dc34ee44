"""Feature vectors from videos with pretrained action-recognition models.

>>> import vidfeat
>>> extractor = vidfeat.Extractor("config.py", checkpoint="weights.pth")  # doctest: +SKIP
>>> extractor.extract("clip.mp4").array  # float32 [C]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidfeat.errors import (
    CheckpointError,
    ConfigError,
    DeviceError,
    OutputError,
    UsageError,
    VideoError,
    VidfeatError,
    WriteError,
)
from vidfeat.lazy_import import lazy_names

if TYPE_CHECKING:
    from vidfeat.extract import Extractor, Features
    from vidfeat.mmaction import FeatureRequest, LongVideo, compile_file
    from vidfeat.recipe import Pooling, Recipe

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DeviceError",
    "Extractor",
    "FeatureRequest",
    "Features",
    "LongVideo",
    "OutputError",
    "Pooling",
    "Recipe",
    "UsageError",
    "VideoError",
    "VidfeatError",
    "WriteError",
    "__version__",
    "compile_file",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Extractor": "vidfeat.extract",
        "FeatureRequest": "vidfeat.mmaction",
        "Features": "vidfeat.extract",
        "LongVideo": "vidfeat.mmaction",
        "Pooling": "vidfeat.recipe",
        "Recipe": "vidfeat.recipe",
        "compile_file": "vidfeat.mmaction",
    },
)
"""Names whose modules import torch, which takes seconds: imported when they are first used."""
