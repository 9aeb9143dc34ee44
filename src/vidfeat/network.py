"""The network on its device: batches of one fixed shape go in, rows come out.

What decides the last bits of a row, beyond recipe and weights, is settled here once and can be written down: the
precision, who runs the network, and how many units are in a batch. A batch that is not full is padded, so that a row
does not depend on what else is in its batch.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidfeat.errors import DeviceError
from vidfeat.machine import usable_cores
from vidfeat.models import Recognizer
from vidfeat.pooling import pool_views
from vidfeat.recipe import Recipe
from vidfeat.stopwatch import Stopwatch
from vidfeat.transforms import normalize
from vidfeat.views import units_per_video

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Kernels = Literal["eager", "compiled"]
"""Who runs the network: PyTorch layer by layer, or what `torch.compile` makes of it."""

FRAMES_PER_BATCH = {"cpu": 8, "cuda": 256}
"""Frames that pass through the network at once, by device: at most, but for a single unit that has more. On a CPU few
are faster than many, since a layer's output then still lies in the cache for the next."""

LEAST_COSINE = 0.9995
"""Of every row of a first batch to the same row in eager fp32. Less is no rounding, but a wrong kernel, or a network
whose numbers do not fit the format."""

COMPILE_PAYS_AFTER_SECONDS = 300.0
"""Of eager work ahead: compiling takes 10 to 60 s, and where it is worth while it saves a tenth to a third of that."""

WORTH_MEASURING_UNITS = 500
"""Of fewer units ahead none takes so long that compiling could pay; the first feature then comes without delay."""

WORTH_COMPILING = 1.05
"""Compiled kernels are used from this gain in speed on; it leaves room for the noise of the measurement."""

_CUDA_LANES = 2
"""Batches that a GPU has at once, each on a stream of its own: the pixels of one travel while the other is computed."""

Agree = Callable[[str | None], str | None]
"""Asks what all processes of a run agree on about kernels; the first proposal, other than None, is what they do."""

Features = Callable[[torch.Tensor], Union[torch.Tensor, tuple[torch.Tensor, ...]]]
"""A network's `forward_features`."""

