"""A Parquet file with a row for each row of features."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from vidfeat.errors import OutputError, quote
from vidfeat.features import Seconds, VideoFeatures
from vidfeat.formats.atomic import replacing
from vidfeat.formats.reading import reading
from vidfeat.formats.sink import NO_TEXT, TIME_NAMES, Sink, Times, Unreadable, refused_name
from vidfeat.lazy_import import import_extra

_GROUP_BYTES = 4 << 20
"""About how many bytes of values a row group has. One is held in memory, whatever the size of the file."""

_MOST_ROWS = 1 << 16
"""Of a row group."""

_NO_ROW = -1
"""Stands for the null of a row that is a whole video."""


@final
class ParquetSink(Sink):
    """One Parquet file, uncompressed, for DuckDB, pandas, Polars and other readers of tables. Needs pyarrow.

    The columns are `key` (string), `row` (int32), `start_seconds`, `end_seconds` (float64) and `values` (a list of
    fixed length of float32 or float16). The rows of a video follow each other. Features `[C]` are one row, whose `row`
    is null; of `[T, ...]`, `row` counts from 0. Seconds are null where a row stands for the whole video. Axes after
    the first are flattened in `values`; the metadata of that column has them as JSON under `shape`. Videos without
    features have no row.
    """

    name: ClassVar[str] = "parquet"
    library: ClassVar[tuple[str, str]] = ("pyarrow", "parquet")
    one_shape: ClassVar[bool] = True

    def check_keys(self, keys: Sequence[str]) -> None:
        """Refuse a key that is no text."""
        for position, key in enumerate(keys, start=1):
            if NO_TEXT.search(key):
                raise refused_name(position, "a name that is Unicode text", quote(key))

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Write the file. Holds one video and one row group in memory at a time."""
        pq = import_extra("pyarrow.parquet", "parquet", self.out, "this format")
        with replacing(self.out) as file:
            writer: Any = None
            try:
                for table in self._tables(rows):
                    writer = writer or pq.ParquetWriter(
                        file, table.schema, compression="none", use_dictionary=["key"], write_statistics=["key", "row"]
                    )
                    writer.write_table(table, row_group_size=table.num_rows or None)
            finally:
                if writer is not None:
                    writer.close()

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The array of each key. Holds one row group and one array in memory at a time."""
        return (table.found(table.values_of, key) for table in self._opened() for key in keys)

    def read_times(self, keys: Iterable[str]) -> Iterator[Times | None]:
        """The seconds of each key, as far as the file has them."""
        for table in self._opened():
            for key in keys:
                found = table.found(table.times_of, key)
                yield None if isinstance(found, Unreadable) else found

    def keys(self) -> Iterator[str]:
        """The keys, in the order of the file."""
        return (key for table in self._opened() for key in table.places)

    def _opened(self) -> list[_Table]:
        import_extra(*self.library, self.out, "this format")
        with reading(self.out):
            return [_Table(self.out)]

    def _tables(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> Iterator[Any]:
        """The rows as tables, each of which becomes a row group."""
        axes: tuple[int, ...] | None = None
        groups, batch = 0, _Batch()
        for key, features in rows:
            if features is None:
                continue
            values = features.values
            found = values.shape[1:] if values.ndim > 1 else values.shape
            axes = found if axes is None else axes
            if found != axes:
                raise OutputError(
                    str(self.out),
                    expected=f"rows of one shape, as a Parquet file has, {list(axes)}",
                    found=f"{list(found)} of {quote(key)}",
                    hint=f"What is finished is kept: type `vidfeat convert {self.out} features.npz`.",
                )
            first = 0
            count = len(values) if values.ndim > 1 else 1
            size = max(1, min(_MOST_ROWS, _GROUP_BYTES // max(1, values.itemsize * math.prod(axes))))
            while first < count:
                last = min(count, first + size - batch.rows)
                batch.add(key, features, first, last)
                first = last
                if batch.rows >= size:
                    yield batch.table(axes)
                    groups, batch = groups + 1, _Batch()
        if batch.rows or not groups:
            yield batch.table(axes)


class _Batch:
    """Rows on their way into a row group."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, list[Any]] = {name: [] for name in ("key", "row", *TIME_NAMES)}
        self._values: list[npt.NDArray[Any]] = []

    def add(self, key: str, features: VideoFeatures, first: int, last: int) -> None:
        """Add the rows from `first` up to `last` of a video."""
        count = last - first
        vector = features.values.ndim == 1
        self.rows += count
        self._columns["key"] += [key] * count
        self._columns["row"] += [None] if vector else range(first, last)
        for name in TIME_NAMES:
            seconds: Seconds | None = getattr(features, name)
            self._columns[name] += [None] * count if seconds is None else seconds[first:last].tolist()
        values = features.values
        self._values.append((values if vector else values[first:last]).reshape(-1))

    def table(self, axes: tuple[int, ...] | None) -> Any:
        """The rows as a table; `axes` is the shape of each, None where there is none."""
        import pyarrow as pa

        values = np.concatenate(self._values) if self._values else np.zeros(0, np.float32)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        numbers = pa.array(values)
        if axes is None:
            column = pa.array([], pa.list_(numbers.type))
        else:
            column = pa.FixedSizeListArray.from_arrays(numbers, math.prod(axes))
        types = {"key": pa.string(), "row": pa.int32(), "start_seconds": pa.float64(), "end_seconds": pa.float64()}
        columns = [pa.array(self._columns[name], kind) for name, kind in types.items()]
        shape = {"shape": json.dumps(list(axes or ()))}
        fields = [*(pa.field(*item) for item in types.items()), pa.field("values", column.type, metadata=shape)]
        return pa.Table.from_arrays([*columns, column], schema=pa.schema(fields))


