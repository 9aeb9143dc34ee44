"""Rows as the bytes of one pickle, JSON or YAML file, piece by piece, and back.

The writers hold one row at a time, so that ten million rows need no more memory than ten. Their bytes depend on the
rows alone, not on the versions of Python and numpy.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Union

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
Rows = Iterable[Union[Features, None]]
"""Features in the order of the list, None where a video failed."""


def as_little_endian(features: Features) -> bytes:
    """The values as float32, little endian, in C order: what hashes are taken of and journals hold."""
    return features.astype("<f4", copy=False).tobytes()


# --- pickle -----------------------------------------------------------------------------------------------------------
#
# A pickle is a program for a stack machine, so a long list can be written as it comes. What all arrays share is put
# into the machine's memory once. Protocol 2 is what mmcv and mmengine write; it has no bytes, only text that is encoded
# by `_codecs.encode`. `numpy.core` is the one module path that every numpy loads without a warning: numpy 1.x knows no
# `numpy._core`, and numpy 2 keeps `numpy.core` for the sake of old pickles.

_BATCH = 1000
_RECONSTRUCT, _NDARRAY, _ENCODE, _LATIN1, _BYTES_B, _FLOAT32 = range(6)


def _get(place: int) -> bytes:
    return pickle.BINGET + bytes([place])


def _put(place: int) -> bytes:
    return pickle.BINPUT + bytes([place]) + pickle.POP


def _text(text: str) -> bytes:
    data = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _whole(number: int) -> bytes:
    return pickle.BININT + struct.pack("<i", number)


def _bytes(data: bytes) -> bytes:
    return _get(_ENCODE) + _text(data.decode("latin1")) + _get(_LATIN1) + pickle.TUPLE2 + pickle.REDUCE


_PREAMBLE = b"".join(
    [
        pickle.PROTO + bytes([2]),
        pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n" + _put(_RECONSTRUCT),
        pickle.GLOBAL + b"numpy\nndarray\n" + _put(_NDARRAY),
        pickle.GLOBAL + b"_codecs\nencode\n" + _put(_ENCODE),
        _text("latin1") + _put(_LATIN1),
        _bytes(b"b") + _put(_BYTES_B),
        # dtype("f4", False, True), then its state: version, byte order, no fields, no subtype, no size, no alignment
        pickle.GLOBAL + b"numpy\ndtype\n" + _text("f4") + pickle.NEWFALSE + pickle.NEWTRUE + pickle.TUPLE3,
        pickle.REDUCE + pickle.MARK + _whole(3) + _text("<") + pickle.NONE * 3 + _whole(-1) * 2 + _whole(0),
        pickle.TUPLE + pickle.BUILD + _put(_FLOAT32),
        pickle.EMPTY_LIST,
    ]
)

# _reconstruct(ndarray, (0,), b"b"): an empty array, which the state then fills
_EMPTY_ARRAY = (
    _get(_RECONSTRUCT) + _get(_NDARRAY) + _whole(0) + pickle.TUPLE1 + _get(_BYTES_B) + pickle.TUPLE3 + pickle.REDUCE
)


def pickled(rows: Rows) -> Iterator[bytes]:
    """A pickle of `list(rows)`, protocol 2, loaded by a plain `pickle.load` with numpy 1.x and 2.x."""
    yield _PREAMBLE
    count = 0
    for count, row in enumerate(rows, start=1):
        if count % _BATCH == 1:
            yield pickle.APPENDS + pickle.MARK if count > 1 else pickle.MARK
        yield pickle.NONE if row is None else _pickled_array(row)
    yield (pickle.APPENDS if count else b"") + pickle.STOP


def _pickled_array(row: Features) -> bytes:
    shape = pickle.MARK + b"".join(_whole(size) for size in row.shape) + pickle.TUPLE
    state = _whole(1) + shape + _get(_FLOAT32) + pickle.NEWFALSE + _bytes(as_little_endian(row))
    return _EMPTY_ARRAY + pickle.MARK + state + pickle.TUPLE + pickle.BUILD


_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"the file calls {module}.{name}, which is no part of a list of arrays")
        return super().find_class(module, name)


def unpickled(file: BinaryIO) -> Any:
    """What `pickled` wrote. Nothing but arrays can be made by the file: it cannot run code."""
    rows = _ArraysOnly(file).load()
    if file.read(1):
        raise pickle.UnpicklingError("there are more bytes after the end of the list")
    return rows


# --- JSON and YAML ----------------------------------------------------------------------------------------------------


def as_json(rows: Rows) -> Iterator[bytes]:
    """A JSON list with a list of numbers or null per video; the numbers are exact."""
    lines = (_list_or_null(row, json.dumps) for row in rows)
    yield b"["
    for count, line in enumerate(lines):
        yield (b", " if count else b"") + line
    yield b"]\n"


def as_yaml(rows: Rows) -> Iterator[bytes]:
    """A YAML list with a list of numbers or null per video; the numbers are exact for a YAML 1.1 reader."""
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - used after the loop
        yield b"- " + _list_or_null(row, _yaml_flow) + b"\n"
    if not count:
        yield b"[]\n"


def _list_or_null(row: Features | None, to_text: Callable[[Any], str]) -> bytes:
    return b"null" if row is None else to_text(row.tolist()).encode("ascii")


def _yaml_flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml_flow, value))}]"
    text = repr(float(value))
    # YAML 1.1 takes 1e-05 for a string: its numbers need a point.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def from_json(file: BinaryIO) -> Any:
    """What `as_json` wrote, as lists of Python floats."""
    return json.load(file)


def from_yaml(file: BinaryIO) -> Any:
    """What `as_yaml` wrote, as lists of Python floats."""
    import yaml

    return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
