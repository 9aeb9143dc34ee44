"""The released models as a table, for `vidfeat models`. Imports neither networks nor PyTorch."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from vidfeat.errors import UsageError

_NAME_WIDTH = 58
_TITLES = ("features", "GFLOP/video", "/view", "accuracy %")
_WIDTHS = (8, 12, 8, 12)


@dataclass(frozen=True)
class TableRow:
    """A released model.

    Attributes:
        name, line, family, dataset: as in `ZooEntry`.
        feature_size: length of its feature vectors.
        views: of a video: clips, or groups of segments, under a crop; of single frames, all frames under a crop.
        gflop_per_video, gflop_per_view: 1e9 multiply-adds, counted in its network.
        top1, mean_ap: published accuracy in percent.
    """

    name: str
    line: str
    family: str
    dataset: str
    feature_size: int
    views: int
    gflop_per_video: float
    gflop_per_view: float
    top1: float | None
    mean_ap: float | None


def table(family: str | None = None, dataset: str | None = None, words: Sequence[str] = ()) -> list[TableRow]:
    """The released models, or some of them.

    Args:
        family: such as `slowonly`; letter case does not matter.
        dataset: such as `Kinetics-400`; case and punctuation do not matter.
        words: all of them are in the name, family or data set; case and punctuation do not matter.

    Raises:
        UsageError: there is no such family or data set, or no model with the words.
    """
    models = _rows()
    _check("family", family, {model.family for model in models})
    _check("dataset", dataset, {model.dataset for model in models})
    found = [
        model
        for model in models
        if family is None or _key(family) == _key(model.family)
        if dataset is None or _key(dataset) == _key(model.dataset)
        if all(_key(word) in _key(f"{model.name} {model.family} {model.dataset}") for word in words)
    ]
    if words and not found:
        raise UsageError(
            " ".join(words),
            expected="words in the name, family or data set of a model",
            found="no such model",
            hint="`vidfeat models` lists all.",
        )
    return found


def render(rows: Iterable[TableRow]) -> str:
    """The table as text of at most 100 columns; `-` where nothing was published.

    Models of one family, line and data set follow a line with these. A long name has a line of its own.
    """
    lines = [" " * (_NAME_WIDTH + 2) + _aligned(_TITLES)]
    for group, models in itertools.groupby(_grouped(rows), _group):
        lines.append("{}, MMAction2 {}, {}".format(*group))
        for model in models:
            numbers = _aligned(_cells(model))
            if len(model.name) >= _NAME_WIDTH:
                lines += [f"  {model.name}", " " * (_NAME_WIDTH + 2) + numbers]
            else:
                lines.append(f"  {model.name:<{_NAME_WIDTH}}{numbers}")
    return "\n".join(lines)


def to_json(rows: Iterable[TableRow]) -> list[dict[str, object]]:
    """The table as JSON data: the attributes of `TableRow`."""
    return [dataclasses.asdict(row) for row in rows]


@cache
def published() -> tuple[dict[str, str], ...]:
    """The lines of `released.csv`."""
    return _read("released.csv")


@cache
def _rows() -> tuple[TableRow, ...]:
    sizes = {line["name"]: line for line in _read("sizes.csv")}
    return tuple(_row(line, sizes[line["name"]]) for line in published() if line["input"] == "rgb")


def _row(line: dict[str, str], size: dict[str, str]) -> TableRow:
    views, gflop = int(size["views"]), float(size["gflop"])
    return TableRow(
        name=line["name"],
        line=line["line"],
        family=line["family"],
        dataset=line["dataset"],
        feature_size=int(size["feature_size"]),
        views=views,
        gflop_per_video=gflop,
        gflop_per_view=round(gflop / views, 2),
        top1=number(line["top1"]),
        mean_ap=number(line["mean_ap"]),
    )


def _read(name: str) -> tuple[dict[str, str], ...]:
    text = resources.files("vidfeat.mmaction.zoo").joinpath(name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def number(text: str) -> float | None:
    """A cell of the tables; None where it is empty."""
    return float(text) if text else None


def _grouped(rows: Iterable[TableRow]) -> list[TableRow]:
    return sorted(rows, key=_group)


def _group(row: TableRow) -> tuple[str, str, str]:
    return row.family, row.line, row.dataset


def _check(argument: str, wanted: str | None, known: Collection[str]) -> None:
    if wanted is not None and _key(wanted) not in map(_key, known):
        raise UsageError(argument, expected=f"one of {', '.join(sorted(known))}", found=repr(wanted))


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def _cells(row: TableRow) -> tuple[str, ...]:
    accuracy = f"{row.mean_ap:.1f} mAP" if row.mean_ap is not None else _decimal(row.top1)
    return str(row.feature_size), _decimal(row.gflop_per_video), _decimal(row.gflop_per_view), accuracy


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _aligned(cells: Sequence[str]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
