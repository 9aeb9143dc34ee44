"""A pickle of a list of arrays, as MMAction2 writes it."""

from __future__ import annotations

import math
import os
import pickle
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, final

import numpy as np
import numpy.typing as npt

from vidfeat.errors import quote, shorten
from vidfeat.features import Values
from vidfeat.formats.npy_array import as_little_endian
from vidfeat.formats.row_list import RowList


@final
class PickleSink(RowList):
    """A pickled list of float32 arrays, and None for a video without features.

    A plain `pickle.load` of Python 3.4 and later reads it, with NumPy 1.x and 2.x. The arrays are writable.
    """

    name: ClassVar[str] = "pkl"

    def dump(self, rows: Iterator[Values | None], file: BinaryIO) -> None:
        """Write a pickle of protocol 4."""
        pickler = ArrayPickler(file, protocol=4)
        # No memo: it would hold every row, and its references would depend on which objects rows share.
        pickler.fast = True
        pickler.dump(_Rows(rows))

    def load(self, file: BinaryIO) -> Any:
        """Read a pickle that `dump`, version 1 or NumPy wrote. Runs no code and takes memory as the file has bytes."""
        rows = load_arrays(file)
        if not isinstance(rows, list):
            return rows
        return [_require_row(row) for row in rows]


@dataclass(frozen=True)
class _Rows:
    """What is pickled as the list of what an iterator gives."""

    rows: Iterator[Values | None]


class ArrayPickler(pickle.Pickler):
    """Writes arrays so that `load_arrays`, and NumPy 1.x and 2.x, read them."""

    def reducer_override(self, obj: Any) -> Any:
        """How rows and arrays are pickled."""
        if isinstance(obj, _Rows):
            return list, (), None, obj.rows
        if isinstance(obj, np.ndarray):
            # NumPy's own reduction names a private module, which NumPy 1.x and 2.x call differently.
            return np.ndarray, (obj.shape, obj.dtype.newbyteorder("<").str, bytearray(as_little_endian(obj)))
        return NotImplemented


# --- reading ----------------------------------------------------------------------------------------------------------
#
# A pickle is a program. `_check_opcodes` allows the instructions that lists of arrays are made of. `_Unpickler` gives
# it functions that check their arguments in place of the ones that it names, and limits what they make in all.

_OPCODES = frozenset(
    "PROTO FRAME STOP MARK POP NONE NEWFALSE NEWTRUE BININT BININT1 BININT2 LONG1 "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 "
    "EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)
_OBJECT_BYTES = 32
"""What an object counts for besides its data. It has more bytes in an honest file, and a few times more in memory."""


def load_arrays(
    file: BinaryIO, opcodes: frozenset[str] = frozenset(), functions: Mapping[str, Callable[..., Any]] | None = None
) -> Any:
    """Unpickle what is made of lists, tuples and arrays.

    Args:
        file: from its start; a regular one.
        opcodes: instructions that it may have besides.
        functions: what it may call besides, by module and name.

    Raises:
        Anything, where the file holds something else. No code of it runs, and it takes memory as the file has bytes.
    """
    _check_opcodes(file, _OPCODES | opcodes)
    file.seek(0)
    return _Unpickler(file, functions or {}).load()


def _check_opcodes(file: BinaryIO, allowed: frozenset[str]) -> None:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name not in allowed:
            raise pickle.UnpicklingError(f"the file has a {opcode.name}, which is not part of a list of arrays")
        # The unpickler's memo has as many places as the highest number says.
        if opcode.name in ("BINPUT", "LONG_BINPUT") and (argument or 0) > count:
            raise pickle.UnpicklingError(f"the file has {count} instructions and refers to object {argument}")
    if file.read(1):
        raise pickle.UnpicklingError("there are more bytes after the end of the list")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, functions: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(file)
        self._more = functions
        # Version 1's files spell bytes as text, which is encoded and then copied into an array.
        self._bytes_left = 2 * os.fstat(file.fileno()).st_size

    def find_class(self, module: str, name: str) -> Any:
        functions = {
            "builtins.list": self._list,
            "builtins.bytearray": self._bytearray,
            "_codecs.encode": self._encode,
            "numpy.ndarray": self._array,
            "numpy.dtype": _DType,
            "numpy.core.multiarray._reconstruct": self._reconstruct,
            "numpy._core.multiarray._reconstruct": self._reconstruct,
            **self._more,
        }
        try:
            return functions[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the file calls {shorten(f'{module}.{name}')}, which is not part of a list of arrays"
            ) from None

    def _take(self, size: int) -> None:
        self._bytes_left -= size + _OBJECT_BYTES
        if self._bytes_left < 0:
            raise pickle.UnpicklingError("the file makes more data than it holds")

    def _list(self) -> list[Any]:
        self._take(0)
        return []

    def _bytearray(self, data: bytes = b"") -> bytearray:
        self._take(len(_require(bytes, data)))
        return bytearray(data)

    def _encode(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"the file uses the codec {quote(encoding)}")
        self._take(len(_require(str, text)))
        return text.encode("latin1")

    def _array(self, shape: Any, dtype: Any, data: Any) -> npt.NDArray[Any]:
        if dtype not in ("<f4", "<f2"):
            raise pickle.UnpicklingError("an array of float32 or float16 was expected")
        _require(bytearray, data)
        self._take(0)
        return _shaped(data, shape, np.dtype(dtype))

    def _reconstruct(self, *_: Any) -> _Array:
        self._take(0)
        return _Array(self._copied)

    def _copied(self, data: Any, shape: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        self._take(len(_require(bytes, data)))
        return _shaped(bytearray(data), shape, dtype)


class _DType:
    """Stands for `numpy.dtype`; of a floating-point number only."""

    def __init__(self, name: str, align: object = False, copy: object = True) -> None:
        if name not in ("f2", "f4", "f8"):
            raise pickle.UnpicklingError("an array of floating-point numbers was expected")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        _, order, *rest = _require(tuple, state)
        if order not in ("<", ">") or rest != [None, None, None, -1, -1, 0]:
            raise pickle.UnpicklingError("an array of floating-point numbers was expected")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array that NumPy's own reduction makes empty at first."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self.array: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, in_columns, data = _require(tuple, state)
        if in_columns is not False:
            raise pickle.UnpicklingError("an array in column-major order")
        self.array = self._make(data, shape, _require(_DType, dtype).dtype)


def _shaped(data: bytearray, shape: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    sizes = [_require(int, size) for size in _require(tuple, shape)]
    if any(size < 0 for size in sizes) or math.prod(sizes) * dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"an array with {len(data)} bytes, which do not fit its shape")
    return np.ndarray(shape, dtype, data)


def _require(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise pickle.UnpicklingError(f"a {kind.__name__} was expected where a {type(value).__name__} is")
    return value


def _require_row(row: Any) -> npt.NDArray[Any] | None:
    found = row.array if isinstance(row, _Array) else row
    if isinstance(found, np.ndarray) or row is None:
        return found
    raise pickle.UnpicklingError(f"the list holds a {type(row).__name__}, which is not an array")
