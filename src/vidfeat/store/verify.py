"""Holds an output against its manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat.errors import OutputError
from vidfeat.store.manifest import manifest_path, read_summary, read_videos
from vidfeat.store.streams import as_little_endian
from vidfeat.store.writers import Format, open_format


def verify(out: Path | str) -> list[str]:
    """What is wrong with a finished output, a line for each problem; empty if nothing is.

    Checks that manifest and output cover the same videos in the same order, and for each video the shape, that values
    are finite, and the hash. Runs no code from the files. A single-file output is held in memory.

    Raises:
        OutputError: there is no manifest, or it or the output cannot be read at all.
        UsageError: `out` is no path of an output.
    """
    output_format = open_format(out)
    manifest = manifest_path(output_format.out)
    summary = read_summary(manifest)
    if summary is None:
        raise OutputError(str(manifest), expected="the manifest of a finished run", found="no such file")
    videos = list(read_videos(manifest))
    problems = _coverage(videos, summary.videos, summary.failed)
    return problems or _rows(output_format, videos)


def _coverage(videos: list[dict[str, Any]], count: int, failed: int) -> list[str]:
    problems = []
    if len(videos) != count:
        problems.append(f"the manifest announces {count} videos and lists {len(videos)}")
    failures = sum(video.get("status") == "failed" for video in videos)
    if failures != failed:
        problems.append(f"the manifest announces {failed} failures and lists {failures}")
    for index, video in enumerate(videos):
        if video.get("index") != index or not isinstance(video.get("name"), str):
            problems.append(f"line {index + 2} of the manifest is not about entry {index}")
        elif video.get("status") not in ("done", "failed"):
            problems.append(f"{video['name']!r} is neither done nor failed")
    return problems


def _rows(output_format: Format, videos: list[dict[str, Any]]) -> list[str]:
    rows = output_format.load([video["name"] for video in videos])
    problems: list[str] = []
    end = object()
    for video in videos:
        row = next(rows, end)
        if row is end:
            return [*problems, f"the output ends before {video['name']!r} (index {video['index']})"]
        problems += [f"{video['name']!r} (index {video['index']}): {problem}" for problem in _row(row, video)]
    extra = sum(1 for _ in rows)
    return [*problems, f"the output has {extra} row(s) after the last video"] if extra else problems


def _row(row: Any, video: dict[str, Any]) -> list[str]:
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
    if not np.isfinite(features).all():
        return ["has values that are infinite or no number"]
    if hashlib.sha256(as_little_endian(features)).hexdigest() != video["sha256"]:
        return ["has other values than the manifest's hash was taken of"]
    return []
