"""An HDF5 file with a dataset per video."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, final

import numpy as np
import numpy.typing as npt

from vidfeat.errors import UsageError, quote
from vidfeat.features import VideoFeatures
from vidfeat.formats.atomic import replacing, require_writable
from vidfeat.formats.reading import reading
from vidfeat.formats.sink import Sink, Unreadable
from vidfeat.lazy_import import install_command

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@final
class Hdf5Sink(Sink):
    """One HDF5 file: `f[key][:]` gives the array of a video. Videos without features are not in it.

    Where rows have times, `f[key].attrs` has `start_seconds` and `end_seconds`, float64 `[T]`. Readable by HDF5 1.8 and
    later. Needs h5py.
    """

    name: ClassVar[str] = "h5"

    def check_keys(self, keys: Sequence[str]) -> None:
        """Refuse a key that HDF5 cannot hold, and one that would be a dataset and the group of another."""
        origin: dict[str, str] = {}
        for position, key in enumerate(keys, start=1):
            name = _name(key)
            if name in origin or not name or _NO_TEXT.search(name):
                raise UsageError(
                    f"video {position}",
                    expected="a name of its own that HDF5 can hold",
                    found=f"{quote(key)} and {quote(origin[name])}, which are the same there"
                    if name in origin
                    else quote(key),
                    hint="Rename it, or write another format, such as features.pkl.",
                )
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

    def prepare(self) -> None:
        """See that h5py is there, and create the folder that the file goes into."""
        _import_h5py(self.out)
        require_writable(self.out.parent)

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Write the file. Holds one row in memory at a time."""
        h5py = _import_h5py(self.out)
        with replacing(self.out) as file:
            target = _Target(file)
            try:
                # With the layouts of HDF5 1.8, attributes can have more than 64 KiB.
                with h5py.File(target, "w", libver=("v108", "v108")) as output:
                    for key, features in rows:
                        if features is not None:
                            _add(output, features, _name(key))
                        target.check()
            finally:
                target.check()
            file.seek(target.end)

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The array of each key. Holds one in memory at a time."""
        h5py = _import_h5py(self.out)
        with reading(self.out):
            file = h5py.File(self.out, "r")
        return _read(file, self.out.stat().st_size, keys)

    def keys(self) -> Iterator[str]:
        """The names of the datasets."""
        h5py = _import_h5py(self.out)
        names: list[str] = []
        with reading(self.out), h5py.File(self.out, "r") as file:
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


def _import_h5py(out: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise UsageError(
            str(out), expected="the package h5py, for HDF5", found="none", hint=f"Type: {install_command('hdf5')}"
        ) from error
    return h5py


def _name(key: str) -> str:
    """The key as HDF5 takes it: without `.` and empty components."""
    return "/".join(part for part in key.split("/") if part not in ("", "."))


def _add(output: Any, features: VideoFeatures, name: str) -> None:
    dataset = output.create_dataset(name, data=features.values, dtype="<f4")
    if features.start_seconds is not None and features.end_seconds is not None:
        dataset.attrs["start_seconds"] = np.asarray(features.start_seconds, "<f8")
        dataset.attrs["end_seconds"] = np.asarray(features.end_seconds, "<f8")


def _read(file: Any, size: int, keys: Iterable[str]) -> Iterator[Any]:
    with file:
        for key in keys:
            try:
                yield _array(file, size, _name(key))
            except Exception as error:  # of many types: h5py turns HDF5's errors into what fits
                yield Unreadable(f"cannot be read: {error}")


def _array(file: Any, size: int, name: str) -> npt.NDArray[Any] | None:
    import h5py

    for path in [*reversed(PurePosixPath(name).parents), PurePosixPath(name)][1:]:
        link = file.get(str(path), getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError("a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        return None
    if dataset.external or dataset.is_virtual or dataset.chunks or dataset.dtype.kind != "f":
        raise ValueError("no array of numbers that lies in the file as it is")
    if dataset.nbytes > size or dataset.id.get_storage_size() != dataset.nbytes:
        raise ValueError(f"{dataset.id.get_storage_size()} bytes of numbers instead of {dataset.nbytes}")
    return np.asarray(dataset[()])
