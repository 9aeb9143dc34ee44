"""Feature vectors from videos with pretrained video and image encoders.

Examples:
    >>> import vidfeat
    >>> encoder = vidfeat.encoder("config.py", checkpoint="weights.pth")  # doctest: +SKIP
    >>> job = vidfeat.Job(videos="my_videos/", encoders=encoder, out="features.npz")  # doctest: +SKIP
    >>> summary = vidfeat.run(job)  # doctest: +SKIP
    >>> vidfeat.load("features.npz")["clip.mp4"].values  # float32 [C]  # doctest: +SKIP
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
    from vidfeat.cluster import Ray
    from vidfeat.encoders import Encoder, encoder
    from vidfeat.encoders.texts import embed_text
    from vidfeat.engine.probing import Probed, probe_all
    from vidfeat.engine.worker_handle import prewarm
    from vidfeat.execution import Extractor, run, stream
    from vidfeat.features import VideoFailure, VideoFeatures
    from vidfeat.job import Job
    from vidfeat.mmaction import FeatureRequest, LongVideo, compile_file
    from vidfeat.preprocessing.segments import Segments
    from vidfeat.preprocessing.windows import Windows
    from vidfeat.recipe import Pooling, Recipe
    from vidfeat.store import Summary, convert, load, verify
    from vidfeat.video import Timeline, VideoInfo
    from vidfeat.videos import Segment, VideoRef

__version__ = "0.2.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DeviceError",
    "Encoder",
    "Extractor",
    "FeatureRequest",
    "Job",
    "LongVideo",
    "OutputError",
    "Pooling",
    "Probed",
    "Ray",
    "Recipe",
    "Segment",
    "Segments",
    "Summary",
    "Timeline",
    "UsageError",
    "VideoError",
    "VideoFailure",
    "VideoFeatures",
    "VideoInfo",
    "VideoRef",
    "VidfeatError",
    "Windows",
    "WriteError",
    "__version__",
    "compile_file",
    "convert",
    "embed_text",
    "encoder",
    "load",
    "prewarm",
    "probe_all",
    "run",
    "stream",
    "verify",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Encoder": "vidfeat.encoders",
        "Extractor": "vidfeat.execution",
        "FeatureRequest": "vidfeat.mmaction",
        "Job": "vidfeat.job",
        "LongVideo": "vidfeat.mmaction",
        "Pooling": "vidfeat.recipe",
        "Probed": "vidfeat.engine.probing",
        "Ray": "vidfeat.cluster",
        "Recipe": "vidfeat.recipe",
        "Segment": "vidfeat.videos",
        "Segments": "vidfeat.preprocessing.segments",
        "Summary": "vidfeat.store",
        "Timeline": "vidfeat.video",
        "VideoFailure": "vidfeat.features",
        "VideoFeatures": "vidfeat.features",
        "VideoInfo": "vidfeat.video",
        "VideoRef": "vidfeat.videos",
        "Windows": "vidfeat.preprocessing.windows",
        "compile_file": "vidfeat.mmaction",
        "convert": "vidfeat.store",
        "embed_text": "vidfeat.encoders.texts",
        "encoder": "vidfeat.encoders",
        "load": "vidfeat.store",
        "prewarm": "vidfeat.engine.worker_handle",
        "probe_all": "vidfeat.engine.probing",
        "run": "vidfeat.execution",
        "stream": "vidfeat.execution",
        "verify": "vidfeat.store",
    },
)
"""Names whose modules import what takes long, such as torch: imported when they are first used."""


def __dir__() -> list[str]:
    """The public names."""
    return __all__
