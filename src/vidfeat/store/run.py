"""One run: its videos, what is finished, and the output at the end."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np

from vidfeat.errors import OutputError, UsageError, VideoError, WriteError
from vidfeat.formats.atomic import remove
from vidfeat.store.identity import RunIdentity
from vidfeat.store.journal import (
    AppendFile,
    Journal,
    OpenFile,
    agree,
    clear_idle_journals,
    has_journal,
    journals_of,
    other_run,
    remove_journals,
)
from vidfeat.store.ledger import Ledger
from vidfeat.store.manifest import (
    ManifestHeader,
    ManifestSummary,
    header_line,
    manifest_path,
    read_summary,
    read_videos,
    video_line,
    write_manifest,
)
from vidfeat.store.records import Done, Failed, Settled
from vidfeat.store.results import Failure, Result, Success
from vidfeat.store.streams import Features, as_little_endian
from vidfeat.store.writers import Format, open_format
from vidfeat.videos import Entry

_LONGEST_MESSAGE = 2000
_NAMED_IN_ERRORS = 5


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        videos: how many the list has.
        failed: how many of them have no features.
        out: the output.
        manifest: what tells about each video.
    """

    videos: int
    failed: int
    out: Path
    manifest: Path

    @property
    def done(self) -> int:
        """How many videos have features."""
        return self.videos - self.failed


