"""One run: which videos are finished, the commits, and the output at the end."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat.errors import OutputError, UsageError, WriteError, reason
from vidfeat.features import Outcome, Values, VideoFailure, VideoFeatures
from vidfeat.formats import as_little_endian
from vidfeat.formats.atomic import remove
from vidfeat.formats.sink import Sink, Unreadable
from vidfeat.storage import sync_folder
from vidfeat.store.database import Writer, finished_meanwhile, forget_pin, pin
from vidfeat.store.files import RankLock, RunFiles, file_signature, is_locked
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.index import DONE, Index
from vidfeat.store.manifest import header_line, write_manifest
from vidfeat.store.rows import IndexEntry, Row, to_kept, to_text
from vidfeat.store.summary import Summary
from vidfeat.videos import VideoRef, list_digest

_NAMED_IN_ERRORS = 5
_ROWS_PER_COMMIT = 256
_BYTES_PER_COMMIT = 16 << 20
"""Rows, and bytes of values, that are taken over from another output with one commit, or a little more."""


class RunStore:
    """Takes the features of videos as they come, and keeps them through crashes, on disks of this machine.

    The processes of a run, its ranks, each open the same output with their own rank, and never talk. Each commits to a
    database of its own; rank 0 merges them into the output. Whatever was committed for the same video file and
    identity counts as finished when the output is opened again, with whatever list.

    Not for use by several threads at once, apart from `pin_backend`. Use it in a `with` block, or `close` it.

    Attributes:
        out: the output.
        notes: sentences for people about what was found there.
        finished: whether output and manifest are complete, so that nothing is left to do.
        linger_seconds: as in `PartsStore`: here many small commits are fine.
    """

    linger_seconds = 0.0

    def __init__(
        self,
        sink: Sink,
        identity: WorkIdentity,
        description: str,
        index: Index,
        lock: RankLock | None = None,
        created: Sequence[Path] = (),
    ) -> None:
        """Use `RunStore.open`."""
        self.out = sink.out
        self.notes = index.notes
        self.finished = lock is None
        self._sink, self._identity, self._description = sink, identity, description
        self._files = RunFiles(sink.out)
        self._index, self._lock, self._created = index, lock, created
        self._writer = Writer(self._files.database(index.rank), identity, description)
        self._started_over = not index.restart
        self._closed = False

    @classmethod
    def open(
        cls,
        sink: Sink,
        identity: WorkIdentity,
        videos: Sequence[VideoRef],
        *,
        description: Mapping[str, Any],
        rank: int = 0,
        world_size: int = 1,
        restart: bool = False,
        retry_failed: bool = False,
    ) -> RunStore:
        """Start a run, or go on with one.

        Nothing of a finished output is touched before the first new result is committed.

        Args:
            sink: the output.
            identity: what the features are computed with; others that are there do not count.
            videos: the list, the same for all ranks.
            description: for the manifest: `recipe` (`Recipe.to_json()`), `checkpoint` (`source`) and `encoder`, its
                name; JSON data.
            rank: which process this is, from 0.
            world_size: how many there are; it may differ from the last session's.
            restart: compute everything, and replace the output whatever it is. Give it to all ranks or none.
            retry_failed: try videos again that failed in sessions before. With several ranks, those of a run that was
                finished; one that was interrupted has to finish first.

        Raises:
            UsageError: the videos' keys do not fit the output or repeat, or the rank is none.
            OutputError: what is there is not vidfeat's, or of a run of version 1 that was not finished, or open in
                another process, or damaged.
            WriteError: the system refuses to write there.
        """
        if not 0 <= rank < world_size:
            raise UsageError("the call", expected=f"a rank from 0 to {world_size - 1}", found=str(rank))
        keys = [video.key for video in videos]
        sink.check_keys(keys)
        sink = sink.for_keys(keys)
        files = RunFiles(sink.out)
        options: dict[str, Any] = {"rank": rank, "world_size": world_size}
        options.update(restart=restart, retry_failed=retry_failed)
        text = json.dumps(description, allow_nan=False)
        with contextlib.ExitStack() as undo:
            index = Index(files, sink, identity, videos, **options)
            undo.callback(index.close)
            if index.finished:
                if rank == 0 and not index.has_rows_of_others:
                    files.remove_folder()  # left by a process that was killed right after it wrote the manifest
                undo.pop_all()
                return cls(sink, identity, text, index)
            if not restart:
                _require_ours(files, index, sink)
            created = [path for path in (sink.out, *sink.out.parents) if not path.exists()]  # the innermost first
            undo.callback(_remove_unused, files, created)
            sink.prepare()
            lock = RankLock(files.database(rank), index.own_last if restart else 0)
            undo.callback(lock.close, remove=not files.database(rank).exists())
            if files.signature() != index.signature:  # somebody committed before this process had the lock
                index.close()
                index = Index(files, sink, identity, videos, **options)
                undo.callback(index.close)
            if restart and rank == 0 and not files.other_ranks_run(rank):
                forget_pin(files.pins, identity)
            undo.pop_all()
        return cls(sink, identity, text, index, lock, created)

    @property
    def has_features(self) -> bool:
        """Whether any video of the list has features already."""
        return next(self._index.done_keys(), None) is not None

    def pending(self) -> list[VideoRef]:
        """The videos of this rank that are not finished, in the order of the list.

        Every `world_size`-th video is this rank's. A video is finished when any rank committed it.
        """
        if self.finished or self._closed:
            return []
        self._index.refresh()
        return self._index.pending()

    def pin_backend(self, proposal: str | None) -> str | None:
        """What computes the features in all ranks and sessions of this identity: what was proposed first.

        Args:
            proposal: a word; None only asks.

        Raises:
            WriteError, OutputError: as in `commit`.
        """
        self._require_open()
        manifest = self._index.manifest
        before = manifest.header.get("backend") if manifest and manifest.identity == self._identity else None
        return pin(self._files.pins, self._identity, before or proposal)

    def commit(self, outcomes: Sequence[Outcome], session: Mapping[str, Any]) -> list[VideoFailure]:
        """Keep what came of some videos. When this returns, it survives a crash of the machine.

        Many at once cost little more than one: each time the disk is waited for. A video that has features already
        keeps them.

        Args:
            outcomes: of videos in the list.
            session: what this process is like: versions, device and the like; JSON data.

        Returns:
            The failures of those videos whose features cannot be kept: values that are not finite, rows that the output
            does not take, or a name that the file system does not take. They are committed in place of the features.

        Raises:
            WriteError: the system refused. What was committed before is safe.
            OutputError: the run is finished or closed, a video is not in the list, or an array holds no such features.
        """
        self._require_open()
        failed = {outcome.key for outcome in outcomes if isinstance(outcome, VideoFailure)}
        outcomes = [self._sink.kept(outcome) if isinstance(outcome, VideoFeatures) else outcome for outcome in outcomes]
        positions = {outcome.key: self._position_of(outcome.key) for outcome in outcomes}
        new = [outcome for outcome in outcomes if self._index.state[positions[outcome.key]] != DONE]
        wanted = {outcome.key: to_kept(outcome, self._identity.dtype) for outcome in new}
        failures = [kept for kept in wanted.values() if isinstance(kept, VideoFailure) and kept.key not in failed]
        text, videos = to_text(session), self._index.videos
        rows = [
            (Row.of(one, videos[positions[key]], text), one.values if isinstance(one, VideoFeatures) else None)
            for key, one in wanted.items()
        ]
        return failures + self._keep(rows, wanted)

    def adopt(self, rows: Iterable[tuple[Row, Values | None]]) -> None:
        """Keep rows of another output, with all that is known of them, as if they had been computed for this one.

        Args:
            rows: of videos in the list; with values where they are `done`.

        Raises:
            WriteError, OutputError: as in `commit`.
        """
        self._require_open()
        for batch in _batches(rows):
            outcomes: dict[str, Outcome] = {}
            for row, values in batch:
                outcomes[row.key] = row.to_failure("") if values is None else row.to_features(values, "")
            self._keep(batch, outcomes)

    def finalize(self, *, timeout: float = 600.0, poll: float = 0.2) -> Summary | None:
        """Merge what all ranks committed into the output and its manifest, and remove the databases.

        Rank 0 waits for the others; the others return None at once. The store is finished or closed afterwards.

        Args:
            timeout: how long to wait for the other ranks while none of them commits anything, in seconds.
            poll: how often to look, in seconds.

        Raises:
            OutputError: videos are missing after the wait; a database is damaged; features that were finished before
                are gone from the output. They are computed by the next session.
            WriteError: the system refused. What was committed is kept: run again.
        """
        if self._index.rank != 0:
            self.close()
            return None
        if not self.finished:
            self._require_open()
            self._wait(timeout if self._index.world_size > 1 else 0.0, poll)
            if self._sink.in_place:
                self._require_in_place()
            else:
                self._take_over()
            self._write_output()
            self._files.remove_version_1_journals()
            self.finished = True
            self._release()
            self._files.remove_folder()
        lines = self._sink.header().get("config_lines", "")
        return Summary(len(self._index.videos), *self._index.counts(), self.out, self._files.manifest, lines)

    def close(self) -> None:
        """Release all files; harmless when repeated. What was committed stays for the next session.

        Where nothing ever was, nothing is left: a mistake that shows before the first video, such as weights of another
        network, leaves no trace.
        """
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- commits --------------------------------------------------------------------------------------------------

    def _keep(self, rows: Sequence[tuple[Row, Values | None]], outcomes: Mapping[str, Outcome]) -> list[VideoFailure]:
        """Commit rows; returns the failures that are in the place of rows whose files the file system does not take."""
        refused: dict[str, VideoFailure] = {}
        if self._sink.in_place and rows:
            refused = {failure.key: failure for failure in self._put_in_place(outcomes, rows[0][0].session)}
        videos = self._index.videos
        self._put(
            [
                (Row.of(refused[row.key], videos[self._position_of(row.key)], row.session), None)
                if row.key in refused
                else (row, self._payload(values))
                for row, values in rows
            ]
        )
        return list(refused.values())

    def _put(self, rows: Sequence[tuple[Row, bytes | None]], *, fresh: bool = True) -> None:
        """Commit rows and take them into account. The first of them supersede what is there, after `restart`."""
        if not rows:
            return
        void = rows[0][0].status == "void"
        if not self._started_over:
            self._remove_unreadable()
        committed = max(time.time_ns(), self._index.clock + 1)
        with self._writer.transaction() as transaction:
            if not self._started_over and not void:
                transaction.start_over(self._index.start_over)
            numbers = [transaction.put(row, payload, committed) for row, payload in rows]
        self._started_over = self._started_over or not void
        for (row, _), number in zip(rows, numbers, strict=True):
            position = self._index.position_of(row.key)
            if position is not None:
                entry = IndexEntry(number, row.key, row.status, "", row.session, committed, None, None)
                self._index.add(position, entry, self._writer.path, fresh=fresh)

    def _put_in_place(self, outcomes: Mapping[str, Outcome], session: str) -> list[VideoFailure]:
        """Write files; returns the failures of those that the file system does not take."""
        known = [key for key in outcomes if self._index.is_known(self._position_of(key))]
        shared = [self._index.shared_names[key] for key in known if key in self._index.shared_names]
        # Should this process be killed before the new rows are there, the old ones must not stand for the new files.
        self._put([(Row(key, "void", None, session), None) for key in known + shared])
        self._set_manifest_aside()
        features = [outcome for outcome in outcomes.values() if isinstance(outcome, VideoFeatures)]
        errors = self._sink.write(features)
        for outcome in outcomes.values():
            if isinstance(outcome, VideoFailure):
                self._sink.delete(outcome.key)
        return [VideoFailure(f.key, f.encoder, errors[f.key]) for f in features if f.key in errors]

    def _payload(self, values: Values | None) -> bytes | None:
        return None if values is None or self._sink.in_place else as_little_endian(values)

    def _remove_unreadable(self) -> None:
        """After `restart`: remove databases that are damaged, and can neither be read nor written."""
        for path in self._index.unreadable:
            if path == self._writer.path or (self._index.rank == 0 and not is_locked(path.with_suffix(".lock"))):
                remove(path)
                remove(path.with_name(f"{path.name}-journal"))

    def _set_manifest_aside(self) -> None:
        """In place: the manifest does not stand beside an output that is not as it says."""
        if file_signature(self._files.manifest) not in (None, self._index.signature[0]):
            raise finished_meanwhile(self._files.manifest)
        try:
            self._files.manifest.replace(self._files.earlier_manifest)
            sync_folder(self._files.folder)
            sync_folder(self._files.folder.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise WriteError(
                str(self._files.manifest),
                expected="to move the manifest of the earlier output",
                found=reason(error),
                hint="Correct the permissions, then run the same command again: finished videos are kept.",
            ) from error

    # --- the output -----------------------------------------------------------------------------------------------

    def _wait(self, timeout: float, poll: float) -> None:
        """Return when every video has features or a failure."""
        deadline = time.monotonic() + timeout
        while True:
            if self._index.refresh():
                deadline = time.monotonic() + timeout
            missing = self._index.uncovered()
            if not missing:
                return
            if time.monotonic() >= deadline:
                raise self._incomplete(missing)
            time.sleep(poll)

    def _incomplete(self, missing: Sequence[int]) -> OutputError:
        ranks = sorted({position % self._index.world_size for position in missing})
        names = [f"{self._index.videos[position].key!r} (index {position})" for position in missing]
        return OutputError(
            str(self.out),
            expected=f"all {len(self._index.videos)} videos from {self._index.world_size} rank(s)",
            found=f"{len(missing)} missing, of the share of rank(s) {_some(ranks)}: {_some(names)}",
            hint="See why those processes stopped, then run the same command again: finished videos are kept.",
        )

    def _require_in_place(self) -> None:
        """Raise `OutputError` where a file is gone. Of two rows for one file, let that stand which the file is of."""
        gone = [key for key in self._index.done_keys() if not self._sink.holds(key)]
        for position, rivals in self._index.contested().items():
            key = self._index.videos[position].key
            values = next(iter(self._sink.read([key])), None)
            fitting = [place for place, row in rivals if not row.problem_of(values)]
            if fitting:
                self._index.choose(position, fitting[0])
            elif key not in gone:
                gone.append(key)
                self._put([(Row(key, "void", None, rivals[0][1].session), None)])
        self._require_none_gone(gone)

    def _require_none_gone(self, gone: Sequence[str]) -> None:
        if gone:
            raise OutputError(
                str(self.out),
                expected="the features that were finished before",
                found=f"none, or different ones, for {_some([repr(key) for key in gone])}",
                hint="Run the same command again: only what is missing is computed.",
            )

    def _take_over(self) -> None:
        """Move what stands in the finished output into the database, before the output is replaced."""
        gone: list[Row] = []

        def intact() -> Iterator[tuple[Row, Values | None]]:
            for position, row, values in self._in_output():
                if row.status == "done" and (isinstance(values, Unreadable) or row.problem_of(values)):
                    gone.append(row)
                else:
                    values = np.asarray(values, row.dtype) if row.status == "done" else None
                    yield row.with_stamp(self._index.videos[position]), values

        for batch in _batches(intact()):
            self._put([(row, self._payload(values)) for row, values in batch], fresh=False)
        self._put([(replace(row, status="void"), None) for row in gone])
        self._require_none_gone([row.key for row in gone])

    def _in_output(self) -> Iterator[tuple[int, Row, Any]]:
        """Position, row and values of every video that the finished output stands for."""
        manifest = self._index.manifest
        if manifest is None or not self._index.uses_manifest():
            return

        def rows() -> Iterator[tuple[int | None, Row]]:
            for offset, row in manifest.rows():
                position = self._index.position_of(row.key)
                stands = position is not None and self._index.is_line(position, offset)
                if stands or self._sink.positional:
                    yield position if stands else None, row

        values = _as_far_as_readable(self._sink, (row.key for _, row in rows()))
        for position, row in rows():
            value = next(values, None)
            if position is not None:
                yield position, row, value

    def _write_output(self) -> None:
        sessions = self._index.sessions()
        header = header_line(
            json.loads(self._description),
            self._identity,
            backend=self.pin_backend(None),
            sessions=[json.loads(session) for session in sessions],
            list_digest=list_digest(video.key for video in self._index.videos),
            videos=len(self._index.videos),
            failed=self._index.counts()[2],
            output=self.out.name,
            output_format=self._sink.name,
        )
        header.update(self._sink.header())
        # An earlier manifest must not stand beside a later output, should the process be killed in between.
        if self._sink.in_place:
            self._set_manifest_aside()
            self._sink.delete_others([video.key for video in self._index.videos], self._index.absent)
        else:
            remove(self._files.manifest)
        self._sink.finalize(self._rows_of_output())
        self._sink.list_videos(
            (video.key, self._index.state[position] == DONE) for position, video in enumerate(self._index.videos)
        )
        numbers = {session: number for number, session in enumerate(sessions)}
        lines = (row.to_line(position, numbers[row.session]) for position, row in self._rows())
        write_manifest(self._files.manifest, itertools.chain([header], lines))

    def _rows(self) -> Iterator[tuple[int, Row]]:
        for position, video in enumerate(self._index.videos):
            row = self._index.row(position)
            assert row is not None  # `_wait` returned
            yield position, row.with_stamp(video)

    def _rows_of_output(self) -> Iterator[tuple[str, VideoFeatures | None]]:
        encoder = json.loads(self._description)["encoder"]
        for position, row in self._rows():
            features = None
            if row.status == "done":
                values = self._index.values(position, row)
                features = row.to_features(self._read(row) if values is None else values, encoder)
            yield row.key, features

    def _read(self, row: Row) -> Values:
        """What is in place of a video."""
        values = next(iter(self._sink.read([row.key])), None)
        if values is None or isinstance(values, Unreadable):
            self._require_none_gone([row.key])
        return np.asarray(values, row.dtype)

    # --- the store itself -----------------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self.finished or self._closed:
            raise OutputError(str(self.out), expected="a run that is open", found="one that is finished or closed")

    def _position_of(self, key: str) -> int:
        position = self._index.position_of(key)
        if position is None:
            raise OutputError(str(self.out), expected="a video of this run", found=repr(key))
        return position

    def _release(self) -> None:
        self._index.close()
        self._writer.close()
        if self._lock is None:
            return
        unused = self._writer.is_empty()
        if unused:
            self._writer.remove()
        self._lock.close(remove=unused)
        self._lock = None
        if unused:
            _remove_unused(self._files, self._created)


def _require_ours(files: RunFiles, index: Index, sink: Sink) -> None:
    """Refuse a file that vidfeat did not write. A folder may hold anything: only the videos' files are replaced."""
    if index.has_rows or files.manifest.exists():
        return
    if any(path.stat().st_size for path in files.version_1_journals()):
        raise OutputError(
            str(files.out),
            expected="a new output, a finished one, or one that this version of vidfeat started",
            found="one that version 0.1 started and did not finish",
            hint="Finish it with vidfeat 0.1, or give `restart=True` to compute everything again.",
        )
    there = next((path for path in sink.replaced if path.is_file()), None)
    if there is not None:
        raise OutputError(
            str(there),
            expected="a new file, or one with a manifest beside it",
            found="a file that vidfeat did not write",
            hint="Choose another output, or give `restart=True` to replace it.",
        )


def _remove_unused(files: RunFiles, created: Sequence[Path]) -> None:
    """Remove the folders of a run that left nothing: also those that were created for its output."""
    if files.remove_unused_folder():
        for folder in created:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _batches(rows: Iterable[tuple[Row, Values | None]]) -> Iterator[list[tuple[Row, Values | None]]]:
    """The rows, as many at a time as are committed together."""
    batch: list[tuple[Row, Values | None]] = []
    size = 0
    for row, values in rows:
        batch.append((row, values))
        size += 0 if values is None else values.nbytes
        if len(batch) == _ROWS_PER_COMMIT or size >= _BYTES_PER_COMMIT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _as_far_as_readable(sink: Sink, keys: Iterator[str]) -> Iterator[Any]:
    with contextlib.suppress(OutputError):
        yield from sink.read(keys)


def _some(items: Sequence[object]) -> str:
    more = f" and {len(items) - _NAMED_IN_ERRORS} more" if len(items) > _NAMED_IN_ERRORS else ""
    return ", ".join(map(str, items[:_NAMED_IN_ERRORS])) + more
