"""Rank-1 retrieval, and colour histograms as a baseline without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vidfeat.tools.report.measure import neighbours
from vidfeat.video import decode, probe

Floats = npt.NDArray[np.float32]

LEVELS = 8
"""Steps of each of red, green and blue in a histogram."""


def rank1(vectors: Floats, labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """For each clip, whether its nearest other clip by cosine has the same label.

    Args:
        vectors: float32 `[N, C]`, N at least 2.
        labels: N of them.

    Returns:
        bool `[N]`; its mean is the rank-1 accuracy.
    """
    names = np.asarray(labels)
    return names[neighbours(vectors, 1).index[:, 0]] == names


def chance_level(labels: Sequence[str]) -> float:
    """The rank-1 accuracy expected of random neighbours, in [0, 1]; N labels, at least 2."""
    _, counts = np.unique(np.asarray(labels), return_counts=True)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def colour_histogram(path: str | os.PathLike[str]) -> Floats:
    """The colour histogram of all frames of a video.

    Returns:
        float32 `[LEVELS ** 3]`, the square roots of the shares: the cosine of two of those is the Bhattacharyya
        coefficient of the histograms.

    Raises:
        VideoError: the video cannot be read.
    """
    info = probe(path)
    counts = np.zeros(LEVELS**3, np.int64)
    for frame in decode(path, np.arange(info.frames), info):
        red, green, blue = np.moveaxis(frame.pixels.astype(np.int64) * LEVELS // 256, -1, 0)
        counts += np.bincount(((red * LEVELS + green) * LEVELS + blue).ravel(), minlength=len(counts))
    return np.sqrt(counts / max(1, counts.sum())).astype(np.float32)
