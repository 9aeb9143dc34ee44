"""Compares an output with its manifest, or a run's committed features with their hashes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidfeat.errors import OutputError
from vidfeat.formats.sink import Sink, Unreadable
from vidfeat.store.files import RunFiles
from vidfeat.store.manifest import Manifest
from vidfeat.store.parts import is_parts
from vidfeat.store.parts_reading import verify_parts
from vidfeat.store.rows import Row
from vidfeat.store.stored import StoredFeatures, load, sink_of
from vidfeat.videos import list_digest

MOST_PROBLEMS = 1000
"""Problems that are named one by one; that there are more is said."""


def verify(out: Path | str | Sink) -> list[str]:
    """What is wrong with an output, a line for each problem; empty if nothing is.

    Checks that the manifest covers every video of the list once and in order (by its digest), that its recipe and
    counts are those that it announces, and that the output covers the same videos: for each the shape, that values are
    finite, and the hash; and that there are no other features. Runs no code from the files. Of a folder, the
    names are in memory; a list in one file is in memory as a whole.

    Of a run that is under way or was interrupted, what is committed is checked; one line says that it is not finished.

    Raises:
        OutputError: there is neither a manifest nor a run.
        UsageError: `out` is no path of an output.
    """
    problems = verify_parts(str(out)) if not isinstance(out, Sink) and is_parts(out) else _problems(sink_of(out))
    found = list(itertools.islice(problems, MOST_PROBLEMS + 1))
    if len(found) <= MOST_PROBLEMS:
        return found
    return [*found[:MOST_PROBLEMS], f"and more than these {MOST_PROBLEMS}: the output is not that of the manifest"]


def _problems(sink: Sink) -> Iterator[str]:
    files = RunFiles(sink.out)
    try:
        manifest = Manifest(files.manifest)
    except FileNotFoundError:
        yield from _problems_of_run(sink, files)
        return
    with manifest:
        unreliable = False
        for problem in _manifest_problems(manifest):
            unreliable = True
            yield problem
        if not unreliable:
            yield from _output_problems(sink, manifest)
        if manifest.failed >= manifest.videos:
            yield f"none of the {manifest.videos} videos has features"


def _problems_of_run(sink: Sink, files: RunFiles) -> Iterator[str]:
    stored: StoredFeatures | None = None
    if files.folder.exists():
        stored = load(sink)
    if stored is None or stored.state != "unfinished":
        exists = sink.out.exists()
        raise OutputError(
            str(files.manifest if exists else sink.out),
            expected="the manifest of this output" if exists else "an output of vidfeat extract",
            found="no such file",
            hint="Without it there is nothing to compare with." if exists else "",
        )
    with stored:
        yield f"the run is not finished: {len(stored)} videos are done and {len(stored.failures)} failed so far"
        for key in stored:
            problem = stored.problem(key)
            if problem:
                yield f"{key!r}: {problem}"


def _output_problems(sink: Sink, manifest: Manifest) -> Iterator[str]:
    def keys() -> Iterator[str]:
        return (str(line["name"]) for _, line in manifest.lines())

    sink = sink.for_keys(keys())
    try:
        values = sink.read(keys())
    except OutputError as error:
        yield str(error)
        return
    ended = object()
    present = 0
    for index, (_, row) in enumerate(manifest.rows()):
        name = f"{row.key!r} (index {index})"
        value = next(values, ended)
        if value is ended:
            yield f"the output ends before {name}"
            return
        present += value is not None
        problem = _value_problem(row, value)
        if problem:
            yield f"{name}: {problem}"
    extra = sum(1 for _ in values)
    if extra:
        yield f"the output has {extra} row(s) after the last video"
    for key in sink.orphans(keys(), present):
        yield f"{key!r} is in the output, but is not the name of a listed video"


def _value_problem(row: Row, value: Any) -> str | None:
    if isinstance(value, Unreadable):
        return value.reason
    if row.status == "failed":
        return None if value is None else "has features, though the manifest says that it failed"
    if value is None:
        return "has no features, though the manifest says that it is done"
    return row.problem_of(value)


def _manifest_problems(manifest: Manifest) -> Iterator[str]:
    """Whether the lines are those of the list, each once. The names are read twice, so that they need not be kept."""
    text = json.dumps(manifest.header["recipe"], sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(text.encode()).hexdigest() != manifest.identity.recipe_digest:
        yield "the manifest's recipe does not match its recipe_digest"
    count = failed = 0
    for index, (_, line) in enumerate(manifest.lines()):
        count += 1
        failed += line.get("status") == "failed"
        problem = _line_problem(line, index, len(manifest.header["sessions"]))
        if problem:
            yield f"line {index + 2} of the manifest {problem}"
    if count != manifest.videos:
        yield f"the manifest declares {manifest.videos} videos and lists {count}"
    if failed != manifest.failed:
        yield f"the manifest declares {manifest.failed} failures and lists {failed}"
    if not _names_fit(manifest):
        yield "the names in the manifest do not match its list_digest"


def _names_fit(manifest: Manifest) -> bool:
    try:
        return list_digest(str(line.get("name")) for _, line in manifest.lines()) == manifest.header["list_digest"]
    except UnicodeEncodeError:
        return False


def _line_problem(line: dict[str, Any], index: int, sessions: int) -> str | None:
    status, shape, sha256 = line.get("status"), line.get("shape"), line.get("sha256")
    if line.get("index") != index or not isinstance(line.get("name"), str):
        return f"is not about video {index}"
    if line.get("session", 0) not in range(sessions):
        return "names an unknown session"
    if status == "failed":
        return None if isinstance(line.get("error"), dict) else "is a failure without an error"
    if status != "done":
        return "has a status other than done and failed"
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        return "has no valid shape"
    return None if isinstance(sha256, str) else "has no hash"
