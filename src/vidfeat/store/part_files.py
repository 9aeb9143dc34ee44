"""Parts: Parquet files with the outcomes of some videos each, written with one atomic put and never changed.

A part has the columns

    key             string   the video's name
    row             int32    position of the row among those of its video
    start_seconds   float64  of the row; null where it stands for the whole video
    end_seconds     float64
    values          float32 list of fixed size; null where the video failed
    video           string   JSON, in the first row of each video and null in the others: `Row` without its key,
                             and `node`, the machine that computed it

Name of a part: the time of its commit in nanoseconds, and random digits. Of several rows of a video, those in the part
with the last name count, so that all readers choose the same.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import numpy as np

from vidfeat.errors import OutputError, WriteError
from vidfeat.features import Outcome, VideoFailure, VideoFeatures
from vidfeat.formats.atomic import replace_all
from vidfeat.formats.reading import most_bytes
from vidfeat.lazy_import import import_extra
from vidfeat.storage import ATTEMPTS, is_uri, locate, open_object, pause, retried
from vidfeat.store.files import KEPT
from vidfeat.store.rows import Row, to_kept, to_text
from vidfeat.videos import VideoRef

PARTS = "parts"
"""The folder of an output that holds its parts."""

_ROWS_AT_ONCE = 64
_BLOCK_BYTES = 1 << 20
_LARGEST_PUT_BYTES = 5 << 30


def _arrow() -> Any:
    import_extra("pyarrow.parquet", "parquet", "out", "Parquet")
    return importlib.import_module("pyarrow")


@dataclass(frozen=True)
class PartFolder:
    """A folder of whole files, in an object store or on a disk. Plain data.

    Attributes:
        uri: of the folder, or its path.
    """

    uri: str

    def names(self, folder: str = PARTS) -> list[str]:
        """The files in a folder below this one, sorted; none where there is no such folder.

        Raises:
            OutputError: it cannot be listed.
        """
        try:
            if not is_uri(self.uri):
                found = [entry.name for entry in (self._local / folder).iterdir()]
            else:
                filesystem, path = locate(f"{self.uri}/{folder}", "out")
                filesystem.invalidate_cache(path)
                # Not `find`, whose walk takes a folder that cannot be listed for an empty one.
                listed = retried(filesystem.ls, path, detail=False)
                found = [name.rpartition("/")[2] for name in listed if name.rstrip("/") != path]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(folder, error) from error
        return sorted(name for name in found if not name.startswith("."))

    def names_until(self, complete: Callable[[], bool]) -> Iterator[str]:
        """The parts, the newest first; further ones where a store lists them late, and it is not `complete` before.

        Raises:
            OutputError: they cannot be listed.
        """
        given: set[str] = set()
        for attempt in range(1, ATTEMPTS + 1):
            names = [name for name in reversed(self.names()) if name not in given]
            given.update(names)
            yield from names
            if attempt == ATTEMPTS or not is_uri(self.uri) or complete():
                return
            pause(attempt)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file, to be read; of an object only the blocks that are read are fetched.

        Raises:
            FileNotFoundError: there is none.
            OutputError: it cannot be read.
        """
        try:
            if not is_uri(self.uri):
                with (self._local / name).open("rb") as file:
                    yield file
                return
            with open_object(f"{self.uri}/{name}", "out", block_size=_BLOCK_BYTES) as file:
                yield file
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unreadable(name, error) from error

    def put(self, name: str, content: bytes) -> None:
        """Write a file as a whole. When this returns, everybody can read it; before, nobody sees any of it.

        Raises:
            WriteError: the store refused.
        """
        if not is_uri(self.uri):
            refused = replace_all({self._local / name: lambda file: file.write(content)})
            for error in refused.values():
                raise error
            return
        filesystem, path = locate(f"{self.uri}/{name}", "out")
        try:
            # In one request: the answer to the last of several may be lost, and then nobody knows what is there.
            options = {"chunksize": _LARGEST_PUT_BYTES} if self.uri.lower().startswith("s3://") else {}
            retried(filesystem.pipe_file, path, content, **options)
        except OSError as error:
            raise WriteError(
                f"{self.uri}/{name}",
                expected="to write the object",
                found=str(error),
                hint="Check the bucket, the credentials and the network, then run the same command again: "
                "finished videos are kept.",
            ) from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; those that are not there are passed over.

        Raises:
            WriteError: the store refused.
        """
        for name in names:
            try:
                if not is_uri(self.uri):
                    (self._local / name).unlink(missing_ok=True)
                    continue
                filesystem, path = locate(f"{self.uri}/{name}", "out")
                retried(filesystem.rm_file, path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise WriteError(f"{self.uri}/{name}", expected="to remove it", found=str(error), hint=KEPT) from error

    @property
    def _local(self) -> Path:
        return Path(self.uri)

    def _unreadable(self, name: str, error: OSError) -> OutputError:
        return OutputError(
            f"{self.uri}/{name}",
            expected="a folder that can be read",
            found=str(error) or type(error).__name__,
            hint="Check the name, the credentials and the network.",
        )


def part_folder(out: str) -> PartFolder:
    """The folder of an output: `file://` stands for a local path."""
    return PartFolder(unquote(out[len("file://") :]) if out.lower().startswith("file://") else out.rstrip("/"))


@dataclass(frozen=True)
class Committed:
    """What was committed of a video.

    Attributes:
        key: the video's name.
        part: the name of the part that holds it.
        error: why it has no features; None where it has.
    """

    key: str
    part: str
    error: VideoFailure | None = None


@dataclass(frozen=True)
class PartWriter:
    """Writes parts; plain data that can be sent to other processes.

    Attributes:
        folder: of the output.
        identity: JSON text of the `WorkIdentity` of all rows.
    """

    folder: PartFolder
    identity: str

    def commit(self, outcomes: Sequence[tuple[VideoRef, Outcome]], session: Mapping[str, Any]) -> list[Committed]:
        """Write the outcomes of some videos, by one encoder, as a part, or as several where rows differ in length.

        Values that are not finite become failures.

        Raises:
            WriteError: the store refused.
            UsageError: pyarrow is not installed.
        """
        text, committed = to_text(session), []
        for group in _by_width([(video, to_kept(outcome, "float32")) for video, outcome in outcomes]):
            part = f"{time.time_ns():020d}-{secrets.token_hex(4)}.parquet"
            self.folder.put(f"{PARTS}/{part}", encode_part(group, self.identity, text))
            for video, outcome in group:
                failure = outcome if isinstance(outcome, VideoFailure) else None
                committed.append(Committed(video.key, part, failure))
        return committed


def _by_width(outcomes: Sequence[tuple[VideoRef, Outcome]]) -> list[list[tuple[VideoRef, Outcome]]]:
    """The same in groups whose rows have one length; failures are with one of them."""
    widths = [_rows_of(outcome).shape[1] if isinstance(outcome, VideoFeatures) else 0 for _, outcome in outcomes]
    groups: dict[int, list[tuple[VideoRef, Outcome]]] = {}
    for width, pair in zip(widths, outcomes, strict=True):
        groups.setdefault(width or max(widths), []).append(pair)
    return list(groups.values())


def _rows_of(features: VideoFeatures) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 `[rows, N]`: a row for each window, or the only one."""
    values = features.values
    return values.reshape(1 if features.start_seconds is None else len(values), -1)


