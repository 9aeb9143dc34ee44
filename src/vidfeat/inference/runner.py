"""Runs the network on its device: batches of one fixed shape go in, rows come out.

What the last bits of a row depend on, beyond recipe and weights, is fixed here once and can be written down: the
precision, the backend, and how many samples are in a batch. A batch that is not full is padded, so that a row does not
depend on what else is in its batch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from vidfeat.errors import ConfigError, VidfeatError
from vidfeat.hardware import usable_cores
from vidfeat.inference import Precision
from vidfeat.inference.backends import Backend, BackendSelection, ComputeRows, PinBackend, Pixels
from vidfeat.inference.network import FeatureNetwork
from vidfeat.inference.out_of_memory import first_line, is_out_of_memory
from vidfeat.inference.stopwatch import Stopwatch
from vidfeat.preprocessing.clips import samples_per_video
from vidfeat.recipe import Recipe

FRAMES_PER_BATCH = {"cpu": 8, "cuda": 256}
"""Frames that pass through the network at once, by device: at most, but for a single sample that has more. On a CPU few
are faster than many, since a layer's output then still lies in the cache for the next."""

MEASURE_FROM_SAMPLES = 500
"""Of fewer samples ahead none takes so long that compiling could pay; the first feature then comes without delay."""

_CUDA_STREAMS = 2
"""Batches that a GPU has at once, each on a stream of its own: the pixels of one travel while the other is computed."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Numerics:
    """How rows were computed.

    Attributes:
        precision: the number format of the network; poolings and means are in fp32 whatever it is.
        backend: what ran it.
        samples_per_batch: of every batch shape that was used, in order; more than one where memory ran out.
        cosine: the least cosine of a row of the first batch to the same row in eager fp32; None where there was nothing
            to check, as in eager fp32 itself.
    """

    precision: Precision
    backend: Backend
    samples_per_batch: tuple[int, ...]
    cosine: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "backend": self.backend,
            "samples_per_batch": list(self.samples_per_batch),
            "cosine_to_fp32": self.cosine,
        }


@dataclass(eq=False)
class Batch:
    """Samples that pass through the network together.

    Attributes:
        pixels: `[samples, frames, H, W, 3]`, of `Recipe.pixel_dtype`; past the samples that were filled in, padding.
            Emptied as soon as the rows are computed, so that what waits for the rows does not keep pixels in memory.
        samples: how many were filled in so far.
        rows: to come: float32 `[samples * rows per sample, C]`, plus the axes that are kept, on the host.
    """

    pixels: Pixels
    samples: int = 0
    rows: Future[torch.Tensor] = field(default_factory=lambda: Future[torch.Tensor]())

    def release(self) -> None:
        """Let go of the pixels. PyTorch keeps a GPU's page-locked memory for the next batch of this shape."""
        self.pixels = self.pixels[:0].copy()


