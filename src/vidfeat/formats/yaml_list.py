"""A YAML list with a list of numbers per video."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, final

import numpy as np

from vidfeat.features import Values
from vidfeat.formats.row_list import RowList

_OF_NUMBERS = b"0123456789+-.,[]~ \t\r\neEnulNULinfaIFA"
"""What a list of numbers is written with: no strings, mappings, tags and anchors, and no numbers to the base of 60."""

_DEEPEST = 100
"""Most levels of lists. The parser calls itself for each, and has no limit of its own."""

_INDENTS = re.compile(rb"[- \t]{%d}" % (2 * _DEEPEST))
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

        _check(file)
        file.seek(0)
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _check(file: BinaryIO) -> None:
    depth, end = 0, b""
    for chunk in iter(lambda: file.read(1 << 20), b""):
        if other := chunk.translate(None, _OF_NUMBERS):
            raise ValueError(f"{other[:20]!r}, which is not part of a list of numbers")
        signs = np.frombuffer(chunk, np.uint8)
        depths = depth + np.cumsum((signs == ord("[")).astype(np.int64) - (signs == ord("]")))
        depths -= np.minimum.accumulate(np.minimum(depths, 0))  # outside lists, a bracket is part of a word
        if depths.max() > _DEEPEST or _INDENTS.search(end + chunk):
            raise ValueError(f"more than {_DEEPEST} levels of lists")
        depth, end = int(depths[-1]), chunk[-2 * _DEEPEST :]
