"""Labels, by which the points of the map are coloured: the folder of a video, and columns of a file."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vidfeat.errors import UsageError, system_errors

UNKNOWN = "(none)"


@dataclass(frozen=True)
class Column:
    """A label for every video.

    Attributes:
        name: of the column, such as `folder` or `class`.
        values: in the order of the videos; `UNKNOWN` where there is none.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """A file of labels.

    Attributes:
        columns: names of the columns, without the first, which holds the names of the videos.
        rows: name and labels of each video, as many as `columns`.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def folders(names: Sequence[str]) -> Column:
    """The folder of each video, without the part that all of them share."""
    parents = [PurePosixPath(name).parent.parts for name in names]
    # What the first and the last in sorted order share, all share.
    ends = zip(min(parents), max(parents), strict=False) if parents else ()
    common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], ends))
    return Column("folder", tuple("/".join(parts[common:]) or UNKNOWN for parts in parents))


def read_labels(path: Path) -> Labels:
    """Read `.csv` or `.tsv` with a header line and the videos' names in the first column; or lines of `name label`.

    In such lines the label follows the last white space, as in MMAction2's lists.

    Raises:
        UsageError: the file cannot be read, or has no label.
    """
    with system_errors(UsageError, path, expected="a file of labels"):
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    delimiter = {".csv": ",", ".tsv": "\t"}.get(path.suffix.lower())
    try:
        labels = _table(text, delimiter) if delimiter else _lines(text)
    except csv.Error as error:
        raise UsageError(str(path), expected="a table", found=str(error)) from error
    if not labels.columns or not labels.rows:
        raise UsageError(
            str(path),
            expected="a line 'name label' per video, or a .csv or .tsv with a header, names first, labels after",
            found="no label",
        )
    return labels


def _lines(text: str) -> Labels:
    fields = [line.strip().rsplit(None, 1) for line in text.split("\n")]
    rows = tuple((name.strip(), (label,)) for name, label in (field for field in fields if len(field) == 2))
    return Labels(("label",), rows)


def _table(text: str, delimiter: str) -> Labels:
    header, *lines = [line for line in csv.reader(text.splitlines(), delimiter=delimiter) if line] or [[]]
    columns = tuple(name.strip() or f"column {number}" for number, name in enumerate(header[1:], start=2))
    blank = ("",) * len(columns)
    rows = ((line[0], tuple(cell.strip() for cell in (*line[1:], *blank)[: len(columns)])) for line in lines)
    return Labels(columns, tuple(rows))


def match(labels: Labels, names: Sequence[str]) -> tuple[list[Column], int]:
    """The labels of the videos `names`, and how many videos have labels.

    A name matches in full; without its suffix, as in folders of features; or by its last component, where all rows with
    that component have the same labels.
    """
    known = _by_name(labels)
    nothing = (UNKNOWN,) * len(labels.columns)
    found = [next((known[key] for key in _keys(name) if key in known), nothing) for name in names]
    columns = [
        Column(column, tuple(values[number] or UNKNOWN for values in found))
        for number, column in enumerate(labels.columns)
    ]
    return columns, sum(any(value not in ("", UNKNOWN) for value in values) for values in found)


def _keys(name: str) -> tuple[str, str, str, str]:
    """The keys of a name, from the full name to the last component without its suffix."""
    path = PurePosixPath(name)
    return f"={path}", f"~{path.parent / path.stem}", f"/{path.name}", f"/~{path.stem}"


def _by_name(labels: Labels) -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    ambiguous: set[str] = set()
    for name, values in labels.rows:
        for key in _keys(name):
            if known.setdefault(key, values) != values and key.startswith("/"):
                ambiguous.add(key)
    return {key: values for key, values in known.items() if key not in ambiguous}