Rows = Callable[[torch.Tensor], torch.Tensor]
"""From uint8 `[units, frames, H, W, 3]` to float32 `[units * rows per unit, C]`, plus the axes that are kept."""


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
        pixels: uint8 `[units, frames, H, W, 3]`; zero past the units that were filled in.
        rows: to come: float32 `[units * rows per unit, C]`, plus the axes that are kept, on the host.
    """

    pixels: npt.NDArray[np.uint8]
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
        compiling: the time that `torch.compile` takes.
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
        self._recipe, self._device, self._precision = recipe, device, precision
        self._kernels, self._agree, self._say = kernels, agree, say
        self._eager = _Network(model, recipe)
        self._rows: Rows | None = None  # until the first batch
        self._reference: torch.Tensor | None = None
        self._cosine: float | None = None
        self._settling = threading.Lock()
        self._units = [units_per_batch(recipe, device)]
        self.busy, self.compiling = Stopwatch(), Stopwatch()
        self.lanes = lanes_of(device, threads)
        # One batch on all cores would be the other way. But convolutions split their sums by the number of threads, and
        # the last bits of a row would depend on how many cores a machine, or a process of several, happens to have.
        self._pool = ThreadPoolExecutor(self.lanes, "lane", initializer=torch.set_num_threads, initargs=(1,))
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
    def numerics(self) -> Numerics:
        """How rows are computed. Kernels and cosine are settled by the first batch."""
        return Numerics(self._precision, self._kernels or "eager", tuple(self._units), self._cosine)

    @property
    def flying(self) -> int:
        """Batches that were submitted and are not done."""
        return len(self._flying)

    def new_batch(self, shape: tuple[int, ...]) -> Batch:
        """An empty batch, for units of `shape`; for a GPU in memory that it reads by itself.

        Raises:
            MemoryError: there is no memory even for a batch of one unit.
        """
        pinned = self._device.type == "cuda"
        while True:
            try:
                return Batch(torch.zeros((self.units, *shape), dtype=torch.uint8, pin_memory=pinned).numpy())
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.units == 1:
                    raise MemoryError(f"not even for the pixels of one unit: {_first_line(error)}") from None
            self._step_down(-(-self.units // 2))

    def submit(self, batch: Batch, *, work_ahead: int = 0) -> None:
        """Have a batch computed, once there is room for it; `batch.rows` tells when and what.

        Args:
            batch: of as many units as `units` says, or said when it was begun.
            work_ahead: units that are to come, roughly; it decides whether compiling pays.

        Raises:
            DeviceError: the precision, or compiled kernels, do not work for this network on this device.
        """
        with self._settling:
            if self._rows is None:
                self._rows = self._pool.submit(self._settle_in_memory, batch.pixels, work_ahead).result()
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

    def _compute(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        with self.busy:
            try:
                with self._turns:
                    return self._in_batches_of(self.units, pixels)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of the handler, which holds on to what was in memory when it happened.
            return self._with_less_memory(pixels)

    def _with_less_memory(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Once more while no other batch is computed, and if need be in smaller ones: the rule from then on."""
        with self._one_at_a_time, contextlib.ExitStack() as turns:
            for _ in range(self.lanes):
                turns.enter_context(self._turns)
            units = self.units
            while True:
                rows, error = self._try(units, pixels)
                if rows is not None:
                    break
                if units == 1:
                    raise MemoryError(f"not even for a batch of one unit: {error}")
                units = -(-units // 2)
            if units < self.units:
                self._step_down(units)
            return rows

    def _step_down(self, units: int) -> None:
        self._say(f"out of memory: batches of {units} in place of {self.units} from here on")
        self._units.append(units)

    def _try(self, units: int, pixels: npt.NDArray[np.uint8]) -> tuple[torch.Tensor | None, str]:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            return self._in_batches_of(units, pixels), ""
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None, _first_line(error)

    def _in_batches_of(self, units: int, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
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
    def _on_device(self, rows: Rows, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
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

    # --- settling -----------------------------------------------------------------------------------------------------

    def _settle_in_memory(self, pixels: npt.NDArray[np.uint8], work_ahead: int) -> Rows:
        """`_settle`, on as many of the units as there is memory for."""
        while True:
            try:
                return self._settle(pixels[: self.units], work_ahead)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.units == 1:
                    raise MemoryError(f"not even for a batch of one unit: {_first_line(error)}") from None
            self._step_down(-(-self.units // 2))

    def _settle(self, pixels: npt.NDArray[np.uint8], work_ahead: int) -> Rows:
        """Decide who runs the network, and check that this gives the rows of eager fp32.

        The check comes before the first row is handed on: kernels that are silently wrong exist.
        """
        exact = self._precision == "fp32" and self._device.type == "cpu"
        self._kernels = self._kernels or _as_kernels(self._agree(None))
        if self._kernels is None and work_ahead < WORTH_MEASURING_UNITS:
            self._kernels = _as_kernels(self._agree("eager"))
        if exact and self._kernels == "eager":
            return self._eager
        if self._reference is None:
            self._reference = self._in_plain_fp32(pixels)
        # In place, so that the network is not in memory twice.
        self._eager.convert(_DTYPES[self._precision])
        rows = self._choose(pixels, work_ahead)
        if not (exact and rows is self._eager):
            self._cosine = self._checked(self._on_device(rows, pixels), self._reference)
        return rows

    def _in_plain_fp32(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """The rows in eager fp32 on the CPU; of a GPU's large batch those of the first unit."""
        if self._device.type == "cpu":
            return self._on_device(self._eager, pixels)
        with torch.inference_mode():
            return copy.deepcopy(self._eager).cpu()(torch.from_numpy(pixels[:1]))

    def _choose(self, pixels: npt.NDArray[np.uint8], work_ahead: int) -> Rows:
        """Who runs the network: as was asked for, or agreed on, or is faster."""
        if self._kernels is not None:
            return self._eager if self._kernels == "eager" else self._compiled(pixels)
        eager = self._seconds(self._eager, pixels)
        compiled: Rows | None = None
        line = ""
        if eager * work_ahead / self.units / self.lanes >= COMPILE_PAYS_AFTER_SECONDS:
            compiled, line = self._measured(eager, pixels)
        proposal: Kernels = "compiled" if compiled else "eager"
        self._kernels = _as_kernels(self._agree(proposal)) or proposal
        if line:
            self._say(line)
        return self._eager if self._kernels == "eager" else compiled or self._compiled(pixels)

    def _measured(self, eager: float, pixels: npt.NDArray[np.uint8]) -> tuple[Rows | None, str]:
        """Compiled kernels if they are faster, given the seconds that eager ones take for a batch; a line about it."""
        began = time.perf_counter()
        try:
            compiled = self._compiled(pixels)
        except DeviceError as error:
            return None, f"not compiled: {error.found}"
        took, gain = time.perf_counter() - began, eager / self._seconds(compiled, pixels)
        line = f"torch.compile took {took:.0f} s and makes the network {gain:.2f} times as fast"
        return (compiled, f"compiled: {line}") if gain >= WORTH_COMPILING else (None, f"not compiled: {line}")

    def _compiled(self, pixels: npt.NDArray[np.uint8]) -> Rows:
        try:
            with self.compiling, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own modules use what PyTorch has deprecated
                compiled = compile_rows(self._eager)
                with compiler_options():
                    self._on_device(compiled, pixels)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _cannot_compile(error) from error
        return compiled

    def _seconds(self, rows: Rows, pixels: npt.NDArray[np.uint8]) -> float:
        """How long a batch takes, at its best, while all lanes are busy: they share caches and memory."""
        times = []
        for _ in range(3):
            began = time.perf_counter()
            others = [self._pool.submit(self._on_device, rows, pixels) for _ in range(self.lanes - 1)]
            self._on_device(rows, pixels)
            for other in others:
                other.result()
            times.append(time.perf_counter() - began)
        return min(times)

    def _checked(self, rows: torch.Tensor, reference: torch.Tensor) -> float:
        """The least cosine of a row to its reference.

        Raises:
            DeviceError: it is too low.
        """
        pairs = zip(rows.flatten(1).double(), reference.flatten(1).double(), strict=False)
        least = min(cosine(row, right) for row, right in pairs)
        if least >= LEAST_COSINE:
            return least
        raise DeviceError(
            f"{self._precision} on {self._device}, {self._kernels}",
            expected=f"rows with a cosine of at least {LEAST_COSINE} to those of plain fp32",
            found=f"{least:.6f} in the first batch",
            do="Use --precision fp32 and --no-compile; if that is what you did, PyTorch computes wrongly here.",
        )


class _Network(nn.Module):
    """From the pixels of a batch to its rows."""

    def __init__(self, model: Recognizer, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.dtype = torch.float32

    def convert(self, dtype: torch.dtype) -> None:
        self.model.to(dtype)
        self.dtype = dtype

    def forward(self, pixels: torch.Tensor, features: Features | None = None) -> torch.Tensor:
        dims = self.recipe.model.dims
        inputs = normalize(pixels.flatten(0, 1) if dims == 2 else pixels, self.recipe.normalize, dims)
        maps = (features or self.model.forward_features)(inputs.to(self.dtype))
        return pool_views(maps, self.recipe.pooling)


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


def lanes_of(device: torch.device, threads: int | None) -> int:
    """How many batches are computed at once."""
    return _CUDA_LANES if device.type == "cuda" else threads or len(usable_cores())


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two vectors; 1 for two zeros, NaN where a value is none."""
    if not (a.any() or b.any()):
        return 1.0
    return float(a @ b / (a.norm() * b.norm()).clamp_min(torch.finfo(a.dtype).tiny))


def _as_kernels(word: str | None) -> Kernels | None:
    return next((kernels for kernels in get_args(Kernels) if kernels == word), None)


def compile_rows(rows: _Network) -> Rows:
    """What `torch.compile` makes of a network. It compiles at the first call for each shape, and caches on disk.

    Only the network is compiled: normalisation and pooling take next to no time, and its input keeps channels last.
    """
    # PyTorch's own default lies in the folder for temporary files, where others could put code for us to load.
    own = Path(torch.hub.get_dir()).parent / "vidfeat-kernels"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(own))
    compiled = torch.compile(rows.model.forward_features, dynamic=False)
    return lambda pixels: rows(pixels, compiled)


@contextlib.contextmanager
def compiler_options() -> Iterator[None]:
    """While a network is compiled: its weights are constants, packed once, and the code is for one thread.

    The options of `torch.compile` would come too late for the first: whether weights are constants is decided where the
    network is traced. The second is so that the code does not depend on the cores of the machine.
    """
    from torch._inductor import config

    with config.patch({"freezing": True, "cpp.threads": 1}):
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, on whatever device, or Python had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On the CPU PyTorch has no class of its own for it; oneDNN says no more than that it could not create something.
    text = str(error)
    signs = ("can't allocate memory", "out of memory", "could not create a memory")
    return isinstance(error, RuntimeError) and (
        any(sign in text for sign in signs) or text == "could not create a primitive"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _cannot_compile(error: Exception) -> DeviceError:
    return DeviceError(
        "--compile",
        expected="a network that torch.compile can compile",
        found=_first_line(error),
        do="On a CPU it needs a C++ compiler, such as g++, and Python's headers. Or leave --compile out.",
    )
