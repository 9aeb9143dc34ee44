"""Files that are either there in full or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from vidfeat.errors import OutputError, WriteError, reason, system_errors
from vidfeat.storage import sync_folder

FILES_AT_ONCE = 8
"""Files that are written and synchronized at once; disks and network file systems do that in parallel."""

_NAME_ERRORS = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


class FileNameError(WriteError):
    """The file system cannot take the name of a file: it is too long, or has characters that it does not allow."""


def replace_all(contents: Mapping[Path, Callable[[BinaryIO], object]]) -> dict[Path, FileNameError]:
    """Write some files. Each replaces what is there, and is on disk, with its full size, when this returns.

    Args:
        contents: for each file, what writes it. Folders that are missing are created.

    Returns:
        The error for each file whose name the file system cannot take.

    Raises:
        WriteError: the system refused one of them. Others may be there already, each of them whole.
    """
    refused: dict[Path, FileNameError] = {}

    def replace(path: Path) -> None:
        try:
            _create_folder(path.parent)
            with _replacing(path) as file:
                contents[path](file)
        except FileNameError as error:
            refused[path] = error

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for _ in pool.map(replace, contents):
            pass
    for folder in dict.fromkeys(path.parent for path in contents if path not in refused):
        with _as_write_error(folder):
            sync_folder(folder)
    return refused


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, for writing and reading, that replaces `path` when the block ends.

    The file must be positioned at its end when the block ends: that many bytes have to be there. When the block fails,
    the temporary file is removed and `path` is as before. The temporary name depends on `path` alone, so that what a
    killed process left behind is overwritten by the next one; two processes must not write the same path at once.

    Raises:
        WriteError: the system refused.
    """
    with _replacing(path) as file:
        yield file
    with _as_write_error(path):
        sync_folder(path.parent)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """The same, but the new name may not survive a crash of the machine before its folder is synchronized, too."""
    temporary = path.with_name(f".vidfeat-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.tmp")
    with _as_write_error(path):
        with _naming(path):
            temporary.unlink(missing_ok=True)
        try:
            # "x": whatever appears under the name now, such as a link to elsewhere, is not ours to write through.
            with _naming(path):
                file = temporary.open("x+b")
            with file:
                yield file
                file.flush()
                size = os.fstat(file.fileno()).st_size
                if size != file.tell():
                    raise OSError(errno.EIO, f"{size} of {file.tell()} bytes on disk")
                os.fsync(file.fileno())
            with _naming(path):
                temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Around calls that look at the name of `path`; elsewhere the same error numbers mean something else."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NAME_ERRORS:
            raise
        raise FileNameError(
            str(path),
            expected="a name that the file system accepts",
            found=reason(error),
            hint="Rename the video, or write a single file such as features.pkl.",
        ) from error


def _as_write_error(path: Path) -> contextlib.AbstractContextManager[None]:
    hint = "Free space or correct the permissions, then run the same command again: finished videos are kept."
    return system_errors(WriteError, path, expected="to write the file", hint=hint)


def _create_folder(folder: Path) -> None:
    with _as_folder_error(WriteError, folder):
        with _naming(folder):
            missing = list(itertools.takewhile(lambda path: not path.exists(), [folder, *folder.parents]))
            folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_folder(path.parent)


def require_writable(folder: Path) -> None:
    """Create a folder where there is none, and see that it takes files.

    Raises:
        OutputError: the system refused.
    """
    with _as_folder_error(OutputError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def _as_folder_error(kind: type[OutputError], folder: Path) -> contextlib.AbstractContextManager[None]:
    hint = "Choose another output or correct the permissions."
    return system_errors(kind, folder, expected="a folder to write to, or to create", hint=hint)


def remove(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        WriteError: the system refused.
    """
    hint = "Correct the permissions, then run the same command again: finished videos are kept."
    with system_errors(WriteError, path, expected="to remove what is to be replaced", hint=hint):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            # With such a name, or with a file where its folder would be, it is not there either.
            if error.errno not in {errno.ENOTDIR, *_NAME_ERRORS}:
                raise
