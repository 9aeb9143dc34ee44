import importlib.util

import numpy as np
import pytest

from vidfeat.errors import UsageError
from vidfeat.tools.report.projection import project


def plain_pca(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    scores, lengths, _ = np.linalg.svd(wide, full_matrices=False)
    return scores[:, :2] * lengths[:2], lengths**2 / (lengths**2).sum()


@pytest.mark.parametrize("shape", [(5, 3), (40, 200), (600, 64), (3, 500)])
def test_pca_is_what_a_full_decomposition_gives(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    vectors = (random.standard_normal(shape) * np.geomspace(10, 0.1, shape[1]) + 7).astype(np.float32)
    made = project(vectors, "pca")
    places, shares = plain_pca(vectors)
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    found = np.linalg.norm(made.places[:, None] - made.places[None], axis=-1)
    extent = np.ptp(places, axis=0).max()
    np.testing.assert_allclose(found * extent, distances, atol=2e-3 * extent)
    assert made.axes == (f"PC 1 ({shares[0]:.0%} of the variance)", f"PC 2 ({shares[1]:.0%})")
    assert made.places.min() >= 0
    assert made.places.max() <= 1


def test_the_same_vectors_give_the_same_map() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 30)).astype(np.float32)
    np.testing.assert_array_equal(project(vectors, "pca").places, project(vectors.copy(), "pca").places)


@pytest.mark.parametrize("vectors", [np.zeros((1, 4)), np.full((3, 4), 2.0), np.zeros((2, 1))])
def test_vectors_without_any_difference_lie_in_the_middle(vectors: np.ndarray) -> None:
    assert project(vectors.astype(np.float32), "pca").places.tolist() == [[0.5, 0.5]] * len(vectors)


def test_one_dimension_and_large_values() -> None:
    made = project(np.array([[0.0], [3e38], [-3e38]], np.float32), "pca")
    np.testing.assert_allclose(made.places, [[0.5, 0.5], [1, 0.5], [0, 0.5]], atol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("umap") is not None, reason="umap-learn is installed")
def test_without_umap_the_error_names_the_command() -> None:
    with pytest.raises(UsageError, match="pip install 'umap-learn>="):
        project(np.zeros((3, 2), np.float32), "umap")


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed (vidfeat[umap])")
@pytest.mark.filterwarnings("default")
def test_umap_keeps_clusters_apart() -> None:
    from made_outputs import clustered

    made = project(clustered(60), "umap")
    centres = np.array([made.places[number::3].mean(axis=0) for number in range(3)])
    nearest = np.linalg.norm(made.places[:, None] - centres, axis=-1).argmin(axis=1)
    assert nearest.tolist() == [number % 3 for number in range(60)]
    assert project(clustered(3), "umap").axes[0].startswith("PC 1")
