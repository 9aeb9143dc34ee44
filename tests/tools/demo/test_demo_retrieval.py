"""Rank 1 and colour histograms, by hand-made numbers."""

from pathlib import Path

import numpy as np
import pytest

from made_outputs import write_clip
from vidfeat.tools.demo.retrieval import LEVELS, chance_level, colour_histogram, rank1
from vidfeat.video import decode


def test_rank1_looks_at_the_direction_only() -> None:
    vectors = np.float32([[1, 0], [9, 1], [0, 1], [0.1, 5]])
    assert rank1(vectors, ["a", "a", "b", "b"]).tolist() == [True] * 4
    assert rank1(vectors, ["a", "b", "b", "b"]).tolist() == [False, False, True, True]


def test_chance() -> None:
    assert chance_level(["a", "a", "b", "b"]) == pytest.approx(1 / 3)
    assert chance_level(["a", "b"]) == 0
    assert chance_level([str(number // 3) for number in range(48)]) == pytest.approx(2 / 47)


def test_a_histogram_is_the_root_of_the_shares(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, seed=1, frames=5)
    histogram = colour_histogram(path)
    frames = np.stack([frame.pixels for frame in decode(path, range(5))])
    counts, _ = np.histogramdd(frames.reshape(-1, 3), bins=[np.linspace(0, 256, LEVELS + 1)] * 3)
    assert histogram.shape == (LEVELS**3,)
    np.testing.assert_allclose(histogram**2, counts.ravel() / counts.sum(), atol=1e-6)
    assert np.linalg.norm(histogram) == pytest.approx(1)
