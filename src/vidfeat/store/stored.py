"""Reading outputs: features by key, whatever the format, finished or not."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from vidfeat.errors import OutputError, UsageError
from vidfeat.features import Values, VideoFailure, VideoFeatures
from vidfeat.formats import FILE_FORMATS, KEY, FolderSink, open_sink
from vidfeat.formats.layouts import LAYOUTS
from vidfeat.formats.sink import Sink, Unreadable
from vidfeat.store.database import Reader
from vidfeat.store.files import RunFiles
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.manifest import Manifest, fingerprint
from vidfeat.store.parts import is_parts
from vidfeat.store.parts_reading import PartsSource
from vidfeat.store.rows import IndexEntry, Row, Status

State = Literal["finished", "unfinished", "foreign"]


@dataclass(frozen=True)
class _Place:
    """Where a row is.

    Attributes:
        source: among the sources of a `_Contents`.
        number: the row's, there.
        position: among the rows of the output.
    """

    source: int
    number: int
    position: int


@dataclass(frozen=True)
class _Contents:
    """What is known of an output without its values; with them, as `rows`, where they had to be read anyway."""

    state: State
    sink: Sink
    header: Mapping[str, Any]
    sources: Sequence[Manifest | Reader | PartsSource]
    done: dict[str, _Place]
    failed: dict[str, _Place]
    notes: list[str]
    rows: list[Any] | None = None

    def close(self) -> None:
        for source in self.sources:
            source.close()


class StoredFeatures(Mapping[str, VideoFeatures]):
    """The features of an output by key; from `load`. Values are read when they are asked for.

    A value that cannot be read raises `OutputError`. Iterating in order reads one video at a time, but for formats
    that are read as a whole: pickle, JSON and YAML.

    Attributes:
        out: the file or folder.
        state: `finished`: there is a manifest. `unfinished`: a run is under way or was interrupted; this is what is
            committed. `foreign`: another program wrote it; keys are file names or positions such as `#0`.
        header: the first line of the manifest, or what the run's databases know of it; empty where `foreign`.
        videos: the keys of all videos, with and without features, in the order of the list; of a run, in that of the
            commits.
        notes: what is noteworthy of the output as a whole, a sentence each.
    """

    def __init__(self, contents: _Contents) -> None:
        """Use `load`."""
        self._contents, self._sink = contents, contents.sink
        self.out, self.state, self.notes = contents.sink.out, contents.state, tuple(contents.notes)
        self.header: Mapping[str, Any] = MappingProxyType(dict(contents.header))
        self._keys = list(contents.done)
        self.videos = sorted([*contents.done, *contents.failed], key=lambda key: self._place(key).position)
        self._rows = contents.rows
        self._values_in_order = _InOrder(self._keys, self._sink.read)
        self._times_in_order = _InOrder(self._keys, self._sink.read_times)
        self.close = weakref.finalize(self, contents.close)
        """Release all files. What was not read before cannot be read then."""

    @property
    def failures(self) -> Mapping[str, VideoFailure]:
        """The videos without features."""
        return _Failures(self)  # made each time: kept here, it would hold the files until cycles are collected

    @property
    def positional(self) -> bool:
        """Whether the output itself holds no keys."""
        return self._sink.positional

    def __getitem__(self, key: str) -> VideoFeatures:
        """The features of a video."""
        row, values = self.row(key), self._values(key)
        if values is None or isinstance(values, Unreadable):
            found = "none" if values is None else values.reason
            raise OutputError(f"{self.out}, {key!r}", expected="the features of this video", found=found)
        return self.features_of(key, row, values)

    def features_of(self, key: str, row: Row | None, values: Any) -> VideoFeatures:
        """What was read of a video, as features.

        Raises:
            OutputError: the values are no numbers.
        """
        array = _as_floats(values, f"{self.out}, {key!r}", None if row is None else row.dtype)
        encoder = str(self.header.get("encoder", ""))
        if row is not None:
            return row.to_features(array, encoder)
        start, end = (self._times_in_order(key) if array.ndim > 1 else None) or (None, None)
        if start is not None and len(start) != len(array):
            start = end = None
        return VideoFeatures(key, encoder, array, start, end)

    def __iter__(self) -> Iterator[str]:
        """The keys of the videos with features, in the order of the list; of a run, in that of the commits."""
        return iter(self._keys)

    def __len__(self) -> int:
        """How many videos have features."""
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        """Whether a video has features."""
        return key in self._contents.done

    def __enter__(self) -> StoredFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def line(self, key: str) -> dict[str, Any]:
        """What is known of a video, with or without features: the keys of a line of the manifest."""
        place = self._place(key)
        status: Status = "done" if key in self else "failed"
        row = self.row(key) or Row(key, status, None, "{}")
        return row.to_line(place.position, 0)

    def checked(self, key: str) -> tuple[Row | None, Any]:
        """The row of a video, and its values; an `Unreadable` where they are not those that were committed."""
        row = self.row(key)
        try:
            values = self._values(key)
        except OutputError as error:
            return row, Unreadable(str(error))
        if values is None:
            return row, Unreadable("has no features, though it is finished")
        if isinstance(values, Unreadable) or row is None:
            return row, values
        problem = row.problem_of(values)
        return row, values if problem is None else Unreadable(problem)

    def problem(self, key: str) -> str | None:
        """What is wrong with the features of a video, compared with what was committed; None if nothing is."""
        _, values = self.checked(key)
        return values.reason if isinstance(values, Unreadable) else None

    def row(self, key: str) -> Row | None:
        """What was kept of a video, with or without features; None where another program wrote the output."""
        place = self._place(key)
        return self._contents.sources[place.source].row(place.number) if self._contents.sources else None

    def _place(self, key: str) -> _Place:
        place = self._contents.done.get(key) or self._contents.failed.get(key)
        if place is None:
            raise KeyError(key)
        return place

    def _values(self, key: str) -> Any:
        place = self._contents.done[key]
        values = None
        if self._contents.sources:
            source = self._contents.sources[place.source]
            if not isinstance(source, Manifest):
                row = source.row(place.number)
                values = source.values(place.number, row)
        return self._in_output(key, place.position) if values is None else values

    def _in_output(self, key: str, position: int) -> Any:
        if self._sink.positional:
            if self._rows is None:
                self._rows = self._read_rows()
            return self._rows[position] if position < len(self._rows) else None
        return self._values_in_order(key)

    def _read_rows(self) -> list[Any]:
        count = len(self.videos)
        try:
            rows = list(self._sink.read(()))
        except OutputError as error:
            return [Unreadable(error.found)] * count  # a large file is not read again for each video
        if self.state == "finished" and len(rows) != count:
            self.notes += (f"The manifest lists {count} videos, the output has {len(rows)} rows.",)
        return rows


class _InOrder:
    """Reads one key after the other with one reader, as long as they are asked for in order."""

    def __init__(self, keys: list[str], read: Callable[[Iterable[str]], Iterator[Any]]) -> None:
        self._keys, self._read = keys, read
        self._following: Iterator[tuple[str, Any]] = iter(())

    def __call__(self, key: str) -> Any:
        following = next(self._following, None)
        if following is None or following[0] != key:
            ours, theirs = itertools.tee(itertools.islice(self._keys, self._keys.index(key), None))
            self._following = zip(ours, self._read(theirs), strict=False)
            following = next(self._following, (key, None))
        return following[1]


class _Failures(Mapping[str, VideoFailure]):
    """The failures of an output by key."""

    def __init__(self, stored: StoredFeatures) -> None:
        self._stored = stored  # whose files are closed with it
        self._contents = stored._contents
        self._encoder = str(stored.header.get("encoder", ""))

    def __repr__(self) -> str:
        first = ", ".join(map(repr, itertools.islice(self, 3)))
        return f"<failures of {len(self)} videos{': ' if first else ''}{first}{', …' if len(self) > 3 else ''}>"

    def __getitem__(self, key: str) -> VideoFailure:
        place = self._contents.failed[key]
        if not self._contents.sources:
            return Row(key, "failed", None, "{}").to_failure(self._encoder)
        return self._contents.sources[place.source].row(place.number).to_failure(self._encoder)

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents.failed)

    def __len__(self) -> int:
        return len(self._contents.failed)


def load(out: Path | str | Sink) -> StoredFeatures:
    """Read whatever is at `out`: a finished output, a run that is under way or was interrupted, or another program's.

    Nothing is written, but that a commit of a killed process may be rolled back; no code from the files is run.

    Args:
        out: the path or URI that was the output of the run, or its sink.

    Raises:
        UsageError: there is nothing of that name, or its suffix is no output's.
        OutputError: it cannot be read at all.
    """
    if not isinstance(out, Sink) and is_parts(out):
        return StoredFeatures(_parts(str(out)))
    sink = sink_of(out)
    files = RunFiles(sink.out)
    notes: list[str] = []
    for _ in range(2):  # a run may be finished, and its databases removed, between the one look and the other
        try:
            return StoredFeatures(_finished(sink, files))
        except FileNotFoundError:
            pass
        except OutputError as error:
            notes = [f"The manifest cannot be used, so names and failures are unknown. {error}"]
            break
        unfinished = _unfinished(sink, files)
        if unfinished is not None:
            return StoredFeatures(unfinished)
    if not sink.out.exists():
        journals = files.version_1_journals()
        raise UsageError(
            str(sink.out),
            expected="an output of vidfeat extract, or one that is under way",
            found=notes[0] if notes else "a run of version 0.1 that was not finished" if journals else "no such file",
            hint="Finish it with vidfeat 0.1." if journals else "Give the path that was given to `out`.",
        )
    return StoredFeatures(_foreign(sink, notes))


def sink_of(out: Path | str | Sink) -> Sink:
    """The sink of an output that is there; of a folder, with the format that its manifest, its run or its files say.

    Raises:
        UsageError: its name is no output's.
    """
    sink = out if isinstance(out, Sink) else open_sink(out)
    if out is sink or not isinstance(sink, FolderSink) or KEY in str(out):
        return sink
    files = RunFiles(sink.out)
    for path in (files.manifest, files.earlier_manifest):
        with contextlib.suppress(FileNotFoundError, OutputError), Manifest(path) as manifest:
            written = manifest.header["format"]
            if written in LAYOUTS:
                return LAYOUTS[written].open(sink.out)
            return replace(sink, file_format=FILE_FORMATS.get(f".{written}", sink.file_format))
    for path in files.databases():  # of a run that is not finished
        with contextlib.suppress(FileNotFoundError, OutputError), Reader(path) as reader:
            layout = next((WorkIdentity.from_json(json.loads(row.identity)).layout for row in reader.entries()), "")
            if layout in LAYOUTS:
                return LAYOUTS[layout].open(sink.out)
    for _, _, names in os.walk(sink.out):
        for suffix in sorted({Path(name).suffix for name in names} & set(FILE_FORMATS)):
            return replace(sink, file_format=FILE_FORMATS[suffix])
    return sink


def _finished(sink: Sink, files: RunFiles) -> _Contents:
    manifest = Manifest(files.manifest)
    try:
        places: dict[str, dict[str, _Place]] = {"done": {}, "failed": {}}
        for position, entry in enumerate(manifest.entries()):
            places[entry.status][entry.key] = _Place(0, entry.number, position)
    except BaseException:
        manifest.close()
        raise
    sink = sink.for_keys(itertools.chain(*places.values()))
    notes = []
    count = len(places["done"]) + len(places["failed"])
    if manifest.videos != count:
        notes.append(f"The manifest declares {manifest.videos} videos and lists {count}.")
    if not sink.out.exists():
        notes.append(f"{sink.out.name} is missing: only its manifest is left.")
    if files.databases():
        notes.append("A run that replaces this output is under way or was interrupted; this is what was there before.")
    return _Contents("finished", sink, manifest.header, [manifest], places["done"], places["failed"], notes)


def _unfinished(sink: Sink, files: RunFiles) -> _Contents | None:
    """What is committed so far; None where nothing is."""
    with contextlib.ExitStack() as stack:
        readers = _open_readers(files, stack)
        superseded: dict[str, int] = {}
        for name, number in (item for reader in readers for item in reader.facts().superseded.items()):
            superseded[name] = max(number, superseded.get(name, 0))
        sources: list[Manifest | Reader] = [*readers]
        entries: list[tuple[int, IndexEntry]] = []
        if sink.in_place and fingerprint(files.earlier_manifest) not in {None, *superseded}:
            with contextlib.suppress(FileNotFoundError):
                sources.append(stack.enter_context(Manifest(files.earlier_manifest)))
        for number, source in enumerate(sources):
            through = superseded.get(source.facts().id, 0) if isinstance(source, Reader) else -1
            entries += ((number, entry) for entry in source.entries() if entry.number > through)
        if not entries:
            return None
        entries.sort(key=lambda entry: (entry[1].committed, entry[0]))
        identity = entries[-1][1].identity
        chosen = _choose(entries, identity, in_place=sink.in_place)
        done: dict[str, _Place] = {}
        failed: dict[str, _Place] = {}
        for position, (source_number, entry) in enumerate(chosen.values()):
            (done if entry.status == "done" else failed)[entry.key] = _Place(source_number, entry.number, position)
        sink = sink.for_keys(chosen)
        if isinstance(sink, FolderSink):  # with a list that is not known here, others may have kept their suffix
            sink = replace(sink, whole=sink.whole.union(key for key in done if not sink.holds(key)))
        header = _header(readers, identity, sink)
        notes = ["The run is not finished: this is what is committed. Run the same command again to go on."]
        stack.pop_all()
    return _Contents("unfinished", sink, header, sources, done, failed, notes)


def _open_readers(files: RunFiles, stack: contextlib.ExitStack) -> list[Reader]:
    readers = []
    for path in files.databases():
        with contextlib.suppress(FileNotFoundError):
            readers.append(stack.enter_context(Reader(path)))
    return readers


def _choose(
    entries: list[tuple[int, IndexEntry]], identity: str, *, in_place: bool
) -> dict[str, tuple[int, IndexEntry]]:
    """Of rows in the order of their commits, the one that stands for each video."""
    chosen: dict[str, tuple[int, IndexEntry]] = {}
    for place in entries:
        entry = place[1]
        _, before = chosen.get(entry.key, (0, None))
        if entry.identity != identity or entry.status == "void":
            if in_place or entry.status == "void":
                chosen.pop(entry.key, None)
        elif before is None or before.status == "failed" or before[-3:] != entry[-3:]:  # another stamp or segment
            chosen[entry.key] = place
    return chosen


def _header(readers: list[Reader], identity: str, sink: Sink) -> dict[str, Any]:
    facts = WorkIdentity.from_json(json.loads(identity)).to_json()
    checkpoint = {"sha256": facts.pop("checkpoint_sha256")}
    header: dict[str, Any] = {**facts, "checkpoint": checkpoint, "output": sink.out.name, "format": sink.name}
    for reader in readers:
        description = reader.description(identity)
        if description is not None:
            return {**header, **description, "checkpoint": {**description["checkpoint"], **checkpoint}}
    return header


def _parts(out: str) -> _Contents:
    source = PartsSource(out)
    places: tuple[dict[str, _Place], dict[str, _Place]] = {}, {}
    for number, (key, failed) in enumerate(source.failed.items()):
        places[failed][key] = _Place(0, number, number)
    state: State = "finished" if source.finished else "unfinished"
    return _Contents(state, FolderSink(Path(out)), source.header(), [source], *places, source.notes)


def _foreign(sink: Sink, notes: list[str]) -> _Contents:
    if not notes:
        notes = ["There is no manifest beside this output: recipe, versions and failures are unknown."]
    rows = list(sink.read(())) if sink.positional else None
    keys = sink.keys() if rows is None else (f"#{number}" for number in range(len(rows)))
    places: tuple[dict[str, _Place], dict[str, _Place]] = {}, {}
    for position, key in enumerate(keys):
        failed = rows is not None and rows[position] is None
        places[failed][key] = _Place(0, 0, position)
    return _Contents("foreign", sink, {}, [], *places, notes, rows)


def _as_floats(values: Any, where: str, dtype: str | None) -> Values:
    """Numbers of this type, with at least one axis and one number; values that are too large for it become infinite.

    Where there is no manifest to say the type, float16 stays, and everything else becomes float32.

    Raises:
        OutputError: they are anything else than numbers.
    """
    try:
        array = np.asarray(values)
    except (ValueError, RecursionError):
        raise OutputError(where, expected="an array of numbers", found="rows of different lengths") from None
    if array.dtype.kind not in "fiub" or not array.ndim or not array.size:
        found = f"{array.dtype} of shape {list(array.shape)}"
        raise OutputError(where, expected="an array of numbers", found=found)
    with np.errstate(over="ignore", invalid="ignore"):  # signalling NaNs too
        return array.astype(dtype or (np.float16 if array.dtype == np.float16 else np.float32), copy=False)
