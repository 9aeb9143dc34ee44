"""A two-dimensional map of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidfeat.errors import UsageError
from vidfeat.lazy_import import install_command

Method = Literal["pca", "umap"]

_OVERSAMPLES, _ITERATIONS = 14, 6
_FEWEST_FOR_UMAP = 5


@dataclass(frozen=True)
class Map:
    """A two-dimensional map.

    Attributes:
        places: float64 `[N, 2]`, each coordinate in [0, 1], the same scale for both; (0.5, 0.5) where all are equal.
        axes: labels of the two axes.
    """

    places: npt.NDArray[np.float64]
    axes: tuple[str, str]


def project(vectors: npt.NDArray[np.float32], method: Method) -> Map:
    """Project finite `vectors` `[N, C]` to two dimensions. The same vectors give the same map.

    Raises:
        UsageError: UMAP is not installed.
    """
    if method == "umap":
        fit = _umap()  # also where there are too few vectors, so that the error does not depend on their number
        if len(vectors) >= _FEWEST_FOR_UMAP:
            neighbours = min(15, len(vectors) - 1)
            places = fit(n_neighbors=neighbours, metric="cosine", random_state=0, n_jobs=1).fit_transform(vectors)
            return Map(_fitted(np.asarray(places, np.float64)), ("UMAP 1", "UMAP 2"))
    places, shares = _principal(vectors)
    return Map(_fitted(places), (f"PC 1 ({shares[0]:.0%} of the variance)", f"PC 2 ({shares[1]:.0%})"))


def require(method: Method) -> None:
    """Raise `UsageError` if the package of a method is not installed."""
    if method == "umap":
        _umap()


def _umap() -> type:
    try:
        from umap import UMAP
    except ImportError as error:
        raise UsageError(
            "--map umap",
            expected="the package umap-learn",
            found=f"none that can be imported ({error})",
            hint=f"Install it with: {install_command('umap')}. Or use --map pca.",
        ) from error
    return UMAP


def centred(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`vectors` `[N, C]` less their mean, by their largest absolute value: squares of large float32 are infinite."""
    scaled = vectors / (np.abs(vectors).max(initial=0) or 1)
    return scaled - scaled.mean(axis=0, dtype=np.float64).astype(np.float32)


def principal(vectors: npt.NDArray[np.float32], count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The first `count` principal directions of centred `vectors` `[N, C]`, `[C, k]`, and their singular values `[k]`.

    k is less than `count` where N or C is. By subspace iteration with a fixed seed (Halko, Martinsson, Tropp, 2011):
    exact for few vectors or dimensions, and a few products with the matrix where a full decomposition would take
    minutes.
    """
    width = min(count + _OVERSAMPLES, *vectors.shape)
    basis = np.random.default_rng(0).standard_normal((vectors.shape[1], width)).astype(np.float32)
    for _ in range(1 if width == min(vectors.shape) else _ITERATIONS):  # once is exact where nothing is left out
        basis = np.linalg.qr(vectors.T @ np.linalg.qr(vectors @ basis)[0])[0]
    _, lengths, directions = np.linalg.svd(vectors @ basis, full_matrices=False)
    return (basis @ directions.T)[:, :count], lengths[:count]


def _principal(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """The first two principal components `[N, 2]`, and their shares of the variance."""
    moved = centred(vectors)
    places = np.zeros((len(vectors), 2))
    total = float(np.square(moved, dtype=np.float64).sum())
    if not total:
        return places, (0.0, 0.0)
    directions, lengths = principal(moved, 2)
    for axis, direction in enumerate(directions.T):
        # The sign of a component is arbitrary: its largest loading is made positive.
        sign = np.sign(direction[np.abs(direction).argmax()]) or 1.0
        places[:, axis] = sign * (moved @ direction)
    shares = [float(length) ** 2 / total for length in lengths] + [0.0]
    return places, (shares[0], shares[1])


def _fitted(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = places.min(axis=0), places.max(axis=0)
    extent = float((high - low).max())
    return (places - (low + high) / 2) / extent + 0.5 if extent > 0 else np.full_like(places, 0.5)
