"""Arrays in NumPy's `.npy` format, as folders and the entries of `.npz` files hold them."""

from __future__ import annotations

import ast
import math
import re
import warnings
import zipfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from vidfeat.errors import shorten


def as_little_endian(values: npt.NDArray[Any]) -> bytes:
    """The numbers of an array, little endian, in C order: what hashes are taken of and outputs hold."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


MOST_BYTES = 900_000_000
"""Largest array that is kept of a video. SQLite takes a billion bytes for a row."""


def write_npy(file: IO[bytes], values: npt.NDArray[Any]) -> None:
    """Write an array of version 1.0.

    Not by `ndarray.tofile`, which NumPy's own writer uses: it passes Python's file by, and with it the errors of a full
    disk.
    """
    header = {"descr": values.dtype.newbyteorder("<").str, "fortran_order": False, "shape": values.shape}
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
        shape, in_columns, dtype = _read_header(file)
    except Exception as error:  # of many types: Python's parser, and NumPy's of types
        raise ValueError(shorten(f"no .npy header: {error}")) from error
    expected, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if dtype.hasobject:
        raise ValueError("an array of objects")
    if there != expected:
        raise ValueError(f"{there} bytes of numbers instead of {expected}")
    if expected > MOST_BYTES:  # a sparse file can be of any size
        raise ValueError(f"an array of {expected} bytes")
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if in_columns else "C")


def write_entry(archive: zipfile.ZipFile, name: str, values: npt.NDArray[Any]) -> None:
    """Add an array to an `.npz` file. The bytes depend on the name and the values alone."""
    # Entries of more than 2 GiB need ZIP64, and the size of one is not known by zipfile beforehand.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
        write_npy(entry, values)


def read_entry(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any] | None:
    """An array of an `.npz` file; None where there is none of that name.

    Raises:
        ValueError: the entry is no uncompressed array of numbers, or is damaged.
    """
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        return None
    # A compressed entry can be a thousand times as large as the file.
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"an entry of {info.file_size} bytes, which are not there uncompressed")
    try:
        with archive.open(info) as entry:
            return read_npy(entry, info.file_size)
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error


_MOST_HEADER_BYTES = 10_000
"""As NumPy's own reader takes."""


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type.

    Not by NumPy's own reader, which gives a header that it does not understand to a tokenizer of Python code. That one
    takes seconds for some thousand blanks.
    """
    version = np.lib.format.read_magic(file)
    size = int.from_bytes(file.read({(1, 0): 2, (2, 0): 4}[version]), "little")
    if size > _MOST_HEADER_BYTES:
        raise ValueError(f"{size} bytes of it")
    text = file.read(size).decode("latin-1").rstrip(" \n")
    header = ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text))  # as Python 2 wrote whole numbers
    shape, in_columns, descr = header.pop("shape"), header.pop("fortran_order"), header.pop("descr")
    if header or type(in_columns) is not bool or type(descr) is not str or type(shape) is not tuple:
        raise ValueError(text)
    if not all(type(length) is int and 0 <= length < 1 << 63 for length in shape):
        raise ValueError(f"the shape {shape}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of types that NumPy gives up
        return shape, in_columns, np.dtype(descr)
