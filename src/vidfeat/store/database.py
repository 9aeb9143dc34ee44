"""The SQLite databases of a run: one for each process that writes, read by all.

With a rollback journal and not a write-ahead log: the latter needs memory that all who have the database open share, so
it does not work for ranks, or readers, on several machines with one file system.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat.errors import OutputError, WriteError, quote, reason, shorten
from vidfeat.features import Values
from vidfeat.storage import sync_folder
from vidfeat.store.files import KEPT, remove_if_possible
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.rows import (
    UNKNOWN_SIZE,
    IndexEntry,
    Row,
    require_dtype,
    require_object,
    segment_from_json,
    to_text,
)
from vidfeat.videos import Cut

SCHEMA_VERSION = 1

_SCHEMA = (
    # The name of this database; those who forget what it holds up to a row refer to it.
    "CREATE TABLE database (id TEXT NOT NULL)",
    # Rows up to this one of another database, or a whole manifest, do not count: computing was started over.
    "CREATE TABLE superseded (source TEXT PRIMARY KEY, through INTEGER NOT NULL)",
    "CREATE TABLE identities (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, description TEXT NOT NULL)",
    "CREATE TABLE sessions (id INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE)",
    """CREATE TABLE videos (
        number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, status TEXT NOT NULL,
        identity INTEGER NOT NULL, session INTEGER NOT NULL, committed INTEGER NOT NULL,
        bytes INTEGER, modified_ns INTEGER, segment TEXT, shape TEXT, dtype TEXT, sha256 TEXT, error TEXT)""",
    # Apart, so that what is finished can be read without it.
    """CREATE TABLE contents (
        number INTEGER PRIMARY KEY, start_seconds BLOB, end_seconds BLOB, info TEXT, payload BLOB)""",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_PINS = "CREATE TABLE pins (identity TEXT PRIMARY KEY, backend TEXT NOT NULL)"
_KNOWN = {" ".join(text.split()) for text in (*_SCHEMA, _PINS, "CREATE TABLE sqlite_sequence(name,seq)")}
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_KEYS = "utf-8", "surrogateescape"
"""How keys are stored as bytes; SQLite's texts take no bytes of a name that are not UTF-8."""

_PATIENCE_SECONDS = 120.0
"""How long to wait while another process holds the database: it reads, or writes one commit."""

_PAGE = 20_000
"""Rows that are read at a time, during which the process that writes the database has to wait."""


@dataclass(frozen=True)
class DatabaseFacts:
    """What a database says of itself.

    Attributes:
        id: its name.
        last: the number of its last row, 0 where it never had one.
        superseded: what it says not to count: for each database or manifest by name, the last row that does not.
    """

    id: str
    last: int
    superseded: dict[str, int]


