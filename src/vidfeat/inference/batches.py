"""Samples of many videos into batches of one fixed shape, and the rows of each video out of them again."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import torch

from vidfeat.inference.runner import Batch, InferenceRunner
from vidfeat.preprocessing.clips import ClipBatch, Sample, samples_per_video

MAX_OPEN_BATCHES = 4
"""Batches that are being filled at once, one for each shape of sample: without a crop, videos differ in theirs."""


class BatchSlice:
    """The rows of neighbouring samples of one video, out of a batch that other videos may share.

    It copies its rows once they are computed, and keeps neither the batch nor the rows of others in memory.

    Args:
        batch: not submitted yet.
        place: of the first sample in it.

    Attributes:
        rows: to come: float32 `[samples * rows per sample, C]`, plus the axes that are kept. Its exception is what
            kept the network from computing them.
    """

    def __init__(self, batch: Batch, place: int) -> None:
        self._start, self._stop, self._samples = place, place + 1, len(batch.pixels)
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
        self._open: dict[tuple[int, ...], BatchBuilder] = {}

    def add(self, clips: ClipBatch) -> list[BatchSlice]:
        """Put the samples of some clips into batches, and submit every full one; this may wait for a slot.

        The pixels are copied: the caller may reuse their memory.
        """
        slices: list[BatchSlice] = []
        last: BatchBuilder | None = None
        for sample in clips.samples(self.runner.recipe.model):
            builder = self._builder((len(sample.frames), *clips.pixels.shape[2:]))
            place = builder.add(clips, sample)
            if builder is last:
                slices[-1].extend()
            else:
                slices.append(BatchSlice(builder.batch, place))
            last = builder
            if builder.full:
                self._submit(builder)
        return slices

    def flush(self) -> None:
        """Submit the batches that are not full, padded."""
        for builder in list(self._open.values()):
            self._submit(builder)

    def _builder(self, shape: tuple[int, ...]) -> BatchBuilder:
        if shape not in self._open:
            if len(self._open) == MAX_OPEN_BATCHES:
                self._submit(next(iter(self._open.values())))
            self._open[shape] = BatchBuilder(shape, self.runner.new_batch(shape))
        return self._open[shape]

    def _submit(self, builder: BatchBuilder) -> None:
        del self._open[builder.shape]
        builder.pad()
        self.runner.submit(builder.batch, samples_ahead=self._samples_ahead)


@dataclass(eq=False)
class BatchBuilder:
    """A batch that is being filled.

    Attributes:
        shape: of a sample, `(frames, H, W, 3)`.
        batch: from `InferenceRunner.new_batch`.
        samples: how many are in it.
    """

    shape: tuple[int, ...]
    batch: Batch
    samples: int = 0

    @property
    def full(self) -> bool:
        """Whether no sample has room in it."""
        return self.samples == len(self.batch.pixels)

    def add(self, clips: ClipBatch, sample: Sample) -> int:
        """Copy a sample in; returns its place."""
        clips.gather(sample, self.batch.pixels[self.samples])
        self.samples += 1
        return self.samples - 1

    def pad(self) -> None:
        """Fill the rest with zeros, so that the batch is the same in every run."""
        self.batch.pixels[self.samples :] = 0
