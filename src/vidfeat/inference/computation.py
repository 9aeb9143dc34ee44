"""The features of one video: its clips through the network, and its rows pooled."""

from __future__ import annotations

import os
from array import array
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch

from vidfeat.errors import UsageError, VideoError
from vidfeat.features import Seconds, VideoFeatures
from vidfeat.inference.batches import Batcher, BatchSlice
from vidfeat.inference.pooling import pool_video
from vidfeat.inference.window_rows import WindowRows
from vidfeat.preprocessing.clips import ClipBatch
from vidfeat.preprocessing.grid import ClipPlan
from vidfeat.recipe import Recipe
from vidfeat.video import VideoInfo

_BLOCK_BYTES = 1 << 20


class VideoComputation:
    """The features of one video while they are computed. Not for use by several threads.

    Args:
        batcher: fills batches, together with other videos that use it.
        key: the video's name in outputs.
        encoder: the encoder's name.
        where: the video's path, for errors; the key where None.
        windows: where each clip that comes is one frame, the windows that the rows are to be made of; None where clips
            have their rows.

    Raises:
        UsageError: this process was forked from one that had computed features.
    """

    def __init__(
        self, batcher: Batcher, *, key: str, encoder: str, where: str | None = None, windows: ClipPlan | None = None
    ) -> None:
        _require_own_process()
        self._batcher = batcher
        self._recipe = batcher.runner.recipe
        self._key, self._encoder, self._where = key, encoder, where or key
        self._windows = windows
        self._begin()
        self._pending: deque[_PendingRows] = deque()

    def _begin(self) -> None:
        pooling = self._recipe.pooling
        self._joined = None if self._windows is None else WindowRows(self._windows, pooling)
        self._computed = _ComputedRows()

    def add(self, clips: ClipBatch) -> list[Future[torch.Tensor]]:
        """Put the next clips into batches; this may wait for the network. Their pixels are copied.

        Args:
            clips: the next of the video in the order of its plan. With 0 as `first_clip` those that were added before
                are void, as when a video is decoded again.

        Returns:
            Futures that are done when the network is done with these clips.

        Raises:
            VideoError: there is no memory even for the smallest batch.
            ConfigError, DeviceError: see `InferenceRunner.submit`.
        """
        if clips.first_clip == 0:
            self._begin()
            self._pending.clear()
        while self._pending and self._pending[0].available:
            self._append(self._pending.popleft())
        try:
            slices = self._batcher.add(clips)
        except MemoryError as error:
            raise self._out_of_memory(error) from None
        # A network that joins all views of a video into one row leaves no crops to put in order.
        crops = 1 if self._recipe.model.neck_joins_video else clips.crops
        self._pending.append(_PendingRows(crops, clips.clips.shape[1], clips.start_seconds, clips.end_seconds, slices))
        return [part.rows for part in slices]

    @property
    def idle(self) -> bool:
        """Whether the network is done with everything that was added."""
        return all(part.rows.done() for chunk in self._pending for part in chunk.slices)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the rows take so far."""
        return self._computed.nbytes + sum(chunk.nbytes for chunk in self._pending)

    def result(self, info: VideoInfo | None = None) -> VideoFeatures:
        """Wait, and pool all rows in the order of the plan, crop by crop.

        Batches that other videos share with this one are computed with it.

        Args:
            info: what is known of the video.

        Raises:
            VideoError: the result is not finite, or there is no memory even for the smallest batch.
        """
        if not self.idle:
            self._batcher.flush()
        try:
            while self._pending:
                self._append(self._pending[0])
                self._pending.popleft()
            rows = self._computed.rows()
        except MemoryError as error:
            raise self._out_of_memory(error) from None
        crops, clip_len = self._computed.crops, self._computed.clip_len
        start, end = np.array(self._computed.start_seconds), np.array(self._computed.end_seconds)
        if self._windows is not None:
            start, end = self._windows.start_seconds, self._windows.end_seconds
        per_view = _frames_per_view(self._recipe, len(start), clip_len)
        if per_view is not None:
            # TSM's temporal pooling returns fewer rows than it takes frames.
            per_view = per_view * len(rows) // (crops * len(start) * clip_len)
        pooling, per_row = self._recipe.pooling, self._recipe.sampling.clips_per_row
        if self._windows is not None and per_row is not None:
            per_row = 1
        windows = None if per_row is None else max(1, len(start) // per_row)
        values = pool_video(rows, pooling, crops=crops, frames_per_view=per_view, windows=windows).numpy()
        if not np.isfinite(values).all():
            raise VideoError(
                self._where,
                stage="model",
                kind="corrupt",
                expected="finite features",
                found=f"{np.count_nonzero(~np.isfinite(values))} of {values.size} values infinite or NaN",
                hint="Check that the checkpoint fits the config's normalisation.",
            )
        if per_row is not None and pooling.views != "per_clip":
            return VideoFeatures(self._key, self._encoder, values, start[::per_row], end[::per_row], info)
        if pooling.views in ("mean", "max") or pooling.row_length is not None:
            return VideoFeatures(self._key, self._encoder, values, info=info)
        times = _times_of_rows(start, end, len(values), crops if pooling.views == "keep" else 1)
        return VideoFeatures(self._key, self._encoder, values, *times, info)

    def _append(self, chunk: _PendingRows) -> None:
        """Take the rows of the next clips; waits for them."""
        rows = chunk.result().transpose(0, 1)
        self._computed.crops, self._computed.clip_len = chunk.crops, chunk.clip_len
        for part in [rows] if self._joined is None else self._joined.add(rows):
            self._computed.append(part)
        self._computed.start_seconds.frombytes(chunk.start_seconds.tobytes())
        self._computed.end_seconds.frombytes(chunk.end_seconds.tobytes())

    def _out_of_memory(self, error: MemoryError) -> VideoError:
        return VideoError(
            self._where,
            stage="model",
            kind="out_of_memory",
            expected="memory for the network",
            found=f"none, {error}" if str(error) else "none",
            hint="Use a device with more memory, or a config with a smaller crop or shorter clips.",
        )


@dataclass(frozen=True, eq=False)
class _PendingRows:
    """The rows of one `ClipBatch` while they are computed.

    Attributes:
        crops, clip_len: crops per frame and frames per clip.
        start_seconds, end_seconds: float64 `[clips]`.
        slices: the rows to come.
    """

    crops: int
    clip_len: int
    start_seconds: Seconds
    end_seconds: Seconds
    slices: list[BatchSlice]

    @property
    def available(self) -> bool:
        return all(part.available for part in self.slices)

    @property
    def nbytes(self) -> int:
        return sum(part.rows.result().nbytes for part in self.slices if part.available)

    def result(self) -> torch.Tensor:
        """float32 `[crops, N, C, ...]`; waits for them."""
        rows = torch.cat([part.rows.result() for part in self.slices])
        return rows.reshape(self.crops, -1, *rows.shape[1:])


class _ComputedRows:
    """The rows of a video's first clips.

    They are copied into few large blocks. Thousands of small tensors that live as long as the video, scattered among
    the large ones that the network allocates and frees, would keep the allocator from using that memory again: with
    them, an hour of windows took 1.6 GB.

    Attributes:
        crops, clip_len: crops per frame and frames per clip.
        start_seconds, end_seconds: of each clip.
        nbytes: of the rows.
    """

    def __init__(self) -> None:
        self.crops = self.clip_len = self.nbytes = 0
        self.start_seconds, self.end_seconds = array("d"), array("d")
        self._blocks: list[torch.Tensor] = []  # each `[N, crops, C, ...]`
        self._filled = 0  # of the last block

    def append(self, rows: torch.Tensor) -> None:
        """Add the rows of the next clips, float32 `[N, crops, C, ...]`."""
        while len(rows):
            if not self._blocks or self._filled == len(self._blocks[-1]):
                capacity = max(len(rows), _BLOCK_BYTES // rows[0].nbytes)
                self._blocks.append(rows.new_empty((capacity, *rows.shape[1:])))
                self._filled = 0
            block = self._blocks[-1][self._filled : self._filled + len(rows)]
            block[:] = rows[: len(block)]
            self._filled += len(block)
            self.nbytes += block.nbytes
            rows = rows[len(block) :]

    def rows(self) -> torch.Tensor:
        """float32 `[crops * N, C, ...]`, crop by crop."""
        return torch.cat([*self._blocks[:-1], self._blocks[-1][: self._filled]]).transpose(0, 1).flatten(0, 1)


def _frames_per_view(recipe: Recipe, clips: int, clip_len: int) -> int | None:
    """How many rows of an image network make a view, as `Pooling` defines it; None where each row is a view already."""
    model = recipe.model
    if model.dims == 3 or model.neck is not None or recipe.frames_once:
        return None
    return model.segments if model.segments > 1 else clips * clip_len


def _times_of_rows(start: Seconds, end: Seconds, rows: int, crops: int) -> tuple[Seconds, Seconds]:
    """When each row of a video is: the range of the clips that it is made of.

    Args:
        start, end: float64 `[clips]`, seconds.
        rows: of all crops, crop by crop; each crop's rows divide the clips evenly among them, in order.
        crops: how many.

    Returns:
        Start and end, float64 `[rows]`.
    """
    clips, views = len(start), rows // crops
    if views != clips:
        groups = [slice(row * clips // views, -(-(row + 1) * clips // views)) for row in range(views)]
        start = np.array([start[group].min() for group in groups])
        end = np.array([end[group].max() for group in groups])
    return np.tile(start, crops), np.tile(end, crops)


_computing_process: int | None = None
"""The process that computed features first: this one, or one that this one was forked from."""


def _require_own_process() -> None:
    global _computing_process
    _computing_process = _computing_process or os.getpid()
    if _computing_process == os.getpid():
        return
    # PyTorch's threads do not survive a fork, and it would wait for them for ever.
    raise UsageError(
        "inference",
        expected="a process that PyTorch can compute in",
        found=f"one forked from process {_computing_process}, which has computed features already",
        hint="Start it with multiprocessing.get_context('spawn'), or compute in forked processes only.",
    )
