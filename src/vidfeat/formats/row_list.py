"""Files that hold a list with a row per video."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, ClassVar

from vidfeat.errors import OutputError
from vidfeat.features import Values, VideoFeatures
from vidfeat.formats.atomic import replacing
from vidfeat.formats.reading import reading
from vidfeat.formats.sink import Sink
from vidfeat.hardware import memory_bytes


class RowList(Sink):
    """All rows in one file, matched to the list by position.

    `finalize` holds one row in memory at a time, `read` the whole file. The bytes of the file depend on the values
    alone, not on the versions of Python and NumPy.
    """

    positional: ClassVar[bool] = True

    @abstractmethod
    def dump(self, rows: Iterator[Values | None], file: BinaryIO) -> None:
        """Write the rows to the file, one by one; None for a video without features."""

    @abstractmethod
    def load(self, file: BinaryIO) -> Any:
        """What `dump` wrote. Raises anything where the file holds something else."""

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Write the file."""
        with replacing(self.out) as file:
            self.dump((None if features is None else features.values for _, features in rows), file)

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The rows of the file."""
        with reading(self.out):
            if (size := self.out.stat().st_size) > memory_bytes():  # it can be sparse
                raise OutputError(str(self.out), expected="a list that fits into memory", found=f"{size} bytes")
            with self.out.open("rb") as file:
                rows = self.load(file)
            if not isinstance(rows, list):
                raise OutputError(str(self.out), expected="a list with a row per video", found=type(rows).__name__)
        return iter(rows)

    def keys(self) -> Iterator[str]:
        """None: the file does not hold keys."""
        return iter(())
