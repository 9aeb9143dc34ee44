"""An HDF5 file with a dataset per video."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, final

import numpy as np
import numpy.typing as npt

from vidfeat.errors import UsageError, quote
from vidfeat.features import VideoFeatures
from vidfeat.formats.atomic import replacing
from vidfeat.formats.npy_array import MOST_BYTES
from vidfeat.formats.reading import reading
from vidfeat.formats.sink import NO_TEXT, TIME_NAMES, Sink, Times, Unreadable, refused_name, times_by_name, times_of
from vidfeat.lazy_import import import_extra

_MOST_READS = 16
"""So often all bytes of a file may be read in one pass. The same bytes can stand for any number of datasets."""


@final
class Hdf5Sink(Sink):
    """One HDF5 file: `f[key][:]` gives the array of a video. Videos without features are not in it.

    Where rows have times, `f[key].attrs` has `start_seconds` and `end_seconds`, float64 `[T]`. Readable by HDF5 1.8 and
    later. Needs h5py.
    """

    name: ClassVar[str] = "h5"
    library: ClassVar[tuple[str, str]] = ("h5py", "hdf5")

    def check_keys(self, keys: Sequence[str]) -> None:
        """Refuse a key that HDF5 cannot hold, and one that would be a dataset and the group of another."""
        origin: dict[str, str] = {}
        for position, key in enumerate(keys, start=1):
            name = _name(key)
            if name in origin or not name or NO_TEXT.search(name):
                same = f" and {quote(origin[name])}, which are the same there" if name in origin else ""
                raise refused_name(position, "a unique name that HDF5 can hold", f"{quote(key)}{same}")
            origin[name] = key
        for name, key in origin.items():
            for group in map(str, PurePosixPath(name).parents):
                if group in origin:
                    raise UsageError(
                        repr(key),
                        expected="names of which none is the folder of another",
                        found=f"the video {quote(origin[group])}",
                        hint="Rename one, or write another format, such as features.pkl.",
                    )

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Write the file. Holds one row in memory at a time."""
        with self.writing() as add:
            for key, features in rows:
                if features is not None:
                    add(key, features)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[str, VideoFeatures], None]]:
        """Replace the file; yields what adds the features of a video."""
        h5py = import_extra(*self.library, self.out, "this format")
        with replacing(self.out) as file:
            target = _Target(file)
            try:
                # With the layouts of HDF5 1.8, attributes can have more than 64 KiB.
                with h5py.File(target, "w", libver=("v108", "v108")) as output:

                    def add(key: str, features: VideoFeatures) -> None:
                        dtype = features.values.dtype.newbyteorder("<")
                        dataset = output.create_dataset(_name(key), data=features.values, dtype=dtype)
                        for name, seconds in times_by_name(features).items():
                            dataset.attrs[name] = np.asarray(seconds, "<f8")
                        target.check()

                    yield add
            finally:
                target.check()
            file.seek(target.end)

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The array of each key. Holds one in memory at a time."""
        file = self._opened()
        size = self.out.stat().st_size
        left = _MOST_READS * size

        def read(dataset: Any) -> npt.NDArray[Any]:
            nonlocal left
            left -= dataset.nbytes
            if left < 0:
                raise ValueError(f"more than {_MOST_READS * size} bytes of numbers in a file of {size}")
            return _array(dataset, size)

        return _read(file, keys, read)

    def read_times(self, keys: Iterable[str]) -> Iterator[Times | None]:
        """The seconds of each key, as far as the file has them."""

        def read(dataset: Any) -> Times | None:
            return times_of(*(dataset.attrs.get(name) for name in TIME_NAMES))

        found = _read(self._opened(), keys, read)
        return (None if isinstance(times, Unreadable) else times for times in found)

    def _opened(self) -> Any:
        h5py = import_extra(*self.library, self.out, "this format")
        with reading(self.out):
            return h5py.File(_Source(self.out), "r")

    def keys(self) -> Iterator[str]:
        """The names of the datasets."""
        h5py = import_extra(*self.library, self.out, "this format")
        names: list[str] = []
        with reading(self.out), self._opened() as file:
            # Follows no links to other files.
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return iter(names)

    def orphans(self, keys: Iterable[str], present: int) -> Iterator[str]:
        """Datasets that belong to no video; HDF5 leaves out the slash that a key starts with."""
        return super().orphans(map(_name, keys), present)


class _Target:
    """The file that HDF5 writes to. Keeps an error for later.

    After an error in a file of its own, the HDF5 library can neither go on nor close the file, and tries again when the
    process ends.

    Attributes:
        end: how many bytes the file must have.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None
        self.end = 0

    def check(self) -> None:
        """Raise the first error of the file."""
        if self._error is not None:
            raise self._error

    def write(self, data: bytes) -> int:
        self.end = max(self.end, self._try(self._file.tell, 0) + len(data))
        return self._try(lambda: self._file.write(data), len(data))

    def truncate(self, size: int) -> int:
        self.end = size
        return self._try(lambda: self._file.truncate(size), size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._try(lambda: self._file.seek(offset, whence), offset)

    def tell(self) -> int:
        return self._try(self._file.tell, 0)

    def read(self, size: int) -> bytes:
        return self._try(lambda: self._file.read(size), bytes(size))

    def flush(self) -> None:
        self._try(self._file.flush, None)

    def _try(self, call: Callable[[], Any], otherwise: Any) -> Any:
        if self._error is not None:
            return otherwise
        try:
            return call()
        except OSError as error:
            self._error = error
            return otherwise


class _Source:
    """The file that HDF5 reads from. Refuses to read beyond its end.

    HDF5 would fill memory with zeros there, as many as a damaged file says.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._size = os.fstat(self._file).st_size
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (self._size if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        data = bytearray(min(size, self._size))
        return bytes(data[: self.readinto(data)])

    def readinto(self, buffer: Any) -> int:
        if self._at + len(buffer) > self._size:
            raise OSError(f"bytes up to {self._at + len(buffer)} of a file of {self._size}")
        self._at += (size := os.preadv(self._file, [buffer], self._at))
        return size


def _name(key: str) -> str:
    """The key as HDF5 takes it: without `.` and empty components."""
    return "/".join(part for part in key.split("/") if part not in ("", "."))


def _read(file: Any, keys: Iterable[str], read: Callable[[Any], Any]) -> Iterator[Any]:
    with file:
        for key in keys:
            try:
                dataset = _dataset(file, _name(key))
                yield None if dataset is None else read(dataset)
            except Exception as error:  # of many types: h5py turns HDF5's errors into what fits
                yield Unreadable(f"cannot be read: {error}")


def _dataset(file: Any, name: str) -> Any:
    import h5py

    for path in [*reversed(PurePosixPath(name).parents), PurePosixPath(name)][1:]:
        link = file.get(str(path), getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError("a link")
    dataset = file[name]
    return dataset if isinstance(dataset, h5py.Dataset) else None


def _array(dataset: Any, size: int) -> npt.NDArray[Any]:
    if dataset.external or dataset.is_virtual or dataset.chunks or dataset.dtype.kind != "f":
        raise ValueError("no array of numbers that lies in the file as it is")
    if dataset.nbytes > min(size, MOST_BYTES) or dataset.id.get_storage_size() != dataset.nbytes:
        raise ValueError(f"{dataset.id.get_storage_size()} bytes of numbers instead of {dataset.nbytes}")
    return np.asarray(dataset[()])
