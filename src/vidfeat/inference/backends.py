"""Who runs the network, and in which number format: decided on the first batch, and checked against plain fp32."""

from __future__ import annotations

import contextlib
import copy
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Union, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidfeat.errors import DeviceError
from vidfeat.inference.normalize import Normalizer
from vidfeat.inference.out_of_memory import first_line, is_out_of_memory
from vidfeat.inference.pooling import pool_views
from vidfeat.inference.stopwatch import Stopwatch
from vidfeat.models import Recognizer, pack
from vidfeat.recipe import Recipe

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Kernels = Literal["eager", "compiled"]
"""Who runs the network: PyTorch layer by layer, or what `torch.compile` makes of it."""

LEAST_COSINE = 0.9995
"""Of every row of a first batch to the same row in eager fp32. Less is no rounding, but a wrong kernel, or a network
whose numbers do not fit the format."""

COMPILE_PAYS_AFTER_SECONDS = 300.0
"""Of eager work ahead: compiling takes 10 to 60 s, and where it is worth while it saves a tenth to a third of that."""

WORTH_COMPILING = 1.05
"""Compiled kernels are used from this gain in speed on; it leaves room for the noise of the measurement."""

Agree = Callable[[str | None], str | None]
"""Asks what all processes of a run agree on about kernels; the first proposal, other than None, is what they do."""

Features = Callable[[torch.Tensor], Union[torch.Tensor, tuple[torch.Tensor, ...]]]
"""A network's `forward_features`."""

Pixels = npt.NDArray[np.uint8]
"""Of a batch, `[units, frames, H, W, 3]`."""

Rows = Callable[[torch.Tensor], torch.Tensor]
"""From uint8 `[units, frames, H, W, 3]` to float32 `[units * rows per unit, C]`, plus the axes that are kept."""


