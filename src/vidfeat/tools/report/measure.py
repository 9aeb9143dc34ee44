"""Numbers about feature vectors: neighbours, duplicates, dead dimensions, norms. Arrays only, no files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int32]

_BLOCK = 512
"""Vectors that are compared with all others at once: with 10,000 vectors, a block of similarities takes 20 MB."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest other vectors of each vector, the nearest first.

    Attributes:
        index: int32 `[N, k]`, their positions.
        cosine: float32 `[N, k]`, their cosine similarities in [-1, 1].
    """

    index: Whole
    cosine: Floats


def rows_of(features: Floats) -> Floats:
    """The rows `[T, C]` of features: `[1, C]` of one vector, and the mean over all axes but those of rows and channels.

    In `[T, C]` the channels are the last axis. With more axes, which is where a pooling kept crops, space or time, they
    are taken to be the longest axis after the first.
    """
    features = features.astype(np.float32, copy=False)
    if features.ndim < 3:
        return features.reshape(-1, features.shape[-1])
    channels = 1 + int(np.argmax(features.shape[1:]))
    others = tuple(axis for axis in range(1, features.ndim) if axis != channels)
    return features.mean(axis=others, dtype=np.float64).astype(np.float32)


def norms(vectors: Floats) -> Doubles:
    """Euclidean norms, float64 `[N]`, of `vectors` `[N, C]`."""
    return np.linalg.norm(vectors.astype(np.float64), axis=1)


def unit(vectors: Floats) -> Floats:
    """`vectors` `[N, C]` scaled to norm 1; those of norm 0 stay."""
    # Scaled first: the squares of large float32 values are infinite.
    largest = np.abs(vectors).max(axis=1, initial=0, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return (scaled / np.where(length > 0, length, 1)).astype(np.float32)


def neighbours(vectors: Floats, count: int) -> Neighbours:
    """The `count` nearest other vectors of each of `vectors` `[N, C]` by cosine; fewer where N is small."""
    directions = unit(vectors)
    count = min(count, len(vectors) - 1)
    index = np.zeros((len(vectors), count), np.int32)
    cosine = np.zeros((len(vectors), count), np.float32)
    for start in range(0, len(vectors) if count else 0, _BLOCK):
        similarity = directions[start : start + _BLOCK] @ directions.T
        here = np.arange(len(similarity))
        similarity[here, start + here] = -np.inf
        best = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        index[start : start + _BLOCK] = best = np.take_along_axis(best, order, axis=1)
        cosine[start : start + _BLOCK] = np.take_along_axis(similarity, best, axis=1)
    return Neighbours(index, np.clip(cosine, -1, 1))


def mean_cosine(vectors: Floats) -> float | None:
    """The mean cosine of two different vectors of `[N, C]`; None where N is below 2."""
    count = len(vectors)
    if count < 2:
        return None
    directions = unit(vectors).astype(np.float64)
    total = float(np.square(directions.sum(axis=0)).sum())
    return (total - float(np.square(directions).sum())) / (count * (count - 1))


def equal_groups(vectors: Floats) -> list[list[int]]:
    """The groups of two or more vectors that are equal to the bit, the largest first."""
    groups: dict[bytes, list[int]] = {}
    for number, vector in enumerate(vectors):
        groups.setdefault(vector.tobytes(), []).append(number)
    return _several(groups.values())


def near_duplicate_groups(near: Neighbours, threshold: float) -> list[list[int]]:
    """The groups of vectors connected by neighbours of a cosine of at least `threshold`, the largest first."""
    parent = list(range(len(near.index)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for number, place in np.argwhere(near.cosine >= threshold).tolist():
        a, b = root(number), root(int(near.index[number, place]))
        parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for number in range(len(parent)):
        groups.setdefault(root(number), []).append(number)
    return _several(groups.values())


def _several(groups: Iterable[list[int]]) -> list[list[int]]:
    kept = [group for group in groups if len(group) > 1]
    return sorted(kept, key=lambda group: (-len(group), group[0]))


def dead_dimensions(vectors: Floats) -> list[int]:
    """The dimensions that have the same value in all of `vectors` `[N, C]`; empty where N is 1."""
    if len(vectors) < 2:
        return []
    return [int(number) for number in np.flatnonzero((vectors == vectors[0]).all(axis=0))]