class RunStore:
    """Takes the features of a run as they come, and keeps them through crashes.

    The processes of a run, its ranks, each open the same output with their own rank and never talk. Each commits to a
    journal of its own; rank 0 merges the journals into the output. A run that was stopped at any moment goes on when
    it is opened again with the same identity. Not for use by several threads.

    Attributes:
        out: the output.
    """

    def __init__(
        self,
        output_format: Format,
        identity: RunIdentity,
        entries: Sequence[Entry],
        share: _Share,
        state: ManifestSummary | _Session,
    ) -> None:
        """Use `RunStore.open`."""
        self.out = output_format.out
        self._format = output_format
        self._identity = identity
        self._entries = entries
        self._share = share
        self._state: ManifestSummary | _Session | None = state  # None once closed

    @classmethod
    def open(
        cls,
        out: Path | str,
        identity: RunIdentity,
        entries: Sequence[Entry],
        *,
        rank: int = 0,
        world_size: int = 1,
        restart: bool = False,
        retry_failed: bool = False,
        open_file: OpenFile = AppendFile,
    ) -> RunStore:
        """Begin a run, or go on with one.

        Args:
            out: the output, as `open_format` reads it; its folder is created where it is missing.
            identity: of the run; what is there of another run is refused.
            entries: the videos, the same for all ranks; their `index` counts from 0.
            rank: which process this is, from 0.
            world_size: how many there are; it may differ from the last session's.
            restart: compute everything anew, and replace the output whatever it is. Give it to all ranks or none.
            retry_failed: try the videos again that failed in sessions before. With several ranks, those of a run that
                was finished; one that was interrupted has to finish first.
            open_file: opens the journal; tests put faulty files in its place.

        Raises:
            UsageError: the output has an unknown suffix, the videos' names do not fit a folder, or the rank is none.
            OutputError: what stands there is of another run, or is not vidfeat's, or is open in another process, or
                is damaged.
            WriteError: the system refuses to write there.
        """
        output_format = open_format(out)
        output_format.check_names(entries)
        if not 0 <= rank < world_size:
            raise UsageError("the call", expected=f"a rank from 0 to {world_size - 1}", found=str(rank))
        share = _Share(rank, world_size)
        summary = None if restart else _finished_run(output_format.out, identity)
        if summary is not None and not (retry_failed and summary.failed):
            if rank == 0 and not summary.failed:
                remove_journals(output_format.out)  # left by a process that was killed right after the manifest
            return cls(output_format, identity, entries, share, summary)
        if not restart:
            _require_ours(output_format.out)
        output_format.prepare()
        session = _Session.begin(output_format, identity, entries, share, restart=restart, open_file=open_file)
        if retry_failed and world_size == 1:
            session.settle()
        return cls(output_format, identity, entries, share, session)

    @property
    def finished(self) -> bool:
        """Whether output and manifest are complete, so that nothing is left to do."""
        return isinstance(self._state, ManifestSummary)

    def pending(self) -> list[Entry]:
        """The entries of this rank that are not finished, in the order of the list.

        Every `world_size`-th entry is this rank's. An entry is finished when any rank committed it.
        """
        if not isinstance(self._state, _Session):
            return []
        ledger = self._state.ledger
        ledger.update()
        return [entry for entry in self._entries[self._share.slice] if not self._is_kept(ledger, entry)]

    def agree(self, proposal: str | None) -> str | None:
        """What the ranks and sessions of this run agree on about kernels: the first proposal other than None.

        Raises:
            WriteError, OutputError: as in `commit`.
        """
        self._session()
        return agree(self.out, proposal)

    def commit(self, *results: Result) -> None:
        """Keep what became of some videos. When this returns, it survives a crash of the machine.

        Many at once cost little more than one: each time the disk is waited for.

        Raises:
            VideoError: a value is not finite; commit the failure and go on. None of the results is kept.
            WriteError: the system refused. Videos committed before are safe.
            OutputError: the run is finished or closed, or an array holds no such features.
        """
        session = self._session()
        for result in results:
            self._require_entry(result.entry)
            if isinstance(result, Success):
                _require_features(result.entry, result.array)
        successes = [result for result in results if isinstance(result, Success)]
        failures = [result for result in results if isinstance(result, Failure)]
        payloads = self._format.keep(*((result.entry.name, result.array) for result in successes))
        for result in failures:
            self._format.drop(result.entry.name)
        session.journal.append(
            *zip(map(_done, successes), payloads, strict=True), *((_failed(result), b"") for result in failures)
        )

    def finish(self, header: ManifestHeader, *, timeout: float = 600.0, poll: float = 0.2) -> Summary | None:
        """Merge the journals into the output and its manifest, and remove them.

        Rank 0 waits for the others; the others return None at once. If videos failed, the journals stay, so that
        `retry_failed` finds the features of the rest. The store is finished or closed afterwards.

        Args:
            header: what the manifest tells about the run.
            timeout: how long to wait for the other ranks while none of them commits anything, in seconds.
            poll: how often to look, in seconds.

        Raises:
            OutputError: videos are missing after the wait; journals are damaged or contradict each other.
            WriteError: the system refused. The journals are kept: run again.
        """
        if self._share.rank != 0:
            self.close()
            return None
        if isinstance(self._state, ManifestSummary):
            return self._as_summary(self._state)
        session = self._session()
        self._wait(session.ledger, timeout if self._share.world_size > 1 else 0.0, poll)
        self._require_kept(session.ledger)
        # Before the manifest, so that whatever a manifest lists as failed is tried again when that is asked for.
        failed = session.settle()
        self._merge(session.ledger, header, failed)
        session.close()
        if not failed:
            remove_journals(self.out)
        self._state = ManifestSummary(self._identity, len(self._entries), failed)
        return self._as_summary(self._state)

    def close(self) -> None:
        """Release the journal; harmless when repeated. What was committed stays, for the next session."""
        if isinstance(self._state, _Session):
            self._state.close()
            self._state = None

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and isinstance(self._state, _Session):
            # A mistake that shows before the first video, such as weights of another network, leaves no trace.
            self._state.journal.abandon()
        self.close()

    def _session(self) -> _Session:
        if not isinstance(self._state, _Session):
            raise OutputError(str(self.out), expected="a run that is open", found="one that is finished or closed")
        return self._state

    def _require_entry(self, entry: Entry) -> None:
        if not 0 <= entry.index < len(self._entries) or self._entries[entry.index].name != entry.name:
            raise OutputError(str(self.out), expected="an entry of this run", found=repr(entry))

    def _is_kept(self, ledger: Ledger, entry: Entry) -> bool:
        if ledger.is_done(entry.index):
            return self._format.holds(entry.name)
        return ledger.is_covered(entry.index)

    def _wait(self, ledger: Ledger, timeout: float, poll: float) -> None:
        """Return when every video is covered."""
        deadline = time.monotonic() + timeout
        while True:
            if ledger.update():
                deadline = time.monotonic() + timeout
            if not ledger.uncovered():
                return
            if time.monotonic() >= deadline:
                raise self._incomplete(ledger)
            time.sleep(poll)

    def _incomplete(self, ledger: Ledger) -> OutputError:
        missing = [entry for entry in self._entries if not ledger.is_covered(entry.index)]
        ranks = sorted({entry.index % self._share.world_size for entry in missing})
        return OutputError(
            str(self.out),
            expected=f"all {len(self._entries)} videos from {self._share.world_size} rank(s)",
            found=f"{len(missing)} missing, of the share of rank(s) {_some(ranks)}: "
            + _some([f"{entry.name!r} (index {entry.index})" for entry in missing]),
            hint="See why those processes stopped, then run the same command again: finished videos are kept.",
        )

    def _require_kept(self, ledger: Ledger) -> None:
        gone = [entry for entry in self._entries if not self._is_kept(ledger, entry)]
        if gone:
            raise OutputError(
                str(self.out),
                expected="the features that this run wrote",
                found=f"no file for {_some([repr(entry.name) for entry in gone])}",
                hint="Run the same command again: only what is gone is computed.",
            )

    def _merge(self, ledger: Ledger, header: ManifestHeader, failed: int) -> None:
        manifest = manifest_path(self.out)
        first = header_line(
            header,
            self._identity,
            out=self.out,
            output_format=self._format.name,
            videos=len(self._entries),
            failed=failed,
        )
        # An earlier manifest must not stand beside a later output, should the process be killed in between.
        remove(manifest)
        self._format.assemble(_features(ledger, entry.index) for entry in self._entries)
        lines = (video_line(ledger.body(entry.index)) for entry in self._entries)
        write_manifest(manifest, itertools.chain([first], lines))

    def _as_summary(self, summary: ManifestSummary) -> Summary:
        return Summary(summary.videos, summary.failed, self.out, manifest_path(self.out))


