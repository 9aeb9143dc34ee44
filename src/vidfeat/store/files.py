"""Where a run keeps its files, and the lock that a process holds on its share of them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfeat.errors import OutputError, WriteError, system_errors

KEPT = "Free space or correct the permissions, then run the same command again: finished videos are kept."
"""What to do about a write that the system refused."""

_ATTEMPTS = 5
"""Another process that only asks whether a lock is held keeps it from its owner for a moment."""


@dataclass(frozen=True)
class RunFiles:
    """The files beside an output.

    Attributes:
        out: the output.
    """

    out: Path

    @property
    def manifest(self) -> Path:
        """What a finished output holds."""
        return self.out.with_name(f"{self.out.name}.manifest.jsonl")

    @property
    def folder(self) -> Path:
        """Everything that is there only until the output is finished."""
        return self.out.with_name(f"{self.out.name}.vidfeat")

    @property
    def earlier_manifest(self) -> Path:
        """The manifest of an output in place that is being changed."""
        return self.folder / "earlier.manifest.jsonl"

    @property
    def pins(self) -> Path:
        """The database of what all ranks have in common."""
        return self.folder / "run.sqlite"

    def database(self, rank: int) -> Path:
        """The database that one rank writes."""
        return self.folder / f"rank-{rank:05d}.sqlite"

    def databases(self) -> list[Path]:
        """The databases that there are, in the order of their ranks."""
        return sorted(self.folder.glob("rank-*.sqlite"))

    def version_1_journals(self) -> list[Path]:
        """What version 1 of vidfeat left of a run that was not finished."""
        return sorted(self.out.with_name(f"{self.out.name}.journal").glob("rank-*.vfj"))

    def signature(self) -> list[Any]:
        """What changes when any file does from which is known what is finished; first, that of the manifest."""
        databases = self.databases()
        return [file_signature(path) for path in (self.manifest, self.earlier_manifest, *databases)]

    def remove_folder(self) -> None:
        """Remove the databases, and the folder if no process holds a lock in it. What cannot be removed stays."""
        others = (self.earlier_manifest, self.pins, self.pins.with_name(f"{self.pins.name}-journal"))
        remove_if_possible(*self.folder.glob("rank-*.sqlite*"), *others)
        remove_if_possible(*(path for path in self.folder.glob("rank-*.lock") if not is_locked(path)))
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def remove_unused_folder(self) -> bool:
        """Remove the folder if it holds nothing that was committed and no lock; whether it is gone."""
        pins = {self.pins.name, f"{self.pins.name}-journal"}
        with contextlib.suppress(OSError):
            if {path.name for path in self.folder.iterdir()} <= pins:
                for name in pins:
                    (self.folder / name).unlink(missing_ok=True)
                self.folder.rmdir()
        return not self.folder.exists()

    def other_ranks_run(self, rank: int) -> bool:
        """Whether another process holds the lock of another rank."""
        own = self.database(rank).with_suffix(".lock")
        return any(is_locked(path) for path in self.folder.glob("rank-*.lock") if path != own)

    def remove_version_1_journals(self) -> None:
        """Remove what version 1 left. What cannot be removed stays."""
        for path in self.version_1_journals():
            remove_if_possible(path, path.with_name("kernels"))
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def remove_if_possible(*paths: Path) -> None:
    """Remove files, apart from those that are not there or cannot be removed."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def file_signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class RankLock:
    """Keeps other processes from writing with the same rank, until `close`.

    Args:
        database: the rank's database; the lock is a file beside it.
        superseded: the number of the last row in the database that does not count any more; for `superseded_of`.

    Raises:
        OutputError: another process holds it.
        WriteError: the system refused.
    """

    def __init__(self, database: Path, superseded: int = 0) -> None:
        self._path = database.with_suffix(".lock")
        with system_errors(WriteError, self._path, expected="to write the lock of this process", hint=KEPT):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._acquire()
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps({"pid": os.getpid(), "superseded": superseded}).encode(), 0)

    def close(self, *, remove: bool) -> None:
        """Release it.

        Args:
            remove: whether to remove the file, too.
        """
        if remove:
            remove_if_possible(self._path)
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)  # also on behalf of forked children, which share it
        os.close(self._file)

    def _acquire(self) -> int:
        for attempt in range(_ATTEMPTS):
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if _flock(file, fcntl.LOCK_EX) and _is_at(file, self._path):
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)
            time.sleep(0.02 * attempt)
        raise OutputError(
            str(self._path),
            expected="to be the only process that writes this output with this rank",
            found="another process that is writing it",
            hint="Wait for it or stop it. If ranks were started together, give each its own number.",
        )


def is_locked(lock: Path) -> bool:
    """Whether a process holds this lock."""
    try:
        file = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _flock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def superseded_of(database: Path) -> int | None:
    """What the process that holds a rank's lock says of the rows in its database; None where none holds it."""
    lock = database.with_suffix(".lock")
    if not is_locked(lock):
        return None
    try:
        return int(json.loads(lock.read_bytes())["superseded"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _flock(file: int, kind: int) -> bool:
    """Whether the lock was free. Where the file system has no locks, it always is."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether the path still leads to the file; another process may have removed it before it was locked."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
