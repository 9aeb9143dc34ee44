"""The videos of an output as a page shows them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vidfeat import OutputError
from vidfeat.store import StoredFeatures
from vidfeat.tools.report.measure import Floats, SelfSimilarity, self_similarity, vector_of

SIMILARITY_SIDE = 64
"""Most steps of time in a self-similarity."""

_LONGEST_MESSAGE = 1000


@dataclass(frozen=True, eq=False)
class Video:
    """A video and its features.

    Attributes:
        name: as in the output; for outputs without names, the position in the list.
        failure: stage, kind and message, where the video failed.
        frames: number of frames, where known.
        seconds: duration, where known.
        vector: float32 `[C]`, finite; None where there is none.
        shape: of the features, where they are numbers.
        problem: why there is no vector although the video did not fail; empty where there is one.
        not_finite: how many values are infinite or NaN.
        similarity: the self-similarity of features with a row per window or view.
    """

    name: str
    failure: tuple[str, str, str] | None = None
    frames: int | None = None
    seconds: float | None = None
    vector: Floats | None = None
    shape: tuple[int, ...] = ()
    problem: str = ""
    not_finite: int = 0
    similarity: SelfSimilarity | None = None


def has_names(stored: StoredFeatures) -> bool:
    """Whether the videos of an output have names, and not only positions such as `#0`."""
    return stored.state != "foreign" or any(key != f"#{number}" for number, key in enumerate(stored.videos))


def read_video(stored: StoredFeatures, key: str, name: str) -> Video:
    """Read a video of an output; one that is damaged is a `Video` with a `problem`.

    Args:
        stored: the output.
        key: one of `stored.videos`. Reading is fastest in their order.
        name: what the page calls the video.
    """
    try:
        line = stored.line(key)
        known = Video(name, frames=line["frames"], seconds=line["seconds"])
        if key in stored:
            return _with_features(known, stored[key].values.astype(np.float32, copy=False))
    except (OutputError, MemoryError) as error:
        found = f"expected {error.expected}; found {error.found}" if isinstance(error, OutputError) else "too large"
        return Video(name, problem=found)
    if line["error"] is None:
        return Video(name, problem="no features, and no reason given")
    stage, kind, message = (line["error"].get(part, "unknown") for part in ("stage", "kind", "message"))
    return Video(name, (stage, kind, message[:_LONGEST_MESSAGE]))


def _with_features(video: Video, features: Floats) -> Video:
    not_finite = int((~np.isfinite(features)).sum())
    if not_finite:
        return replace(video, shape=features.shape, problem="values that are not finite", not_finite=not_finite)
    over_time = features.ndim == 2 and len(features) > 1
    similarity = self_similarity(features, SIMILARITY_SIDE) if over_time else None
    return replace(video, vector=vector_of(features), shape=features.shape, similarity=similarity)