@dataclass(frozen=True)
class _Share:
    """Which videos a rank computes."""

    rank: int
    world_size: int

    @property
    def slice(self) -> slice:
        return slice(self.rank, None, self.world_size)


@dataclass(frozen=True)
class _Session:
    """A run in progress: where this rank writes, and what all ranks wrote."""

    journal: Journal
    ledger: Ledger

    @classmethod
    def begin(
        cls,
        output_format: Format,
        identity: RunIdentity,
        entries: Sequence[Entry],
        share: _Share,
        *,
        restart: bool,
        open_file: OpenFile,
    ) -> _Session:
        out = output_format.out
        with contextlib.ExitStack() as undo:
            journal = Journal(
                out, identity, rank=share.rank, world_size=share.world_size, restart=restart, open_file=open_file
            )
            undo.enter_context(journal)
            if restart and share.rank == 0:
                _drop_others(output_format, entries)
                remove(manifest_path(out))
                clear_idle_journals(out)
            # A restart of all ranks takes a while; till then the others' journals may be of the run to be replaced.
            own_only = restart and share.rank > 0
            ledger = Ledger((lambda: [journal.path]) if own_only else (lambda: journals_of(out)), identity, entries)
            undo.callback(ledger.close)
            ledger.update()
            undo.pop_all()
        return cls(journal, ledger)

    def settle(self) -> int:
        """Let the failures so far be tried again by the next to ask what is pending; returns how many there are."""
        failed = self.ledger.failed()
        if failed:
            self.journal.append((Settled(self.ledger.ends()), b""))
        return failed

    def close(self) -> None:
        self.ledger.close()
        self.journal.close()


