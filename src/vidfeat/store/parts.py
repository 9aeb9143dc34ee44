"""A run whose output is a folder of parts, on a disk or in an object store.

    OUT/run.json                 what all parts are computed with; written when the run is opened
    OUT/parts/*.parquet          what is committed; see `vidfeat.store.part_files`
    OUT/manifest.json            that the run is finished, with its counts

Parts are the only state: whoever lists them knows what is finished. Any number of processes may write parts at the same
time. A video that two of them computed is in two parts, of which readers take the newer one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidfeat.errors import OutputError, UsageError, quote
from vidfeat.features import Outcome, VideoFailure
from vidfeat.store.identity import WorkIdentity, describe_difference
from vidfeat.store.part_files import PARTS, Committed, PartFolder, PartWriter, part_folder, parts_of
from vidfeat.store.rows import IndexEntry, segment_from_json, to_text
from vidfeat.store.summary import Summary
from vidfeat.videos import VideoRef

PARTS_VERSION = 1
RUN, MANIFEST = "run.json", "manifest.json"

_NONE, _FAILED, _DONE = range(3)
_IS_PENDING, _HAS_FAILED, _IS_DONE = (f"state = {state}" for state in (_NONE, _FAILED, _DONE))
_PAGE = 4096
_SCHEMA = """
CREATE TABLE videos (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, uri TEXT NOT NULL, segment TEXT, label TEXT, bytes INTEGER,
    state INTEGER NOT NULL DEFAULT 0, part TEXT, fresh INTEGER NOT NULL DEFAULT 0
);
"""


class PartsStore:
    """Takes the features of videos as they come. The list is kept in a temporary file, so that memory does not grow.

    Use it in a `with` block, or `close` it.

    Attributes:
        out: the output, as it was given.
        notes: sentences for people about what was found there.
        finished: whether nothing is left to do.
        writer: commits outcomes; processes elsewhere may use it, and have what they committed given to `record`.
        linger_seconds: so long outcomes are to be collected before they are committed, so that parts do not get small.
    """

    linger_seconds = 20.0

    def __init__(
        self,
        out: str,
        folder: PartFolder,
        identity: WorkIdentity,
        run: Mapping[str, Any],
        videos: sqlite3.Connection,
        notes: Sequence[str],
        superseded: Sequence[str],
    ) -> None:
        """Use `PartsStore.open`."""
        self.out, self.notes = out, tuple(notes)
        self._folder, self._identity, self._run = folder, identity, run
        self.writer = PartWriter(folder, to_text(identity.to_json()))
        self._videos = videos
        self._superseded = superseded

    @classmethod
    def open(
        cls,
        out: str,
        identity: WorkIdentity,
        videos: Iterable[VideoRef],
        *,
        description: Mapping[str, Any],
        backend: str,
        restart: bool = False,
        retry_failed: bool = False,
    ) -> PartsStore:
        """Start a run, or go on with one. The list is read once.

        Args:
            out: the URI or path of the folder.
            identity: what the features are computed with.
            videos: the list.
            description: as for `RunStore.open`.
            backend: what runs the networks, in all processes.
            restart: take nothing of what is there; it is removed when the run is finished.
            retry_failed: try the videos again that failed before.

        Raises:
            UsageError: a key repeats, or a package is missing.
            OutputError: the folder holds something else, or features that were computed in another way.
            WriteError: nothing can be written there.
        """
        folder = part_folder(out)
        run = {
            "vidfeat_parts": PARTS_VERSION,
            "identity": identity.to_json(),
            "description": dict(description),
            "backend": backend,
        }
        _require_same(folder, identity, backend, restart)
        superseded = folder.names() if restart else []
        spool = _spool()
        try:
            _fill(spool, videos)
            notes = [] if restart else _mark_committed(folder, spool, retry_failed)
            folder.put(RUN, json.dumps(run, allow_nan=False, indent=1).encode())
        except BaseException:
            spool.close()
            raise
        return cls(out, folder, identity, run, spool, notes, superseded)

    @property
    def has_features(self) -> bool:
        """Whether any video of the list has features already."""
        return bool(self._count(_IS_DONE))

    @property
    def finished(self) -> bool:
        """Whether every video has features or a failure, and the manifest says so."""
        return not self._count(_IS_PENDING) and read_json(self._folder, MANIFEST) == self._manifest()

    def pending(self) -> Iterator[VideoRef]:
        """The videos that are not finished, the largest first, then in the order of the list."""
        rows = self._videos.execute(
            "SELECT key, uri, segment, label, bytes FROM videos WHERE state = 0 ORDER BY bytes DESC, number"
        )
        while page := rows.fetchmany(_PAGE):
            yield from map(_ref, page)

    def is_pending(self, key: str) -> bool:
        """Whether a video of the list is not finished."""
        found = self._videos.execute("SELECT state FROM videos WHERE key = ?", (key,)).fetchone()
        return found is not None and found[0] == _NONE

    def count_pending(self) -> int:
        """How many they are."""
        return self._count(_IS_PENDING)

    def __len__(self) -> int:
        """How many videos the list has."""
        return self._count("1")

    def pin_backend(self, proposal: str | None) -> str | None:
        """What computes the features in all processes, whatever is proposed."""
        return str(self._run["backend"])

    def commit(self, outcomes: Sequence[Outcome], session: Mapping[str, Any]) -> list[VideoFailure]:
        """Keep what came of some videos. When this returns, it survives a crash of the machine.

        Args:
            outcomes: of videos in the list.
            session: what this process is like: versions, device and the like; JSON data.

        Returns:
            The failures of videos whose features cannot be kept.

        Raises:
            WriteError: the store refused.
        """
        committed = self.writer.commit([(self._ref_of(outcome.key), outcome) for outcome in outcomes], session)
        self.record(committed)
        failed = {outcome.key for outcome in outcomes if isinstance(outcome, VideoFailure)}
        return [one.error for one in committed if one.error is not None and one.key not in failed]

    def record(self, committed: Sequence[Committed]) -> None:
        """Take into account what `writer` committed, here or elsewhere."""
        self._videos.executemany(
            "UPDATE videos SET state = ?, part = ?, fresh = 1 WHERE key = ?",
            [(_DONE if one.error is None else _FAILED, one.part, one.key) for one in committed],
        )

    def finalize(self) -> Summary:
        """Write the manifest, and remove what `restart` replaced.

        Raises:
            OutputError: videos are missing.
            WriteError: the store refused.
        """
        missing = self._videos.execute("SELECT key FROM videos WHERE state = 0 LIMIT 5").fetchall()
        if missing:
            raise OutputError(
                str(self.out),
                expected="features or a failure of every video",
                found=f"none of {self.count_pending()} videos, such as {', '.join(quote(key) for (key,) in missing)}",
                hint="Run the same command again: finished videos are kept.",
            )
        manifest = self._manifest()
        if read_json(self._folder, MANIFEST) != manifest:
            self._folder.put(MANIFEST, json.dumps(manifest, allow_nan=False, indent=1).encode())
        self._folder.remove([f"{PARTS}/{name}" for name in self._superseded])
        computed, kept = self._count(f"{_IS_DONE} AND fresh"), self._count(f"{_IS_DONE} AND NOT fresh")
        name = f"{self.out.rstrip('/')}/{MANIFEST}"
        return Summary(len(self), computed, kept, self._count(_HAS_FAILED), self.out, name)

    def close(self) -> None:
        """Release the list; harmless when repeated."""
        self._videos.close()

    def __enter__(self) -> PartsStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _manifest(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for (key,) in self._videos.execute("SELECT key FROM videos ORDER BY number"):
            digest.update(key.encode() + b"\0")
        return {
            **self._run,
            "list_digest": digest.hexdigest(),
            "videos": len(self),
            "failed": self._count(_HAS_FAILED),
        }

    def _count(self, which: str) -> int:
        return int(self._videos.execute(f"SELECT count(*) FROM videos WHERE {which}").fetchone()[0])

    def _ref_of(self, key: str) -> VideoRef:
        found = self._videos.execute("SELECT key, uri, segment, label, bytes FROM videos WHERE key = ?", (key,))
        return _ref(found.fetchone())


def _spool() -> sqlite3.Connection:
    """A temporary database for the list, which is gone with the process."""
    file = tempfile.NamedTemporaryFile(prefix="vidfeat-list-", suffix=".sqlite")  # noqa: SIM115 - unlinked below
    spool = sqlite3.connect(file.name, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16000"):
        spool.execute(f"PRAGMA {pragma}")
    spool.executescript(_SCHEMA)
    file.close()
    return spool


def _fill(spool: sqlite3.Connection, videos: Iterable[VideoRef]) -> None:
    spool.execute("BEGIN")
    for video in videos:
        segment = None if video.cut is None else json.dumps(video.cut)
        try:
            spool.execute(
                "INSERT INTO videos (key, uri, segment, label, bytes) VALUES (?, ?, ?, ?, ?)",
                (video.key, video.uri, segment, video.label, video.bytes or 0),
            )
        except sqlite3.IntegrityError:
            raise UsageError(
                "videos",
                expected="videos with different names, as outputs are named after them",
                found=quote(video.key),
            ) from None
        except UnicodeEncodeError:
            raise UsageError(
                "videos", expected="names in UTF-8, as Parquet holds them", found=quote(video.key)
            ) from None
    spool.execute("COMMIT")
    if not spool.execute("SELECT count(*) FROM videos").fetchone()[0]:
        raise UsageError("videos", expected="at least one video or folder", found="none")


def _mark_committed(folder: PartFolder, spool: sqlite3.Connection, retry_failed: bool) -> list[str]:
    """Mark what is finished; returns sentences for people."""
    changed = retried = 0
    seen: set[int] = set()
    for part in parts_of(folder):
        updates = []
        for key, about in zip(part.keys, part.about, strict=True):
            row = spool.execute(
                "SELECT key, uri, segment, label, bytes, number FROM videos WHERE key = ?", (key,)
            ).fetchone()
            if row is None or row[-1] in seen:
                continue
            seen.add(row[-1])
            size, modified_ns = about.get("stamp") or (None, None)
            entry = IndexEntry(
                0, key, about["status"], "", "", 0, size, modified_ns, segment_from_json(about.get("segment"))
            )
            if about["status"] == "failed" and retry_failed:
                retried += 1
            elif not entry.is_of(_ref(row[:-1])):
                changed += 1
            else:
                updates.append((_DONE if about["status"] == "done" else _FAILED, part.name, row[-1]))
        spool.executemany("UPDATE videos SET state = ?, part = ? WHERE number = ?", updates)
    notes = []
    if changed:
        notes.append(f"{changed} videos have changed and are computed again.")
    if retried:
        notes.append(f"{retried} videos that failed are tried again.")
    return notes


def _require_same(folder: PartFolder, identity: WorkIdentity, backend: str, restart: bool) -> None:
    """Refuse a folder with parts of another run, or with anything else."""
    run = read_json(folder, RUN)
    if restart or (run is None and not folder.names()):
        return
    try:
        assert run is not None
        there, found_backend = WorkIdentity.from_json(run["identity"]), run["backend"]
    except (AssertionError, ValueError, KeyError, TypeError):
        raise OutputError(
            folder.uri,
            expected=f"a new folder, or one with the {RUN} of a run",
            found="parts without it" if run is None else "another one",
            hint="Choose another output, or replace it with `restart=True`.",
        ) from None
    difference = describe_difference(there, identity)
    if not difference and found_backend != backend:
        difference = f"another backend ({found_backend} there, {backend} now)"
    if difference:
        raise OutputError(
            folder.uri,
            expected="parts that were computed in the same way",
            found=difference,
            hint="Choose another output, or replace it with `restart=True`.",
        )


def read_json(folder: PartFolder, name: str) -> dict[str, Any] | None:
    """A JSON object of a run; None where there is none.

    Raises:
        OutputError: it cannot be read, or is none.
    """
    with contextlib.suppress(FileNotFoundError), folder.open(name) as file:
        try:
            data = json.loads(file.read(1 << 24))
            if not isinstance(data, dict):
                raise ValueError("no object")
            return data
        except (ValueError, RecursionError) as error:
            raise OutputError(f"{folder.uri}/{name}", expected="a JSON object", found=str(error)) from error
    return None


def _ref(row: Sequence[Any]) -> VideoRef:
    key, uri, cut, label, size = row
    video = VideoRef.with_cut(key, uri, None if cut is None else segment_from_json(json.loads(cut)))
    return replace(video, label=label, bytes=size or None)


def is_parts(out: str | Path) -> bool:
    """Whether an output is a folder of parts, or a URI, which can be nothing else."""
    text = str(out)
    if "://" in text:
        return True
    return (Path(text) / RUN).is_file()
