"""The names of the classes of data sets.

`labels.json.gz`, made by `scripts/make_label_maps.py`, has those that Python packages publish. The lists of other data
sets are downloaded from MMAction2's repository when they are first needed, as checkpoints are.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from vidfeat.checkpoint import find
from vidfeat.errors import UsageError
from vidfeat.mmaction.compile import is_name
from vidfeat.mmaction.zoo.models import find_model

LISTS = "https://raw.githubusercontent.com/open-mmlab/mmaction2/4d6c93474730cad2f25e51109adcf96824efc7a3/tools/data/"
"""Where MMAction2 1.2.0 has its label maps."""


@dataclass(frozen=True)
class LabelList:
    """A list of names that is downloaded: one per line, in the order of the classes.

    Attributes:
        path: of the file, under `tools/data` of MMAction2's repository.
        classes: the number of names.
        sha256: of the file's content, 64 hex digits.
    """

    path: str
    classes: int
    sha256: str


DOWNLOADED = {
    "kinetics600": LabelList(
        "kinetics/label_map_k600.txt", 600, "8dfca4202520ea8291ce0242ef33b006d0a0772b409663c090a2876bc1978dcf"
    ),
    "kinetics710": LabelList(
        "kinetics710/label_map_k710.txt", 710, "a853307b4880565c2abf199b593baf8a7bc24a10a0875cac6569d1f70f041c5c"
    ),
    "sthv1": LabelList("sthv1/label_map.txt", 174, "5465813d437e762ccee1d2090d585d6383665e9f0216e055d6d506993a8b3fd7"),
    "momentsintime": LabelList(
        "mit/label_map.txt", 339, "119e2be7d59e0bc33385faa39b50752377fa26373255994f2f8e9d1d49a372dc"
    ),
    "mmit": LabelList("mmit/label_map.txt", 313, "95a2e27c638a1c5a2d8e07101c34eb0a6c0de8aa6e29ea035409ec6412c8be31"),
    "diving48": LabelList(
        "diving48/label_map.txt", 48, "7832becc4d9326028e29fb2cf5adaade78052030c1791784c6dffc32541fd9e9"
    ),
    "jester": LabelList("jester/label_map.txt", 27, "e276b0171b36ef05440506d8ee8e10faa4171356c27a4278d6ce868aa1bea77e"),
    "activitynet": LabelList(
        "activitynet/label_map.txt", 200, "a179ec576b1b7b627bbb8f3280a1d5cebf7cd7b22f31cbcfa036c187c59fce11"
    ),
}
"""The lists that `labels.json.gz` lacks."""

_ABBREVIATIONS = {"mit": "momentsintime"}
"""Names of data sets in the names of MMAction2's configs, where they differ."""


def data_set_of(model: str, classes: int) -> str | None:
    """The data set whose classes a model predicts, as far as their names are known.

    Args:
        model: the name of a released model, or the path of a config, whose file name may say the data set, as those of
            MMAction2 do: `..._kinetics400_rgb.py`.
        classes: how many there are.
    """
    text = _key(find_model(model).dataset if is_name(model) else Path(model).stem)
    sizes = {name: len(names) for name, names in packed().items()}
    sizes |= {name: listed.classes for name, listed in DOWNLOADED.items()}
    spelled = {name: name for name in sizes} | _ABBREVIATIONS
    return next((name for word, name in spelled.items() if word in text and sizes[name] == classes), None)


def labels_of(model: str, classes: int, given: str | None = None) -> tuple[str, ...] | None:
    """The names of a model's classes.

    Args:
        model, classes: as for `data_set_of`.
        given: a data set such as `kinetics400`, or the path of a text file with one name per line.

    Returns:
        None where the data set is not known.

    Raises:
        UsageError: the given labels are not there, cannot be read, or are not as many as the classes.
        CheckpointError: the list is not on this machine, and cannot be downloaded.
    """
    if given is None:
        name = data_set_of(model, classes)
        return None if name is None else _names(name)
    known = [*packed(), *DOWNLOADED]
    if _key(given) in known:
        names = _names(_key(given))
    else:
        names = _read(Path(given), f"a text file of labels, or one of {', '.join(known)}")
    if len(names) != classes:
        raise UsageError(
            "class_names", expected=f"{classes} labels, one for each class", found=f"{len(names)} in {given}"
        )
    return names


def _names(data_set: str) -> tuple[str, ...]:
    if data_set in packed():
        return packed()[data_set]
    listed = DOWNLOADED[data_set]
    file = find(LISTS + listed.path, sha256=listed.sha256, progress=False).path
    return _read(file, f"the names of the classes of {data_set}")


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
def packed() -> dict[str, tuple[str, ...]]:
    """The names of the classes of the data sets that need no download."""
    packed = resources.files("vidfeat.mmaction.zoo").joinpath("labels.json.gz").read_bytes()
    return {dataset: tuple(names) for dataset, names in json.loads(gzip.decompress(packed)).items()}