def nothing_pending(out: Path, *, restart: bool = False, retry_failed: bool = False) -> bool:
    """Whether a finished output stands there, so that `RunStore.open` has nothing pending, or refuses another run's.

    This is cheap, and needs no `RunIdentity`. Arguments as for `RunStore.open`.

    Raises:
        OutputError: the manifest beside it is none.
    """
    summary = None if restart else read_summary(manifest_path(out))
    return summary is not None and out.exists() and not (retry_failed and summary.failed)


def _finished_run(out: Path, identity: RunIdentity) -> ManifestSummary | None:
    """What the manifest of a finished output tells; None if there is no finished output."""
    summary = read_summary(manifest_path(out))
    if summary is not None and summary.identity != identity:
        raise other_run(out, summary.identity, identity)
    return summary if out.exists() else None


def _drop_others(output_format: Format, entries: Sequence[Entry]) -> None:
    """Remove what the finished run to be replaced left of videos that are not in the list any more."""
    try:
        former = [str(video.get("name")) for video in read_videos(manifest_path(output_format.out))]
    except OutputError:  # no manifest, or none that can be read: then nothing is known
        return
    # Without suffixes, as the output of `a.avi` is that of `a.mp4` before; another rank may have written it already.
    kept = {_without_suffix(entry.name) for entry in entries}
    for name in former:
        if _without_suffix(name) not in kept:
            try:
                output_format.drop(name)
            except WriteError:
                raise
            except (OutputError, UsageError):  # it leads out of the folder, so it was never ours
                pass


def _without_suffix(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    return path.parent / path.stem


def _require_ours(out: Path) -> None:
    """Refuse a file that no run of vidfeat wrote. A folder may hold anything: only the videos' files are replaced."""
    if out.is_file() and not manifest_path(out).exists() and not has_journal(out):
        raise OutputError(
            str(out),
            expected="a new file, or one with a manifest beside it",
            found="a file that vidfeat did not write",
            hint="Choose another output, or give --restart to replace it.",
        )


def _features(ledger: Ledger, index: int) -> Features | None:
    body, payload = ledger.contents(index)
    if isinstance(body, Failed):
        return None
    if len(payload) != 4 * math.prod(body.shape):
        raise OutputError(
            f"the journal's record of {body.name!r}",
            expected=f"float32 values of shape {list(body.shape)}",
            found=f"{len(payload)} bytes",
            hint="Begin anew with --restart.",
        )
    return np.frombuffer(payload, dtype="<f4").reshape(body.shape)


def _done(result: Success) -> Done:
    return Done(
        index=result.entry.index,
        name=result.entry.name,
        shape=tuple(result.array.shape),
        sha256=hashlib.sha256(as_little_endian(result.array)).hexdigest(),
        frames=result.frames,
        fps=_finite(result.fps),
        seconds=_finite(result.seconds),
        salvaged=result.salvaged,
        frames_declared=result.frames_declared,
    )


def _failed(result: Failure) -> Failed:
    error = result.error
    return Failed(result.entry.index, result.entry.name, error.stage, error.kind, str(error)[:_LONGEST_MESSAGE])


def _require_features(entry: Entry, array: Features) -> None:
    if array.dtype != np.float32 or not array.ndim or not array.size:
        raise OutputError(
            entry.name,
            expected="float32 features of shape [C], or with further axes",
            found=f"{array.dtype} of shape {list(array.shape)}",
        )
    if not np.isfinite(array).all():
        raise VideoError(
            entry.name,
            stage="model",
            kind="corrupt",
            expected="finite features",
            found=f"{int((~np.isfinite(array)).sum())} of {array.size} values that are infinite or no number",
            hint="If other videos have finite features, look at this one; otherwise try --precision fp32.",
        )


def _finite(value: float | None) -> float | None:
    """JSON has no infinities; a container can state one."""
    return float(value) if value is not None and math.isfinite(value) else None


def _some(items: Sequence[object]) -> str:
    more = f" and {len(items) - _NAMED_IN_ERRORS} more" if len(items) > _NAMED_IN_ERRORS else ""
    return ", ".join(map(str, items[:_NAMED_IN_ERRORS])) + more
