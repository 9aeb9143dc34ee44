"""What a video of a job is: a key, a place, and the part that is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, Union, cast
from urllib.parse import unquote

from vidfeat.errors import UsageError, quote, shorten

LONGEST_NAME = 4096
"""Most bytes that the key of a video may have, in UTF-8."""


@dataclass(frozen=True)
class Segment:
    """A part of a video that has a row of its own.

    Attributes:
        start_seconds, end_seconds: half-open range of presentation time.
        label: what a list says of it.
        where: file and line of the list, for errors.
    """

    start_seconds: float
    end_seconds: float
    label: str | None = None
    where: str = field(default="", compare=False)


Cut: TypeAlias = Union[tuple[float, float], tuple[tuple[float, float, Union[str, None]], ...]]
"""The part of a video that is looked at, as plain data: one range in seconds, or several with their labels."""


def has_rows(cut: Cut) -> bool:
    """Whether it is several ranges, with a row for each."""
    return isinstance(cut[0], tuple)


def ranges_of(cut: Cut) -> list[tuple[float, float]]:
    """Its ranges, in seconds."""
    parts: Any = cut if has_rows(cut) else (cut,)
    return [(start, end) for start, end, *_ in parts]


@dataclass(frozen=True)
class VideoRef:
    """One video to take features of.

    Attributes:
        key: its name in outputs: the path as the list has it, or relative to the folder scanned; with `/` between
            folders, without `.` components and doubled slashes. No two videos of a job have the same.
        uri: where it is: a local path, or a URI of `vidfeat.storage.SCHEMES`. It need not exist: then this video
            fails, alone.
        segment: the half-open range of presentation time that is looked at, `(start, end)` in seconds; None for all.
        label: its class, where the list says it.
        segments: parts that have a row each, for the grid `Segments`; there is no `segment` then.
        bytes: its size, where that was known when it was found; not part of what it is.
    """

    key: str
    uri: str
    segment: tuple[float, float] | None = None
    label: str | None = None
    segments: tuple[Segment, ...] = ()
    bytes: int | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VideoRef:
        """From what `dataclasses.asdict` gave, where a tuple is a list."""
        segment, segments = data.get("segment"), data.get("segments", ())
        return cls(
            **{
                **data,
                "segment": None if segment is None else tuple(segment),
                "segments": tuple(Segment(**part) for part in segments),
            }
        )

    @classmethod
    def with_cut(cls, key: str, uri: str, cut: Cut | None) -> VideoRef:
        """The video of which `cut` is looked at."""
        if cut is None or not has_rows(cut):
            return cls(key, uri, cast("tuple[float, float] | None", cut))
        return cls(key, uri, segments=tuple(Segment(*cast("tuple[float, float, str | None]", part)) for part in cut))

    @property
    def cut(self) -> Cut | None:
        """What is looked at; None for all. Features of one cut are not those of another."""
        return tuple((part.start_seconds, part.end_seconds, part.label) for part in self.segments) or self.segment

    @property
    def path(self) -> Path:
        """The local file of one that is no URI."""
        return Path(self.uri)


def list_digest(keys: Iterable[str]) -> str:
    """SHA-256, as 64 hex digits, over the keys in order, each in UTF-8 and followed by a zero byte.

    Raises:
        UnicodeEncodeError: a key that no file can have.
    """
    digest = hashlib.sha256()
    for key in keys:
        digest.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def distinct(refs: Iterable[VideoRef]) -> list[VideoRef]:
    found: dict[str, VideoRef] = {}
    for ref in refs:
        if ref.key in found:
            raise UsageError(
                ref.uri,
                expected="videos with different names, as outputs are named after them",
                found=f"{quote(ref.key)} also at {shorten(found[ref.key].uri)}",
                hint="Give the folder above both, or run them apart.",
            )
        found[ref.key] = ref
    if not found:
        raise UsageError("videos", expected="at least one video or folder", found="none")
    return list(found.values())


def require_name(name: str, where: str) -> None:
    try:
        size = len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= LONGEST_NAME or "\0" in name:
        raise UsageError(
            where,
            expected=f"a name of at most {LONGEST_NAME:,} bytes, as a file can have",
            found=f"{size:,} bytes, {quote(name)}" if size > LONGEST_NAME else quote(name),
        )


def without_file_scheme(path: Path | str) -> Path | str:
    """A local path in place of a URI that means one."""
    if not str(path).lower().startswith("file://"):
        return path
    return Path(unquote(str(path)[len("file://") :]))