def encode_part(outcomes: Sequence[tuple[VideoRef, Outcome]], identity: str, session: str) -> bytes:
    """The bytes of a part."""
    arrow = _arrow()
    columns: dict[str, list[Any]] = {name: [] for name in ("key", "row", "start_seconds", "end_seconds", "video")}
    blocks, present = [], []
    width = 0
    for video, outcome in outcomes:
        about = {**Row.of(outcome, video, session).to_line(0, 0), "node": platform.node()}
        rows = 1
        if isinstance(outcome, VideoFeatures):
            values = _rows_of(outcome)
            rows, width = values.shape
            blocks.append(values.reshape(-1))
        present += [isinstance(outcome, VideoFeatures)] * rows
        start, end = getattr(outcome, "start_seconds", None), getattr(outcome, "end_seconds", None)
        columns["key"] += [video.key] * rows
        columns["row"] += range(rows)
        columns["start_seconds"] += [None] * rows if start is None else start.tolist()
        columns["end_seconds"] += [None] * rows if end is None else end.tolist()
        for name in ("name", "index", "start_seconds", "end_seconds"):  # they have columns of their own
            del about[name]
        columns["video"] += [json.dumps(about, allow_nan=False), *[None] * (rows - 1)]
    flat = np.zeros((len(present), max(width, 1)), np.float32)
    if blocks:
        flat[np.array(present)] = np.concatenate(blocks).reshape(-1, width)
    values_column = arrow.FixedSizeListArray.from_arrays(
        arrow.array(flat.reshape(-1)), flat.shape[1], mask=arrow.array(~np.array(present, np.bool_))
    )
    table = arrow.table(
        {
            "key": arrow.array(columns["key"], arrow.string()),
            "row": arrow.array(columns["row"], arrow.int32()),
            "start_seconds": arrow.array(columns["start_seconds"], arrow.float64()),
            "end_seconds": arrow.array(columns["end_seconds"], arrow.float64()),
            "values": values_column,
            "video": arrow.array(columns["video"], arrow.string()),
        }
    ).replace_schema_metadata({"vidfeat_identity": identity, "vidfeat_session": session})
    buffer = io.BytesIO()
    # Features do not compress, and are read one video at a time.
    arrow.parquet.write_table(table, buffer, compression={"video": "zstd", "key": "zstd"}, use_dictionary=False)
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class Part:
    """A part that was read.

    Attributes:
        name: of the file.
        identity, session: JSON texts, as they were written.
        keys, about: of each video: its name, and what is known of it.
        first: int64 `[videos + 1]`, the first row of each video, and the number of all rows.
        table: the rows.
    """

    name: str
    identity: str
    session: str
    keys: list[str]
    about: list[dict[str, Any]]
    first: np.ndarray[Any, np.dtype[np.int64]]
    table: Any

    def row(self, number: int) -> Row:
        """What is known of a video, by its number in the part."""
        about = {**self.about[number], "name": self.keys[number], "session": 0}
        start, end = (self._column(name, number) for name in ("start_seconds", "end_seconds"))
        line = {**about, "start_seconds": start, "end_seconds": end}
        return Row.from_line(line, [self.session])

    def values(self, number: int, row: Row) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The values of a video, by its number in the part."""
        chunk = self.table.column("values").slice(self.first[number], self.first[number + 1] - self.first[number])
        flat: np.ndarray[Any, np.dtype[np.float32]] = chunk.combine_chunks().flatten().to_numpy()
        return flat.reshape(row.shape or (-1,))

    def _column(self, name: str, number: int) -> list[float] | None:
        values = self.table.column(name).slice(self.first[number], self.first[number + 1] - self.first[number])
        return None if values.null_count else values.to_pylist()


def read_part(folder: PartFolder, name: str, *, values: bool = True) -> Part:
    """A part of an output.

    Args:
        folder: of the output.
        name: of the part.
        values: whether to read the values, too.

    Raises:
        OutputError: it is gone, or is no part.
    """
    arrow = _arrow()
    columns = ["key", "row", "start_seconds", "end_seconds", "video", *(["values"] if values else [])]
    try:
        with folder.open(f"{PARTS}/{name}") as file:
            table = _read_table(file, columns)
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        first = np.flatnonzero(table.column("row").to_numpy() == 0)
        keys = table.column("key").take(arrow.array(first)).to_pylist()
        about = [json.loads(text) for text in table.column("video").take(arrow.array(first)).to_pylist()]
        if (len(first) and first[0]) or not all(isinstance(one, dict) for one in about):
            raise ValueError("rows without a video")
        return Part(
            name,
            metadata["vidfeat_identity"],
            metadata["vidfeat_session"],
            keys,
            about,
            np.append(first, table.num_rows).astype(np.int64),
            table,
        )
    except (arrow.ArrowException, FileNotFoundError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise OutputError(
            f"{folder.uri}/{PARTS}/{name}",
            expected="a part that vidfeat wrote",
            found=str(error),
            hint="Remove it to have its videos computed again.",
        ) from error


def _read_table(file: BinaryIO, columns: list[str]) -> Any:
    """The columns of a Parquet file, which may not expand to more than a part of that size can hold.

    Raises:
        ValueError: it does.
    """
    arrow = _arrow()
    limit = most_bytes(file.seek(0, io.SEEK_END))
    parquet = arrow.parquet.ParquetFile(file)
    batches = []
    for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=columns):
        limit -= batch.nbytes
        if limit < 0:
            raise ValueError("more than the file can hold: it was made to expand")
        batches.append(batch)
    if not batches:
        return parquet.read(columns=columns)
    return arrow.Table.from_batches(batches)


def parts_of(folder: PartFolder) -> Iterator[Part]:
    """All parts without their values, the newest first."""
    for name in reversed(folder.names()):
        if name.endswith(".parquet"):
            yield read_part(folder, name, values=False)
