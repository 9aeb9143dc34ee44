"""A JSON list with a list of numbers per video."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, final

from vidfeat.features import Values
from vidfeat.formats.row_list import RowList


@final
class JsonSink(RowList):
    """A list of lists of numbers, and null for a video without features. The numbers are exact."""

    name: ClassVar[str] = "json"

    def dump(self, rows: Iterator[Values | None], file: BinaryIO) -> None:
        """Write one line."""
        file.write(b"[")
        for count, row in enumerate(rows):
            text = json.dumps(None if row is None else row.tolist())
            file.write(f", {text}".encode() if count else text.encode())
        file.write(b"]\n")

    def load(self, file: BinaryIO) -> Any:
        """The rows as lists of Python floats."""
        return json.load(file)
