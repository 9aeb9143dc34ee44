"""The videos of an output as a page shows them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vidfeat import OutputError, VideoFeatures
from vidfeat.store import StoredFeatures
from vidfeat.tools.report.measure import Doubles, Floats, rows_of, unit

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
        rows: T, where there is a row per window or view; 0 where there is one vector for the video.
        seconds_of_rows: float64 `[T, 2]`, start and end of each row, where they are known.
        segment: start and end, in seconds, of the part of the video that the features are limited to.
        labels_of_rows: of each row, where rows are segments and some have one; empty otherwise.
        sample: float32 `[S, C]`, some of the rows, of norm 1, evenly over the time.
    """

    name: str
    failure: tuple[str, str, str] | None = None
    frames: int | None = None
    seconds: float | None = None
    vector: Floats | None = None
    shape: tuple[int, ...] = ()
    problem: str = ""
    not_finite: int = 0
    rows: int = 0
    seconds_of_rows: Doubles | None = None
    segment: tuple[float, float] | None = None
    labels_of_rows: tuple[str | None, ...] = ()
    sample: Floats | None = None


def has_names(stored: StoredFeatures) -> bool:
    """Whether the videos of an output have names, and not only positions such as `#0`."""
    return stored.state != "foreign" or any(key != f"#{number}" for number, key in enumerate(stored.videos))


def read_video(stored: StoredFeatures, key: str, name: str, sample: int) -> Video:
    """Read a video of an output; one that is damaged is a `Video` with a `problem`.

    Args:
        stored: the output.
        key: one of `stored.videos`. Reading is fastest in their order.
        name: what the page calls the video.
        sample: how many of its rows are kept, at most.
    """
    try:
        line = stored.line(key)
        cut = line["segment"] or ()
        segment = cut if cut and isinstance(cut[0], float) else None  # one, not several
        labels = () if segment else tuple(label for _, _, label in cut)
        known = Video(name, frames=line["frames"], seconds=line["seconds"], segment=segment, labels_of_rows=labels)
        if key in stored:
            return _with_features(known, stored[key], sample)
    except (OutputError, MemoryError) as error:
        found = f"expected {error.expected}; found {error.found}" if isinstance(error, OutputError) else "too large"
        return Video(name, problem=found)
    if line["error"] is None:
        return Video(name, problem="no features, and no reason given")
    stage, kind, message = (line["error"].get(part, "unknown") for part in ("stage", "kind", "message"))
    return Video(name, (stage, kind, message[:_LONGEST_MESSAGE]))


def _with_features(video: Video, features: VideoFeatures, sample: int) -> Video:
    values = features.values
    not_finite = int((~np.isfinite(values)).sum())
    if not_finite:
        return replace(video, shape=values.shape, problem="values that are not finite", not_finite=not_finite)
    rows = rows_of(values)
    vector = rows.mean(axis=0, dtype=np.float64).astype(np.float32)  # a sum of large values would overflow
    video = replace(video, vector=vector, shape=values.shape)
    times = _times(features, len(rows))
    if values.ndim == 1 or (times is None and len(rows) == 1):
        return video
    count = min(sample, len(rows))
    evenly = (2 * np.arange(count) + 1) * len(rows) // (2 * count)
    labels = video.labels_of_rows if len(video.labels_of_rows) == len(rows) and any(video.labels_of_rows) else ()
    sampled = unit(rows[evenly])
    return replace(video, rows=len(rows), seconds_of_rows=times, labels_of_rows=labels, sample=sampled)


def _times(features: VideoFeatures, rows: int) -> Doubles | None:
    if features.start_seconds is None or features.end_seconds is None:
        return None
    if len(features.start_seconds) != rows or len(features.end_seconds) != rows:
        return None  # of a manifest that another program changed
    times = np.stack([features.start_seconds, features.end_seconds], axis=1).astype(np.float64)
    return times if np.isfinite(times).all() else None
