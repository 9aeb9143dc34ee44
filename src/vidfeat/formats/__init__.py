"""The outputs: one file for all videos, or a folder with a file per video. One module per format of one file; those of
the files of folders are in `video_file`.
"""

from __future__ import annotations

import os
from pathlib import Path

from vidfeat.errors import UsageError
from vidfeat.formats.folder import FolderSink
from vidfeat.formats.h5 import Hdf5Sink
from vidfeat.formats.json_list import JsonSink
from vidfeat.formats.npy_array import as_little_endian
from vidfeat.formats.npz import NpzSink
from vidfeat.formats.parquet import ParquetSink
from vidfeat.formats.pkl import PickleSink
from vidfeat.formats.sink import Sink, Unreadable
from vidfeat.formats.video_file import FILE_FORMATS
from vidfeat.formats.yaml_list import YamlSink
from vidfeat.storage import is_uri

__all__ = ["FILE_FORMATS", "FORMATS", "KEY", "FolderSink", "Sink", "Unreadable", "as_little_endian", "open_sink"]

FORMATS: dict[str, type[Sink]] = {
    "": FolderSink,
    ".pkl": PickleSink,
    ".pickle": PickleSink,
    ".json": JsonSink,
    ".yaml": YamlSink,
    ".yml": YamlSink,
    ".npz": NpzSink,
    ".h5": Hdf5Sink,
    ".hdf5": Hdf5Sink,
    ".parquet": ParquetSink,
}
"""The format for each suffix of an output, in lower case; a folder has none."""


KEY = "{key}"
"""Stands for the name of a video in the name of an output that is a folder."""


def open_sink(out: Path | str) -> Sink:
    """The sink for an output.

    A suffix of `FORMATS` means one file. No suffix, a slash at the end, or a folder that exists mean a folder with one
    `.npy` per video. `FOLDER/{key}.SUFFIX` means a folder with files of that suffix, one of `FILE_FORMATS`.

    Raises:
        UsageError: an empty path, an address such as `s3://...`, or another suffix; a file where a folder is asked for.
    """
    if not str(out):
        # `Path("")` is the current folder, which `--out "$UNSET"` would fill.
        raise UsageError("output", expected="a path", found="an empty one", hint="Name the current folder as `.`.")
    if is_uri(str(out)):
        raise UsageError(
            "output",
            expected="a path on this machine",
            found=repr(str(out)),
            hint="`vidfeat extract` writes Parquet files to object storage, and other formats to local paths.",
        )
    path = Path(out)
    suffix = path.suffix.lower()
    if KEY in str(out):
        if path.stem != KEY or KEY in str(path.parent) or suffix not in FILE_FORMATS:
            raise UsageError(
                str(out),
                expected=f"a folder, and in it {KEY} with one of {', '.join(FILE_FORMATS)}",
                found=repr(str(out)),
                hint=f"Write for example features/{KEY}.npz.",
            )
        return FolderSink(_folder(path.parent, str(out)), FILE_FORMATS[suffix])
    if path.is_dir() or str(out).endswith("/") or not suffix:
        return FORMATS[""](_folder(path, str(out)))
    if suffix not in FORMATS:
        per_video = f"{KEY}{suffix}" if suffix in FILE_FORMATS else f"{KEY}.npz"
        raise UsageError(
            str(out),
            expected=f"one of {', '.join(filter(None, FORMATS))} for one file, "
            f"no suffix for a folder with one .npy per video, or a name such as features/{per_video}",
            found=f"{path.suffix!r}",
            hint="End the path with a slash to mean a folder.",
        )
    return FORMATS[suffix](path)


def _folder(path: Path, out: str) -> Path:
    """A path that is a folder or can become one, by a name of its own, which `..` is not, for the files beside it."""
    if path.exists() and not path.is_dir():
        raise UsageError(out, expected="a folder or a new name for one", found="a file")
    named = path if path.name not in ("", "..") else Path(os.path.realpath(path))
    if not named.name:
        raise UsageError(str(path), expected="a folder with a name", found="the root of the file system")
    return named
