"""The classes with the highest scores of a video."""

from __future__ import annotations

import numpy as np

from vidfeat import Encoder, VideoFeatures


def best(scores: VideoFeatures, encoder: Encoder, *, top: int = 5) -> list[tuple[int, float]]:
    """The classes with the highest scores.

    Args:
        scores: from an encoder of class scores, `[classes]`, or `[views, classes]` where the config averages no views.
        encoder: which.
        top: how many; fewer where there are fewer classes.

    Returns:
        Class and probability of each, the highest first. Scores that are no probabilities yet go through a softmax.
    """
    row = scores.values.astype(np.float64)
    row = row.mean(0) if row.ndim > 1 else row
    if encoder.description()["recipe"]["pooling"].get("softmax") is None:
        row = np.exp(row - row.max())
        row /= row.sum()
    return [(int(number), float(row[number])) for number in np.argsort(-row, kind="stable")[:top]]
