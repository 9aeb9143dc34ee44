"""Holds an output against its manifest."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat.errors import OutputError
from vidfeat.store.manifest import ManifestSummary, manifest_path, read_recipe, read_summary, read_videos
from vidfeat.store.streams import as_little_endian
from vidfeat.store.writers import Format, Unreadable, open_format
from vidfeat.videos import digest_of_names

MOST_PROBLEMS = 1000
"""Problems that are named one by one; of more, the number is told."""


def verify(out: Path | str) -> list[str]:
    """What is wrong with a finished output, a line for each problem; empty if nothing is.

    Checks that the manifest covers every line of the list once and in order (its digest tells), that its recipe and
    counts are those that it announces, and that the output covers the same videos: for each the shape, that values are
    finite, and the hash; and that no other features lie there. Runs no code from the files. Memory does not grow with
    a folder, unless there are other features in it; a single-file output is held in memory.

    Raises:
        OutputError: there is no manifest of a finished run to hold the output against.
        UsageError: `out` is no path of an output.
    """
    found = list(itertools.islice(_problems(out), MOST_PROBLEMS + 1))
    if len(found) <= MOST_PROBLEMS:
        return found
    return [
        *found[:MOST_PROBLEMS],
        f"and more than these {MOST_PROBLEMS}: the output is not what the manifest tells of",
    ]


def _problems(out: Path | str) -> Iterator[str]:
    output_format = open_format(out)
    manifest = manifest_path(output_format.out)
    summary = read_summary(manifest)
    if summary is None:
        raise OutputError(
            str(manifest),
            expected="the manifest of a finished run",
            found="no such file",
            hint="Where a run was interrupted, give its command again: it goes on and finishes.",
        )
    unreliable = False
    for problem in _manifest_problems(manifest, summary):
        unreliable = True
        yield problem
    if not unreliable:
        yield from _output_problems(output_format, manifest)


def _output_problems(output_format: Format, manifest: Path) -> Iterator[str]:
    try:
        rows = output_format.load(video["name"] for video in read_videos(manifest))
    except OutputError as error:
        yield str(error)
        return
    ended = object()
    present = 0
    for video in read_videos(manifest):
        row = next(rows, ended)
        if row is ended:
            yield f"the output ends before {_named(video)}"
            return
        present += row is not None
        for problem in _row_problems(row, video):
            yield f"{_named(video)}: {problem}"
    extra = sum(1 for _ in rows)
    if extra:
        yield f"the output has {extra} row(s) after the last video"
    for name in output_format.strays((video["name"] for video in read_videos(manifest)), present):
        yield f"{name!r} is in the output and belongs to no video of the list"


def _named(video: dict[str, Any]) -> str:
    return f"{video['name']!r} (index {video['index']})"


def _manifest_problems(manifest: Path, summary: ManifestSummary) -> Iterator[str]:
    """Whether the lines are those of the list, each once. The names are read twice, so that they need not be kept."""
    text = json.dumps(read_recipe(manifest), sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(text.encode()).hexdigest() != summary.identity.recipe_digest:
        yield "the manifest's recipe is not the one that its recipe_digest was taken of"
    count = failed = 0
    for index, video in enumerate(read_videos(manifest)):
        count += 1
        failed += video.get("status") == "failed"
        problem = _line_problem(video, index)
        if problem:
            yield f"line {index + 2} of the manifest {problem}"
    if count != summary.videos:
        yield f"the manifest announces {summary.videos} videos and lists {count}"
    if failed != summary.failed:
        yield f"the manifest announces {summary.failed} failures and lists {failed}"
    if not _names_fit(manifest, summary.identity.list_digest):
        yield "the names in the manifest are not those of the list that its list_digest was taken of"


def _names_fit(manifest: Path, list_digest: str) -> bool:
    try:
        return digest_of_names(str(video.get("name")) for video in read_videos(manifest)) == list_digest
    except UnicodeEncodeError:
        return False


def _line_problem(video: dict[str, Any], index: int) -> str | None:
    status, shape, sha256 = video.get("status"), video.get("shape"), video.get("sha256")
    if video.get("index") != index or not isinstance(video.get("name"), str):
        return f"is not about entry {index}"
    if status == "failed":
        return None if isinstance(video.get("error"), dict) else "is about a failure and does not tell which"
    if status != "done":
        return "is about a video that is neither done nor failed"
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        return "tells no shape"
    return None if isinstance(sha256, str) else "tells no hash"


def _row_problems(row: Any, video: dict[str, Any]) -> list[str]:
    if isinstance(row, Unreadable):
        return [row.reason]
    if video["status"] == "failed":
        return [] if row is None else ["has features, though the manifest says that it failed"]
    if row is None:
        return ["has no features, though the manifest says that it is done"]
    try:
        with np.errstate(over="ignore"):  # becomes infinite, and is told below
            features = np.asarray(row, dtype=np.float32)
    except (TypeError, ValueError):
        return ["is no array of numbers"]
    if list(features.shape) != video["shape"]:
        return [f"has shape {list(features.shape)}, not {video['shape']}"]
    if isinstance(row, np.ndarray) and row.dtype != np.float32:
        return [f"has numbers of type {row.dtype}, not float32"]
    if not np.isfinite(features).all():
        return ["has values that are infinite or no number"]
    if hashlib.sha256(as_little_endian(features)).hexdigest() != video["sha256"]:
        return ["has other values than the manifest's hash was taken of"]
    return []
