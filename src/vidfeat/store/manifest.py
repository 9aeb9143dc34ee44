"""The manifest: what an output holds and where it came from, as JSON lines beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from vidfeat.errors import OutputError
from vidfeat.formats.atomic import replacing
from vidfeat.store.identity import RunIdentity
from vidfeat.store.records import Done, Failed

MANIFEST_VERSION = 1


class ManifestHeader(TypedDict):
    """What only the caller of the store knows.

    Attributes:
        recipe: `Recipe.to_json()`.
        checkpoint: `source`, the file or address as given, and `sha256`.
        device: what computed the features, such as `"cpu"` or the name of a GPU.
        numerics: how: `kernels`, "eager" or "compiled"; `units_per_batch`, a list; `cosine_to_fp32`, of the first
            batch, or None where there was nothing to check. Empty where the last session only wrote the output.
        versions: of `vidfeat`, `python`, `torch`, `av`, `numpy` and `cv2`.
    """

    recipe: dict[str, Any]
    checkpoint: dict[str, str]
    device: str
    numerics: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True)
class ManifestSummary:
    """What the first line of a manifest tells about the rest.

    Attributes:
        identity: the run.
        videos: how many lines follow.
        failed: how many of them are failures.
    """

    identity: RunIdentity
    videos: int
    failed: int


def manifest_path(out: Path) -> Path:
    """The manifest of an output, beside it."""
    return out.with_name(f"{out.name}.manifest.jsonl")


def header_line(
    header: ManifestHeader, identity: RunIdentity, *, out: Path, output_format: str, videos: int, failed: int
) -> dict[str, Any]:
    """The first line."""
    return {
        "vidfeat_manifest": MANIFEST_VERSION,
        "recipe": header["recipe"],
        "recipe_digest": identity.recipe_digest,
        "checkpoint": {**header["checkpoint"], "sha256": identity.checkpoint_sha256},
        "precision": identity.precision,
        "decoder": identity.decoder,
        "device": header["device"],
        "numerics": header["numerics"],
        "versions": header["versions"],
        "list_digest": identity.list_digest,
        "videos": videos,
        "failed": failed,
        "output": out.name,
        "format": output_format,
    }


def video_line(body: Done | Failed) -> dict[str, Any]:
    """The line of one video. Both kinds have the same keys, so that a table reader sees columns."""
    done = body if isinstance(body, Done) else None
    failed = body if isinstance(body, Failed) else None
    return {
        "index": body.index,
        "name": body.name,
        "status": body.tag,
        "shape": list(done.shape) if done else None,
        "dtype": done.dtype if done else None,
        "frames": done.frames if done else None,
        "frames_declared": done.frames_declared if done else None,
        "salvaged": done.salvaged if done else None,
        "fps": done.fps if done else None,
        "seconds": done.seconds if done else None,
        "sha256": done.sha256 if done else None,
        "error": {"stage": failed.stage, "kind": failed.kind, "message": failed.message} if failed else None,
    }


def write_manifest(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write the lines; the file is there in full or not at all.

    Raises:
        WriteError: the system refused.
    """
    with replacing(path) as file:
        for line in lines:
            file.write(json.dumps(line, allow_nan=False).encode("ascii") + b"\n")


def read_summary(path: Path) -> ManifestSummary | None:
    """What the first line tells; None if there is no manifest.

    Raises:
        OutputError: the file is no manifest, or one of another version.
    """
    try:
        line = _first_line(path)
        if line["vidfeat_manifest"] != MANIFEST_VERSION:
            raise ValueError(f"version {line['vidfeat_manifest']!r}")
        identity = RunIdentity.from_json({**line, "checkpoint_sha256": line["checkpoint"]["sha256"]})
        return ManifestSummary(identity, int(line["videos"]), int(line["failed"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise no_manifest(path, str(error)) from error


def read_recipe(path: Path) -> Any:
    """The recipe that the first line tells, as JSON data.

    Raises:
        OutputError: the file is no manifest.
    """
    try:
        return _first_line(path)["recipe"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise no_manifest(path, str(error)) from error


def _first_line(path: Path) -> Any:
    with path.open("rb") as file:
        return json.loads(file.readline())


def read_videos(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the videos, one at a time.

    Raises:
        OutputError: the file cannot be read or a line is no JSON object.
    """
    try:
        with path.open("rb") as file:
            file.readline()
            for number, line in enumerate(file, start=2):
                yield _video(line, number)
    except (OSError, ValueError, RecursionError) as error:
        raise no_manifest(path, str(error)) from error


def _video(line: bytes, number: int) -> dict[str, Any]:
    try:
        video = json.loads(line)
    except ValueError as error:
        raise ValueError(f"no JSON on line {number}, {line[:40]!r}: {error}") from error
    if not isinstance(video, dict):
        raise ValueError(f"no object on line {number}: {line[:40]!r}")
    return video


def no_manifest(path: Path, found: str) -> OutputError:
    """What to say about a file that cannot be understood as a manifest."""
    return OutputError(
        str(path),
        expected=f"a vidfeat manifest, version {MANIFEST_VERSION}",
        found=found,
        hint="If the output may be replaced, give --restart.",
    )
