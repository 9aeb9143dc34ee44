"""Which row stands for each video of a list, of all that the databases and the manifest of an output hold."""

from __future__ import annotations

import contextlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from vidfeat.errors import OutputError, UsageError, quote
from vidfeat.features import Values
from vidfeat.formats.sink import Sink
from vidfeat.store.database import DatabaseFacts, Reader
from vidfeat.store.files import RunFiles, superseded_of
from vidfeat.store.identity import WorkIdentity, describe_difference
from vidfeat.store.manifest import Manifest, fingerprint
from vidfeat.store.rows import IndexEntry, Row, to_text
from vidfeat.videos import VideoRef, list_digest

NONE, FAILED, DONE = range(3)
_STATES = {"void": NONE, "failed": FAILED, "done": DONE}
_IN_MANIFEST = 0
"""The manifest, among the sources of rows; the others are databases."""

_NEW, _CHANGED, _GONE, _RETRIED, _OTHER = range(1, 6)
"""Why a video is pending though there is an output; from `_OTHER` on, which other identity its row has."""


class Index:
    """What is finished of a list of videos. Not for use by several threads.

    Between rows of the same video, those count that were computed with this identity and from this file; of these,
    features before failures, and the features that were committed first. Where the values are in place in the output,
    no row counts that was committed before one that does not.

    Attributes:
        videos: the list.
        rank, world_size, restart: as in `RunStore.open`.
        signature: `RunFiles.signature`, as it was before anything was read.
        state: uint8 `[N]`: `NONE`, `FAILED` or `DONE`.
        manifest: of the finished output, where its lines count.
        finished: whether the manifest is of this very list and nothing is pending.
        notes: sentences for people about what is pending, and why.
        absent: in place: the keys of rows of videos that are not in the list.
        shared_names: in place: keys of the list, and those of absent videos that may have had the same file.
        start_over: after `restart`: what does not count any more, for `Transaction.start_over`.
        unreadable: after `restart`: files that cannot be read.
        has_rows: whether anything was ever committed to a database.
        has_rows_of_others: whether there is a row in one that was computed with another identity.
        own_last: the number of the last row in this rank's database.
        clock: the latest time of a commit.
    """

    def __init__(
        self,
        files: RunFiles,
        sink: Sink,
        identity: WorkIdentity,
        videos: Sequence[VideoRef],
        *,
        rank: int = 0,
        world_size: int = 1,
        restart: bool = False,
        retry_failed: bool = False,
    ) -> None:
        self.videos, self.rank, self.world_size, self.restart = videos, rank, world_size, restart
        self.signature = files.signature()
        self._files, self._sink, self._own = files, sink, files.database(rank)
        self._identity, self._identity_text = identity, to_text(identity.to_json())
        self._position = {video.key: position for position, video in enumerate(videos)}
        count = len(videos)
        if len(self._position) < count:
            (repeated, times), *_ = Counter(video.key for video in videos).most_common(1)
            raise UsageError("the call", expected="different keys", found=f"{quote(repeated)} {times} times")
        self.state = np.zeros(count, np.uint8)
        self._source = np.zeros(count, np.int32)
        self._number = np.zeros(count, np.int64)
        self._committed = np.zeros(count, np.int64)
        self._session = np.zeros(count, np.int32)
        self._fresh = np.zeros(count, np.bool_)
        self._known = np.zeros(count, np.bool_)
        self._reason = np.zeros(count, np.int32)
        self._sessions: dict[str, int] = {}
        self._identities: dict[str, int] = {}
        self._contested: dict[int, list[tuple[int, int]]] = {}
        self._sources: dict[Path, int] = {}
        self._last: dict[str, int] = {}
        self._readers: dict[int, Reader] = {}
        self._candidates = array("q")  # numbers only: there may be very many rows
        self._absent: dict[str, None] = {}
        self.manifest: Manifest | None = None
        self.start_over: dict[str, int] = {}
        self.unreadable: list[Path] = []
        self.has_rows = self.has_rows_of_others = False
        self.own_last = self.clock = 0
        self._read_manifest(self._read_databases())
        self._choose()
        self._drop_failures(retry_failed)
        self._drop_missing_files()
        self.finished = self._is_finished()
        self.notes = () if restart else self._describe()
        self.absent = tuple(self._absent) if sink.in_place else ()
        self.shared_names = self._find_shared_names()

    # --- what is known --------------------------------------------------------------------------------------------

    def position_of(self, key: str) -> int | None:
        """Where a video is in the list; None where it is not."""
        return self._position.get(key)

    def is_known(self, position: int) -> bool:
        """Whether there ever was a row of the video, of whatever identity."""
        return bool(self._known[position]) or self.videos[position].key in self.shared_names

    def pending(self) -> list[VideoRef]:
        """The videos of this rank that have neither features nor a failure that counts."""
        positions = range(self.rank, len(self.videos), self.world_size)
        return [self.videos[position] for position in positions if self.state[position] == NONE]

    def done_keys(self) -> Iterator[str]:
        """The videos with features, in the order of the list."""
        return (video.key for position, video in enumerate(self.videos) if self.state[position] == DONE)

    def uncovered(self) -> list[int]:
        """The positions of all that have neither."""
        return [int(position) for position in np.flatnonzero(self.state == NONE)]

    def counts(self) -> tuple[int, int, int]:
        """How many videos have features that were committed since the index was made, older ones, and none."""
        done = self.state == DONE
        return int((done & self._fresh).sum()), int((done & ~self._fresh).sum()), int((~done).sum())

    def uses_manifest(self) -> bool:
        """Whether lines of the manifest stand for any video."""
        return bool(((self.state != NONE) & (self._source == _IN_MANIFEST)).any())

    def is_line(self, position: int, offset: int) -> bool:
        """Whether the line of the manifest at this offset stands for the video."""
        here = self.state[position] != NONE and self._source[position] == _IN_MANIFEST
        return bool(here and self._number[position] == offset)

    def sessions(self) -> list[str]:
        """The sessions of all rows that stand for a video, as JSON text, in alphabetical order."""
        names = list(self._sessions)
        return sorted(names[number] for number in np.unique(self._session[self.state != NONE]))

    def row(self, position: int) -> Row | None:
        """The row that stands for a video; None where it has none.

        Raises:
            OutputError: it cannot be read.
        """
        if self.state[position] == NONE:
            return None
        return self._row_at(int(self._source[position]), int(self._number[position]))

    def values(self, position: int, row: Row) -> Values | None:
        """The values of a row that stands for a video; None where they are in the output and in no database.

        Raises:
            OutputError: they are not those that were committed.
        """
        source = int(self._source[position])
        return None if source == _IN_MANIFEST else self._reader(source).values(int(self._number[position]), row)

    def contested(self) -> dict[int, list[tuple[tuple[int, int], Row]]]:
        """Of videos that two processes put in place, all rows, each with what `choose` takes."""
        return {
            position: [(place, self._row_at(*place)) for place in places]
            for position, places in self._contested.items()
            if self.state[position] == DONE
        }

    def choose(self, position: int, place: tuple[int, int]) -> None:
        """Let this row of a contested video stand for it."""
        self._source[position], self._number[position] = place

    def close(self) -> None:
        """Release all files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        if self.manifest is not None:
            self.manifest.close()

    # --- what is new ----------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Read what other ranks committed since the last time; whether there was anything.

        Raises:
            OutputError: a database cannot be read.
        """
        found = False
        for path in self._files.databases():
            if path == self._own or path in self.unreadable:
                continue
            with contextlib.suppress(FileNotFoundError), Reader(path) as reader:
                name = reader.facts().id
                for entry in reader.entries(self._last.get(name, 0)):
                    found = True
                    self._last[name] = entry.number
                    position = self._position.get(entry.key)
                    if position is not None and entry.identity == self._identity_text:
                        self.add(position, entry, path)
        return found

    def add(self, position: int, entry: IndexEntry, path: Path, *, fresh: bool = True) -> None:
        """Take a row into account that was committed just now, to this database."""
        self.clock = max(self.clock, entry.committed)
        self._known[position] = True
        state, source = _STATES[entry.status], self._source_of(path)
        if state == DONE == self.state[position] and fresh:
            first = int(self._source[position]), int(self._number[position])
            if self._sink.in_place:
                self._contested.setdefault(position, [first]).append((source, entry.number))
            if (entry.committed, source) > (self._committed[position], first[0]):
                return
        elif state == FAILED and self.state[position] == DONE:
            return
        self.state[position] = state
        self._source[position], self._number[position] = source, entry.number
        self._committed[position], self._session[position] = entry.committed, self._session_of(entry.session)
        self._fresh[position] = fresh

    # --- reading everything ---------------------------------------------------------------------------------------

    def _read_databases(self) -> dict[str, int]:
        """Returns what the databases say not to count."""
        superseded: dict[str, int] = {}
        with contextlib.ExitStack() as stack:
            readers: list[Reader] = []
            for path in self._files.databases():
                with contextlib.suppress(FileNotFoundError), self._skipping_damaged(path):
                    readers.append(stack.enter_context(Reader(path)))
                    for name, through in readers[-1].facts().superseded.items():
                        superseded[name] = max(through, superseded.get(name, 0))
            for reader in readers:
                with self._skipping_damaged(reader.path):
                    self._read_database(reader, superseded)
        return superseded

    def _read_database(self, reader: Reader, superseded: Mapping[str, int]) -> None:
        facts = reader.facts()
        through = superseded.get(facts.id, 0)
        if self.restart:
            through = self._superseded_by_restart(reader.path, facts)
        self.has_rows |= facts.last > 0
        source, last = self._source_of(reader.path), facts.last
        for entry in reader.entries():
            last = max(last, entry.number)
            self._consider(entry, source, counts=entry.number > through)
            self.has_rows_of_others |= entry.identity != self._identity_text
        self._last[facts.id] = last
        if reader.path == self._own:
            self.own_last = last

    def _superseded_by_restart(self, path: Path, facts: DatabaseFacts) -> int:
        """The last row of a database that does not count; a rank that was started before may have new ones already."""
        running = superseded_of(path) if path != self._own and self.rank == 0 else None
        if running is not None:
            return running
        if path != self._own and self.rank == 0:
            self.start_over[facts.id] = facts.last
        return facts.last

    def _read_manifest(self, superseded: Mapping[str, int]) -> None:
        for path in (self._files.manifest, *([self._files.earlier_manifest] if self._sink.in_place else [])):
            name = fingerprint(path)
            if name is None:
                continue
            forgotten = self.restart or name in superseded
            if self.restart:
                self.start_over[name] = 0
            with contextlib.suppress(FileNotFoundError), self._skipping_damaged(path, skip=forgotten):
                manifest = Manifest(path)
                if self._sink.in_place and not forgotten:
                    self._require_format(manifest)
                counts = not forgotten and manifest.header["format"] == self._sink.name and self._files.out.exists()
                if counts:
                    self.manifest = manifest
                for entry in manifest.entries():
                    self._consider(entry, _IN_MANIFEST, counts=counts)
                if counts:
                    self._reason[~self._known] = _NEW
                else:
                    manifest.close()
                return

    def _require_format(self, manifest: Manifest) -> None:
        """Refuse a folder whose files are of another format; otherwise they would stay, without a manifest."""
        found = manifest.header["format"]
        if found != self._sink.name:
            manifest.close()
            raise OutputError(
                str(self._files.out),
                expected=f"a folder in the format {self._sink.name}, or a new one",
                found=f"one in the format {found}",
                hint="Give another folder, or replace it with `restart=True`.",
            )

    @contextlib.contextmanager
    def _skipping_damaged(self, path: Path, *, skip: bool = False) -> Iterator[None]:
        try:
            yield
        except OutputError:
            if not (self.restart or skip):
                raise
            self.unreadable.append(path)

    def _consider(self, entry: IndexEntry, source: int, *, counts: bool) -> None:
        self.clock = max(self.clock, entry.committed)
        position = self._position.get(entry.key)
        if position is None:
            self._absent[entry.key] = None
            return
        self._known[position] = True
        if not counts:
            return
        valid = entry.status != "void"
        if entry.identity != self._identity_text:
            valid = False
            self._reason[position] = _OTHER + self._identities.setdefault(entry.identity, len(self._identities))
        elif valid and not entry.is_of(self.videos[position]):
            valid = False
            self._reason[position] = _CHANGED
        session, state = self._session_of(entry.session), _STATES[entry.status]
        self._candidates.extend((position, source, entry.number, entry.committed, session, state, valid))

    def _choose(self) -> None:
        """Of all rows of each video, the one that stands for it."""
        columns = np.frombuffer(self._candidates, np.int64).reshape(-1, 7).T
        self._candidates = array("q")
        position, source, number, committed, session, state, valid = columns
        valid, voids = valid.astype(np.bool_), state == NONE
        spoils = (voids | ~valid) if self._sink.in_place else voids
        spoiled = np.full(len(self.videos), -1, np.int64)
        np.maximum.at(spoiled, position[spoils], committed[spoils])
        alive = np.flatnonzero(valid & (committed > spoiled[position]))
        done = state[alive] == DONE
        order = np.lexsort((source[alive], np.where(done, committed[alive], -committed[alive]), ~done, position[alive]))
        alive = alive[order]
        places, first, count = np.unique(position[alive], return_index=True, return_counts=True)
        best = alive[first]
        self.state[places] = state[best]
        self._source[places], self._number[places] = source[best], number[best]
        self._committed[places], self._session[places] = committed[best], session[best]
        if self._sink.in_place:
            for start, size in zip(first[count > 1], count[count > 1], strict=True):
                rivals = [row for row in alive[start : start + size] if state[row] == DONE]
                if len(rivals) > 1:
                    found = [(int(source[row]), int(number[row])) for row in rivals]
                    self._contested[int(position[rivals[0]])] = found

    def _drop_failures(self, retry_failed: bool) -> None:
        """Of several ranks, others may be retrying theirs already: then only those of a finished output are dropped."""
        if retry_failed:
            failed = (self.state == FAILED) & ((self.world_size == 1) | (self._source == _IN_MANIFEST))
            self.state[failed] = NONE
            self._reason[failed] = _RETRIED

    def _drop_missing_files(self) -> None:
        if self._sink.in_place:
            for key in self.done_keys():
                if not self._sink.holds(key):
                    self.state[self._position[key]] = NONE
                    self._reason[self._position[key]] = _GONE

    def _is_finished(self) -> bool:
        return (
            self.manifest is not None
            and self.manifest.path == self._files.manifest
            and bool(((self.state != NONE) & (self._source == _IN_MANIFEST)).all())
            and self.manifest.header["list_digest"] == list_digest(video.key for video in self.videos)
        )

    def _describe(self) -> tuple[str, ...]:
        reasons = Counter(self._reason[self.state == NONE].tolist())
        found = []
        if self._absent:
            found.append(_sentence(len(self._absent), ("is no longer in the list", "are no longer in the list")))
        for reason, text in _SENTENCES.items():
            if reasons[reason]:
                found.append(_sentence(reasons[reason], text))
        for identity, number in self._identities.items():
            if reasons[_OTHER + number]:
                difference = describe_difference(WorkIdentity.from_json(json.loads(identity)), self._identity)
                found.append(
                    _sentence(
                        reasons[_OTHER + number],
                        (
                            f"was computed with {difference}; it is computed again",
                            f"were computed with {difference}; they are computed again",
                        ),
                    )
                )
        return tuple(found)

    def _find_shared_names(self) -> dict[str, str]:
        names = {os.path.splitext(key)[0]: key for key in self.absent}  # noqa: PTH122 - of a key, and a million of them
        stems = ((video.key, os.path.splitext(video.key)[0]) for video in (self.videos if names else ()))  # noqa: PTH122
        return {key: names[stem] for key, stem in stems if stem in names}

    # --- sources --------------------------------------------------------------------------------------------------

    def _row_at(self, source: int, number: int) -> Row:
        if source == _IN_MANIFEST:
            assert self.manifest is not None
            return self.manifest.row(number)
        return self._reader(source).row(number)

    def _reader(self, source: int) -> Reader:
        if source not in self._readers:
            path = list(self._sources)[source - 1]
            try:
                self._readers[source] = Reader(path)
            except FileNotFoundError as error:
                raise OutputError(
                    str(path),
                    expected="the database of a process of this run",
                    found="no such file",
                    hint="Run the same command again: only what is missing is computed.",
                ) from error
        return self._readers[source]

    def _source_of(self, path: Path) -> int:
        return self._sources.setdefault(path, len(self._sources) + 1)

    def _session_of(self, session: str) -> int:
        return self._sessions.setdefault(session, len(self._sessions))


_SENTENCES = {
    _NEW: ("is new", "are new"),
    _CHANGED: (
        "changed since it was computed; it is computed again",
        "changed since they were computed; they are computed again",
    ),
    _GONE: ("is gone from the output; it is computed again", "are gone from the output; they are computed again"),
    _RETRIED: ("failed before; it is tried again", "failed before; they are tried again"),
}


def _sentence(count: int, texts: tuple[str, str]) -> str:
    return f"1 video {texts[0]}" if count == 1 else f"{count} videos {texts[1]}"
