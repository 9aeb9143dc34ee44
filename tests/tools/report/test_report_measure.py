"""Numbers about vectors, against the few lines that anybody would write."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from vidfeat.tools.report import measure

VECTORS = arrays(
    np.float32,
    st.tuples(st.integers(2, 12), st.integers(1, 6)),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


def plain_cosines(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = wide / np.where(lengths > 0, lengths, 1)
    return unit @ unit.T


@settings(max_examples=60)
@given(VECTORS, st.integers(1, 5))
def test_neighbours_are_the_most_alike_without_oneself(vectors: np.ndarray, count: int) -> None:
    near = measure.neighbours(vectors, count)
    cosines = plain_cosines(vectors)
    np.fill_diagonal(cosines, -np.inf)
    kept = min(count, len(vectors) - 1)
    assert near.index.shape == near.cosine.shape == (len(vectors), kept)
    assert (near.index != np.arange(len(vectors))[:, None]).all()
    assert all(len(set(row)) == kept for row in near.index.tolist())
    np.testing.assert_allclose(near.cosine, -np.sort(-cosines, axis=1)[:, :kept], atol=1e-5)
    np.testing.assert_allclose(near.cosine, np.take_along_axis(cosines, near.index, axis=1), atol=1e-5)


def test_neighbours_across_blocks() -> None:
    vectors = np.random.default_rng(0).standard_normal((1300, 5)).astype(np.float32)
    near = measure.neighbours(vectors, 3)
    cosines = plain_cosines(vectors)
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_array_equal(near.index, np.argsort(-cosines, axis=1)[:, :3])


def test_one_vector_has_no_neighbours() -> None:
    assert measure.neighbours(np.ones((1, 4), np.float32), 8).index.shape == (1, 0)


@settings(max_examples=60)
@given(VECTORS)
def test_mean_cosine(vectors: np.ndarray) -> None:
    cosines = plain_cosines(vectors)
    count = len(vectors)
    expected = (cosines.sum() - np.trace(cosines)) / (count * (count - 1))
    assert measure.mean_cosine(vectors) == pytest.approx(expected, abs=1e-5)


def test_large_values_do_not_overflow() -> None:
    vectors = np.array([[3e38, 0], [0, 3e38], [3e38, 3e38]], np.float32)
    near = measure.neighbours(vectors, 2)
    np.testing.assert_allclose(near.cosine, [[0.5**0.5, 0], [0.5**0.5, 0], [0.5**0.5, 0.5**0.5]], atol=1e-6)
    assert measure.norms(vectors)[2] == pytest.approx(2**0.5 * 3e38, rel=1e-6)
    np.testing.assert_array_equal(measure.rows_of(np.full((1, 2, 4), 3e38, np.float32)), np.full((1, 4), 3e38, "f4"))


def test_equal_and_alike() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 0.001], [0, 1], [1, 1], [1, 0]], np.float32)
    assert measure.equal_groups(vectors) == [[0, 2, 6], [1, 4]]
    near = measure.neighbours(vectors, 3)
    assert measure.near_duplicate_groups(near, 0.999) == [[0, 2, 3, 6], [1, 4]]
    assert measure.near_duplicate_groups(measure.neighbours(vectors[:2], 3), 0.999) == []


def test_dead_dimensions() -> None:
    vectors = np.array([[0, 1, 5], [0, 2, 5], [0, 3, 5]], np.float32)
    assert measure.dead_dimensions(vectors) == [0, 2]
    assert measure.dead_dimensions(vectors[:1]) == []


@pytest.mark.parametrize(
    ("shape", "axes"), [((4,), ()), ((3, 4), ()), ((3, 10, 16), (1,)), ((2, 8, 1, 3, 3), (2, 3, 4)), ((2, 5, 9), (1,))]
)
def test_rows_are_means_over_all_axes_but_those_of_rows_and_channels(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    features = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rows = measure.rows_of(features)
    np.testing.assert_allclose(rows, np.atleast_2d(features.mean(axis=axes)), rtol=1e-5, atol=1e-6)