class Reader:
    """Reads a database, while its owner may be writing it.

    Raises:
        OutputError: it cannot be read, is damaged, or has another version.
        FileNotFoundError: it is not there, or nothing was ever committed to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise FileNotFoundError(path)
        with self._errors():
            _check_journal(path)
            # Not "ro": what a killed process left half written has to be rolled back. Nothing else is written.
            uri = f"{path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._connection.execute("PRAGMA query_only = ON")
                if not _is_begun(path, self._connection):
                    raise FileNotFoundError(path)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def facts(self) -> DatabaseFacts:
        """What the database says of itself."""
        with self._errors():
            ((name,),) = self._connection.execute("SELECT id FROM database")
            last = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'videos'").fetchone()
            superseded = dict(self._connection.execute("SELECT source, through FROM superseded"))
            _require(str, name, *superseded)  # SQLite keeps values of any type in any column
            _require(int, *(last or ()), *superseded.values())
        return DatabaseFacts(name, last[0] if last else 0, superseded)

    def entries(self, after: int = 0) -> Iterator[IndexEntry]:
        """The rows after the one with the number `after`, in the order of their commits."""
        while True:
            with self._errors():
                rows = self._connection.execute(
                    "SELECT number, key, status, identity, session, committed, bytes, modified_ns, segment"
                    f" FROM videos WHERE number > ? ORDER BY number LIMIT {_PAGE}",
                    (after,),
                ).fetchall()
                # After the rows, so that they are there for each of them.
                identities = dict(self._connection.execute("SELECT id, identity FROM identities"))
                sessions = dict(self._connection.execute("SELECT id, session FROM sessions"))
                _require(str, *identities.values(), *sessions.values())
                for text in identities.values():
                    WorkIdentity.from_json(json.loads(text))
                for number, key, status, identity, session, committed, size, modified_ns, segment in rows:
                    if status not in ("done", "failed", "void"):
                        raise ValueError(f"{status!r} is no status")
                    size, modified_ns = (None if value is None else int(value) for value in (size, modified_ns))
                    place = number, key.decode(*_KEYS), status, identities[identity], sessions[session]
                    yield IndexEntry(*place, int(committed), size, modified_ns, _from_text(segment))
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def row(self, number: int) -> Row:
        """A row, without its values."""
        with self._errors():
            values = self._connection.execute(
                "SELECT key, status, bytes, modified_ns, session, segment, shape, dtype, sha256, error,"
                " start_seconds, end_seconds, info FROM videos JOIN contents USING (number) WHERE number = ?",
                (number,),
            ).fetchone()
            key, status, size, modified_ns, session, segment, shape, dtype, sha256, error, start, end, info = values
            (text,) = self._connection.execute("SELECT session FROM sessions WHERE id = ?", (session,)).fetchone()
            return Row(
                key.decode(*_KEYS),
                status,
                None if size == UNKNOWN_SIZE else (size, modified_ns),
                text,
                _from_text(segment),
                shape=None if shape is None else tuple(json.loads(shape)),
                sha256=sha256,
                start_seconds=None if start is None else np.frombuffer(start, "<f8"),
                end_seconds=None if end is None else np.frombuffer(end, "<f8"),
                info=None if info is None else require_object(json.loads(info)),
                error=None if error is None else require_object(json.loads(error)),
                dtype=require_dtype(dtype),
            )

    def values(self, number: int, row: Row) -> Values | None:
        """The values of a row; None where they are in the output and not here.

        Raises:
            OutputError: they are not those that were committed.
        """
        with self._errors():
            (payload,) = self._connection.execute("SELECT payload FROM contents WHERE number = ?", (number,)).fetchone()
            if payload is None:
                return None
            dtype = np.dtype(row.dtype).newbyteorder("<")
            if row.shape is None or len(payload) != dtype.itemsize * math.prod(row.shape):
                raise ValueError(f"{len(payload)} bytes of {row.key!r}")
            values = np.frombuffer(payload, dtype).reshape(row.shape)
            problem = row.problem_of(values)
            if problem:
                raise ValueError(f"{row.key!r} {problem}")
        return values

    def description(self, identity: str) -> dict[str, Any] | None:
        """What was said of an identity, given as JSON text, when its first row was committed here."""
        with self._errors():
            found = self._connection.execute(
                "SELECT description FROM identities WHERE identity = ?", (identity,)
            ).fetchone()
            if found is None:
                return None
            description = json.loads(found[0])
            return {**description, "checkpoint": {**description["checkpoint"]}}

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return _as_output_errors(self.path)


class Writer:
    """Writes the database of one rank, which is created by the first commit. Hold its lock.

    Args:
        path: the file.
        identity: of the rows that are committed.
        description: of the identity, for manifests.
    """

    def __init__(self, path: Path, identity: WorkIdentity, description: str) -> None:
        self.path = path
        self._identity = identity.to_json()
        self._description = description
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One commit: safe on the disk when the block ends, and nothing of it there when the block fails.

        Raises:
            WriteError: the system refused.
            OutputError: the database is damaged, or gone.
        """
        if self._connection is not None and not self.path.exists():
            raise finished_meanwhile(self.path)
        with _as_write_errors(self.path):
            connection = self._connection = self._connection or connect(self.path)
            connection.execute("BEGIN IMMEDIATE")
            try:
                if not connection.execute("PRAGMA user_version").fetchone()[0]:
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute("INSERT INTO database VALUES (?)", (secrets.token_hex(8),))
                yield Transaction(connection, to_text(self._identity), self._description)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def is_empty(self) -> bool:
        """Whether nothing was ever committed."""
        try:
            with Reader(self.path) as reader:
                return reader.facts().last == 0
        except FileNotFoundError:
            return True
        except OutputError:
            return False

    def remove(self) -> None:
        """Remove the database; the next commit begins another."""
        self.close()
        remove_if_possible(self.path, self.path.with_name(f"{self.path.name}-journal"))

    def close(self) -> None:
        """Release the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Transaction:
    """Takes rows; from `Writer.transaction`."""

    def __init__(self, connection: sqlite3.Connection, identity: str, description: str) -> None:
        self._connection = connection
        connection.execute(
            "INSERT OR IGNORE INTO identities (identity, description) VALUES (?, ?)", (identity, description)
        )
        (self._identity,) = connection.execute("SELECT id FROM identities WHERE identity = ?", (identity,)).fetchone()
        self._sessions: dict[str, int] = {}

    def put(self, row: Row, payload: bytes | None, committed: int) -> int:
        """Add a row, in the place of an earlier one of the same video; returns its number."""
        session = self._session(row.session)
        size, modified_ns = (UNKNOWN_SIZE, None) if row.stamp is None else row.stamp
        key = row.key.encode(*_KEYS)
        self._connection.execute(
            "DELETE FROM contents WHERE number = (SELECT number FROM videos WHERE key = ?)", (key,)
        )
        number = self._connection.execute(
            "INSERT OR REPLACE INTO videos (key, status, identity, session, committed, bytes, modified_ns,"
            " segment, shape, dtype, sha256, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                row.status,
                self._identity,
                session,
                committed,
                size,
                modified_ns,
                None if row.segment is None else json.dumps(row.segment),
                None if row.shape is None else json.dumps(row.shape),
                None if row.shape is None else row.dtype,
                row.sha256,
                None if row.error is None else json.dumps(row.error),
            ),
        ).lastrowid
        assert number is not None
        self._connection.execute(
            "INSERT INTO contents VALUES (?, ?, ?, ?, ?)",
            (
                number,
                None if row.start_seconds is None else row.start_seconds.astype("<f8").tobytes(),
                None if row.end_seconds is None else row.end_seconds.astype("<f8").tobytes(),
                None if row.info is None else json.dumps(row.info, allow_nan=False),
                payload,
            ),
        )
        return number

    def start_over(self, superseded: dict[str, int]) -> None:
        """Let no row count that is here, nor those of other sources up to a number. Keys stay: their files may, too."""
        self._connection.execute("UPDATE videos SET status = 'void'")
        self._connection.execute("DELETE FROM contents")
        self._connection.executemany("INSERT OR REPLACE INTO superseded VALUES (?, ?)", superseded.items())

    def _session(self, session: str) -> int:
        if session not in self._sessions:
            self._connection.execute("INSERT OR IGNORE INTO sessions (session) VALUES (?)", (session,))
            found = self._connection.execute("SELECT id FROM sessions WHERE session = ?", (session,))
            (self._sessions[session],) = found.fetchone()
        return self._sessions[session]


def connect(path: Path) -> sqlite3.Connection:
    """Open a database for writing; create it where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    created = not path.exists()
    _check_journal(path)
    connection = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        # Committed when the journal is empty on the disk; a folder need not be waited for again.
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: through the disk's own cache
        _is_begun(path, connection)
        if created:
            sync_folder(path.parent.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def pin(path: Path, identity: WorkIdentity, proposal: str | None) -> str | None:
    """What all processes and sessions of an identity use: what any of them proposed first.

    Args:
        path: the database for it.
        identity: whose.
        proposal: by this process; None only asks.

    Raises:
        WriteError, OutputError: as for `Writer.transaction`.
    """
    if proposal is None and not path.exists():
        return None
    with _pins(path) as connection:
        key = to_text(identity.to_json())
        if proposal is not None:
            connection.execute("INSERT OR IGNORE INTO pins VALUES (?, ?)", (key, proposal))
        found = connection.execute("SELECT backend FROM pins WHERE identity = ?", (key,)).fetchone()
    return None if found is None else str(found[0])


def forget_pin(path: Path, identity: WorkIdentity) -> None:
    """Forget what was proposed."""
    if path.exists():
        with _pins(path) as connection:
            connection.execute("DELETE FROM pins WHERE identity = ?", (to_text(identity.to_json()),))


@contextlib.contextmanager
def _pins(path: Path) -> Iterator[sqlite3.Connection]:
    with _as_write_errors(path), contextlib.closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_PINS.replace("TABLE", "TABLE IF NOT EXISTS", 1))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        yield connection
        connection.execute("COMMIT")


