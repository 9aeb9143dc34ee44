"""What comes out of a run: rows, and the space they take."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidfeat.engine.measure import InferenceTest
from vidfeat.features import VideoFeatures
from vidfeat.formats import Sink
from vidfeat.recipe import Recipe
from vidfeat.tools.estimate.probe import Decodable

RECORD_BYTES = 512
"""About what the manifest takes for a video, and the run's database beside the features themselves."""

_HALF_PAGE = 2048
"""About what the database leaves free in its pages beside the features of a video, at most."""

_MOST_ROWS = 256
"""Of the videos that are written to see how much they take."""


@dataclass(frozen=True)
class Output:
    """What comes out.

    Attributes:
        format: as the manifest calls it.
        rows: feature vectors, over all decodable videos.
        row_shape, dtype: shape of each, and type of its numbers.
        bytes: size of the output.
        peak_bytes: the most that output, database and manifest take together.
        free_bytes: what is free where the output goes; None where that was not said.
    """

    format: str
    rows: int
    row_shape: tuple[int, ...]
    dtype: str
    bytes: int
    peak_bytes: int
    free_bytes: int | None


def predict_output(
    videos: Sequence[Decodable], recipe: Recipe, inference: InferenceTest, sink: Sink, *, dtype: str, known_place: bool
) -> Output:
    """What the decodable videos give.

    Args:
        videos: all of them, at least one.
        recipe: what is done to them.
        inference: some features, to see their shape.
        sink: the output.
        dtype: of its numbers.
        known_place: whether it would really go there, so that the space there matters.
    """
    with np.errstate(over="ignore"):
        features = replace(inference.features, values=inference.features.values.astype(dtype, copy=False))
    rows = len(videos)
    row = features.values
    if features.start_seconds is not None:
        rows = len(row) * sum(video.work.clips for video in videos) // inference.clips
        features, row = _with_rows(features, min(rows // len(videos), _MOST_ROWS)), row[0]
    size = round(rows * row.size * _bytes_per_value(features, sink))
    # A folder has its features already when the run ends; for one file they are in the database until then.
    kept = 0 if sink.in_place else rows * row.nbytes
    database = kept + len(videos) * (RECORD_BYTES + min(kept // len(videos), _HALF_PAGE))
    there = next(folder for folder in sink.out.absolute().parents if folder.exists())
    return Output(
        format=sink.name,
        rows=rows,
        row_shape=row.shape,
        dtype=dtype,
        bytes=size,
        peak_bytes=size + database + len(videos) * RECORD_BYTES,
        free_bytes=shutil.disk_usage(there).free if known_place else None,
    )


def _with_rows(features: VideoFeatures, rows: int) -> VideoFeatures:
    """The features with so many rows, the same ones over and over."""
    chosen = np.arange(max(1, rows)) % len(features.values)
    assert features.start_seconds is not None
    assert features.end_seconds is not None
    return replace(
        features,
        values=features.values[chosen],
        start_seconds=features.start_seconds[chosen],
        end_seconds=features.end_seconds[chosen],
    )


def _bytes_per_value(features: VideoFeatures, sink: Sink) -> float:
    """How much a number of such features takes in an output: a few copies are written."""
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for videos in (1, 5):
            written = replace(sink, out=Path(folder, f"{videos}{'' if sink.in_place else sink.out.suffix}"))
            copies = [replace(features, key=f"{number}") for number in range(videos)]
            written.prepare()
            written.write(copies)
            written.finalize((copy.key, copy) for copy in copies)
            files = [path for path in (written.out, *written.out.rglob("*")) if path.is_file()]
            sizes.append(sum(path.stat().st_size for path in files))
    return (sizes[1] - sizes[0]) / 4 / features.values.size
