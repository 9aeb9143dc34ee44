"""One array in NumPy's `.npy` format, as folders and `.npz` files hold it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from vidfeat.errors import shorten
from vidfeat.features import Values

MOST_BYTES = 900_000_000
"""Largest array that is kept of a video. SQLite takes a billion bytes for a row."""


def as_little_endian(values: Values) -> bytes:
    """The values as float32, little endian, in C order: what hashes are taken of and outputs hold."""
    return values.astype("<f4", copy=False).tobytes()


def write_npy(file: IO[bytes], values: Values) -> None:
    """Write an array of version 1.0.

    Not by `ndarray.tofile`, which NumPy's own writer uses: it passes Python's file by, and with it the errors of a full
    disk.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": values.shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.write(as_little_endian(values))


def read_npy(file: IO[bytes], size: int) -> npt.NDArray[Any]:
    """Read a plain array of numbers, whoever wrote it.

    Args:
        file: positioned at its start.
        size: how many bytes there are.

    Raises:
        ValueError: this is anything else; found out before it takes memory.
    """
    try:
        read_header = _HEADERS[np.lib.format.read_magic(file)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about Python 2
            shape, in_columns, dtype = read_header(file)
    except Exception as error:  # of many types: NumPy gives a damaged header to Python's tokenizer
        raise ValueError(shorten(f"no .npy header: {error}")) from error
    expected, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if dtype.hasobject:
        raise ValueError("an array of objects")
    if there != expected:
        raise ValueError(f"{there} bytes of numbers instead of {expected}")
    if expected > MOST_BYTES:  # a sparse file can be of any size
        raise ValueError(f"an array of {expected} bytes")
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if in_columns else "C")


_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
