"""What is kept of one video: the same in the databases, in the manifest and for the formats."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from vidfeat.errors import OutputError, VideoError
from vidfeat.features import Dtype, Outcome, Seconds, Values, VideoFailure, VideoFeatures
from vidfeat.formats import as_little_endian
from vidfeat.formats.npy_array import MOST_BYTES
from vidfeat.storage import is_uri, stamp, stamp_of_status
from vidfeat.video.info import VideoInfo
from vidfeat.videos import Cut, VideoRef

Status = Literal["done", "failed", "void"]
"""`void`: what was kept of the video before is not valid any more, and nothing is in its place yet."""

Stamp = tuple[int | None, int | None]
"""Size in bytes and modification time in nanoseconds of a video file; two None of a file that was missing."""


UNKNOWN_SIZE = -1
"""Stands for the size of a file of which no stamp was kept."""

_DTYPES = get_args(Dtype)
_LONGEST_MESSAGE = 2000


class IndexEntry(NamedTuple):
    """What an index has to know of a row.

    Attributes:
        number: where it is: in a database, a number that rises with every commit; in a manifest, the line's offset.
        key: the video's.
        status: as in `Row`.
        identity, session: JSON text.
        committed: when, in nanoseconds since 1970, or a little later: later than every row that was known then. 0 in
            a manifest.
        bytes, modified_ns: the stamp, as in `Row`; one that is not known has `UNKNOWN_SIZE` bytes.
        segment: as in `Row`.
    """

    number: int
    key: str
    status: Status
    identity: str
    session: str
    committed: int
    bytes: int | None
    modified_ns: int | None
    segment: Cut | None = None

    def is_of(self, video: VideoRef) -> bool:
        """Whether file and segment are still as they were for the row. A file that is gone keeps its row."""
        if self.segment != video.cut:
            return False
        if self.bytes == UNKNOWN_SIZE:
            return True
        now = stamp_of(video)
        return now is None or (self.bytes == now[0] and self.modified_ns in (None, now[1]))


@dataclass(frozen=True, eq=False)
class Row:
    """One video.

    Attributes:
        key: its name in outputs.
        status: whether there are features.
        stamp: of the video file from which they were computed; None where that is not known.
        session: JSON text of what the run that computed them was like: versions, device and the like.
        segment: `VideoRef.cut`.
        shape, sha256: of the values; the hash is over their bytes, little endian, in C order. None unless `done`.
        start_seconds, end_seconds: as in `VideoFeatures`.
        info: `VideoInfo.to_json()`, with or without the presentation times; of version 1, the few fields that it had.
        error: of one that `failed`: `stage`, `kind`, `message`, and the parts of the message.
        dtype: of the values.
    """

    key: str
    status: Status
    stamp: Stamp | None
    session: str
    segment: Cut | None = None
    shape: tuple[int, ...] | None = None
    sha256: str | None = None
    start_seconds: Seconds | None = None
    end_seconds: Seconds | None = None
    info: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    dtype: str = "float32"

    @classmethod
    def of(cls, outcome: Outcome, video: VideoRef, session: str) -> Row:
        """From what came of a video."""
        if isinstance(outcome, VideoFailure):
            stamp = stamp_of(video) or (None, None)
            return cls(video.key, "failed", stamp, session, video.cut, error=_error_to_json(outcome.error))
        info = outcome.info
        return cls(
            video.key,
            "done",
            stamp_of(video) if info is None else info.stamp,
            session,
            video.cut,
            shape=tuple(outcome.values.shape),
            sha256=sha256_of(outcome.values),
            start_seconds=outcome.start_seconds,
            end_seconds=outcome.end_seconds,
            info=None if info is None else _finite(info.to_json()),
            dtype=outcome.values.dtype.name,
        )

    @classmethod
    def from_line(cls, line: Mapping[str, Any], sessions: list[str]) -> Row:
        """From a line of a manifest, of any version.

        Raises:
            ValueError, TypeError, KeyError, IndexError: it is none.
        """
        if line["status"] not in ("done", "failed") or not isinstance(line["name"], str):
            raise ValueError(f"a line of status {line['status']!r}")
        done = line["status"] == "done"
        start, end = line.get("start_seconds"), line.get("end_seconds")
        return cls(
            line["name"],
            line["status"],
            _stamp_from_json(line.get("stamp")),
            sessions[line.get("session", 0)],
            segment_from_json(line.get("segment")),
            shape=tuple(int(size) for size in line["shape"]) if done else None,
            sha256=str(line["sha256"]) if done else None,
            start_seconds=None if start is None else np.array(start, np.float64),
            end_seconds=None if end is None else np.array(end, np.float64),
            info=require_object(line["info"]) if "info" in line else _info_of_version_1(line),
            error=None if done else {str(key): str(text) for key, text in line["error"].items()},
            dtype=require_dtype(line.get("dtype")),
        )

    def to_line(self, index: int, session: int) -> dict[str, Any]:
        """The line of the manifest. All have the same keys, so that a table reader sees columns.

        Args:
            index: the video's position in the list.
            session: the position of `session` among those of the manifest.
        """
        info = self.info
        if info is not None and isinstance(info.get("timeline"), dict):
            timeline = {name: value for name, value in info["timeline"].items() if name != "pts_seconds"}
            info = {**info, "timeline": timeline}
        return {
            "index": index,
            "name": self.key,
            "status": self.status,
            "shape": None if self.shape is None else list(self.shape),
            "dtype": None if self.shape is None else self.dtype,
            "sha256": self.sha256,
            "start_seconds": None if self.start_seconds is None else self.start_seconds.tolist(),
            "end_seconds": None if self.end_seconds is None else self.end_seconds.tolist(),
            "stamp": None if self.stamp is None else list(self.stamp),
            "segment": None if self.segment is None else list(self.segment),
            "session": session,
            "error": self.error,
            **_keys_of_version_1(info),
            "info": info,
        }

    def with_stamp(self, video: VideoRef) -> Row:
        """The same; where the stamp is not known, with that of the file as it is now."""
        return self if self.stamp is not None else replace(self, stamp=stamp_of(video))

    def to_features(self, values: Values, encoder: str) -> VideoFeatures:
        """The features, with their values."""
        return VideoFeatures(
            self.key, encoder, values, self.start_seconds, self.end_seconds, _info_from_json(self.info)
        )

    def to_failure(self, encoder: str) -> VideoFailure:
        """The failure of one that `failed`."""
        error: dict[str, Any] = self.error or {}
        return VideoFailure(
            self.key,
            encoder,
            VideoError(
                error.get("where", self.key),
                stage=error.get("stage", "open"),
                kind=error.get("kind", "corrupt"),
                expected=error.get("expected", "features"),
                found=error.get("found", error.get("message", "an unknown error")),
                hint=error.get("hint", ""),
            ),
        )

    def problem_of(self, values: Any) -> str | None:
        """What is wrong with values that should be those of this row; None if nothing is."""
        try:
            with np.errstate(over="ignore"):  # becomes infinite, which is named below
                features = np.asarray(values, self.dtype)
        except (TypeError, ValueError):
            return "is not an array of numbers"
        if features.shape != self.shape:
            return f"has shape {list(features.shape)}, not {list(self.shape or ())}"
        if isinstance(values, np.ndarray) and values.dtype != self.dtype:
            return f"has numbers of type {values.dtype}, not {self.dtype}"
        if not np.isfinite(features).all():
            return "has values that are infinite or NaN"
        return None if sha256_of(features) == self.sha256 else "does not match its SHA-256 in the manifest"


def to_kept(outcome: Outcome, dtype: str) -> Outcome:
    """An outcome as it is kept: with values of this type; a failure where they cannot be kept.

    Raises:
        OutputError: they are no features at all.
    """
    if isinstance(outcome, VideoFailure):
        return outcome
    values = outcome.values
    if values.dtype not in ("float32", dtype) or not values.ndim or not values.size:
        raise OutputError(
            outcome.key,
            expected="float32 features of shape [C], or with further axes",
            found=f"{values.dtype} of shape {list(values.shape)}",
        )
    where = outcome.key if outcome.info is None else outcome.info.path
    with np.errstate(over="ignore"):
        kept = values.astype(dtype, copy=False)
    if values.nbytes > MOST_BYTES:
        error = VideoError(
            where,
            stage="write",
            kind="too_large",
            expected=f"features of at most {MOST_BYTES} bytes",
            found=f"{values.nbytes} bytes",
            hint="Take fewer windows of this video, or write a folder.",
        )
    elif not np.isfinite(values).all():
        error = VideoError(
            where,
            stage="model",
            kind="corrupt",
            expected="finite features",
            found=f"{int((~np.isfinite(values)).sum())} of {values.size} values that are infinite or NaN",
            hint="If other videos have finite features, look at this one; otherwise try `precision=fp32`.",
        )
    elif not np.isfinite(kept).all():
        error = VideoError(
            where,
            stage="write",
            kind="too_large",
            expected=f"features of at most {np.finfo(kept.dtype).max:g}, as {dtype} holds them",
            found=f"{float(np.abs(values).max()):g}",
            hint="Write them with `dtype=float32`.",
        )
    else:
        return outcome if kept is values else replace(outcome, values=kept)
    return VideoFailure(outcome.key, outcome.encoder, error)


def stamp_of(video: VideoRef) -> tuple[int, int] | None:
    """Size and modification time of the file now; None where there is none."""
    try:
        if is_uri(video.uri):
            return stamp(video.uri, listed=True)
        status = os.stat(video.uri)  # noqa: PTH116 - a million of them
    except (OSError, ValueError):  # a name may hold a zero byte
        return None
    return stamp_of_status(status)


def sha256_of(values: npt.NDArray[Any]) -> str:
    """SHA-256 of the values, little endian, in C order; 64 hex digits."""
    return hashlib.sha256(as_little_endian(values)).hexdigest()


def require_dtype(name: Any) -> str:
    """The dtype of values as it was kept; float32 where none was.

    Raises:
        ValueError: it is no dtype of features.
    """
    if name not in (None, *_DTYPES):
        raise ValueError(f"{name!r} as the dtype of features")
    return name or "float32"


def to_text(data: Mapping[str, Any]) -> str:
    """JSON text that is the same for equal data."""
    return json.dumps(_finite(data), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _finite(data: Any) -> Any:
    """The same data, with None for numbers that JSON does not have; a container can state an infinite rate."""
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _error_to_json(error: VideoError) -> dict[str, str]:
    parts = {name: getattr(error, name) for name in ("where", "expected", "found", "hint")}
    texts = {"message": str(error), **parts}
    return {
        "stage": error.stage,
        "kind": error.kind,
        **{name: text[:_LONGEST_MESSAGE] for name, text in texts.items()},
    }


def require_object(info: Any) -> dict[str, Any] | None:
    """What JSON data says of a video, where it is an object or nothing; `ValueError` otherwise."""
    if info is not None and not isinstance(info, dict):
        raise ValueError(f"{info!r:.40} as the info of a video")
    return info


def _stamp_from_json(stamp: Any) -> Stamp | None:
    if stamp is None:
        return None
    size, modified_ns = stamp
    return None if size is None else int(size), None if modified_ns is None else int(modified_ns)


def segment_from_json(segment: Any) -> Cut | None:
    """A segment, or several with labels, from their list in JSON data."""
    if segment is None:
        return None
    if isinstance(segment[0], list):
        return tuple((float(start), float(end), None if label is None else str(label)) for start, end, label in segment)
    start, end = segment
    return float(start), float(end)


def _info_from_json(info: dict[str, Any] | None) -> VideoInfo | None:
    """The object, as far as that is possible; manifests do not hold the presentation times."""
    try:
        assert info is not None
        return VideoInfo.from_json({**info, "timeline": {"pts_seconds": "", **info["timeline"]}})
    except (AssertionError, ValueError, TypeError, KeyError):
        return None


# --- the keys of version 1's manifests, which those of version 2 still have -------------------------------------------


def _keys_of_version_1(info: Mapping[str, Any] | None) -> dict[str, Any]:
    known = info or {}
    frames, fps, duration = (_number(known.get(name)) for name in ("frames", "fps", "duration_seconds"))
    return {
        "frames": frames,
        "frames_declared": known.get("frames_declared"),
        "salvaged": None if info is None else known.get("frames_from") == "salvage",
        "fps": fps,
        "seconds": _number(frames / fps) if frames and fps else duration,
    }


def _number(value: Any) -> float | None:
    """A finite number from 0 on, as far as a manifest that someone wrote has one there."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return value if fits else None


def _info_of_version_1(line: Mapping[str, Any]) -> dict[str, Any] | None:
    if line.get("frames") is None:
        return None
    return {
        "frames": line["frames"],
        "fps": line.get("fps"),
        "duration_seconds": line.get("seconds"),
        "frames_declared": line.get("frames_declared"),
        "frames_from": "salvage" if line.get("salvaged") else None,
    }
