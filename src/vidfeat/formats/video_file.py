"""The formats that one video's features have as a file of their own: `.npy`, `.npz`, `.pt`, `.csv`."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vidfeat.features import VideoFeatures
from vidfeat.formats.npy_array import read_entry, read_npy, write_entry, write_npy
from vidfeat.formats.sink import TIME_NAMES, Times, times_by_name, times_of


@dataclass(frozen=True)
class FileFormat:
    """How the features of one video lie in a file.

    Attributes:
        suffix: of the files, with its dot.
        write: writes a file from its start; raises nothing but what the file does.
        read: the values of a file and the times of its rows, None where it says none. Raises anything where it holds
            something else; runs no code from it, and takes memory as it has bytes.
    """

    suffix: str
    write: Callable[[BinaryIO, VideoFeatures], object]
    read: Callable[[Path], tuple[Any, Times | None]]

    @property
    def name(self) -> str:
        """What manifests call the format."""
        return self.suffix.removeprefix(".")


# --- .npy: a plain `numpy.load` gives the array -----------------------------------------------------------------------


def _read_npy(path: Path) -> tuple[npt.NDArray[Any], None]:
    with path.open("rb") as file:
        return read_npy(file, os.fstat(file.fileno()).st_size), None


NPY = FileFormat(".npy", lambda file, features: write_npy(file, features.values), _read_npy)


# --- .npz: `features`, and where rows have times `start_seconds` and `end_seconds` ------------------------------------


def npz_file(values: str = "features") -> FileFormat:
    """The format `.npz`, uncompressed, with the values under a name."""

    def write(file: BinaryIO, features: VideoFeatures) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            write_entry(archive, values, features.values)
            for name, seconds in times_by_name(features).items():
                write_entry(archive, name, seconds)

    def read(path: Path) -> tuple[npt.NDArray[Any], Times | None]:
        with zipfile.ZipFile(path) as archive:
            arrays = [read_entry(archive, name) for name in (values, *TIME_NAMES)]
        if arrays[0] is None:
            raise ValueError(f"no array {values!r}")
        return arrays[0], times_of(arrays[1], arrays[2])

    return FileFormat(".npz", write, read)


NPZ = npz_file()


# --- .pt: a tensor, as `torch.load(path, weights_only=True)` takes it -------------------------------------------------


def _write_pt(file: BinaryIO, features: VideoFeatures) -> None:
    import torch

    # In memory first: torch's own writer turns the errors of a full disk into others.
    buffer = io.BytesIO()
    native = np.array(features.values, features.values.dtype.newbyteorder("="), order="C")
    torch.save(torch.from_numpy(native), buffer)
    file.write(buffer.getbuffer())


def _read_pt(path: Path) -> tuple[npt.NDArray[Any], None]:
    from vidfeat.checkpoint import load_tensor

    return load_tensor(path).numpy(), None


PT = FileFormat(".pt", _write_pt, _read_pt)


# --- .csv: a header, then a line per row ------------------------------------------------------------------------------


def _write_csv(file: BinaryIO, features: VideoFeatures) -> None:
    values = features.values
    has_rows = values.ndim > 1
    axes = values.shape[1:] if has_rows else values.shape
    header = ["row"] * has_rows
    columns: list[list[str]] = [[str(row) for row in range(len(values))]] * has_rows
    for name, seconds in times_by_name(features).items():
        header.append(name)
        columns.append(list(map(repr, seconds.tolist())))
    header += ["/".join(map(str, index)) for index in np.ndindex(axes)]
    file.write(",".join(header).encode() + b"\n")
    for row, numbers in enumerate(values.reshape(len(values), math.prod(axes)) if has_rows else [values]):
        # Nine digits tell any float32 from its neighbours, also for readers that take them as float64 first.
        cells = [*(column[row] for column in columns), *map("{:.9g}".format, numbers.tolist())]
        file.write(",".join(cells).encode() + b"\n")


def _read_csv(path: Path) -> tuple[list[Any], Times | None]:
    with path.open(encoding="ascii") as file:
        header = file.readline().rstrip("\r\n").split(",")
        cells = np.array([_numbers(line, len(header)) for line in file], np.float64).reshape(-1, len(header))
    named = [column for column in ("row", *TIME_NAMES) if column in header]
    first = len(named)
    if header[:first] != named or first == len(header):
        raise ValueError(f"columns {header[: first + 1]}")
    axes = tuple(int(part) + 1 for part in header[-1].split("/"))
    if any(size < 1 for size in axes) or math.prod(axes) != len(header) - first:
        raise ValueError(f"{len(header) - first} columns for an array of shape {list(axes)}")
    if header[first:] != ["/".join(map(str, index)) for index in np.ndindex(axes)]:
        raise ValueError(f"columns {header[first]} to {header[-1]}, which are not those of an array")
    values = cells[:, first:]
    if "row" not in named:
        (values,) = values
    times = [cells[:, named.index(name)] for name in named if name != "row"]
    # As lists, since a table does not say of which type its numbers were.
    return values.reshape((*values.shape[:-1], *axes)).tolist(), times_of(*times) if len(times) == 2 else None


def _numbers(line: str, count: int) -> list[float]:
    numbers = list(map(float, line.split(",")))
    if len(numbers) != count:
        raise ValueError(f"a line of {len(numbers)} cells under a header of {count}")
    return numbers


CSV = FileFormat(".csv", _write_csv, _read_csv)

FILE_FORMATS: dict[str, FileFormat] = {file.suffix: file for file in (NPY, NPZ, PT, CSV)}
"""The formats of the files of a folder by suffix, the default first."""
