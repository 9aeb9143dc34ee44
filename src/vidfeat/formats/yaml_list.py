"""A YAML list with a list of numbers per video."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, final

from vidfeat.features import Values
from vidfeat.formats.row_list import RowList

_WHOLE_WITH_EXPONENT = re.compile(r"(?<![.\d])(\d+)e")


@final
class YamlSink(RowList):
    """A list of lists of numbers, and null for a video without features. The numbers are exact for YAML 1.1.

    Rows are written as JSON, whose lists are YAML's too: PyYAML writes the same text in 5 to 20 times the time.
    """

    name: ClassVar[str] = "yaml"

    def dump(self, rows: Iterator[Values | None], file: BinaryIO) -> None:
        """Write a line per row."""
        for row in rows:
            text = json.dumps(None if row is None else row.tolist())
            # YAML 1.1 takes 1e-05 for a string: its numbers need a point.
            file.write(b"- " + _WHOLE_WITH_EXPONENT.sub(r"\1.0e", text).encode() + b"\n")
        if not file.tell():
            file.write(b"[]\n")

    def load(self, file: BinaryIO) -> Any:
        """The rows as lists of Python floats."""
        import yaml

        # Rows that refer to each other are small in memory until NumPy makes an array of them.
        if any(b"&" in chunk for chunk in iter(lambda: file.read(1 << 20), b"")):
            raise yaml.YAMLError("an anchor, which is no part of a list of numbers")
        file.seek(0)
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
