"""The outputs: one file with a row per video, or a folder with a file per video."""

from __future__ import annotations

import functools
import math
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, final

import numpy as np
import numpy.typing as npt

from vidfeat.errors import OutputError, UsageError, WriteError
from vidfeat.store import streams
from vidfeat.formats.atomic import remove, replace_all, replacing
from vidfeat.store.streams import Features, Rows
from vidfeat.videos import VIDEO_SUFFIXES, Entry


@dataclass(frozen=True)
class Format(ABC):
    """How features lie on disk.

    Attributes:
        out: the file or folder.
        name: what the manifest calls the format: `"pkl"`, `"json"`, `"yaml"` or `"npy"`.
    """

    out: Path
    name: str

    @abstractmethod
    def check_names(self, entries: Sequence[Entry]) -> None:
        """Raise `UsageError` if the videos' names cannot all become outputs."""

    @abstractmethod
    def prepare(self) -> None:
        """Raise `OutputError` if `out` could not be written at the end; create folders that are needed before."""

    @abstractmethod
    def keep(self, *rows: tuple[str, Features]) -> list[bytes]:
        """Take some videos' features, each with the video's name.

        Returns:
            Of each, what to keep till the end: nothing where it has been written to where it belongs.

        Raises:
            WriteError: the system refused.
        """

    @abstractmethod
    def drop(self, name: str) -> None:
        """See that there is no output of a video that failed, such as one of an earlier run.

        Raises:
            WriteError: the system refused.
        """

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Whether what `keep` wrote is still there; True where it wrote nothing."""

    @abstractmethod
    def assemble(self, rows: Rows) -> None:
        """Bring the output into its final form from what `keep` returned, in the order of the list.

        Raises:
            WriteError: the system refused.
        """

    @abstractmethod
    def load(self, names: Iterable[str]) -> Iterator[Any]:
        """What the output holds, in its order; nothing about the values is checked. Runs no code from files.

        An `Unreadable` stands for what cannot be read while the rest can.

        Raises:
            OutputError: nothing of the output can be read.
        """

    @abstractmethod
    def strays(self, names: Iterable[str], present: int) -> Iterator[str]:
        """The features of no video that lie in the output all the same.

        Args:
            names: the videos'; only read where there is a stray.
            present: how many of them have an output.
        """


@dataclass(frozen=True)
class Unreadable:
    """Stands for the features of a video that cannot be read, and tells why."""

    reason: str


def open_format(out: Path | str) -> Format:
    """The format that a path asks for.

    A suffix of `.pkl`, `.pickle`, `.json`, `.yaml` or `.yml` means one file; no suffix, a slash at the end, or a
    folder that exists mean a folder.

    Raises:
        UsageError: nothing, or another suffix; a file stands where a folder is asked for.
    """
    if not str(out):
        # `Path("")` is the current folder, which `--out "$UNSET"` would fill.
        raise UsageError("output", expected="a path", found="an empty one", hint="Name the current folder as `.`.")
    path = Path(out)
    suffix = path.suffix.lower()
    if path.is_dir() or str(out).endswith(("/", os.sep)) or not suffix:
        if path.exists() and not path.is_dir():
            raise UsageError(str(out), expected="a folder or a new name for one", found="a file")
        return FolderFormat(_named(path), "npy")
    if suffix not in _ONE_FILE:
        raise UsageError(
            str(out),
            expected=f"one of {', '.join(_ONE_FILE)} for one file, or no suffix for a folder with one .npy per video",
            found=f"{path.suffix!r}",
            hint="End the path with a slash to mean a folder.",
        )
    return FileFormat(path, _ONE_FILE[suffix])


@final
class FileFormat(Format):
    """All rows in one file, matched to the list by position."""

    def check_names(self, entries: Sequence[Entry]) -> None:
        """Any names will do: the file does not hold them."""

    def prepare(self) -> None:
        """Create the folder that the file goes into."""
        _require_writable(self.out.parent)

    def keep(self, *rows: tuple[str, Features]) -> list[bytes]:
        """Everything is kept till the end."""
        return [streams.as_little_endian(features) for _, features in rows]

    def drop(self, name: str) -> None:
        """Nothing to do: the file is written as a whole."""

    def holds(self, name: str) -> bool:
        """The journal holds it."""
        return True

    def assemble(self, rows: Rows) -> None:
        """Write the file."""
        encode = _ENCODERS[self.name]
        with replacing(self.out) as file:
            file.writelines(encode(rows))

    def load(self, names: Iterable[str]) -> Iterator[Any]:
        """The rows of the file."""
        decode = _DECODERS[self.name]
        try:
            with self.out.open("rb") as file:
                rows = decode(file)
        except FileNotFoundError as error:
            raise OutputError(str(self.out), expected="an output that can be read", found="no such file") from error
        except Exception as error:  # unpickling damaged bytes raises nearly anything
            raise _unreadable(self.out, error) from error
        if not isinstance(rows, list):
            raise OutputError(str(self.out), expected="a list with a row per video", found=type(rows).__name__)
        return iter(rows)

    def strays(self, names: Iterable[str], present: int) -> Iterator[str]:
        """None: `load` gives all rows."""
        return iter(())


@final
class FolderFormat(Format):
    """One `.npy` per video, at the video's relative path, written as soon as the video is done."""

    def check_names(self, entries: Sequence[Entry]) -> None:
        """Raise `UsageError` if a name leads out of the folder or two names lead to one file."""
        origin: dict[str, str] = {}
        for entry in entries:
            key = os.path.normcase(_npy_name(entry.name))
            if key in origin:
                raise UsageError(
                    f"entry {entry.index + 1}",
                    expected="names that differ by more than the suffix, as each video becomes one .npy",
                    found=f"{entry.name!r} and {origin[key]!r}, both {key!r}",
                    hint="Rename one, or write a single file such as features.pkl.",
                )
            origin[key] = entry.name
        for key, name in origin.items():
            for folder in map(str, PurePosixPath(key).parents):
                if folder in origin:
                    raise UsageError(
                        repr(name), expected="a folder to put it into", found=f"the output of {origin[folder]!r} there"
                    )

    def prepare(self) -> None:
        """Create the folder and see that it takes files."""
        _require_writable(self.out)

    def keep(self, *rows: tuple[str, Features]) -> list[bytes]:
        """Write the file of each video."""
        arrays = {self.path_of(name): features for name, features in rows}
        for folder in dict.fromkeys(path.parent for path in arrays):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _refused(WriteError, folder, error) from error
        replace_all({path: functools.partial(_write_npy, array) for path, array in arrays.items()})
        return [b""] * len(rows)

    def drop(self, name: str) -> None:
        """Remove the file of one video."""
        remove(self.path_of(name))

    def holds(self, name: str) -> bool:
        """Whether the file of one video is there."""
        return (self.out / _npy_name(name)).is_file()

    def assemble(self, rows: Rows) -> None:
        """Nothing to do: every file is where it belongs."""

    def load(self, names: Iterable[str]) -> Iterator[Any]:
        """The array of each name, None where there is no file. Holds one in memory at a time."""
        for name in names:
            try:
                path = self.path_of(name)
                yield _read_npy(path) if path.is_file() else None
            except (OSError, ValueError, UsageError, OutputError) as error:
                yield Unreadable(f"cannot be read: {error}")

    def strays(self, names: Iterable[str], present: int) -> Iterator[str]:
        """The other `.npy` files; a program that reads the folder by listing it takes them for a video's."""
        if sum(1 for _ in self._arrays()) != present:
            ours = {_npy_name(name) for name in names}
            yield from sorted(name for name in self._arrays() if name not in ours)

    def _arrays(self) -> Iterator[str]:
        for parent, _, files in os.walk(self.out):
            folder = Path(parent).relative_to(self.out)
            yield from ((folder / name).as_posix() for name in files if name.endswith(".npy"))

    def path_of(self, name: str) -> Path:
        """The file of a video.

        Raises:
            UsageError: the name leads out of the folder.
            OutputError: a symbolic link in the folder leads out of it.
        """
        path = self.out / _npy_name(name)
        real, inside = os.path.realpath(path.parent), os.path.realpath(self.out)
        if not Path(real).is_relative_to(inside):
            raise OutputError(
                str(path),
                expected=f"a place inside {self.out}",
                found=f"a symbolic link to {real}",
                hint="Remove the link or choose another output folder.",
            )
        return path