def _is_begun(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether anything was ever committed; raises `OutputError` where another version did."""
    connection.execute("BEGIN")  # the first commit of another process may fall between two reads
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = connection.execute("SELECT type, name, substr(sql, 1, 9999) FROM sqlite_master LIMIT 99").fetchall()
    finally:
        connection.execute("ROLLBACK")
    if version == 0 and not tables:
        return False
    if version != SCHEMA_VERSION:
        raise OutputError(
            str(path),
            expected=f"a run database of version {SCHEMA_VERSION}",
            found=f"version {version}",
            hint="Finish the run with the vidfeat that started it, or start over with `restart=True`.",
        )
    for kind, name, text in tables:  # indexes that come with a table have no text
        if (
            text is not None and " ".join(str(text).split()) not in _KNOWN
        ):  # views, triggers and computed columns can run for ever
            raise sqlite3.DatabaseError(f"the {kind} {quote(str(name))}, which vidfeat does not make")
    return True


def _check_journal(path: Path) -> None:
    """Refuse a journal that belongs to several databases: its last bytes name a file, which SQLite would remove."""
    journal = path.with_name(f"{path.name}-journal")
    if journal.is_file() and journal.stat().st_size:
        with journal.open("rb") as file:
            file.seek(-min(len(_SUPER_JOURNAL), journal.stat().st_size), os.SEEK_END)
            if file.read() == _SUPER_JOURNAL:
                raise _damaged(path, ValueError("a journal of several databases, which vidfeat does not write"))


def _require(kind: type, *values: object) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{shorten(repr(value))} is no {kind.__name__}")


def _from_text(segment: str | None) -> Cut | None:
    return None if segment is None else segment_from_json(json.loads(segment))


@contextlib.contextmanager
def _as_write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise WriteError(str(path), expected="to write the run's database", found=reason(error), hint=KEPT) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error


@contextlib.contextmanager
def _as_output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if not path.exists():
            raise FileNotFoundError(path) from error
        raise OutputError(
            str(path),
            expected="a run database that can be read",
            found=str(error),
            hint="Correct the permissions, or start over with `restart=True`.",
        ) from error
    except (
        *(sqlite3.DatabaseError, ValueError, TypeError, LookupError, AttributeError, OverflowError),
        RecursionError,  # JSON with many levels
    ) as error:
        raise _damaged(path, error) from error


def finished_meanwhile(path: Path) -> OutputError:
    """The error of a process that commits to an output that another process finished."""
    return OutputError(
        str(path),
        expected="a file that only this process writes",
        found="no such file, or a new one: another process finished this output",
        hint="Run the same command again: what is finished is kept.",
    )


def _damaged(path: Path, error: Exception) -> OutputError:
    return OutputError(
        str(path),
        expected="the run's database as it was written",
        found=f"a damaged one: {shorten(str(error))}",
        hint="The disk or another program changed it. Restore it from a copy, or start over with `restart=True`.",
    )
