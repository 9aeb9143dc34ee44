"""Files that are either there in full or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vidfeat.errors import WriteError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place, on disk for good, when the block ends well.

    When the block fails, the temporary file is removed and `path` is as before. The temporary name depends on `path`
    alone, so that what a killed process left behind is overwritten by the next one; two processes must not write the
    same path at once.

    Raises:
        WriteError: the system refused.
    """
    temporary = path.with_name(f".vidfeat-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        try:
            # "x": whatever appears under the name now, such as a link to elsewhere, is not ours to write through.
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise WriteError(
            str(path),
            expected="to write the file",
            found=error.strerror or str(error),
            do="Free space or correct the permissions, then run the same command again: finished videos are kept.",
        ) from error


def remove(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        WriteError: the system refused.
    """
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        pass  # a file is where its folder would be, so it is not there either
    except OSError as error:
        raise WriteError(
            str(path),
            expected="to remove what is to be replaced",
            found=error.strerror or str(error),
            do="Correct the permissions, then run the same command again: finished videos are kept.",
        ) from error


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a crash of the machine, where the system can do that."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
