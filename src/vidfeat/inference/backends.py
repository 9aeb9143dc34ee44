"""The backend that runs the network, selected on the first batch and checked against plain fp32."""

from __future__ import annotations

import contextlib
import copy
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy.typing as npt
import torch

from vidfeat.errors import DeviceError
from vidfeat.inference import Precision
from vidfeat.inference.network import FeatureNetwork
from vidfeat.inference.out_of_memory import first_line, is_out_of_memory
from vidfeat.inference.stopwatch import Stopwatch
from vidfeat.models import pack

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Backend = Literal["eager", "compiled"]
"""PyTorch layer by layer, or the code that `torch.compile` generates."""

MIN_COSINE = 0.9995
"""Of every row of a first batch to the same row in eager fp32. Less is not rounding, but a wrong kernel, or a network
whose numbers do not fit the format."""

COMPILE_PAYS_AFTER_SECONDS = 300.0
"""Of eager work ahead: compiling takes 10 to 60 s, and where it is worth while it saves a tenth to a third of that."""

MIN_COMPILE_GAIN = 1.05
"""Compiled code is used from this gain in speed on; it leaves room for the noise of the measurement."""

PinBackend = Callable[[str | None], str | None]
"""Fixes one backend for all processes and sessions of a run. Called with a proposal, returns the backend that is fixed:
the first proposal other than None, or None before there is one."""

Pixels = npt.NDArray[Any]
"""Of a batch, `[samples, frames, H, W, 3]`, of `Recipe.pixel_dtype`."""

ComputeRows = Callable[[torch.Tensor], torch.Tensor]
"""From pixels `[samples, frames, H, W, 3]` to float32 `[samples * rows per sample, C]`, plus the axes that are kept."""


