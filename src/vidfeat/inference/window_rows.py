"""The rows of windows out of those of their frames, for networks that see single frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from vidfeat.inference.pooling import pool_time
from vidfeat.preprocessing.grid import ClipPlan
from vidfeat.recipe import Pooling


class WindowRows:
    """Pools the rows of frames into those of windows, each as soon as its frames are there, and keeps no others.

    Args:
        windows: which frames are in each.
        pooling: what becomes of the frames of a window.
    """

    def __init__(self, windows: ClipPlan, pooling: Pooling) -> None:
        self._pooling = pooling
        distinct, places = np.unique(windows.frame_index, return_inverse=True)
        self._places = places.reshape(windows.frame_index.shape)
        self._complete = self._places.max(axis=1)
        self._last = np.zeros(len(distinct), np.int64)  # window that needs each frame
        np.maximum.at(self._last, self._places, np.arange(len(windows))[:, None])
        self._kept: dict[int, torch.Tensor] = {}
        self._added = self._pooled = 0

    def add(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Take the rows of the next frames, in rising order and each once.

        Args:
            rows: float32 `[N, crops, C, ...]`.

        Yields:
            float32 `[1, crops, C, ...]`: the next window's, with its frames as a further axis before C where they are
            kept.
        """
        for row in rows:
            self._kept[self._added] = row
            self._added += 1
            while self._pooled < len(self._places) and self._complete[self._pooled] < self._added:
                yield self._pool(self._places[self._pooled])
                self._pooled += 1

    def _pool(self, places: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> torch.Tensor:
        window = torch.stack([self._kept[place] for place in places.tolist()], dim=1)
        for place in np.unique(places).tolist():
            if self._last[place] == self._pooled:
                del self._kept[place]
        return pool_time(window, self._pooling)[None]
