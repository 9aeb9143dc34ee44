"""Seeded random parameters; training and testing draw from disjoint sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

T = TypeVar("T")

Split = Literal["train", "test"]
"""What a clip is for. The two differ in the values that can be drawn, not only in the seed."""

BANDS = 10
"""Equal parts of every range: training draws from the 1st, 3rd and so on, testing from the others."""


class RandomGenerator:
    """The random parameters of one clip; the same split and key give the same sequence.

    Args:
        split: decides which half of every range, and which of the named values, can be drawn.
        key: whole numbers from 0 that identify the clip within the split.
    """

    def __init__(self, split: Split, *key: int) -> None:
        self.split: Split = split
        self._random = np.random.default_rng([split == "test", *key])

    def uniform(self, low: float, high: float) -> float:
        """A number in `[low, high)`, uniform over those of the `BANDS` equal parts that belong to the split."""
        band = 2 * self._random.integers(BANDS // 2) + (self.split == "test")
        return float(low + (high - low) * (band + self._random.uniform()) / BANDS)

    def choice(self, named: Mapping[Split, Sequence[T]]) -> T:
        """One of the values of the split."""
        return named[self.split][int(self._random.integers(len(named[self.split])))]

    def sign(self) -> int:
        """-1 or 1, in both splits."""
        return 1 if self.bernoulli(0.5) else -1

    def bernoulli(self, probability: float) -> bool:
        """True with a probability in [0, 1], in both splits."""
        return bool(self._random.uniform() < probability)

    def noise(self, height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """float32 `[height, width]`, uniform in [0, 1); the splits differ in the seed only."""
        return self._random.random((height, width), np.float32)
