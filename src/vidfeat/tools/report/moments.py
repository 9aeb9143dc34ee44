"""Rows over time in few bytes, so that a page can compare a moment of a video with all others; and the search by words.

A row is scaled to norm 1 and kept as its product with the mean row, and its products with the main directions of all
rows in one byte each. What the directions leave out of a row is known in length only; of two rows it is taken to be the
more alike the more alike the rest is. See `cosines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfeat.tools.report.measure import Floats, unit
from vidfeat.tools.report.projection import centred, principal

ROW_BYTES = 6_000_000
"""Most bytes of rows on a page."""

RESULTS = 30
"""Results for one of the `--queries` that the page lists."""

_MOST_DIRECTIONS, _FEWEST_DIRECTIONS = 256, 16
_PROBES, _NEAR = 64, 20
_POWER = 4
"""Of 1, 2, 4 and 8 that with the smallest error, where 50 directions left a tenth of 2048 numbers out."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The rows of some videos, joined where they are too many: N moments in all.

    Attributes:
        levels: int8 `[N, D]`, products of differences from the mean with D directions, in steps of `scale`.
        scale: float32 `[D]`.
        along: float32 `[N]`, product with the mean of the rows.
        square: product of that mean with itself.
        error: 99 of 100 cosines with some of the rows are less wrong than this, of all rows and of the nearest ones.
    """

    levels: npt.NDArray[np.int8]
    scale: Floats
    along: Floats
    square: float
    error: float


@dataclass(frozen=True, eq=False)
class Found:
    """The results for one query, the best first.

    Attributes:
        video: int64 `[K]`, positions among the videos that were searched.
        moment: int64 `[K]`, positions among the moments of these videos.
        cosine: float32 `[K]`.
    """

    video: npt.NDArray[np.int64]
    moment: npt.NDArray[np.int64]
    cosine: Floats


def steps_of(rows: Sequence[int], size: int) -> tuple[list[int], int]:
    """Into how many moments the rows of each video are joined, and the number of directions, so that they fit."""
    total = max(1, sum(rows))
    directions = min(size, _MOST_DIRECTIONS, max(_FEWEST_DIRECTIONS, ROW_BYTES // total))
    share = min(1.0, ROW_BYTES / (directions * total))
    return [max(1, int(count * share)) if count else 0 for count in rows], directions


def joined(rows: Floats, steps: int) -> Floats:
    """`rows` `[T, C]` as `[steps, C]` of norm 1: means of T / steps neighbours, where steps is below T."""
    if steps < len(rows):
        starts = np.arange(steps) * len(rows) // steps
        sums = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
        rows = (sums / np.diff(starts, append=len(rows))[:, None]).astype(np.float32)
    return unit(rows)


class Search:
    """The best moments for each of Q queries, while the videos are read one after the other."""

    def __init__(self, queries: Floats) -> None:
        """`queries` are `[Q, C]`."""
        self._queries = unit(queries)
        nothing = Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        self.found = [nothing] * len(queries)

    def add(self, video: int, moments: Floats) -> None:
        """Search the `moments` `[S, C]` of a video, of norm 1. Of neighbouring moments only the most similar counts."""
        for number, cosine in enumerate(self._queries @ moments.T):
            best, peaks = self.found[number], peaks_of(cosine)
            values = np.concatenate([best.cosine, cosine[peaks]])
            order = np.argsort(-values, kind="stable")[:RESULTS]
            of = np.concatenate([best.video, np.full(len(peaks), video)])[order]
            self.found[number] = Found(of, np.concatenate([best.moment, peaks])[order], values[order])


def peaks_of(values: Floats) -> npt.NDArray[np.int64]:
    """The positions in `values` `[S]` that are above the one before and not below the one after."""
    before = np.concatenate([[-np.inf], values[:-1]])
    after = np.concatenate([values[1:], [-np.inf]])
    return np.flatnonzero((values > before) & (values >= after))


def compress(moments: Iterable[Floats], sample: Floats, directions: int) -> Moments:
    """Compress moments.

    Args:
        moments: of each video, `[S, C]` of norm 1.
        sample: some of them, `[M, C]`, from which the directions are computed.
        directions: how many, at most.
    """
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    basis = principal(centred(sample), directions)[0]
    probes = sample[np.arange(min(_PROBES, len(sample))) * len(sample) // min(_PROBES, len(sample))]
    parts, alongs, exact = [], [], []
    for part in moments:
        parts.append((part - mean) @ basis)
        alongs.append(part @ mean)
        exact.append(part @ probes.T)
    products, along = np.concatenate(parts), np.concatenate(alongs)
    scale = (np.abs(products).max(axis=0, initial=0) / 127).astype(np.float32)
    scale[scale == 0] = 1

    def levels_of(products: Floats) -> Floats:
        return np.clip(np.rint(products / scale), -127, 127)

    levels, square = levels_of(products), float(mean @ mean)
    there = levels_of((probes - mean) @ basis) * scale, probes @ mean
    wrong = np.concatenate(exact) - cosines((levels * scale, along), there, square)
    near = np.argpartition(-np.concatenate(exact), min(_NEAR, len(wrong) - 1), axis=0)[:_NEAR]
    error = max(np.quantile(np.abs(some), 0.99) for some in (wrong, np.take_along_axis(wrong, near, axis=0)))
    return Moments(levels.astype(np.int8), scale, along, square, float(error))


def cosines(here: tuple[Floats, Floats], there: tuple[Floats, Floats], square: float) -> Floats:
    """The cosines `[N, M]` of moments, about, as the page computes them.

    Args:
        here, there: products `[N, D]` and `along` `[N]`; `[M, D]` and `[M]`.
        square: as in `Moments`.
    """
    lengths, rests = zip(*(_lengths(products, along, square) for products, along in (here, there)), strict=True)
    within = here[0] @ there[0].T
    alike = within / np.maximum(np.outer(*lengths), 1e-12)
    return here[1][:, None] + there[1] - square + within + np.outer(*rests) * np.maximum(alike, 0) ** _POWER


def _lengths(products: Floats, along: Floats, square: float) -> tuple[Floats, Floats]:
    """Of the differences of moments from the mean: the norms of the parts within the directions, and of the rest."""
    within = np.square(products).sum(axis=1)
    return np.sqrt(within), np.sqrt(np.maximum(1 - 2 * along + square - within, 0))