@dataclass
class Choice:
    """What is decided on the first batch.

    Attributes:
        network: with its weights, in plain fp32, on the device; converted, packed or compiled by the decision.
        device: where.
        precision: its number format.
        kernels: who runs it; None decides that by measurement, where there is enough work ahead.
        agree: asked and told about that decision, since kernels decide the last bits of a row.
        say: told in one line what was decided.
        run: computes the rows of a batch on the device; they come back on the host.
        lanes_busy: the same at once in all lanes.
        compiling: the time that `torch.compile` takes.
        cosine: the least one of a row to the same row in plain fp32; None where there was nothing to check.
    """

    network: PixelsToRows
    device: torch.device
    precision: Precision
    kernels: Kernels | None
    agree: Agree
    say: Callable[[str], object]
    run: Callable[[Rows, Pixels], torch.Tensor]
    lanes_busy: Callable[[Rows, Pixels], object]
    compiling: Stopwatch = field(default_factory=Stopwatch)
    cosine: float | None = None
    _reference: torch.Tensor | None = None

    def settle(self, pixels: Pixels, *, rounds_ahead: float, worth_measuring: bool) -> Rows:
        """Decide who runs the network, and check that this gives the rows of plain fp32.

        The check comes before the first row is handed on: kernels that are silently wrong exist.

        Args:
            pixels: the first batch, or as much of it as there is memory for; may be called again with less.
            rounds_ahead: how often every lane will compute a batch.
            worth_measuring: whether that is so often that compiling may pay.

        Raises:
            DeviceError: the precision, or compiled kernels, do not work for this network on this device.
        """
        plain = self.precision == "fp32" and self.device.type == "cpu"
        self.kernels = self.kernels or _as_kernels(self.agree(None))
        if self.kernels is None and not worth_measuring:
            self.kernels = _as_kernels(self.agree("eager"))
        if plain and self.kernels == "eager":
            return self._packed()
        if self._reference is None:
            self._reference = self._in_plain_fp32(pixels)
        # In place, so that the network is not in memory twice.
        self.network.convert(_DTYPES[self.precision])
        rows = self._choose(pixels, rounds_ahead)
        if not (plain and self.kernels == "eager"):
            self.cosine = self._checked(self.run(rows, pixels), self._reference)
        return rows

    def _in_plain_fp32(self, pixels: Pixels) -> torch.Tensor:
        """The rows in eager fp32 on the CPU; of a GPU's large batch those of the first unit."""
        if self.device.type == "cpu":
            return self.run(self.network, pixels)
        with torch.inference_mode():
            return copy.deepcopy(self.network).cpu()(torch.from_numpy(pixels[:1]))

    def _choose(self, pixels: Pixels, rounds_ahead: float) -> Rows:
        """Who runs the network: as was asked for, or agreed on, or is faster."""
        compiled, line = None, ""
        if self.kernels is None:
            compiled, line = self._compiled_if_faster(pixels, rounds_ahead)
            proposal: Kernels = "compiled" if compiled else "eager"
            self.kernels = _as_kernels(self.agree(proposal)) or proposal
        if line:
            self.say(line)
        return self._packed() if self.kernels == "eager" else compiled or self._compiled(pixels)

    def _compiled_if_faster(self, pixels: Pixels, rounds_ahead: float) -> tuple[Rows | None, str]:
        """Compiled kernels, if they are faster and pay; a line about it where they were tried."""
        eager = self._seconds(self._as_it_would_run(), pixels)
        if eager * rounds_ahead < COMPILE_PAYS_AFTER_SECONDS:
            return None, ""
        began = time.perf_counter()
        try:
            compiled = self._compiled(pixels)
        except DeviceError as error:
            return None, f"not compiled: {error.found}"
        took, gain = time.perf_counter() - began, eager / self._seconds(compiled, pixels)
        line = f"torch.compile took {took:.0f} s and makes the network {gain:.2f} times as fast"
        return (compiled, f"compiled: {line}") if gain >= WORTH_COMPILING else (None, f"not compiled: {line}")

    def _packed(self) -> PixelsToRows:
        """The network for PyTorch to run layer by layer; it is in memory once, and cannot be compiled any more."""
        self._pack(self.network)
        return self.network

    def _as_it_would_run(self) -> PixelsToRows:
        """`_packed`, of a copy."""
        one = copy.deepcopy(self.network)
        self._pack(one)
        return one

    def _pack(self, network: PixelsToRows) -> None:
        if self.device.type == "cpu":
            pack(network, _DTYPES[self.precision], one_shape=network.recipe.frames_are_alike)

    def _compiled(self, pixels: Pixels) -> Rows:
        try:
            with self.compiling, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own modules use what PyTorch has deprecated
                compiled = compile_rows(self.network)
                with compiler_options():
                    self.run(compiled, pixels)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _cannot_compile(error) from error
        return compiled

    def _seconds(self, rows: Rows, pixels: Pixels) -> float:
        """How long a batch takes, at its best, while all lanes are busy: they share caches and memory."""
        times = []
        for _ in range(3):
            began = time.perf_counter()
            self.lanes_busy(rows, pixels)
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
            f"{self.precision} on {self.device}, {self.kernels}",
            expected=f"rows with a cosine of at least {LEAST_COSINE} to those of plain fp32",
            found=f"{least:.6f} in the first batch",
            hint="Use --precision fp32 and --no-compile; if that is what you did, PyTorch computes wrongly here.",
        )


class PixelsToRows(nn.Module):
    """From the pixels of a batch to its rows."""

    def __init__(self, model: Recognizer, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.normalize = Normalizer(recipe.normalize, recipe.model.dims)
        self.dtype = torch.float32

    def convert(self, dtype: torch.dtype) -> None:
        self.model.to(dtype)
        self.dtype = dtype

    def forward(self, pixels: torch.Tensor, features: Features | None = None) -> torch.Tensor:
        inputs = self.normalize(pixels.flatten(0, 1) if self.recipe.model.dims == 2 else pixels)
        maps = (features or self.model.forward_features)(inputs.to(self.dtype))
        return pool_views(maps, self.recipe.pooling)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two vectors; 1 for two zeros, NaN where a value is none."""
    if not (a.any() or b.any()):
        return 1.0
    return float(a @ b / (a.norm() * b.norm()).clamp_min(torch.finfo(a.dtype).tiny))


def _as_kernels(word: str | None) -> Kernels | None:
    return next((kernels for kernels in get_args(Kernels) if kernels == word), None)


def compile_rows(rows: PixelsToRows) -> Rows:
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


def _cannot_compile(error: Exception) -> DeviceError:
    return DeviceError(
        "--compile",
        expected="a network that torch.compile can compile",
        found=first_line(error),
        hint="On a CPU it needs a C++ compiler, such as g++, and Python's headers. Or leave --compile out.",
    )
