"""The outputs: one file for all videos, or a folder with a file per video. One module per format."""

from __future__ import annotations

import os
from pathlib import Path

from vidfeat.errors import UsageError
from vidfeat.formats.h5 import Hdf5Sink
from vidfeat.formats.json_list import JsonSink
from vidfeat.formats.npy import NpyFolder
from vidfeat.formats.npy_array import as_little_endian
from vidfeat.formats.npz import NpzSink
from vidfeat.formats.pkl import PickleSink
from vidfeat.formats.sink import Sink, Unreadable
from vidfeat.formats.yaml_list import YamlSink
from vidfeat.videos import require_local

__all__ = ["FORMATS", "Sink", "Unreadable", "as_little_endian", "open_sink"]

FORMATS: dict[str, type[Sink]] = {
    "": NpyFolder,
    ".pkl": PickleSink,
    ".pickle": PickleSink,
    ".json": JsonSink,
    ".yaml": YamlSink,
    ".yml": YamlSink,
    ".npz": NpzSink,
    ".h5": Hdf5Sink,
    ".hdf5": Hdf5Sink,
}
"""The format for each suffix of an output, in lower case; a folder has none."""


def open_sink(out: Path | str) -> Sink:
    """The sink for an output.

    A suffix of `FORMATS` means one file; no suffix, a slash at the end, or a folder that exists mean a folder.

    Raises:
        UsageError: an empty path, an address such as `s3://...`, or another suffix; a file where a folder is asked for.
    """
    if not str(out):
        # `Path("")` is the current folder, which `--out "$UNSET"` would fill.
        raise UsageError("output", expected="a path", found="an empty one", hint="Name the current folder as `.`.")
    require_local(
        str(out),
        "output",
        expected="a path on this machine",
        hint="Write to a local path and copy the output when it is finished, or mount the storage.",
    )
    path = Path(out)
    suffix = path.suffix.lower()
    if path.is_dir() or str(out).endswith("/") or not suffix:
        if path.exists() and not path.is_dir():
            raise UsageError(str(out), expected="a folder or a new name for one", found="a file")
        return FORMATS[""](_named(path))
    if suffix not in FORMATS:
        raise UsageError(
            str(out),
            expected=f"one of {', '.join(filter(None, FORMATS))} for one file, "
            "or no suffix for a folder with one .npy per video",
            found=f"{path.suffix!r}",
            hint="End the path with a slash to mean a folder.",
        )
    return FORMATS[suffix](path)


def _named(path: Path) -> Path:
    """The same folder by a name of its own, which `..` is not, for the names of files beside it."""
    named = path if path.name not in ("", "..") else Path(os.path.realpath(path))
    if not named.name:
        raise UsageError(str(path), expected="a folder with a name", found="the root of the file system")
    return named
