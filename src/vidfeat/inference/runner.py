"""The network on its device: batches of one fixed shape go in, rows come out.

What decides the last bits of a row, beyond recipe and weights, is settled here once and can be written down: the
precision, who runs the network, and how many units are in a batch. A batch that is not full is padded, so that a row
does not depend on what else is in its batch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from vidfeat.errors import ConfigError, VidfeatError
from vidfeat.hardware import usable_cores
from vidfeat.inference.backends import PRECISIONS, Agree, Choice, Kernels, Pixels, PixelsToRows, Precision, Rows
from vidfeat.inference.out_of_memory import first_line, is_out_of_memory
from vidfeat.inference.stopwatch import Stopwatch
from vidfeat.models import Recognizer
from vidfeat.preprocessing.clips import units_per_video
from vidfeat.recipe import Recipe

__all__ = ["FRAMES_PER_BATCH", "PRECISIONS", "Agree", "Batch", "Kernels", "Network", "Numerics", "Precision"]

FRAMES_PER_BATCH = {"cpu": 8, "cuda": 256}
"""Frames that pass through the network at once, by device: at most, but for a single unit that has more. On a CPU few
are faster than many, since a layer's output then still lies in the cache for the next."""

WORTH_MEASURING_UNITS = 500
"""Of fewer units ahead none takes so long that compiling could pay; the first feature then comes without delay."""

