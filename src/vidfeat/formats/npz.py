"""An uncompressed `.npz` file with an array per video."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, final

from vidfeat.errors import quote
from vidfeat.features import VideoFeatures
from vidfeat.formats.atomic import replacing
from vidfeat.formats.npy_array import read_entry, write_entry
from vidfeat.formats.reading import reading
from vidfeat.formats.sink import NO_TEXT, TIME_NAMES, Sink, Times, Unreadable, refused_name, times_by_name, times_of

_LONGEST_NAME = 65_535
_TIMES = tuple(f"{name}/" for name in TIME_NAMES)


@final
class NpzSink(Sink):
    """One zip file: `numpy.load(out)[key]` gives the array of a video. Videos without features are not in it.

    Where rows have times, `numpy.load(out)["start_seconds/" + key]` and `["end_seconds/" + key]` have them, float64
    `[T]`. The bytes of the file depend on keys, values and times alone. While it is written, one row is in memory, and
    the directory of the zip file, about a kilobyte per video.
    """

    name: ClassVar[str] = "npz"

    def check_keys(self, keys: Sequence[str]) -> None:
        """Refuse a key that a zip file cannot hold, and two keys that `numpy.load` would take for one."""
        positions = {key: position for position, key in enumerate(keys, start=1)}
        for key, position in positions.items():
            if key.startswith(_TIMES):
                expected = f"a name that starts with none of {', '.join(_TIMES)}, which hold the times of rows"
                raise refused_name(position, expected, quote(key), "the folder")
            if NO_TEXT.search(key) or len(f"{key}.npy".encode()) > _LONGEST_NAME:
                expected = f"a name that a zip file can hold: Unicode text of at most {_LONGEST_NAME} bytes"
                raise refused_name(position, expected, quote(key))
            if (other := f"{key}.npy") in positions:
                expected = "names that differ by more than .npy, which numpy.load may leave out"
                raise refused_name(positions[other], expected, f"{quote(other)} and {quote(key)}", "one")

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Write the file."""
        with replacing(self.out) as file, zipfile.ZipFile(file, "w") as archive:
            for key, features in rows:
                if features is not None:
                    write_entry(archive, key, features.values)
                    for name, seconds in times_by_name(features).items():
                        write_entry(archive, f"{name}/{key}", seconds)

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The array of each key. Holds one in memory at a time."""
        with reading(self.out):
            archive = zipfile.ZipFile(self.out)
        return _read(archive, keys)

    def read_times(self, keys: Iterable[str]) -> Iterator[Times | None]:
        """The seconds of each key, as far as the file has them."""
        ours, theirs = itertools.tee(keys)
        start, end = (self.read(map(_TIMES[0].__add__, ours)), self.read(map(_TIMES[1].__add__, theirs)))
        return itertools.starmap(times_of, zip(start, end, strict=True))

    def keys(self) -> Iterator[str]:
        """The names of the entries, without `.npy` and without those of times."""
        with reading(self.out), zipfile.ZipFile(self.out) as archive:
            names = archive.namelist()
        return (name.removesuffix(".npy") for name in names if not name.startswith(_TIMES))


def _read(archive: zipfile.ZipFile, keys: Iterable[str]) -> Iterator[Any]:
    with archive:
        for key in keys:
            try:
                yield read_entry(archive, key)
            except ValueError as error:
                yield Unreadable(f"cannot be read: {error}")
