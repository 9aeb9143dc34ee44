"""Reading an output that consists of parts: its features by key, what is wrong with it, and fewer and larger parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from vidfeat.errors import OutputError, UsageError, VidfeatError
from vidfeat.features import Outcome, Values
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.part_files import PARTS, Part, PartFolder, PartWriter, part_folder, read_part
from vidfeat.store.parts import MANIFEST, RUN, read_json
from vidfeat.store.rows import Row, segment_from_json, to_text
from vidfeat.videos import VideoRef

VIDEOS_PER_PART = 4096
"""Videos of a part that `compact` writes."""

BYTES_PER_PART = 256 << 20
"""Bytes of values in one, roughly, at most."""


class PartsSource:
    """The rows of an output of parts, numbered in the order of the parts. Values are read part by part.

    Attributes:
        run: what all features were computed with: `manifest.json`, or `run.json` where the run is not finished.
        finished: whether it is.
        failed: for the key of each row, in their order, whether it is that of a video without features.
        notes: what is noteworthy of the output as a whole, a sentence each.

    Raises:
        UsageError, OutputError: there is no such output, or it cannot be read.
    """

    def __init__(self, out: str) -> None:
        self._folder = part_folder(out)
        run = read_json(self._folder, MANIFEST) or read_json(self._folder, RUN)
        if run is None:
            raise UsageError(out, expected="an output of vidfeat extract", found=f"no {RUN} there")
        self.run, self.finished = run, "list_digest" in run
        announced = run["videos"] if self.finished else 0
        places: dict[str, tuple[str, int]] = {}
        failed: set[str] = set()
        for name in self._folder.names_until(lambda: len(places) >= announced):
            if not name.endswith(".parquet"):
                continue
            part = read_part(self._folder, name, values=False)
            for number, key in enumerate(part.keys):
                if key not in places or places[key][0] < name:
                    places[key] = (name, number)
                    (failed.add if part.about[number]["status"] == "failed" else failed.discard)(key)
        self.notes = [] if self.finished else ["The run is not finished: this is what is committed."]
        if len(places) < announced:
            self.notes = [_incomplete(announced, len(places))]
        keys = sorted(places, key=lambda key: places[key])
        self.failed = {key: key in failed for key in keys}
        self._places = [places[key] for key in keys]
        self._part: Part | None = None

    def row(self, number: int) -> Row:
        """What was kept of a video, with or without features."""
        name, there = self._places[number]
        return self._read(name).row(there)

    def values(self, number: int, row: Row) -> Values:
        """The values of a row."""
        name, there = self._places[number]
        return self._read(name).values(there, row)

    def close(self) -> None:
        """Nothing is open between reads."""

    def _read(self, name: str) -> Part:
        if self._part is None or self._part.name != name:
            self._part = read_part(self._folder, name)
        return self._part

    def header(self) -> dict[str, Any]:
        """What all features were computed with, with the keys of a manifest's first line.

        Raises:
            OutputError: something else is there.
        """
        run = self.run
        try:
            identity = WorkIdentity.from_json(run["identity"]).to_json()
            checkpoint = {**run["description"]["checkpoint"], "sha256": identity.pop("checkpoint_sha256")}
            counts = {name: run[name] for name in ("list_digest", "videos", "failed") if name in run}
            return {
                **identity,
                **run["description"],
                "checkpoint": checkpoint,
                "backend": run["backend"],
                "format": PARTS,
                **counts,
            }
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(RUN, expected="what vidfeat wrote", found=f"{type(error).__name__}: {error}") from error


def verify_parts(out: str) -> Iterator[str]:
    """What is wrong with an output of parts, a line for each problem.

    Checks that every part can be read and was computed as `run.json` says, the shape, hash and finiteness of every
    video's values, and, where there is a manifest, that its counts are right.

    Raises:
        UsageError, OutputError: there is no run.
    """
    folder = part_folder(out)
    run, manifest = read_json(folder, RUN), read_json(folder, MANIFEST)
    if run is None:
        raise OutputError(out, expected=f"the {RUN} of a run", found="no such file")
    identity = to_text(WorkIdentity.from_json(run["identity"]).to_json())
    seen: dict[str, tuple[str, bool]] = {}
    for name in folder.names_until(lambda: manifest is None or len(seen) >= manifest["videos"]):
        try:
            part = read_part(folder, name)
        except VidfeatError as error:
            yield str(error)
            continue
        if part.identity != identity:
            yield f"{name} was computed in another way than {RUN} says"
        for number, key in enumerate(part.keys):
            row = part.row(number)
            seen[key] = max(seen.get(key, ("", False)), (name, row.status == "failed"))
            problem = row.problem_of(part.values(number, row)) if row.status == "done" else None
            if problem:
                yield f"{key!r} in {name}: {problem}"
    if manifest is None:
        yield f"the run is not finished: {len(seen)} videos are done or failed so far"
        return
    if len(seen) < manifest["videos"]:
        yield _incomplete(manifest["videos"], len(seen))
    failed = sum(failed for _, failed in seen.values())
    if len(seen) == manifest["videos"] and failed != manifest["failed"]:
        yield f"the manifest announces {manifest['failed']} failures, and the parts hold {failed}"


def _incomplete(announced: int, found: int) -> str:
    return f"the manifest announces {announced} videos, and the parts hold {found}"


def compact(out: str) -> tuple[int, int]:
    """Merge small parts of a finished output into fewer large ones. No video is without its row at any moment.

    Returns:
        How many parts there were, and are.

    Raises:
        UsageError, OutputError: it is no finished output of parts.
        WriteError: the store refused; run it again.
    """
    folder = part_folder(out)
    if read_json(folder, MANIFEST) is None:
        raise UsageError(out, expected="a finished output of parts", found=f"no {MANIFEST}", hint="Finish it first.")
    before = folder.names()
    seen: set[bytes] = set()
    groups: dict[tuple[str, str], list[tuple[VideoRef, Outcome]]] = {}
    size = 0
    for name in reversed(before):
        part = read_part(folder, name)
        for number, key in enumerate(part.keys):
            digest = hashlib.blake2b(key.encode(), digest_size=12).digest()
            if digest in seen:
                continue
            seen.add(digest)
            row = part.row(number)
            outcome: Outcome = row.to_failure("")
            if row.status == "done":
                outcome = row.to_features(part.values(number, row), "")
                size += outcome.values.nbytes
            video = VideoRef.with_cut(key, key, segment_from_json(part.about[number].get("segment")))
            groups.setdefault((part.identity, part.session), []).append((video, outcome))
        if size >= BYTES_PER_PART or sum(map(len, groups.values())) >= VIDEOS_PER_PART:
            _write(folder, groups)
            size = 0
    _write(folder, groups)
    folder.remove([f"{PARTS}/{name}" for name in before])
    return len(before), len(folder.names())


def _write(folder: PartFolder, groups: dict[tuple[str, str], list[tuple[VideoRef, Outcome]]]) -> None:
    for (identity, session), outcomes in groups.items():
        PartWriter(folder, identity).commit(outcomes, json.loads(session))
    groups.clear()