def _write_npy(features: Features, file: BinaryIO) -> None:
    np.lib.format.write_array(file, features.astype("<f4", copy=False), version=(1, 0), allow_pickle=False)


def _read_npy(path: Path) -> npt.NDArray[Any]:
    """What `FolderFormat.keep` wrote; `ValueError` for anything else, before it costs memory."""
    with path.open("rb") as file:
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("version 1.0 was expected")
            shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
        except Exception as error:  # of many types: numpy has Python's own tokenizer look at a damaged header
            raise ValueError(f"no .npy header: {error}") from error
        size = math.prod(shape) * dtype.itemsize
        there = os.fstat(file.fileno()).st_size - file.tell()
        if dtype.hasobject or in_columns:
            raise ValueError(f"an array of {dtype}, with its columns first" if in_columns else "an array of objects")
        if there != size:
            raise ValueError(f"{there} bytes of numbers instead of {size}")
        return np.frombuffer(file.read(), dtype).reshape(shape)


def _named(path: Path) -> Path:
    """The same folder by a name of its own, which `..` is not, to call a journal and a manifest after."""
    named = path if path.name not in ("", "..") else Path(os.path.realpath(path))
    if not named.name:
        raise UsageError(str(path), expected="a folder with a name", found="the root of the file system")
    return named


