"""Files that are either there in full or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from vidfeat.errors import WriteError

FILES_AT_ONCE = 8
"""Files that are written, and waited for, at once; disks and network file systems do that side by side."""


def replace_all(contents: Mapping[Path, Callable[[BinaryIO], object]]) -> None:
    """Write some files; each takes the place of what is there, and is on disk for good when this returns.

    Args:
        contents: of every file, what writes it.

    Raises:
        WriteError: the system refused one of them. Others may be there already, each of them whole.
    """

    def replace(path: Path) -> None:
        with _replacing(path) as file:
            contents[path](file)

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for _ in pool.map(replace, contents):
            pass
    for folder in dict.fromkeys(path.parent for path in contents):
        with _as_write_error(folder):
            sync_folder(folder)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place, on disk for good, when the block ends well.

    When the block fails, the temporary file is removed and `path` is as before. The temporary name depends on `path`
    alone, so that what a killed process left behind is overwritten by the next one; two processes must not write the
    same path at once.

    Raises:
        WriteError: the system refused.
    """
    with _replacing(path) as file:
        yield file
    with _as_write_error(path):
        sync_folder(path.parent)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """The same, but that the new name may not survive a crash of the machine before its folder is on disk, too."""
    temporary = path.with_name(f".vidfeat-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.tmp")
    with _as_write_error(path):
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


@contextlib.contextmanager
def _as_write_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(
            str(path),
            expected="to write the file",
            found=error.strerror or str(error),
            hint="Free space or correct the permissions, then run the same command again: finished videos are kept.",
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
            hint="Correct the permissions, then run the same command again: finished videos are kept.",
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
