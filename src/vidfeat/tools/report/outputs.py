"""What there is of an output: finished, in the making, or of another program. Nothing in it runs code."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from vidfeat.errors import OutputError, UsageError
from vidfeat.store import Format, open_format
from vidfeat.store.journal import journals_of
from vidfeat.store.manifest import MANIFEST_VERSION, manifest_path, no_manifest, read_videos
from vidfeat.store.records import Damaged, Done, Failed, Opened, Record, read_payload, read_records

State = Literal["finished", "unfinished", "foreign"]

_LONGEST_MESSAGE = 1000


@dataclass(frozen=True)
class Failure:
    """Why a video has no features: `VideoError.stage`, `VideoError.kind` and the message."""

    stage: str
    kind: str
    message: str


@dataclass(frozen=True)
class Video:
    """What the output says of one video, apart from its features.

    Attributes:
        name: as in the manifest; for outputs without one, the file's path in the folder, or the position in the list.
        failure: why there are no features, where it is known.
        frames: frames of the video, where known.
        fps: frames per second, where known.
        seconds: its duration, where known.
    """

    name: str
    failure: Failure | None = None
    frames: int | None = None
    fps: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Unreadable:
    """Stands for features that are there and cannot be read."""

    why: str


@dataclass(frozen=True)
class Output:
    """An output, of whatever kind.

    Attributes:
        out: the file or folder.
        state: `finished`: there is a manifest. `unfinished`: there is only a journal. `foreign`: there is neither.
        named: whether the videos have names of their own, and not numbers.
        header: the first line of the manifest, or what the journal knows of it; empty where there is neither.
        videos: in the order of the output.
        rows: for each video its features as they were read, None where there are none; may be iterated once.
        notes: what is wrong with the output as a whole, a sentence each.
    """

    out: Path
    state: State
    named: bool
    header: Mapping[str, Any]
    videos: tuple[Video, ...]
    rows: Iterable[Any]
    notes: tuple[str, ...] = ()


def read(out: Path) -> Output:
    """Read whatever is at `out`: an output with its manifest, the journal of one, or features of another program.

    Raises:
        UsageError: there is nothing of that name, or its suffix is no output's.
        OutputError: it cannot be read at all.
    """
    output_format = open_format(out)
    manifest = manifest_path(output_format.out)
    notes: tuple[str, ...] = ()
    if manifest.exists():
        try:
            return _finished(output_format, _header(manifest), list(read_videos(manifest)))
        except (OutputError, RecursionError) as error:
            notes = (f"The manifest cannot be used, so names and failures are unknown. {error}",)
    if not notes and journals_of(output_format.out):
        return _unfinished(output_format)
    if not output_format.out.exists():
        raise UsageError(
            str(out),
            expected="an output of vidfeat extract, or the journal of one",
            found=notes[0] if notes else "neither",
            hint="Give the path that was given to --out.",
        )
    return _foreign(output_format, notes)


# --- with a manifest --------------------------------------------------------------------------------------------------


def _header(manifest: Path) -> dict[str, Any]:
    try:
        with manifest.open("rb") as file:
            header = json.loads(file.readline())
    except (OSError, ValueError) as error:
        raise no_manifest(manifest, str(error)) from error
    if not isinstance(header, dict) or header.get("vidfeat_manifest") != MANIFEST_VERSION:
        raise no_manifest(manifest, "a first line of another kind or version")
    return header


def _finished(output_format: Format, header: dict[str, Any], lines: list[dict[str, Any]]) -> Output:
    videos = tuple(_video(line, number) for number, line in enumerate(lines, start=1))
    notes = []
    if header.get("videos") != len(videos):
        notes.append(f"The manifest announces {header.get('videos')} videos and lists {len(videos)}.")
    rows: Iterable[Any] = ()
    if not output_format.out.exists():
        notes.append(f"{output_format.out.name} is gone: there is only its manifest.")
    else:
        rows = _rows(output_format, videos)
        if output_format.name != "npy":
            rows = list(rows)
            if len(rows) != len(videos):
                notes.append(f"The manifest lists {len(videos)} videos, the output has {len(rows)} rows.")
    return Output(output_format.out, "finished", True, header, videos, rows, tuple(notes))


def _video(line: Mapping[str, Any], number: int) -> Video:
    name = line.get("name")
    return Video(
        name=name if isinstance(name, str) else f"line {number + 1}",
        failure=_failure(line.get("error")) if line.get("status") != "done" else None,
        frames=_whole(line.get("frames")),
        fps=_number(line.get("fps")),
        seconds=_number(line.get("seconds")),
    )


def _failure(error: Any) -> Failure:
    parts = error if isinstance(error, dict) else {}
    stage, kind, message = (str(parts.get(key, "unknown")) for key in ("stage", "kind", "message"))
    return Failure(stage, kind, message[:_LONGEST_MESSAGE])


def _number(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if usable and math.isfinite(value) and value >= 0 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _rows(output_format: Format, videos: tuple[Video, ...]) -> Iterator[Any]:
    """The rows of a file, or the file of each video: one that is broken does not hide the others."""
    if output_format.name != "npy":
        yield from output_format.load([video.name for video in videos])
        return
    for video in videos:
        yield _row_in_folder(output_format, video.name) if video.failure is None else None


def _row_in_folder(output_format: Format, name: str) -> Any:
    try:
        return next(output_format.load([name]))
    except (OutputError, UsageError, MemoryError) as error:
        return Unreadable(str(error) or "more values than fit into memory")


# --- with a journal only ----------------------------------------------------------------------------------------------


def _unfinished(output_format: Format) -> Output:
    """What the journals hold so far. A video that several tell about is done if one says so.

    Failures that a later session settled are shown as well: it has not yet said anything better of them.
    """
    header: dict[str, Any] = {}
    counts: dict[int, tuple[Path, Record]] = {}
    notes = ["The run is not finished: this is what its journal holds so far. Run the same command again to go on."]
    for path in journals_of(output_format.out):
        for record in _records(path, notes):
            body = record.body
            if isinstance(body, Opened):
                header = {**body.identity, "world_size": body.world_size}
            elif isinstance(body, Done) or (isinstance(body, Failed) and not _is_done(counts.get(body.index))):
                counts[body.index] = (path, record)
    ordered = [counts[index] for index in sorted(counts)]
    videos = tuple(_video_of_record(record) for _, record in ordered)
    rows = _journal_rows(output_format, ordered)
    return Output(output_format.out, "unfinished", True, header, videos, rows, tuple(notes))


def _is_done(known: tuple[Path, Record] | None) -> bool:
    return known is not None and isinstance(known[1].body, Done)


def _records(path: Path, notes: list[str]) -> Iterator[Record]:
    try:
        with path.open("rb") as file:
            size, end = path.stat().st_size, 0
            for record in read_records(file, 0, size=size):
                end = record.end
                yield record
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror or error}.")
        return
    if end < size:
        notes.append(f"{path.name}: the last {size - end} bytes are no whole record, as after an interrupted write.")


def _video_of_record(record: Record) -> Video:
    body = record.body
    if isinstance(body, Failed):
        return Video(str(body.name), Failure(str(body.stage), str(body.kind), str(body.message)[:_LONGEST_MESSAGE]))
    assert isinstance(body, Done)  # no others are counted
    return Video(str(body.name), None, _whole(body.frames), _number(body.fps), _number(body.seconds))


def _journal_rows(output_format: Format, ordered: list[tuple[Path, Record]]) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}
        for path, record in ordered:
            if not isinstance(record.body, Done):
                yield None
            elif not record.payload_size:
                yield _row_in_folder(output_format, str(record.body.name))
            else:
                if path not in files:
                    files[path] = stack.enter_context(path.open("rb"))
                yield _payload(files[path], record, record.body)


def _payload(file: BinaryIO, record: Record, body: Done) -> Any:
    try:
        return np.frombuffer(read_payload(file, record), dtype="<f4").reshape(body.shape)
    except (Damaged, OSError, TypeError, ValueError):
        return Unreadable("its record in the journal is damaged")


# --- with neither -----------------------------------------------------------------------------------------------------


def _foreign(output_format: Format, notes: tuple[str, ...]) -> Output:
    out = output_format.out
    if not notes:
        notes = ("There is no manifest beside this output: recipe, versions and failures are unknown.",)
    if output_format.name == "npy":
        paths = sorted(path for path in out.rglob("*.npy") if path.is_file())
        videos = tuple(Video(path.relative_to(out).with_suffix("").as_posix()) for path in paths)
        return Output(out, "foreign", True, {}, videos, map(_load_array, paths), notes)
    rows = list(output_format.load([]))
    videos = tuple(Video(f"#{position}") for position in range(len(rows)))
    return Output(out, "foreign", False, {}, videos, rows, notes)


def _load_array(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        return Unreadable(f"{type(error).__name__}: {error}")
