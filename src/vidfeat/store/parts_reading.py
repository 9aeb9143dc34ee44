"""Reading an output that consists of parts: its features by key, what is wrong with it, and fewer and larger parts."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vidfeat.errors import OutputError, UsageError, VidfeatError
from vidfeat.features import Outcome, VideoFailure
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.part_files import PARTS, Part, PartFolder, PartWriter, part_folder, read_part
from vidfeat.store.parts import MANIFEST, RUN, read_json
from vidfeat.store.rows import Row, segment_from_json, to_text
from vidfeat.store.stored import StoredFeatures
from vidfeat.videos import VideoRef

VIDEOS_PER_PART = 4096
"""Videos of a part that `compact` writes."""

BYTES_PER_PART = 256 << 20
"""Bytes of values in one, roughly, at most."""


class PartsFeatures(StoredFeatures):
    """The features of an output of parts by key; from `load`. Values are read when they are asked for, part by part.

    Attributes:
        out: the folder.
        state: `finished`: there is a manifest. `unfinished`: a run is under way or was interrupted.
        header: what all features were computed with, with the keys of a manifest's first line.
        videos: the keys of all videos, with and without features, in the order of the parts.
        notes: what is noteworthy of the output as a whole, a sentence each.
    """

    def __init__(self, out: str) -> None:
        """Use `load`."""
        self.out, self._folder = Path(out), part_folder(out)
        run = read_json(self._folder, MANIFEST) or read_json(self._folder, RUN)
        if run is None:
            raise UsageError(out, expected="an output of vidfeat extract", found=f"no {RUN} there")
        finished = "list_digest" in run
        self.state = "finished" if finished else "unfinished"
        self.header: Mapping[str, Any] = MappingProxyType(_header(run))
        self._places: dict[str, tuple[str, int]] = {}
        announced = run["videos"] if finished else 0
        failed: set[str] = set()
        for name in self._folder.names_until(lambda: len(self._places) >= announced):
            if not name.endswith(".parquet"):
                continue
            part = read_part(self._folder, name, values=False)
            for number, key in enumerate(part.keys):
                if key not in self._places or self._places[key][0] < name:
                    self._places[key] = (name, number)
                    (failed.add if part.about[number]["status"] == "failed" else failed.discard)(key)
        self.notes = () if finished else ("The run is not finished: this is what is committed.",)
        if len(self._places) < announced:
            self.notes = (_incomplete(announced, len(self._places)),)
        self.videos = sorted(self._places, key=lambda key: self._places[key])
        self._failed = failed
        self._keys = [key for key in self.videos if key not in failed]
        self._part: Part | None = None
        self.close = weakref.finalize(self, int)

    @property
    def failures(self) -> Mapping[str, VideoFailure]:
        """The videos without features."""
        encoder = str(self.header.get("encoder", ""))
        return {key: self.row(key).to_failure(encoder) for key in self.videos if key in self._failed}

    def row(self, key: str) -> Row:
        """What was kept of a video, with or without features."""
        name, number = self._places[key]
        return self._read(name).row(number)

    def __iter__(self) -> Iterator[str]:
        """The keys of the videos with features, in the order of the parts."""
        return iter(self._keys)

    def __len__(self) -> int:
        """How many videos have features."""
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        """Whether a video has features."""
        return key in self._places and key not in self._failed

    def line(self, key: str) -> dict[str, Any]:
        """What is known of a video, with or without features: the keys of a line of the manifest."""
        return self.row(key).to_line(self.videos.index(key), 0)

    @property
    def positional(self) -> bool:
        """Whether rows have positions and no names; they have names."""
        return False

    def _values(self, key: str) -> Any:
        if key in self._failed:
            raise KeyError(key)
        name, number = self._places[key]
        return self._read(name).values(number, self.row(key))

    def _read(self, name: str) -> Part:
        if self._part is None or self._part.name != name:
            self._part = read_part(self._folder, name)
        return self._part


def _header(run: Mapping[str, Any]) -> dict[str, Any]:
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
