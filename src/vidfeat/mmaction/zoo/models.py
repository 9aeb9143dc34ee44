"""Released models by name: recipe and checkpoint."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from vidfeat.errors import ConfigError, UsageError
from vidfeat.mmaction.compile import compile_config
from vidfeat.mmaction.config import apply_overrides
from vidfeat.mmaction.evaluator import shortened
from vidfeat.mmaction.zoo.listing import number, published
from vidfeat.mmaction.zoo.recipes import Line, ModelRow
from vidfeat.mmaction.zoo.rows import ROWS
from vidfeat.recipe import Recipe

_HOST = "https://download.openmmlab.com/mmaction/"

_OTHER_INPUTS = {
    "flow": "an optical-flow model",
    "audio": "an audio model",
    "posec3d": "a skeleton model",
    "stgcn": "a skeleton model",
    "agcn": "a skeleton model",
    "keypoint": "a skeleton model",
    "skeleton": "a skeleton model",
    "ava": "a spatio-temporal detection model",
    "acrn": "a spatio-temporal detection model",
    "bsn": "a temporal localisation model",
    "bmn": "a temporal localisation model",
}
"""Words in the names of MMAction2's other models, and the kinds of model that they indicate."""

_CLASSES = {
    "ActivityNet v1.3": 200,
    "Diving48": 48,
    "GYM99": 400,  # the config leaves the default, of which the data set uses 99
    "HMDB51": 51,
    "Jester": 27,
    "Kinetics-400": 400,
    "Kinetics-600": 600,
    "Kinetics-700": 700,
    "Kinetics-710": 710,
    "MMiT": 313,
    "MiniKinetics": 200,
    "Moments in Time V1": 339,
    "SthV1": 174,
    "SthV2": 174,
    "UCF101": 101,
}
"""Classes of the heads of the models of each data set."""

_HVU_CLASSES = {"action": 739, "attribute": 117, "concept": 291, "event": 69, "object": 1678, "scene": 248}
"""The same for HVU, by the kind of label."""


@dataclass(frozen=True)
class ZooEntry:
    """A released model.

    Attributes:
        name: unique over both lines of MMAction2. Where several checkpoints have one name, the most accurate keeps it,
            and the others add `@` and the hash in their file's name.
        line: the line of MMAction2 that published it, whose rules select the frames.
        family: the folder of its config in MMAction2, such as `slowonly`.
        dataset: the data set that it was trained on last.
        resolution: size of the training videos, as published.
        checkpoint: URL of its weights.
        top1, top5, mean_ap: published accuracy in percent.
        gflop: published cost in 1e9 multiply-adds: of one clip, or of all frames of one crop in an image network.
        row: its recipe.
    """

    name: str
    line: Line
    family: str
    dataset: str
    resolution: str | None
    checkpoint: str
    top1: float | None
    top5: float | None
    mean_ap: float | None
    gflop: float | None
    row: ModelRow = field(repr=False, compare=False)

    @property
    def config(self) -> dict[str, Any]:
        """The recipe as the data of a config file of the model's line. A new copy at every access."""
        return self.row.config(self.line, self.classes)

    @property
    def classes(self) -> int:
        """How many classes its head has."""
        return _HVU_CLASSES[self.name.split("_")[-2]] if self.dataset == "HVU" else _CLASSES[self.dataset]

    def recipe(self, overrides: Mapping[str, Any] | None = None, *, scores: bool = False) -> Recipe:
        """Compile the model's config.

        Args:
            overrides: dotted key to value, as `--cfg-options` gives them.
            scores: as for `compile_config`.

        Raises:
            ConfigError: the model needs something that is not supported, or an override does.
        """
        config = self.config
        for key in overrides or {}:
            # The compiler ignores the variables at the top of config files; a released model has none.
            if (top := key.partition(".")[0]) not in config:
                raise ConfigError(
                    f"override `{shortened(key)}`",
                    expected=f"a key below one of {', '.join(sorted(config))}",
                    found=shortened(top),
                    hint="`vidfeat inspect` shows what an override does.",
                )
        return compile_config(apply_overrides(config, overrides or {}), file=self.name, scores=scores)


@cache
def released() -> tuple[ZooEntry, ...]:
    """All released models whose input is RGB video, sorted by line, family and name."""
    rows = {name: row for row in ROWS for name in row.names.split()}
    return tuple(_entry(line, rows) for line in published() if line["input"] == "rgb")


def find_model(name: str) -> ZooEntry:
    """The released model of that name.

    Args:
        name: as in `vidfeat models`. `@` and the 8 hex digits at the end of a checkpoint's file name select one of
            several checkpoints of one name, and are accepted with every name.

    Raises:
        UsageError: there is none, and the message names the nearest ones; or its input is not a video.
    """
    entries = _entries_by_name()
    if name in entries:
        return entries[name]
    where, kind = f"model {name[:100]!r}", _other_kind(name)
    if kind is not None:
        rgb_twin = name.replace("flow", "rgb")
        raise UsageError(where, expected="a model whose input is RGB video", found=kind, hint=_suggestion(rgb_twin))
    expected = "the name of a released model, or the path of a config file"
    raise UsageError(where, expected=expected, found="neither", hint=_suggestion(name))


@cache
def _entries_by_name() -> dict[str, ZooEntry]:
    with_hash = {f"{_plain(entry.name)}@{_hash(entry.checkpoint)}": entry for entry in released()}
    return {**with_hash, **{entry.name: entry for entry in released()}}


def _entry(line: Mapping[str, str], rows: Mapping[str, ModelRow]) -> ZooEntry:
    name = line["name"]
    return ZooEntry(
        name=name,
        line=cast(Line, line["line"]),
        family=line["family"],
        dataset=line["dataset"],
        resolution=line["resolution"] or None,
        checkpoint=_HOST + line["weights"],
        top1=number(line["top1"]),
        top5=number(line["top5"]),
        mean_ap=number(line["mean_ap"]),
        gflop=number(line["gflop"]),
        row=rows[_plain(name)],
    )


def _plain(name: str) -> str:
    return name.partition("@")[0]


def _hash(checkpoint: str) -> str:
    return checkpoint.removesuffix(".pth").rpartition("-")[2]


def _other_kind(name: str) -> str | None:
    """The kind of an MMAction2 model whose input is not RGB video; None if the name is not one of those."""
    words = name.lower().replace("-", "_").split("_")
    return next((kind for word, kind in _OTHER_INPUTS.items() if word in words), None)


def _suggestion(name: str) -> str:
    names = [entry.name for entry in released()]
    near = difflib.get_close_matches(name, names, n=3) or [known for known in names if name and name in known][:3]
    listing = "`vidfeat models` lists all."
    return f"Did you mean {', '.join(near[:-1])}{' or ' * (len(near) > 1)}{near[-1]}? {listing}" if near else listing
