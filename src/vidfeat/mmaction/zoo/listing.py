"""The released models as a table, for `vidfeat models`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from vidfeat.errors import ConfigError, UsageError
from vidfeat.mmaction.zoo.models import ZooEntry, released


@dataclass(frozen=True)
class TableRow:
    """A released model and the size of its features.

    Attributes:
        model: the model.
        feature_size: length of its feature vectors; None where its network is not supported.
    """

    model: ZooEntry
    feature_size: int | None


def table(family: str | None = None, dataset: str | None = None) -> list[TableRow]:
    """The released models, or those of a family, of a data set, or of both.

    Args:
        family: such as `slowonly`; letter case does not matter.
        dataset: such as `Kinetics-400`; case and punctuation do not matter.

    Raises:
        UsageError: there is no such family or data set.
    """
    models = released()
    _check("--family", family, {model.family for model in models})
    _check("--dataset", dataset, {model.dataset for model in models})
    return [
        TableRow(model, _feature_size(model))
        for model in models
        if family is None or _key(family) == _key(model.family)
        if dataset is None or _key(dataset) == _key(model.dataset)
    ]


def render(rows: Iterable[TableRow]) -> str:
    """The table as aligned text with a line of titles; `-` where nothing was published, or a network is missing."""
    lines = [("model", "line", "data set", "features", "GFLOP", "accuracy %"), *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(_aligned(line, widths) for line in lines)


def _check(flag: str, wanted: str | None, known: Collection[str]) -> None:
    if wanted is not None and _key(wanted) not in map(_key, known):
        raise UsageError(flag, expected=f"one of {', '.join(sorted(known))}", found=repr(wanted))


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def _feature_size(model: ZooEntry) -> int | None:
    try:
        return model.recipe().feature_size
    except ConfigError:
        return None


def _cells(row: TableRow) -> tuple[str, ...]:
    model = row.model
    accuracy = f"{model.mean_ap:.1f} mAP" if model.mean_ap is not None else _number(model.top1)
    return model.name, model.line, model.dataset, str(row.feature_size or "-"), _number(model.gflop), accuracy


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    words, numbers = cells[:3], cells[3:]
    aligned = [cell.ljust(width) for cell, width in zip(words, widths, strict=False)]
    aligned += [cell.rjust(width) for cell, width in zip(numbers, widths[3:], strict=True)]
    return "  ".join(aligned)