@dataclass
class BackendSelection:
    """How the backend is selected.

    Attributes:
        network: in plain fp32, on the device; converted, and packed or compiled, by the selection.
        device: where.
        precision: its number format.
        backend: None selects by measurement, where there is enough work ahead.
        pin_backend: see `PinBackend`. The last bits of a row depend on the backend.
        say: called with one line for people about the selection.
        run: computes the rows of a batch on the device; they come back on the host.
        run_in_all_slots: the same at once in all slots.
        compiling: the time that `torch.compile` takes.
        cosine: the least one of a row to the same row in plain fp32; None where there was nothing to check.
    """

    network: FeatureNetwork
    device: torch.device
    precision: Precision
    backend: Backend | None
    pin_backend: PinBackend
    say: Callable[[str], object]
    run: Callable[[ComputeRows, Pixels], torch.Tensor]
    run_in_all_slots: Callable[[ComputeRows, Pixels], object]
    compiling: Stopwatch = field(default_factory=Stopwatch)
    cosine: float | None = None
    _reference: torch.Tensor | None = None

    def select_backend(self, pixels: Pixels, *, rounds_ahead: float, worth_measuring: bool) -> ComputeRows:
        """Select the backend, and check that its rows are those of plain fp32.

        The check comes before the first row is used: kernels that are wrong without an error exist.

        Args:
            pixels: the first batch, or as much of it as there is memory for; may be called again with less.
            rounds_ahead: how often every slot will compute a batch.
            worth_measuring: whether that is so often that compiling may pay.

        Raises:
            DeviceError: the precision, or compiled code, does not work for this network on this device.
        """
        plain = self.precision == "fp32" and self.device.type == "cpu"
        self.backend = self.backend or _as_backend(self.pin_backend(None))
        if self.backend is None and not worth_measuring:
            self.backend = _as_backend(self.pin_backend("eager"))
        if plain and self.backend == "eager":
            return self._packed(self.network)
        if self._reference is None:
            self._reference = self._in_plain_fp32(pixels)
        # In place, so that the network is not in memory twice.
        self.network.convert(_DTYPES[self.precision])
        compute = self._selected(pixels, rounds_ahead)
        if not (plain and self.backend == "eager"):
            self.cosine = self._checked(self.run(compute, pixels), self._reference)
        return compute

    def _in_plain_fp32(self, pixels: Pixels) -> torch.Tensor:
        """The rows in eager fp32 on the CPU; of a GPU's large batch those of the first sample."""
        if self.device.type == "cpu":
            return self.run(self.network, pixels)
        with torch.inference_mode():
            return copy.deepcopy(self.network).cpu()(torch.from_numpy(pixels[:1]))

    def _selected(self, pixels: Pixels, rounds_ahead: float) -> ComputeRows:
        """The backend that was asked for, or pinned, or is faster."""
        compiled, line = None, ""
        if self.backend is None:
            compiled, line = self._compiled_if_faster(pixels, rounds_ahead)
            proposal: Backend = "compiled" if compiled else "eager"
            self.backend = _as_backend(self.pin_backend(proposal)) or proposal
        if line:
            self.say(line)
        return self._packed(self.network) if self.backend == "eager" else compiled or self._compiled(pixels)

    def _compiled_if_faster(self, pixels: Pixels, rounds_ahead: float) -> tuple[ComputeRows | None, str]:
        """Compiled code, if it is faster and pays; a line about it where it was tried."""
        eager = self._seconds(self._packed(copy.deepcopy(self.network)), pixels)
        if eager * rounds_ahead < COMPILE_PAYS_AFTER_SECONDS:
            return None, ""
        began = time.perf_counter()
        try:
            compiled = self._compiled(
                pixels, f"and may save a tenth to a third of {eager * rounds_ahead / 60:.0f} minutes"
            )
        except DeviceError as error:
            return None, f"not compiled: {error.found}"
        took, gain = time.perf_counter() - began, eager / self._seconds(compiled, pixels)
        line = f"torch.compile took {took:.0f} s and makes the network {gain:.2f} times as fast"
        return (compiled, f"compiled: {line}") if gain >= MIN_COMPILE_GAIN else (None, f"not compiled: {line}")

    def _packed(self, network: FeatureNetwork) -> FeatureNetwork:
        """A network for PyTorch to run layer by layer, changed in place; it cannot be compiled any more."""
        if self.device.type == "cpu":
            pack(network, _DTYPES[self.precision], one_shape=network.recipe.frames_are_alike)
        return network

    def _compiled(self, pixels: Pixels, gain: str = "as `compiled=True` asks for") -> ComputeRows:
        self.say(f"compiling the network, which takes about 10 to 60 s {gain}")
        try:
            with self.compiling, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own modules use what PyTorch has deprecated
                compiled = compile_network(self.network)
                with compiler_options():
                    self.run(compiled, pixels)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _cannot_compile(error) from error
        return compiled

    def _seconds(self, compute: ComputeRows, pixels: Pixels) -> float:
        """How long a batch takes, at its best, while all slots are busy: they share caches and memory."""
        times = []
        for _ in range(3):
            began = time.perf_counter()
            self.run_in_all_slots(compute, pixels)
            times.append(time.perf_counter() - began)
        return min(times)

    def _checked(self, rows: torch.Tensor, reference: torch.Tensor) -> float:
        """The least cosine of a row to its reference.

        Raises:
            DeviceError: it is too low.
        """
        pairs = zip(rows.flatten(1).double(), reference.flatten(1).double(), strict=False)
        least = min(cosine(row, right) for row, right in pairs)
        if least >= MIN_COSINE:
            return least
        raise DeviceError(
            f"{self.precision} on {self.device}, {self.backend}",
            expected=f"rows with a cosine of at least {MIN_COSINE} to those of plain fp32",
            found=f"{least:.6f} in the first batch",
            hint="Use `precision=fp32` and `compiled=False`; if you did, PyTorch computes wrong results here.",
        )


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two vectors; 1 for two zeros, NaN where a value is not a number."""
    if not (a.any() or b.any()):
        return 1.0
    return float(a @ b / (a.norm() * b.norm()).clamp_min(torch.finfo(a.dtype).tiny))


def _as_backend(name: str | None) -> Backend | None:
    return next((backend for backend in get_args(Backend) if backend == name), None)


def compile_network(network: FeatureNetwork) -> ComputeRows:
    """The network through `torch.compile`, which compiles at the first call for each shape, and caches on disk.

    Only the model is compiled: normalisation and pooling take next to no time, and its input keeps channels last.
    """
    # PyTorch's own default lies in the folder for temporary files, where others could put code for us to load.
    own = Path(torch.hub.get_dir()).parent / "vidfeat-kernels"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(own))
    compiled = torch.compile(network.model.forward_features, dynamic=False)
    return lambda pixels: network(pixels, compiled)


@contextlib.contextmanager
def compiler_options() -> Iterator[None]:
    """While a network is compiled: its weights are constants, packed once, and the code is for one thread.

    The options of `torch.compile` would come too late for the first: whether weights are constants is decided where the
    network is traced. The second is so that the code does not depend on the cores of the machine.
    """
    from torch._inductor import config

    with config.patch({"freezing": True, "cpp.threads": 1}):
        yield


def _cannot_compile(error: Exception) -> DeviceError:
    return DeviceError(
        "backend",
        expected="a network that torch.compile can compile",
        found=first_line(error),
        hint="On a CPU it needs a C++ compiler, such as g++, and Python's headers. Or use `compiled=False`.",
    )