class _Table:
    """A Parquet file that is read video by video.

    Attributes:
        places: first row and number of rows of each key.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        # A long key is there once, however many rows have it.
        self._file = pq.ParquetFile(path, memory_map=True, read_dictionary=["key"])
        field = self._file.schema_arrow.field("values")
        if self._file.schema_arrow.field("key").type != pa.dictionary(pa.int32(), pa.string()):
            raise ValueError("keys that are not strings")
        rows = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self.axes: tuple[int, ...] = ()
        if sum(rows):
            if not pa.types.is_fixed_size_list(field.type) or not pa.types.is_floating(field.type.value_type):
                raise ValueError(f"values of type {field.type}")
            self.axes = _axes_of(field)
            bytes_per_row = math.prod(self.axes) * field.type.value_type.bit_width // 8
            _require_plain(self._file, bytes_per_row)
        self.places: dict[str, tuple[int, int]] = {}
        self._group: tuple[int, dict[str, npt.NDArray[Any]]] = (-1, {})
        for group, start in enumerate(self._starts[:-1].tolist()):
            self._index(self._file.read_row_group(group, ["key"])["key"].combine_chunks(), start)

    def found(self, read: Callable[[str], Any], key: str) -> Any:
        """What is read of a key; None where it is not there."""
        try:
            return read(key) if key in self.places else None
        except Exception as error:  # of many types: pyarrow has its own
            return Unreadable(f"cannot be read: {error}")

    def values_of(self, key: str) -> npt.NDArray[Any]:
        """The values of a key that is there."""
        rows = self._rows_of(key)
        values, numbers = rows["values"], rows["row"]
        if numbers.tolist() == [_NO_ROW]:
            return values[0]
        if not np.array_equal(numbers, np.arange(len(values))):
            raise ValueError(f"rows {numbers[:5].tolist()} in place of 0 to {len(values) - 1}")
        return values

    def times_of(self, key: str) -> Times | None:
        """The seconds of a key that is there."""
        rows = self._rows_of(key)
        start, end = rows["start_seconds"], rows["end_seconds"]
        return None if np.isnan(start).any() or np.isnan(end).any() else (start, end)

    def _rows_of(self, key: str) -> dict[str, npt.NDArray[Any]]:
        """The columns of the rows of a key, in memory of their own."""
        first, count = self.places[key]
        parts = []
        while count:
            group = int(np.searchsorted(self._starts, first, side="right")) - 1
            if self._group[0] != group:
                self._group = group, self._read_group(group)
            offset = first - int(self._starts[group])
            parts.append({name: column[offset : offset + count] for name, column in self._group[1].items()})
            found = len(parts[-1]["row"])
            first, count = first + found, count - found
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _read_group(self, group: int) -> dict[str, npt.NDArray[Any]]:
        table = self._file.read_row_group(group, ["row", *TIME_NAMES, "values"], use_threads=False)
        values = table["values"].combine_chunks()
        if values.null_count:
            raise ValueError("rows without values")
        seconds = {name: table[name].to_numpy().astype(np.float64) for name in TIME_NAMES}
        numbers = table["row"].fill_null(_NO_ROW).to_numpy()
        return {**seconds, "row": numbers, "values": values.flatten().to_numpy().reshape(-1, *self.axes)}

    def _index(self, keys: Any, start: int) -> None:
        codes = keys.indices.to_numpy(zero_copy_only=False)
        firsts = np.flatnonzero(np.diff(codes, prepend=-1))
        counts = np.diff(firsts, append=len(codes))
        names = keys.take(firsts).to_pylist()
        for key, first, count in zip(names, (firsts + start).tolist(), counts.tolist(), strict=True):
            before, rows = self.places.get(key, (first, 0))
            if key is None or before + rows != first:
                raise ValueError(f"rows of {key!r} that are not consecutive")
            self.places[key] = before, rows + count


def _axes_of(field: Any) -> tuple[int, ...]:
    size = field.type.list_size
    axes = json.loads((field.metadata or {}).get(b"shape", b"null")) or [size]
    if not all(type(length) is int and length > 0 for length in axes) or math.prod(axes) != size:
        raise ValueError(f"the shape {axes} of {size} values")
    return tuple(axes)


def _require_plain(file: Any, bytes_per_row: int) -> None:
    """Refuse values that take more memory than they have bytes in the file."""
    metadata = file.metadata
    paths = [metadata.schema.column(position).path.partition(".")[0] for position in range(metadata.num_columns)]
    for number in range(metadata.num_row_groups):
        # Batches of no rows read no data, and raise what is wrong with the columns; `group.column` would abort.
        list(file.reader.iter_batches(0, row_groups=[number], use_threads=False))
        group = metadata.row_group(number)
        if group.column(paths.index("values")).total_compressed_size < group.num_rows * bytes_per_row:
            raise ValueError(f"{group.num_rows} rows of {bytes_per_row} bytes, which are not there uncompressed")
        if group.column(paths.index("key")).compression != "UNCOMPRESSED":
            raise ValueError("keys that are compressed")
