"""The manifest: what a finished output holds and where it came from, as JSON lines beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vidfeat.errors import OutputError, shorten
from vidfeat.formats.atomic import replacing
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.rows import UNKNOWN_SIZE, IndexEntry, Row, segment_from_json, to_text

MANIFEST_VERSION = 2
_READABLE = (1, 2)
_BLOCK = 1 << 14
_LONGEST_LINE = 1 << 28


def header_line(
    description: Mapping[str, Any],
    identity: WorkIdentity,
    *,
    backend: str | None,
    sessions: list[Any],
    list_digest: str,
    videos: int,
    failed: int,
    output: str,
    output_format: str,
) -> dict[str, Any]:
    """The first line."""
    return {
        "vidfeat_manifest": MANIFEST_VERSION,
        "recipe": description["recipe"],
        "recipe_digest": identity.recipe_digest,
        "checkpoint": {**description["checkpoint"], "sha256": identity.checkpoint_sha256},
        "precision": identity.precision,
        "decoder": identity.decoder,
        "dtype": identity.dtype,
        **({"layout": identity.layout} if identity.layout else {}),
        "encoder": description["encoder"],
        "backend": backend,
        "sessions": sessions,
        "list_digest": list_digest,
        "videos": videos,
        "failed": failed,
        "output": output,
        "format": output_format,
    }


def write_manifest(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the lines; the file is there in full or not at all.

    Raises:
        WriteError: the system refused.
    """
    with replacing(path) as file:
        for line in lines:
            file.write(json.dumps(line, allow_nan=False).encode("ascii") + b"\n")


class Manifest:
    """A manifest of version 1 or 2, open for reading; stays readable when the file is moved or replaced. Close it.

    Attributes:
        path: the file.
        version: 1 or 2.
        header: the first line, with the keys of version 2.
        identity: what the features were computed with.
        videos, failed: how many lines follow, and how many of them are failures.

    Raises:
        FileNotFoundError: there is none.
        OutputError: the file is no manifest, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._errors():
            try:
                self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # which does not wait for the writer of a pipe
            except NotADirectoryError as error:
                raise FileNotFoundError(path) from error
        try:
            with self._errors():
                self._read_header()
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        """Release the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The lines of the videos, one at a time, each with its offset in the file.

        Raises:
            OutputError: the file cannot be read or a line is no JSON object.
        """
        with self._errors():
            for number, (offset, line) in enumerate(self._raw_lines(self._start), start=2):
                try:
                    data = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"no JSON on line {number}, {line[:40]!r}: {error}") from error
                if not isinstance(data, dict):
                    raise ValueError(f"no object on line {number}: {line[:40]!r}")
                yield offset, data

    def entries(self) -> Iterator[IndexEntry]:
        """The lines of the videos, as far as an index has to know them.

        Raises:
            OutputError: as for `lines`; a line is about no video.
        """
        identity = to_text(self.identity.to_json())
        with self._errors():
            for offset, line in self.lines():
                status, name = line["status"], line["name"]
                if status not in ("done", "failed") or not isinstance(name, str):
                    raise ValueError(f"{status!r} is the status of {name!r}")
                size, modified_ns = line.get("stamp") or (UNKNOWN_SIZE, None)
                session = self._sessions[line.get("session", 0)]
                segment = segment_from_json(line.get("segment"))
                yield IndexEntry(offset, name, status, identity, session, 0, size, modified_ns, segment)

    def rows(self) -> Iterator[tuple[int, Row]]:
        """All of the lines, each with its offset in the file."""
        with self._errors():
            for offset, line in self.lines():
                yield offset, Row.from_line(line, self._sessions)

    def row(self, offset: int) -> Row:
        """The row at an offset."""
        with self._errors():
            return Row.from_line(json.loads(next(self._raw_lines(offset))[1]), self._sessions)

    def _read_header(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise ValueError("no regular file")
        _, first = next(self._raw_lines(0), (0, b""))
        self._start = len(first)
        header = json.loads(first)
        self.version = header["vidfeat_manifest"]
        if self.version not in _READABLE:
            raise ValueError(f"version {self.version!r}")
        if self.version == 1:
            session = {name: header.get(name) for name in ("device", "numerics", "versions")}
            backend = (header.get("numerics") or {}).get("kernels")
            header = {**header, "encoder": "", "backend": backend, "sessions": [session]}
        self.header: dict[str, Any] = header
        self.identity = WorkIdentity.from_json({**header, "checkpoint_sha256": header["checkpoint"]["sha256"]})
        self.videos, self.failed = int(header["videos"]), int(header["failed"])
        self._sessions = [to_text(session) for session in header["sessions"]]
        _ = header["recipe"], header["list_digest"], header["format"]

    def _raw_lines(self, offset: int) -> Iterator[tuple[int, bytes]]:
        """The lines from an offset on. Reads at offsets, so that several may be under way."""
        rest = bytearray()
        while block := os.pread(self._file, _BLOCK, offset + len(rest)):
            rest += block
            if b"\n" not in block:
                if len(rest) > _LONGEST_LINE:
                    raise ValueError(f"a line of more than {_LONGEST_LINE} bytes")
                continue
            *lines, rest = rest.split(b"\n")
            for line in lines:
                yield offset, bytes(line) + b"\n"
                offset += len(line) + 1
        if rest:
            yield offset, bytes(rest)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise OutputError(
                str(self.path),
                expected=f"a vidfeat manifest, version {' or '.join(map(str, _READABLE))}",
                found=shorten(str(error) if isinstance(error, OSError | ValueError) else repr(error)),
                hint="If the output may be replaced, give `restart=True`.",
            ) from error


def fingerprint(path: Path) -> str | None:
    """Names the content of a manifest; None where there is none."""
    try:
        with path.open("rb") as file:
            return f"manifest {hashlib.sha256(file.read(1 << 20)).hexdigest()} of {path.stat().st_size} bytes"
    except OSError:
        return None
