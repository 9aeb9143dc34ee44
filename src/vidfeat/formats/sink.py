"""The protocol of an output format: takes features by key, in any order, and gives them back."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

from vidfeat.errors import UsageError, VideoError
from vidfeat.features import Outcome, Seconds, VideoFeatures
from vidfeat.formats.atomic import require_writable
from vidfeat.lazy_import import import_extra

NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What a name of a file can have and a string of other programs cannot."""

Times: TypeAlias = tuple[Seconds, Seconds]
"""`start_seconds` and `end_seconds`, float64 `[T]` each."""


TIME_NAMES = ("start_seconds", "end_seconds")


def times_by_name(features: VideoFeatures) -> dict[str, Seconds]:
    """The times of the rows of features by `TIME_NAMES`; empty where a row stands for the whole video."""
    found = {name: getattr(features, name) for name in TIME_NAMES}
    return {name: seconds for name, seconds in found.items() if seconds is not None}


def times_of(start: Any, end: Any) -> Times | None:
    """What was read of a video as its times; None where either is no array of float64."""
    pair = start, end
    return pair if all(isinstance(seconds, np.ndarray) and seconds.dtype == np.float64 for seconds in pair) else None


def refused_name(position: int, expected: str, found: str, what: str = "it") -> UsageError:
    """The error for a video, counted from 1, whose name the format cannot hold; `what` is to be renamed."""
    hint = f"Rename {what}, or write another format, such as features.pkl."
    return UsageError(f"video {position}", expected=expected, found=found, hint=hint)


@dataclass(frozen=True)
class Unreadable:
    """Stands for the values of a video that are there and cannot be read, and says why."""

    reason: str


@dataclass(frozen=True)
class Sink(ABC):
    """Where the features of one output go, and how they lie there.

    A new format is one file with a subclass, and one line in `vidfeat.formats.FORMATS`.

    Attributes:
        out: the file or folder.
    """

    out: Path

    in_place: ClassVar[bool] = False
    """Whether `write` puts rows where they belong, one file each. Otherwise the store keeps them until `finalize`."""

    positional: ClassVar[bool] = False
    """Whether the output holds no keys, so that its rows are matched to the list by position."""

    one_shape: ClassVar[bool] = False
    """Whether the rows of all videos have to be of one shape; their number may differ."""

    library: ClassVar[tuple[str, str] | None] = None
    """The module that the format needs, and the extra of vidfeat that has it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What manifests call the format."""

    def check_keys(self, keys: Sequence[str]) -> None:  # noqa: B027 - where every key can be written
        """Refuse keys that cannot all become rows of the output.

        Raises:
            UsageError: they cannot.
        """

    @property
    def replaced(self) -> tuple[Path, ...]:
        """The files that `finalize` replaces: only those that vidfeat wrote before, unless the run begins again."""
        return () if self.in_place else (self.out,)

    def header(self) -> Mapping[str, Any]:
        """What the manifest says of the output besides its format, as JSON data."""
        return {}

    def kept(self, features: VideoFeatures) -> Outcome:
        """What the output holds of features, float32: these are committed, and hashes are taken of them.

        A failure is committed in their place where it cannot hold them.
        """
        return features

    def for_keys(self, keys: Iterable[str]) -> Sink:
        """The sink for an output of these videos, where the place of one depends on which others there are."""
        return self

    def prepare(self) -> None:
        """Create the folders that are needed, and see that they take files.

        Raises:
            OutputError: the output could not be written at the end.
            UsageError: a library is missing.
        """
        if self.library is not None:
            import_extra(*self.library, self.out, "this format")
        require_writable(self.out.parent)

    def write(self, rows: Sequence[VideoFeatures]) -> dict[str, VideoError]:
        """Put rows in place: each is on disk, with its full size, when this returns. Only where `in_place`.

        Returns:
            For each key that the file system cannot take, such as one with too long a name, the failure of that video.

        Raises:
            WriteError: the system refused.
        """
        return {}

    def delete(self, key: str) -> None:  # noqa: B027 - an option, as `write` is
        """Remove what is there of one video. Only where `in_place`.

        Raises:
            WriteError: the system refused.
        """

    def delete_others(self, keys: Sequence[str], absent: Sequence[str]) -> None:  # noqa: B027 - as `delete`
        """Remove what is there of videos that are not in the list any more. Only where `in_place`.

        Args:
            keys: the list.
            absent: of videos that were in it before.

        Raises:
            WriteError: the system refused.
        """

    def holds(self, key: str) -> bool:
        """Whether what `write` put in place is still there. True where it puts nothing in place."""
        return True

    @abstractmethod
    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Bring the output into its final form. The file is replaced as a whole or not at all.

        Args:
            rows: key and features of every video, in the order of the list; None for one without features. Where
                `in_place`, the values are there already and the iterable need not be read.

        Raises:
            WriteError: the system refused.
        """

    def list_videos(self, videos: Iterable[tuple[str, bool]]) -> None:  # noqa: B027 - an option
        """Write files that name the videos, after `finalize`.

        Args:
            videos: key of every video, in the order of the list, and whether it has features.

        Raises:
            WriteError: the system refused.
        """

    @abstractmethod
    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The values of each key, in that order; None where there are none. Runs no code from files.

        An `Unreadable` stands for what cannot be read while the rest can. Nothing about the values is checked. Where
        `positional`, all rows of the file in their order, whatever the keys are.

        Raises:
            OutputError: nothing of the output can be read.
        """

    def read_times(self, keys: Iterable[str]) -> Iterator[Times | None]:
        """The times of the rows of each key, in that order, as far as the output itself has them.

        Used for outputs without a manifest, which has them otherwise.
        """
        return (None for _ in keys)

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """The keys that the output holds, as far as it holds any; used for outputs without a manifest.

        Raises:
            OutputError: the output cannot be read.
        """

    def orphans(self, keys: Iterable[str], present: int) -> Iterator[str]:
        """Rows in the output that belong to no video of the list.

        Args:
            keys: those of the list; read only where there are orphans.
            present: how many of them have a row.
        """
        if not self.positional and sum(1 for _ in self.keys()) != present:
            known = set(keys)
            yield from sorted(key for key in self.keys() if key not in known)
