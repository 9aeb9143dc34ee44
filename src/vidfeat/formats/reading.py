"""Errors for outputs that cannot be read, and for libraries of formats that are not there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vidfeat.errors import OutputError, shorten
from vidfeat.storage import bytes_on_disk

_MOST_EXPANSION = 32
"""Compression stores features in a part of their bytes, but never in so small a part."""

_SMALL_BYTES = 64 << 20


def most_bytes(stored: int) -> int:
    """How many bytes so many stored ones may expand to, when an output is read."""
    return _SMALL_BYTES + _MOST_EXPANSION * stored


def require_dense(status: os.stat_result) -> None:
    """Refuse a file that is sparse: its zeros would take memory and time that its bytes on the disk do not justify.

    Raises:
        ValueError: it is one.
    """
    there = bytes_on_disk(status)
    if status.st_size > most_bytes(there):
        raise ValueError(f"a file of {status.st_size} bytes, of which {there} are on the disk")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever reading an output raises into an error that names it.

    Raises:
        OutputError: the path is no regular file, such as a pipe or a device, which has no end, or a sparse one; the
            block raised something else than that.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(str(path), expected="an output that can be read", found="no regular file")
        require_dense(status)
        yield
    except OutputError:
        raise
    except Exception as error:  # readers of damaged bytes raise nearly anything
        found = "no such file" if isinstance(error, FileNotFoundError) else shorten(f"{type(error).__name__}: {error}")
        raise OutputError(str(path), expected="an output that can be read", found=found) from error
