"""A folder with one file per video."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar

from vidfeat.errors import OutputError, UsageError, VideoError, WriteError, quote, reason
from vidfeat.features import VideoFeatures
from vidfeat.formats.atomic import FileNameError, remove, replace_all, require_writable
from vidfeat.formats.reading import require_dense
from vidfeat.formats.sink import Sink, Times, Unreadable
from vidfeat.formats.video_file import NPY, FileFormat
from vidfeat.videos.folders import VIDEO_SUFFIXES, path_is


@dataclass(frozen=True)
class FolderSink(Sink):
    """One file per video, at the video's key as a relative path, written as soon as the video is finished.

    A subclass may give files other names (`file_name`), and add files at the end (`finalize`); what is in a file is up
    to its `FileFormat`.

    Attributes:
        file_format: of each file.
        whole: keys whose files keep the suffix of the video; from `for_keys`.
    """

    file_format: FileFormat = NPY
    whole: frozenset[str] = frozenset()

    in_place: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """What manifests call the format."""
        return self.file_format.name

    def file_name(self, key: str) -> str:
        """The file of a video, relative to the folder.

        `clip.mp4` becomes `clip.npy`; a suffix that is not a video's stays: `v1.5` becomes `v1.5.npy`. Where two videos
        of the output would have one file, both keep theirs: `clip.wmv.npy` and `clip.flv.npy`.

        Raises:
            UsageError: the key leads out of the folder, or is none that a file can have.
        """
        path = _relative(key)
        stem = path if key in self.whole else _stem(str(path))
        return f"{stem}{self.file_format.suffix}"

    def for_keys(self, keys: Iterable[str]) -> FolderSink:
        """The sink in which videos whose names differ by the suffix alone keep it."""
        first: dict[str, str] = {}
        whole = {key: other for key in keys if (other := first.setdefault(_stem(key), key)) != key}
        return replace(self, whole=frozenset({*whole, *whole.values()}))

    def check_keys(self, keys: Sequence[str]) -> None:
        """Refuse a key that leads out of the folder, and two keys that lead to one file."""
        named = self.for_keys(keys)
        origin: dict[str, str] = {}
        for position, key in enumerate(keys, start=1):
            name = named.file_name(key)
            if name in origin:
                raise UsageError(
                    f"video {position}",
                    expected="different names, as each video becomes one file",
                    found=f"{quote(key)} and {quote(origin[name])}, which would both be {quote(name)}",
                    hint="Rename one, or write a single file such as features.pkl.",
                )
            origin[name] = key
        for name, key in origin.items():
            for folder in map(str, PurePosixPath(name).parents):
                if folder in origin:
                    raise UsageError(
                        repr(key),
                        expected="a folder to put it into",
                        found=f"the output of {quote(origin[folder])} there",
                    )

    def prepare(self) -> None:
        """Create the folder and see that it takes files."""
        require_writable(self.out)

    def write(self, rows: Sequence[VideoFeatures]) -> dict[str, VideoError]:
        """Write the file of each video."""
        files = {self.path_of(row.key): row for row in rows}
        refused = replace_all({path: functools.partial(self._write, row) for path, row in files.items()})
        return {files[path].key: _failure(files[path], error) for path, error in refused.items()}

    def delete(self, key: str) -> None:
        """Remove the file of one video."""
        remove(self.path_of(key))

    def delete_others(self, keys: Sequence[str], absent: Sequence[str]) -> None:
        """Remove the files of videos that are not in the list any more, and those that videos had by another name."""
        before, plain = self.for_keys([*keys, *absent]), replace(self, whole=frozenset())
        suspects = {*absent, *before.whole}
        taken = set(map(self.file_name, keys if suspects else ()))
        for key, sink in itertools.product(suspects, (before, plain)):
            try:
                if sink.file_name(key) not in taken:
                    sink.delete(key)
            except WriteError:
                raise
            except (OutputError, UsageError):  # it leads out of the output, so it never was a video's
                continue

    def holds(self, key: str) -> bool:
        """Whether the file of one video is there."""
        return path_is(Path.is_file, self.out / self.file_name(key))

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Nothing to do: every file is where it belongs."""

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The array of each key, None where there is no file. Holds one in memory at a time."""
        return (values for values, _ in map(self._read, keys))

    def read_times(self, keys: Iterable[str]) -> Iterator[Times | None]:
        """The seconds of each key, as far as its file has them."""
        return (times for _, times in map(self._read, keys))

    def keys(self) -> Iterator[str]:
        """A key for each file: its path in the folder, without the suffix; sorted."""
        for name in sorted(self._files(self._refuse)):
            key = name.removesuffix(self.file_format.suffix)
            # `a.mp4.npy` is the file of a video such as `a.mp4.mp4`, as that of `a.mp4` is `a.npy`.
            yield key if self.file_name(key) == name else f"{key}.mp4"

    def orphans(self, keys: Iterable[str], present: int) -> Iterator[str]:
        """The other files of the format; a program that reads the folder by listing it takes them for a video's."""
        if sum(1 for _ in self._files()) != present:
            known = {self.file_name(key) for key in keys}
            yield from sorted(name for name in self._files() if name not in known)

    def path_of(self, key: str) -> Path:
        """The file of a video.

        Raises:
            UsageError: the key leads out of the folder.
            OutputError: a symbolic link in the folder leads out of it.
        """
        path = self.out / self.file_name(key)
        real, inside = os.path.realpath(path.parent), os.path.realpath(self.out)
        if not Path(real).is_relative_to(inside):
            raise OutputError(
                str(path),
                expected=f"a place inside {self.out}",
                found=f"a symbolic link to {real}",
                hint="Remove the link or choose another output folder.",
            )
        return path

    def _read(self, key: str) -> tuple[Any, Times | None]:
        try:
            path = self.path_of(key)
            if not path_is(Path.is_file, path):
                return None, None
            require_dense(path.stat())
            return self.file_format.read(path)
        except Exception as error:  # readers of damaged bytes raise nearly anything
            return Unreadable(f"cannot be read: {error}"), None

    def _write(self, features: VideoFeatures, file: BinaryIO) -> None:
        self.file_format.write(file, features)

    def _files(self, onerror: Callable[[OSError], object] | None = None) -> Iterator[str]:
        for parent, _, names in os.walk(self.out, onerror=onerror):
            folder = Path(parent).relative_to(self.out)
            yield from ((folder / name).as_posix() for name in names if name.endswith(self.file_format.suffix))

    def _refuse(self, error: OSError) -> None:
        where, found = str(error.filename), reason(error)
        raise OutputError(where, expected="a folder that can be read", found=found) from error


def _relative(key: str) -> PurePosixPath:
    path = PurePosixPath(key)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in key or not _is_encodable(key):
        raise UsageError(
            repr(key),
            expected="a relative path without '..', as it names a file in the output folder",
            found="one that leads out of it" if _is_encodable(key) else "one that no file can have",
            hint="Give a root that holds all videos (`video_root`), or write a single file such as features.pkl.",
        )
    return path


def _stem(key: str) -> str:
    stem, suffix = os.path.splitext(key)  # noqa: PTH122 - a million of them
    return stem if suffix.lower() in VIDEO_SUFFIXES else key


def _is_encodable(key: str) -> bool:
    try:
        os.fsencode(key)
    except UnicodeEncodeError:
        return False
    return True


def _failure(row: VideoFeatures, error: FileNameError) -> VideoError:
    where = row.key if row.info is None else row.info.path
    return VideoError(
        where, stage="write", kind="io", expected=error.expected, found=f"{error.found}: {error.where}", hint=error.hint
    )
