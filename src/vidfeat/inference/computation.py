"""The features of one video: its clips in batches through the network, and its rows pooled.

Batches are of one fixed shape, and are filled with the samples of many videos.
"""

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
from vidfeat.inference.pooling import pool_video
from vidfeat.inference.runner import Batch, InferenceRunner
from vidfeat.inference.window_rows import WindowRows
from vidfeat.preprocessing.clips import ClipBatch, samples_per_video
from vidfeat.preprocessing.grid import ClipPlan
from vidfeat.recipe import Recipe
from vidfeat.video import VideoInfo

MAX_OPEN_BATCHES = 4
"""Batches that are being filled at once, one for each shape of sample: without a crop, videos differ in theirs."""

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


# --- batches ----------------------------------------------------------------------------------------------------------


class Batcher:
    """Fills batches with the samples of one video after the other. Not for use by several threads.

    Args:
        runner: computes them.
        videos: how many are to come, roughly; it decides whether compiling pays.
    """

    def __init__(self, runner: InferenceRunner, videos: int = 0) -> None:
        self.runner = runner
        # Of videos whose length decides, nothing is known yet: a sample at least.
        self._samples_ahead = videos * (samples_per_video(runner.recipe) or 1)
        self._open: dict[tuple[int, ...], Batch] = {}  # by the shape of a sample

    def add(self, clips: ClipBatch) -> list[BatchSlice]:
        """Put the samples of some clips into batches, and submit every full one; this may wait for a slot.

        The pixels are copied: the caller may reuse their memory.
        """
        slices: list[BatchSlice] = []
        last: Batch | None = None
        for sample in clips.samples(self.runner.recipe.model):
            batch = self._batch((len(sample), *clips.pixels.shape[2:]))
            clips.gather(sample, batch.pixels[batch.samples])
            if batch is last:
                slices[-1].extend()
            else:
                slices.append(BatchSlice(batch))
            batch.samples += 1
            last = batch
            if batch.samples == len(batch.pixels):
                self._submit(batch)
        return slices

    def flush(self) -> None:
        """Submit the batches that are not full, padded."""
        for batch in list(self._open.values()):
            self._submit(batch)

    def _batch(self, shape: tuple[int, ...]) -> Batch:
        if shape not in self._open:
            if len(self._open) == MAX_OPEN_BATCHES:
                self._submit(next(iter(self._open.values())))
            self._open[shape] = self.runner.new_batch(shape)
        return self._open[shape]

    def _submit(self, batch: Batch) -> None:
        del self._open[batch.pixels.shape[1:]]
        batch.pixels[batch.samples :] = 0  # so that the batch is the same in every run
        self.runner.submit(batch, samples_ahead=self._samples_ahead)


class BatchSlice:
    """The rows of neighbouring samples of one video, out of a batch that other videos may share.

    It copies its rows once they are computed, and keeps neither the batch nor the rows of others in memory.

    Args:
        batch: not submitted yet; the first of the samples is the next that it gets.

    Attributes:
        rows: to come: float32 `[samples * rows per sample, C]`, plus the axes that are kept. Its exception is what
            kept the network from computing them.
    """

    def __init__(self, batch: Batch) -> None:
        self._start, self._stop, self._samples = batch.samples, batch.samples + 1, len(batch.pixels)
        self.rows: Future[torch.Tensor] = Future()
        batch.rows.add_done_callback(self._copy)

    def extend(self) -> None:
        """Add the batch's next sample."""
        self._stop += 1

    @property
    def available(self) -> bool:
        """Whether its rows are there, and not an exception."""
        return self.rows.done() and not self.rows.cancelled() and self.rows.exception() is None

    def _copy(self, batch_rows: Future[torch.Tensor]) -> None:
        if batch_rows.cancelled():
            self.rows.cancel()
            return
        try:
            rows = batch_rows.result()
            per_sample = len(rows) // self._samples
            self.rows.set_result(rows[self._start * per_sample : self._stop * per_sample].clone())
        except BaseException as error:
            self.rows.set_exception(error)


# --- rows -------------------------------------------------------------------------------------------------------------


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
