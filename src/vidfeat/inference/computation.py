"""The features of one video: its clips through the network, and its rows pooled."""

from __future__ import annotations

import os
from concurrent.futures import Future

import numpy as np
import torch

from vidfeat.errors import UsageError, VideoError
from vidfeat.features import Seconds, VideoFeatures
from vidfeat.inference.batches import Batcher, BatchSlice
from vidfeat.inference.pooling import pool_video
from vidfeat.preprocessing.clips import ClipBatch
from vidfeat.recipe import Recipe
from vidfeat.video import VideoInfo


class VideoComputation:
    """The features of one video while they are computed. Not for use by several threads.

    Args:
        batcher: fills batches, together with other videos that use it.
        key: the video's name in outputs.
        encoder: the encoder's name.
        where: the video's path, for errors; the key where None.

    Raises:
        UsageError: this process was forked from one that had computed features.
    """

    def __init__(self, batcher: Batcher, *, key: str, encoder: str, where: str | None = None) -> None:
        _require_own_process()
        self._batcher = batcher
        self._recipe = batcher.runner.recipe
        self._key, self._encoder, self._where = key, encoder, where or key
        self._chunks: list[_ChunkRows] = []

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
            self._chunks.clear()
        for chunk in self._chunks:
            chunk.join()
        try:
            slices = self._batcher.add(clips)
        except MemoryError as error:
            raise self._out_of_memory(error) from None
        # A network that joins all views of a video into one row leaves no crops to put in order.
        crops = 1 if self._recipe.model.neck_joins_video else clips.crops
        self._chunks.append(_ChunkRows(crops, clips, slices))
        return [part.rows for part in slices]

    @property
    def idle(self) -> bool:
        """Whether the network is done with everything that was added."""
        return all(part.rows.done() for chunk in self._chunks for part in chunk.slices)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the rows take so far."""
        return sum(chunk.nbytes for chunk in self._chunks)

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
            rows = torch.cat([chunk.result() for chunk in self._chunks], dim=1).flatten(0, 1)
        except MemoryError as error:
            raise self._out_of_memory(error) from None
        crops, clip_len = self._chunks[0].crops, self._chunks[0].clip_len
        start = np.concatenate([chunk.start_seconds for chunk in self._chunks])
        end = np.concatenate([chunk.end_seconds for chunk in self._chunks])
        per_view = _frames_per_view(self._recipe, len(start), clip_len)
        if per_view is not None:
            # TSM's temporal pooling returns fewer rows than it takes frames.
            per_view = per_view * len(rows) // (crops * len(start) * clip_len)
        pooling = self._recipe.pooling
        values = pool_video(rows, pooling, crops=crops, frames_per_view=per_view).numpy()
        if not np.isfinite(values).all():
            raise VideoError(
                self._where,
                stage="model",
                kind="corrupt",
                expected="finite features",
                found=f"{np.count_nonzero(~np.isfinite(values))} of {values.size} values infinite or not a number",
                hint="Check that the checkpoint fits the config's normalisation.",
            )
        if pooling.views == "mean" or pooling.row_length is not None:
            return VideoFeatures(self._key, self._encoder, values, info=info)
        times = _times_of_rows(start, end, len(values), crops if pooling.views == "keep" else 1)
        return VideoFeatures(self._key, self._encoder, values, *times, info)

    def _out_of_memory(self, error: MemoryError) -> VideoError:
        return VideoError(
            self._where,
            stage="model",
            kind="out_of_memory",
            expected="memory for the network",
            found=f"none, {error}" if str(error) else "none",
            hint="Use a device with more memory, or a config with a smaller crop or shorter clips.",
        )


class _ChunkRows:
    """The rows of one `ClipBatch`: in slices while they are computed, then in one tensor.

    Attributes:
        crops, clip_len: crops per frame and frames per clip.
        start_seconds, end_seconds: float64 `[clips]`.
        slices: the rows to come; empty once they were joined.
    """

    def __init__(self, crops: int, clips: ClipBatch, slices: list[BatchSlice]) -> None:
        self.crops, self.clip_len = crops, clips.clips.shape[1]
        self.start_seconds, self.end_seconds = clips.start_seconds, clips.end_seconds
        self.slices = slices
        self._rows: torch.Tensor | None = None

    def join(self) -> None:
        """Join the slices if all are computed: on a CPU a slice may be as little as one row."""
        if self._rows is None and all(part.available for part in self.slices):
            self.result()

    def result(self) -> torch.Tensor:
        """float32 `[crops, N, C, ...]`, so that chunks can be joined along the clips; waits for them."""
        if self._rows is None:
            rows = torch.cat([part.rows.result() for part in self.slices])
            self._rows, self.slices = rows.reshape(self.crops, -1, *rows.shape[1:]), []
        return self._rows

    @property
    def nbytes(self) -> int:
        parts = [part.rows.result() for part in self.slices if part.available] if self._rows is None else [self._rows]
        return sum(rows.nbytes for rows in parts)


def _frames_per_view(recipe: Recipe, clips: int, clip_len: int) -> int | None:
    """How many rows of an image network make a view, as `Pooling` defines it; None where each row is a view already."""
    model = recipe.model
    if model.dims == 3 or model.neck is not None:
        return None
    if model.segments > 1:
        return model.segments
    return clip_len if recipe.sampling.dense else clips * clip_len


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
        expected="a process that computes from its start",
        found=f"one forked from process {_computing_process}, which has computed features already",
        hint="Start it with multiprocessing.get_context('spawn'), or compute in forked processes only.",
    )