_CUDA_LANES = 2
"""Batches that a GPU has at once, each on a stream of its own: the pixels of one travel while the other is computed."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Numerics:
    """How rows were computed.

    Attributes:
        precision: the number format of the network; poolings and means are in fp32 whatever it is.
        kernels: who ran it.
        units_per_batch: of every batch shape that was used, in order; more than one where memory ran out.
        cosine: the least cosine of a row of the first batch to the same row in eager fp32; None where there was nothing
            to check, as in eager fp32 itself.
    """

    precision: Precision
    kernels: Kernels
    units_per_batch: tuple[int, ...]
    cosine: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "kernels": self.kernels,
            "units_per_batch": list(self.units_per_batch),
            "cosine_to_fp32": self.cosine,
        }


@dataclass(frozen=True, eq=False)
class Batch:
    """Units that pass through the network together.

    Attributes:
        pixels: uint8 `[units, frames, H, W, 3]`; past the units that were filled in, whatever was put there to pad.
        rows: to come: float32 `[units * rows per unit, C]`, plus the axes that are kept, on the host.
    """

    pixels: Pixels
    rows: Future[torch.Tensor] = field(default_factory=lambda: Future[torch.Tensor]())


class Network:
    """A network ready to run. Batches may be submitted by several threads.

    Args:
        model: with its weights, folded, fp32, on the device.
        recipe: what it computes.
        device: where.
        precision: its number format.
        kernels: who runs it; None decides that by measurement on the first batch, where `work_ahead` is long enough.
        agree: asked and told about that decision, since kernels decide the last bits of a row.
        threads: CPU cores to use; all that the process may use where None. Rows do not depend on it.
        say: told in one line what was decided.

    Attributes:
        busy: the time that lanes spend computing.
        lanes: how many batches are computed at once.
    """

    def __init__(
        self,
        model: Recognizer,
        recipe: Recipe,
        device: torch.device,
        precision: Precision = "fp32",
        *,
        kernels: Kernels | None = "eager",
        agree: Agree = lambda proposal: proposal,
        threads: int | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._device, self._precision, self._say = device, precision, say
        if device.type == "cuda":
            _repeat_bits()
        network = PixelsToRows(model, recipe).to(device)
        self._choice = Choice(
            network, device, precision, kernels, agree, say, run=self._on_device, lanes_busy=self._in_all_lanes
        )
        self._rows: Rows | None = None  # until the first batch
        self._all_or_none = recipe.frames_are_alike
        self._computed_one = False
        self._settling = threading.Lock()
        self._units = [units_per_batch(recipe, device)]
        self.busy = Stopwatch()
        self.lanes = lanes_of(device, threads)
        # One batch on all cores would be the other way. But convolutions split their sums by the number of threads, and
        # the last bits of a row would depend on how many cores a machine, or a process of several, happens to have.
        self._pool = ThreadPoolExecutor(self.lanes, "lane", initializer=_begin_lane, initargs=(device.type,))
        # Each lane has one more batch waiting, so that it does not stand idle; more would only take memory.
        self._room = threading.BoundedSemaphore(2 * self.lanes)
        self._flying: set[Future[torch.Tensor]] = set()
        self._turns = threading.BoundedSemaphore(self.lanes)
        self._one_at_a_time = threading.Lock()
        self._streams = threading.local()

    @property
    def units(self) -> int:
        """Units in a batch; fewer than at the start once memory ran out."""
        return self._units[-1]

    @property
    def compiling(self) -> Stopwatch:
        """The time that `torch.compile` takes."""
        return self._choice.compiling

    @property
    def numerics(self) -> Numerics:
        """How rows are computed. Kernels and cosine are settled by the first batch."""
        return Numerics(self._precision, self._choice.kernels or "eager", tuple(self._units), self._choice.cosine)

    @property
    def flying(self) -> int:
        """Batches that were submitted and are not done."""
        return len(self._flying)

    def new_batch(self, shape: tuple[int, ...]) -> Batch:
        """A batch to fill with units of `shape`; for a GPU in memory that it reads by itself.

        Raises:
            MemoryError: there is no memory even for a batch of one unit.
        """
        pinned = self._device.type == "cuda"

        def empty(units: int) -> Batch:
            return Batch(torch.empty((units, *shape), dtype=torch.uint8, pin_memory=pinned).numpy())

        return self._with_what_memory_there_is(empty)

    def submit(self, batch: Batch, *, work_ahead: int = 0) -> None:
        """Have a batch computed, once there is room for it; `batch.rows` tells when and what.

        Args:
            batch: of as many units as `units` says, or said when it was begun.
            work_ahead: units that are to come, roughly; it decides whether compiling pays.

        Raises:
            DeviceError: the precision, or compiled kernels, do not work for this network on this device.
            ConfigError: the network cannot take what its pipeline gives it; also as the exception of `batch.rows`.
        """
        with self._settling:
            if self._rows is None:
                self._rows = self._pool.submit(self._settle, batch.pixels, work_ahead).result()
        self._room.acquire()
        computing = self._pool.submit(self._compute, batch.pixels)
        self._flying.add(computing)
        computing.add_done_callback(lambda done: self._hand_over(done, batch))

    def cancel(self) -> None:
        """Forget the batches that no lane has begun, so that a run that ends early ends soon."""
        for computing in list(self._flying):
            computing.cancel()

    def _hand_over(self, done: Future[torch.Tensor], batch: Batch) -> None:
        self._flying.discard(done)
        self._room.release()
        if done.cancelled():
            batch.rows.cancel()
        elif error := done.exception():
            batch.rows.set_exception(error)
        else:
            batch.rows.set_result(done.result())

    # --- computing ----------------------------------------------------------------------------------------------------

    def _settle(self, pixels: Pixels, work_ahead: int) -> Rows:
        def settle(units: int) -> Rows:
            return self._choice.settle(
                pixels[:units],
                rounds_ahead=work_ahead / units / self.lanes,
                worth_measuring=work_ahead >= WORTH_MEASURING_UNITS,
            )

        with self._as_config_error(pixels):
            return self._with_what_memory_there_is(settle)

    def _compute(self, pixels: Pixels) -> torch.Tensor:
        with self.busy, self._as_config_error(pixels):
            rows = self._in_memory(pixels)
        self._computed_one = True
        return rows

    @contextlib.contextmanager
    def _as_config_error(self, pixels: Pixels) -> Iterator[None]:
        """What the network cannot do with the first batch it cannot do with any, where all have the same shape."""
        try:
            yield
        except (VidfeatError, MemoryError):
            raise
        except Exception as error:
            if self._computed_one or not self._all_or_none:
                raise
            _, frames, height, width, _ = pixels.shape
            raise ConfigError(
                "model",
                expected="a network that takes what its pipeline gives it",
                found=f"{frames} frames of {width}x{height}, on which it fails with {first_line(error)}",
                hint="Make the clips and crops of the pipeline agree with the backbone; vidfeat inspect shows both.",
            ) from error

    def _in_memory(self, pixels: Pixels) -> torch.Tensor:
        """Rows of a batch, in smaller ones where memory runs out."""
        try:
            with self._turns:
                return self._in_batches_of(self.units, pixels)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Once more while no other batch is computed. Outside of the handler, which holds on to what was in memory.
        with self._one_at_a_time, contextlib.ExitStack() as turns:
            for _ in range(self.lanes):
                turns.enter_context(self._turns)
            return self._with_what_memory_there_is(lambda units: self._in_batches_of(units, pixels))

    def _with_what_memory_there_is(self, attempt: Callable[[int], _T]) -> _T:
        """What `attempt` makes of batches of `units`; of half as many, from here on, each time that memory runs out.

        Raises:
            MemoryError: there is not even enough for one unit.
        """
        while True:
            try:
                return attempt(self.units)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.units == 1:
                    raise MemoryError(f"not even for a batch of one unit: {first_line(error)}") from None
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            self._units.append(-(-self.units // 2))
            self._say(f"out of memory: batches of {self._units[-1]} in place of {self._units[-2]} from here on")

    def _in_batches_of(self, units: int, pixels: Pixels) -> torch.Tensor:
        """Rows of a batch that may have been filled before memory ran out, and so be larger than `units`."""
        assert self._rows is not None  # settled by `submit`
        if len(pixels) <= units:
            return self._on_device(self._rows, pixels)
        parts = [pixels[start : start + units] for start in range(0, len(pixels), units)]
        padding = np.zeros((units - len(parts[-1]), *pixels.shape[1:]), np.uint8)
        parts[-1] = np.concatenate([parts[-1], padding])
        rows = torch.cat([self._on_device(self._rows, part) for part in parts])
        return rows[: len(rows) * len(pixels) // (units * len(parts))]

    @torch.inference_mode()
    def _on_device(self, rows: Rows, pixels: Pixels) -> torch.Tensor:
        """float32 rows, on the host, of exactly these pixels."""
        if self._device.type != "cuda":
            return rows(torch.from_numpy(pixels))
        if not hasattr(self._streams, "own"):
            self._streams.own = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._streams.own):
            computed = rows(torch.from_numpy(pixels).to(self._device, non_blocking=True))
            on_host = torch.empty(computed.shape, dtype=computed.dtype, pin_memory=True)
            on_host.copy_(computed, non_blocking=True)
        self._streams.own.synchronize()
        return on_host

    def _in_all_lanes(self, rows: Rows, pixels: Pixels) -> None:
        """Compute the same in every lane at once; called in one of them."""
        others = [self._pool.submit(self._on_device, rows, pixels) for _ in range(self.lanes - 1)]
        self._on_device(rows, pixels)
        for other in others:
            other.result()


def units_per_batch(recipe: Recipe, device: torch.device) -> int:
    """Units in a batch, at the start.

    On a CPU, where batches are small, rather a few less than a rest of every video to pad when it is computed alone.
    """
    frames = recipe.model.segments if recipe.model.dims == 2 else recipe.sampling.clip_len
    most = max(1, FRAMES_PER_BATCH[device.type] // frames)
    if recipe.model.neck_joins_video:
        return 1
    in_video = units_per_video(recipe)
    if device.type != "cpu" or in_video is None:
        return most
    return next((units for units in range(most, most // 2, -1) if in_video % units == 0), most)


def _repeat_bits() -> None:
    """Have cuDNN choose, in this process, only what sums in the same order at every call, and not by a race."""
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def _begin_lane(device_type: str) -> None:
    if device_type == "cpu":
        torch.set_num_threads(1)


def lanes_of(device: torch.device, threads: int | None) -> int:
    """How many batches are computed at once."""
    return _CUDA_LANES if device.type == "cuda" else threads or len(usable_cores())
