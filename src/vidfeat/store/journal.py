"""The journal: an append-only file per rank, to which finished videos are committed one by one."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from vidfeat.errors import OutputError, WriteError
from vidfeat.formats.atomic import sync_folder
from vidfeat.store.identity import RunIdentity, differences
from vidfeat.store.records import (
    JOURNAL_VERSION,
    Body,
    Damaged,
    Opened,
    Record,
    encode,
    find_record,
    read_payload,
    read_record,
    read_records,
)


class AppendFile(io.FileIO):
    """An unbuffered file for a journal; tests put faulty ones in its place."""

    def __init__(self, path: Path) -> None:
        # "r+" neither empties the file nor forbids to cut off a torn record; it does not create the file either.
        super().__init__(path, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666))

    def sync(self) -> None:
        """Return once the bytes are on the disk."""
        os.fsync(self.fileno())


OpenFile = Callable[[Path], AppendFile]


def journal_folder(out: Path) -> Path:
    """The folder with the journals of an output, beside it."""
    return out.with_name(f"{out.name}.journal")


def journal_path(out: Path, rank: int) -> Path:
    """The journal of one rank."""
    return journal_folder(out) / f"rank-{rank:05d}.vfj"


def journals_of(out: Path) -> list[Path]:
    """The journals that there are, in the order of their ranks."""
    return sorted(journal_folder(out).glob("rank-*.vfj"))


def has_journal(out: Path) -> bool:
    """Whether a run of the output was begun and not merged; an emptied journal is none."""
    with contextlib.suppress(FileNotFoundError):  # another rank may just be removing them
        return any(path.stat().st_size for path in journals_of(out))
    return False


def agree(out: Path, proposal: str | None) -> str | None:
    """What the processes of a run agree on about kernels, across all its sessions: the first proposal.

    Args:
        out: the output; its run has been begun.
        proposal: a word; None only asks.

    Raises:
        WriteError: the system refuses.
    """
    path = _agreed_path(out)
    own = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with contextlib.suppress(FileNotFoundError):
            return path.read_text()
        if proposal is None:
            return None
        own.write_text(proposal)
        with contextlib.suppress(FileExistsError):
            os.link(own, path)  # all or nothing, and only if nobody was faster
        own.unlink()
        return path.read_text()
    except OSError as error:
        raise _refused(path, error) from error


def _agreed_path(out: Path) -> Path:
    return journal_folder(out) / "kernels"


class Journal:
    """One rank's journal, open for appending and locked against other processes. Not for use by several threads.

    Opening cuts off a record that a crash left half written at the end.

    Args:
        out: the output that the journal is of.
        identity: the run; an existing journal must be of the same one.
        rank, world_size: whose journal it is, and of how many.
        restart: forget what the journal holds.
        open_file: how the file is opened.

    Raises:
        OutputError: another process has it open; it is of another run; it is damaged before its end.
        WriteError: the system refuses to create or write it.
    """

    def __init__(
        self,
        out: Path,
        identity: RunIdentity,
        *,
        rank: int,
        world_size: int,
        restart: bool = False,
        open_file: OpenFile = AppendFile,
    ) -> None:
        self.path = journal_path(out, rank)
        self._out = out
        self._usable = True
        self._begun = False  # whether it holds more than its opening record
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_file(self.path)
        except OSError as error:
            raise _refused(self.path, error) from error
        try:
            _lock(self._file, self.path)
            self._end = 0 if restart else self._recover(identity)
            self._file.truncate(self._end)
            self._begun = self._end > 0
            if self._end == 0:
                self.append((Opened(identity.to_json(), rank, world_size), b""))
                self._begun = False
                sync_folder(self.path.parent)
        except OSError as error:
            self._file.close()
            raise _refused(self.path, error) from error
        except BaseException:
            self._file.close()
            raise

    def append(self, *records: tuple[Body, bytes]) -> None:
        """Commit records, each with its payload, and wait for the disk once: when this returns, they survive a crash of
        the machine.

        Raises:
            WriteError: the system refused. Nothing of the records is left behind, or a torn end that the next opening
                cuts off; what was committed before stands.
        """
        if not self._usable:
            raise WriteError(
                str(self.path), expected="a journal that can be appended to", found="one that failed before"
            )
        # Until the disk has been waited for, a loss of power may keep the second of them and lose the first.
        data = b"".join(
            encode(body, payload, synced=self._end if number else None)
            for number, (body, payload) in enumerate(records)
        )
        try:
            self._file.seek(self._end)
            written = self._file.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were taken")
            self._file.sync()
        except OSError as error:
            self._cut_back()
            raise _refused(self.path, error) from error
        self._end += len(data)
        self._begun = True

    def close(self) -> None:
        """Release the file and its lock; harmless when repeated."""
        if not self._file.closed:
            _unlock(self._file)
            self._file.close()

    def abandon(self) -> None:
        """Close, and leave nothing behind if nothing was ever committed."""
        if not self._begun:
            with contextlib.suppress(OSError):
                self.path.unlink()
            if not journals_of(self._out):
                remove_journals(self._out)
        self.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _recover(self, identity: RunIdentity) -> int:
        """Where the sound records end. What follows is a torn record, never a sound one."""
        file = cast(BinaryIO, self._file)
        size = os.fstat(self._file.fileno()).st_size
        end = 0
        for record in read_records(file, 0, size=size, check_payloads=True):
            if end == 0:
                require_same_run(self.path, record.body, identity)
            end = record.end
        require_torn(self.path, file, end, size=size)
        return end

    def _cut_back(self) -> None:
        try:
            self._file.truncate(self._end)
        except OSError:
            self._usable = False


class JournalReader:
    """Reads any rank's journal, also while that rank appends to it. Holds the file open; close it.

    Attributes:
        path: the file.
        end: the offset up to which records were read.
    """

    def __init__(self, path: Path, identity: RunIdentity) -> None:
        self.path = path
        self.end = 0
        self._identity = identity
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise _unreadable(path, error) from error

    def new_records(self) -> Iterator[Record]:
        """The records that were committed since the last call. Payloads are not read.

        Raises:
            OutputError: the journal is of another run, is damaged, or cannot be read.
        """
        try:
            size = os.fstat(self._file.fileno()).st_size
            for record in read_records(self._file, self.end, size=size):
                if record.offset == 0:
                    require_same_run(self.path, record.body, self._identity)
                self.end = record.end
                yield record
            require_torn(self.path, self._file, self.end, size=size)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def record_at(self, offset: int) -> Record:
        """The record at an offset that `new_records` gave."""
        try:
            return read_record(self._file, offset, size=self.end)
        except (OSError, Damaged) as error:
            raise _changed(self.path, offset) from error

    def payload(self, record: Record) -> bytes:
        """The payload of a record of this journal."""
        try:
            return read_payload(self._file, record)
        except (OSError, Damaged) as error:
            raise _changed(self.path, record.offset) from error

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def remove_journals(out: Path) -> None:
    """Remove the journals of an output, and their folder if nothing else is in it. What cannot go, stays."""
    for path in [*journals_of(out), _agreed_path(out)]:
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        journal_folder(out).rmdir()


def clear_idle_journals(out: Path) -> None:
    """Empty those journals that no process has open, and forget what was agreed on. A process that opens one of them
    later begins it anew.
    """
    for path in journals_of(out):
        # Emptied and not removed: a process may be about to lock the file, and must not lock one that is gone.
        with contextlib.suppress(OSError, OutputError), AppendFile(path) as file:
            _lock(file, path)
            file.truncate(0)
            _unlock(file)
    with contextlib.suppress(OSError):
        _agreed_path(out).unlink()


def require_same_run(path: Path, body: Body, identity: RunIdentity) -> None:
    """Raise `OutputError` unless `body` opens a journal of this run in a version that is understood."""
    if not isinstance(body, Opened):
        raise OutputError(str(path), expected="a journal that begins with its run", found=f"a {body.tag!r} record")
    if body.version != JOURNAL_VERSION:
        raise OutputError(
            str(path),
            expected=f"journal version {JOURNAL_VERSION}",
            found=f"version {body.version}",
            hint="Finish the run with the vidfeat that began it, or begin anew with --restart.",
        )
    try:
        there = RunIdentity.from_json(body.identity)
    except ValueError as error:
        raise OutputError(str(path), expected="a journal that names its run", found=str(body.identity)) from error
    if there != identity:
        raise other_run(path, there, identity)


def other_run(where: Path, there: RunIdentity, now: RunIdentity) -> OutputError:
    """What to say when an output belongs to another run."""
    return OutputError(
        str(where),
        expected="an output of this very run",
        found="another run: " + "; ".join(differences(there, now)),
        hint="Choose another output, or give --restart to replace what is there.",
    )


def require_torn(path: Path, file: BinaryIO, end: int, *, size: int) -> None:
    """Raise `OutputError` if the bad bytes at `end` were on the disk when a sound record that follows was written.

    That is damage, and no interrupted write.
    """
    sound = find_record(file, end, size=size)
    while sound is not None:
        record = read_record(file, sound, size=size)
        if record.synced > end:
            raise _damaged(path, end, sound)
        sound = find_record(file, record.end, size=size)


def _damaged(path: Path, end: int, sound: int) -> OutputError:
    return OutputError(
        str(path),
        expected=f"a sound record at byte {end}",
        found=f"damaged bytes, with sound records again from byte {sound}",
        hint="The disk or another program changed the file. Restore it from a copy, or begin anew with --restart.",
    )


def _changed(path: Path, offset: int) -> OutputError:
    return OutputError(
        str(path),
        expected=f"the record that was committed at byte {offset}",
        found="other bytes",
        hint="The disk or another program changed the file. Restore it from a copy, or begin anew with --restart.",
    )


def _unreadable(path: Path, error: OSError) -> OutputError:
    return OutputError(str(path), expected="a readable journal", found=error.strerror or str(error))


def _refused(path: Path, error: OSError) -> WriteError:
    return WriteError(
        str(path),
        expected="to write the journal",
        found=error.strerror or str(error),
        hint="Free space or correct the permissions, then run the same command again: finished videos are kept.",
    )


# --- the lock ---------------------------------------------------------------------------------------------------------


def _lock(file: AppendFile, path: Path) -> None:
    """Take the file for this process, or raise `OutputError`. Where the file system has no locks, go without."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise OutputError(
                str(path),
                expected="to be the only process that writes this output with this rank",
                found="another process that is writing it",
                hint="Wait for it or stop it. If ranks were started together, give each its own number.",
            ) from error


def _unlock(file: AppendFile) -> None:
    """Give the file back, also on behalf of forked children, which share the lock."""
    if sys.platform == "win32":
        return
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
