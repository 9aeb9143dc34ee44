"""Views of many videos into batches of one fixed shape, and the rows of each video out of them again."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vidfeat.inference.runner import Batch, Network
from vidfeat.preprocessing.clips import Unit, Views
from vidfeat.recipe import ModelSpec

MOST_OPEN_BATCHES = 4
"""Batches that are being filled at once, one for each shape of unit: without a crop, videos differ in theirs."""


@dataclass(frozen=True, eq=False)
class Span:
    """Where the neighbouring units of one video are in a batch: `[start, stop)`."""

    batch: Batch
    start: int
    stop: int

    @property
    def done(self) -> bool:
        """Whether its rows are there."""
        return self.batch.rows.done()

    def result(self) -> torch.Tensor:
        """Its rows, float32 `[N, C]` plus the axes that are kept; raises what kept the network from computing them."""
        rows = self.batch.rows.result()
        per_unit = len(rows) // len(self.batch.pixels)
        return rows[self.start * per_unit : self.stop * per_unit]


class Batcher:
    """Fills batches with the units of one video after the other. Not for use by several threads.

    Args:
        network: computes them.
        model: what a unit is.
        work_ahead: units that are to come, roughly; see `Network.submit`.
    """

    def __init__(self, network: Network, model: ModelSpec, work_ahead: int = 0) -> None:
        self._network = network
        self._model = model
        self._work_ahead = work_ahead
        self._open: dict[tuple[int, ...], _Filling] = {}

    def add(self, views: Views) -> list[Span]:
        """Put the units of some views into batches, of which every full one is submitted; this may wait for room.

        The pixels are copied: they are no longer needed when this returns.
        """
        spans: list[Span] = []
        for unit in views.units(self._model):
            filling = self._filling((len(unit.frames), *views.pixels.shape[2:]))
            start = filling.add(views, unit)
            if spans and spans[-1].batch is filling.batch:
                spans[-1] = Span(filling.batch, spans[-1].start, start + 1)
            else:
                spans.append(Span(filling.batch, start, start + 1))
            if filling.full:
                self._submit(filling)
        return spans

    def flush(self) -> None:
        """Submit what is begun, padded."""
        for filling in list(self._open.values()):
            self._submit(filling)

    def _filling(self, shape: tuple[int, ...]) -> _Filling:
        if shape not in self._open:
            if len(self._open) == MOST_OPEN_BATCHES:
                self._submit(next(iter(self._open.values())))
            self._open[shape] = _Filling(shape, self._network.new_batch(shape))
        return self._open[shape]

    def _submit(self, filling: _Filling) -> None:
        del self._open[filling.shape]
        filling.pad()
        self._network.submit(filling.batch, work_ahead=self._work_ahead)


@dataclass
class _Filling:
    """A batch that is not full yet."""

    shape: tuple[int, ...]
    batch: Batch
    units: int = 0

    @property
    def full(self) -> bool:
        return self.units == len(self.batch.pixels)

    def add(self, views: Views, unit: Unit) -> int:
        """Copy a unit in; returns its place."""
        views.gather(unit, self.batch.pixels[self.units])
        self.units += 1
        return self.units - 1

    def pad(self) -> None:
        """Fill the rest, so that the batch is the same in every run."""
        self.batch.pixels[self.units :] = 0