def _npy_name(name: str) -> str:
    """`clip.mp4` becomes `clip.npy`; a suffix that is not a video's stays: `v1.5` becomes `v1.5.npy`."""
    path = PurePosixPath(name)
    # Also what only Windows takes for a separator or a drive, where that matters.
    parts = {*path.parts, *Path(name).parts}
    if path.is_absolute() or Path(name).anchor or not path.parts or ".." in parts or "\0" in name:
        raise UsageError(
            repr(name),
            expected="a relative path without '..', as it names a file in the output folder",
            found="one that leads out of it",
            hint="Give a video root that holds all videos (--video-root), or write a single file such as features.pkl.",
        )
    return f"{path.with_suffix('') if path.suffix.lower() in VIDEO_SUFFIXES else path}.npy"


def _require_writable(folder: Path) -> None:
    """Create a folder where there is none, and see that it takes files: told before any work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _refused(OutputError, folder, error) from error


def _refused(error_class: type[OutputError], folder: Path, error: OSError) -> OutputError:
    return error_class(
        str(folder),
        expected="a folder to write to, or to create",
        found=error.strerror or str(error),
        hint="Choose another output or correct the permissions.",
    )


def _unreadable(path: Path, error: Exception) -> OutputError:
    return OutputError(str(path), expected="an output that can be read", found=f"{type(error).__name__}: {error}")


_ONE_FILE = {".pkl": "pkl", ".pickle": "pkl", ".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_ENCODERS: dict[str, Callable[[Rows], Iterator[bytes]]] = {
    "pkl": streams.pickled,
    "json": streams.as_json,
    "yaml": streams.as_yaml,
}
_DECODERS: dict[str, Callable[[BinaryIO], Any]] = {
    "pkl": streams.unpickled,
    "json": streams.from_json,
    "yaml": streams.from_yaml,
}