class InferenceRunner:
    """A network ready to run. Batches may be submitted by several threads.

    Args:
        network: with its weights, folded, fp32.
        device: where it runs.
        precision: its number format.
        backend: None selects by measurement on the first batch, where `samples_ahead` of `submit` is large enough.
        pin_backend: see `PinBackend`.
        threads: CPU cores to use; all that the process may use where None. Rows do not depend on it.
        say: called with one line for people: which backend was selected, and where memory ran out.

    Attributes:
        network, recipe, device: what runs, what it computes, and where.
        slots: how many batches are computed at once: inference threads of a CPU, streams of a GPU.
        busy: the time that slots spend computing.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        device: torch.device,
        precision: Precision = "fp32",
        *,
        backend: Backend | None = "eager",
        pin_backend: PinBackend = lambda proposal: proposal,
        threads: int | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.network, self.recipe, self.device = network.to(device), network.recipe, device
        self._precision, self._say = precision, say
        if device.type == "cuda":  # cuDNN takes, in this process, only what sums in the same order at every call
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self._selection = BackendSelection(
            self.network,
            device,
            precision,
            backend,
            pin_backend,
            say,
            run=self._on_device,
            run_in_all_slots=self._in_all_slots,
        )
        self._compute_rows: ComputeRows | None = None  # until the first batch
        self._computed_one = False
        self._selecting = threading.Lock()
        self._batch_sizes = [initial_samples_per_batch(self.recipe, device)]
        self.busy = Stopwatch()
        self.slots = _CUDA_STREAMS if device.type == "cuda" else threads or len(usable_cores())
        # One batch on all cores would be the other way. But convolutions split their sums by the number of threads, and
        # the last bits of a row would depend on how many cores a machine, or a process of several, happens to have.
        begin = partial(torch.set_num_threads, 1) if device.type == "cpu" else None
        self._pool = ThreadPoolExecutor(self.slots, "inference", initializer=begin)
        # Each slot has one more batch waiting, so that it does not stand idle; more would only take memory.
        self._queue_slots = threading.BoundedSemaphore(2 * self.slots)
        self._in_flight: set[Future[torch.Tensor]] = set()
        self._compute_slots = threading.BoundedSemaphore(self.slots)
        self._one_at_a_time = threading.Lock()
        self._streams = threading.local()

    @property
    def samples_per_batch(self) -> int:
        """Samples in a batch; fewer than at the start once memory ran out."""
        return self._batch_sizes[-1]

    @property
    def compiling(self) -> Stopwatch:
        """The time that `torch.compile` takes."""
        return self._selection.compiling

    @property
    def backend(self) -> Backend | None:
        """What runs the network; None before the first batch, where it is selected then."""
        return self._selection.backend

    @property
    def numerics(self) -> Numerics:
        """How rows are computed. Backend and cosine are known from the first batch on."""
        return Numerics(self._precision, self.backend or "eager", tuple(self._batch_sizes), self._selection.cosine)

    @property
    def in_flight(self) -> int:
        """Batches that were submitted and are not done."""
        return len(self._in_flight)

    def new_batch(self, shape: tuple[int, ...]) -> Batch:
        """A batch to fill with samples.

        Args:
            shape: of a sample, `(frames, H, W, 3)`.

        Returns:
            Uninitialised; for a GPU in page-locked memory, which it reads without the CPU.

        Raises:
            MemoryError: there is no memory even for a batch of one sample.
        """
        pinned, dtype = self.device.type == "cuda", getattr(torch, self.recipe.pixel_dtype)

        def empty(samples: int) -> Batch:
            return Batch(torch.empty((samples, *shape), dtype=dtype, pin_memory=pinned).numpy())

        return self._with_smaller_batches(empty)

    def submit(self, batch: Batch, *, samples_ahead: int = 0) -> None:
        """Have a batch computed, once there is a slot for it. `batch.rows` is done when its rows are there.

        Args:
            batch: of as many samples as `samples_per_batch` says, or said when it was begun.
            samples_ahead: how many are to come, roughly; it decides whether compiling pays.

        Raises:
            DeviceError: the precision, or compiled code, does not work for this network on this device.
            ConfigError: the network cannot take the output of its pipeline; also as the exception of `batch.rows`.
        """
        with self._selecting:
            if self._compute_rows is None:
                self._compute_rows = self._pool.submit(self._select, batch, samples_ahead).result()
        self._queue_slots.acquire()
        computing = self._pool.submit(self._compute, batch)
        self._in_flight.add(computing)
        computing.add_done_callback(lambda done: self._finish(done, batch))

    def cancel(self) -> None:
        """Cancel the batches that no slot has begun, so that a run that ends early ends soon."""
        for computing in list(self._in_flight):
            computing.cancel()

    def _finish(self, done: Future[torch.Tensor], batch: Batch) -> None:
        batch.release()
        self._in_flight.discard(done)
        self._queue_slots.release()
        if done.cancelled():
            batch.rows.cancel()
        elif error := done.exception():
            batch.rows.set_exception(error)
        else:
            batch.rows.set_result(done.result())

    # --- computing ----------------------------------------------------------------------------------------------------

    def _select(self, batch: Batch, samples_ahead: int) -> ComputeRows:
        def select(samples: int) -> ComputeRows:
            return self._selection.select_backend(
                batch.pixels[:samples],
                rounds_ahead=samples_ahead / samples / self.slots,
                worth_measuring=samples_ahead >= MEASURE_FROM_SAMPLES,
            )

        with self._as_config_error(batch.pixels.shape):
            return self._with_smaller_batches(select)

    def _compute(self, batch: Batch) -> torch.Tensor:
        with self.busy, self._as_config_error(batch.pixels.shape):
            rows = self._in_memory(batch.pixels)
        self._computed_one = True
        return rows

    @contextlib.contextmanager
    def _as_config_error(self, shape: tuple[int, ...]) -> Iterator[None]:
        """A network that fails on the first batch fails on every batch, where all have the same shape."""
        try:
            yield
        except (VidfeatError, MemoryError):
            raise
        except Exception as error:
            if self._computed_one or not self.recipe.frames_are_alike:
                raise
            _, frames, height, width, _ = shape
            raise ConfigError(
                "model",
                expected="a network that takes what its pipeline gives it",
                found=f"{frames} frames of {width}x{height}, on which it fails with {first_line(error)}",
                hint="Make the clips and crops of the pipeline agree with the backbone; vidfeat inspect shows both.",
            ) from error

    def _in_memory(self, pixels: Pixels) -> torch.Tensor:
        """Rows of a batch, in smaller ones where memory runs out."""
        try:
            with self._compute_slots:
                return self._in_batches_of(self.samples_per_batch, pixels)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Once more while no other batch is computed. Outside of the handler, which holds on to what was in memory.
        with self._one_at_a_time, contextlib.ExitStack() as all_slots:
            for _ in range(self.slots):
                all_slots.enter_context(self._compute_slots)
            return self._with_smaller_batches(lambda samples: self._in_batches_of(samples, pixels))

    def _with_smaller_batches(self, attempt: Callable[[int], _T]) -> _T:
        """The result of `attempt(samples)`; from here on of half as many, each time that memory runs out.

        Raises:
            MemoryError: there is not even enough for one sample.
        """
        while True:
            try:
                return attempt(self.samples_per_batch)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.samples_per_batch == 1:
                    raise MemoryError(f"not even for a batch of one sample: {first_line(error)}") from None
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._batch_sizes.append(-(-self.samples_per_batch // 2))
            self._say(
                f"out of memory: batches of {self._batch_sizes[-1]} in place of {self._batch_sizes[-2]} from here on"
            )

    def _in_batches_of(self, samples: int, pixels: Pixels) -> torch.Tensor:
        """Rows of a batch that may have been filled before memory ran out, and so be larger than `samples`."""
        assert self._compute_rows is not None  # selected by `submit`
        if len(pixels) <= samples:
            return self._on_device(self._compute_rows, pixels)
        parts = [pixels[start : start + samples] for start in range(0, len(pixels), samples)]
        padding = np.zeros((samples - len(parts[-1]), *pixels.shape[1:]), pixels.dtype)
        parts[-1] = np.concatenate([parts[-1], padding])
        rows = torch.cat([self._on_device(self._compute_rows, part) for part in parts])
        return rows[: len(rows) * len(pixels) // (samples * len(parts))]

    @torch.inference_mode()
    def _on_device(self, compute: ComputeRows, pixels: Pixels) -> torch.Tensor:
        """float32 rows, on the host, of exactly these pixels."""
        if self.device.type != "cuda":
            return compute(torch.from_numpy(pixels))
        if not hasattr(self._streams, "own"):
            self._streams.own = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._streams.own):
            computed = compute(torch.from_numpy(pixels).to(self.device, non_blocking=True))
            on_host = torch.empty(computed.shape, dtype=computed.dtype, pin_memory=True)
            on_host.copy_(computed, non_blocking=True)
        self._streams.own.synchronize()
        return on_host

    def _in_all_slots(self, compute: ComputeRows, pixels: Pixels) -> None:
        """Compute the same in every slot at once; called in one of them."""
        others = [self._pool.submit(self._on_device, compute, pixels) for _ in range(self.slots - 1)]
        self._on_device(compute, pixels)
        for other in others:
            other.result()


def initial_samples_per_batch(recipe: Recipe, device: torch.device) -> int:
    """Samples in a batch, before memory runs out.

    On a CPU, where batches are small, a few less rather than a rest of every video to pad when it is computed alone.
    """
    frames = recipe.model.segments if recipe.model.dims == 2 else recipe.sampling.clip_len
    most = max(1, FRAMES_PER_BATCH[device.type] // frames)
    if recipe.model.neck_joins_video:
        return 1
    in_video = samples_per_video(recipe)
    if device.type != "cpu" or in_video is None:
        return most
    return next((samples for samples in range(most, most // 2, -1) if in_video % samples == 0), most)
