"""Moments against the lines that anybody would write with all rows at hand."""

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from vidfeat.tools.report import moments
from vidfeat.tools.report.measure import unit


def smooth(videos: int, rows: int, size: int, seed: int = 0) -> list[np.ndarray]:
    """Rows that change slowly, as those of overlapping windows do; of norm 1."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((24, size)) * np.geomspace(1, 0.1, 24)[:, None]
    parts = []
    for _ in range(videos):
        walk = np.cumsum(random.standard_normal((rows, 24)), axis=0) / 4 + random.standard_normal(24) * 2
        parts.append(unit(np.maximum(walk @ weights + 0.5, 0).astype(np.float32)))
    return parts


def compressed_cosines(made: moments.Moments) -> np.ndarray:
    here = made.levels * made.scale, made.along
    return moments.cosines(here, here, made.square)


@pytest.mark.parametrize(("directions", "within"), [(64, 0.005), (16, 0.05)])
def test_cosines_of_compressed_rows(directions: int, within: float) -> None:
    parts = smooth(6, 50, 64)
    rows = np.concatenate(parts)
    made = moments.compress(iter(parts), rows, directions)
    wrong = np.abs(compressed_cosines(made) - rows @ rows.T)
    assert made.levels.shape == (300, directions)
    assert np.quantile(wrong, 0.99) <= within
    assert made.error <= within
    assert made.error >= np.quantile(wrong, 0.98)  # measured on a part of the rows, and on near ones apart
    assert np.abs(np.diag(wrong)).max() < 0.01  # that of a row with itself is 1, whatever is left out


def test_one_row_and_equal_rows() -> None:
    row = unit(np.ones((1, 8), np.float32))
    for parts in ([row], [row, row, row]):
        made = moments.compress(iter(parts), np.concatenate(parts), 8)
        np.testing.assert_allclose(compressed_cosines(made), np.ones((len(parts),) * 2), atol=1e-4)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20), st.sampled_from([1, 16, 512, 4096]))
@settings(max_examples=60)
def test_moments_fit_into_their_bytes(rows: list[int], size: int) -> None:
    steps, directions = moments.steps_of([count * 100 for count in rows], size)
    assert 1 <= directions <= size
    assert all((count == 0) == (step == 0) and step <= count * 100 for count, step in zip(rows, steps, strict=True))
    assert sum(steps) * directions <= max(moments.ROW_BYTES, len(rows) * directions)
    if sum(rows) * 100 * min(size, 16) <= moments.ROW_BYTES:
        assert steps == [count * 100 for count in rows]


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=60)
def test_joined_rows_are_means(count: int, steps: int) -> None:
    rows = np.random.default_rng(count).standard_normal((count, 5)).astype(np.float32)
    steps = min(count, steps)
    edges = [step * count // steps for step in range(steps + 1)]
    expected = unit(np.stack([rows[a:b].mean(axis=0) for a, b in pairwise(edges)]))
    np.testing.assert_allclose(moments.joined(rows, steps), expected, atol=1e-5)


def test_a_search_finds_the_best_peaks() -> None:
    parts = smooth(5, 40, 16, seed=3)
    queries = np.random.default_rng(4).standard_normal((3, 16)).astype(np.float32)
    search = moments.Search(queries)
    for number, part in enumerate(parts):
        search.add(number * 10, part)
    for query, found in zip(unit(queries), search.found, strict=True):
        peaks = []
        for number, part in enumerate(parts):
            cosine = [-np.inf, *(part @ query).tolist(), -np.inf]
            peaks += [
                (-cosine[place], number * 10, place - 1)
                for place in range(1, 41)
                if cosine[place - 1] < cosine[place] >= cosine[place + 1]
            ]
        expected = sorted(peaks)[: moments.RESULTS]
        assert list(zip(found.video.tolist(), found.moment.tolist(), strict=True)) == [(v, s) for _, v, s in expected]
        np.testing.assert_allclose(found.cosine, [-cosine for cosine, _, _ in expected], atol=1e-6)
