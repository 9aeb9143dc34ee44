"""The names of the classes of data sets. `labels.json.gz` is made by `scripts/make_label_maps.py`."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from importlib import resources
from pathlib import Path

from vidfeat.errors import UsageError
from vidfeat.mmaction.compile import is_name
from vidfeat.mmaction.zoo.models import find_model


def labels_of(model: str, classes: int, given: str | None = None) -> tuple[str, ...] | None:
    """The names of a model's classes.

    Args:
        model: the name of a released model, or the path of a config, whose file name may say the data set, as those of
            MMAction2 do: `..._kinetics400_rgb.py`.
        classes: how many there are.
        given: a data set such as `kinetics400`, or the path of a text file with one name per line.

    Returns:
        None where the data set is not known.

    Raises:
        UsageError: the given labels are not there, cannot be read, or are not as many as the classes.
    """
    known = _label_maps()
    if given is None:
        text = _key(find_model(model).dataset if is_name(model) else Path(model).stem)
        return next((names for name, names in known.items() if name in text and len(names) == classes), None)
    if _key(given) in known:
        names = known[_key(given)]
    else:
        names = _read(Path(given), f"a text file of labels, or one of {', '.join(known)}")
    if len(names) != classes:
        raise UsageError(
            "class_names", expected=f"{classes} labels, one for each class", found=f"{len(names)} in {given}"
        )
    return names


def _read(file: Path, expected: str) -> tuple[str, ...]:
    try:
        if not file.is_file():  # a read from a pipe or a device would wait
            raise ValueError("no regular file there")
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError("class_names", expected=expected, found=f"{str(file)!r}: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())


def _key(dataset: str) -> str:
    return re.sub(r"[^a-z0-9]", "", dataset.lower())


@cache
def _label_maps() -> dict[str, tuple[str, ...]]:
    packed = resources.files("vidfeat.mmaction.zoo").joinpath("labels.json.gz").read_bytes()
    return {dataset: tuple(names) for dataset, names in json.loads(gzip.decompress(packed)).items()}
