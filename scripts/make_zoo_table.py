"""Make `src/vidfeat/mmaction/zoo/released.csv`: what MMAction2 published about each model that it released.

Run: python scripts/make_zoo_table.py ZOO_JSON [CSV]

ZOO_JSON is a list of objects, one per model, read from the `metafile.yml` files of MMAction2 0.x and 1.x: line, name,
config, weights, resolution, flops, modality, dataset, metrics. The table leaves out repetitions of a model and corrects
what contradicts MMAction2's own README pages or configs; every correction is listed in `CORRECTIONS`.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "src" / "vidfeat" / "mmaction" / "zoo" / "released.csv"
HOST = "https://download.openmmlab.com/mmaction/"
COLUMNS = ("name", "line", "family", "dataset", "input", "resolution", "top1", "top5", "mean_ap", "gflop", "weights")

_V1 = f"{HOST}v1.0/recognition/"
_K710_DATASET = {"dataset": "Kinetics-710"}

CORRECTIONS: dict[tuple[str, str | None], dict[str, Any]] = {
    # Two models are listed under the name of a third; the README gives theirs.
    ("slowonly_imagenet_pretrained_r50_8x4x1_64e_hmdb51_rgb", "cee5f725"): {
        "name": "slowonly_k400_pretrained_r50_8x4x1_40e_hmdb51_rgb"
    },
    ("tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb", "MobileNetV2"): {
        "name": "tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb",
        "config": "configs/recognition/tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb.py",
        "weights": f"{_V1}tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb/"
        "tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb_20230414-401127fd.pth",
        "metrics": {"Top 1 Accuracy": 68.71, "Top 5 Accuracy": 88.32},
    },
    # The weights are another model's; the README gives the right ones.
    ("tsn_imagenet-pretrained-swin-transformer_32xb8-1x1x8-50e_kinetics400-rgb", None): {
        "weights": f"{_V1}tsn/tsn_imagenet-pretrained-swin-transformer_32xb8-1x1x8-50e_kinetics400-rgb/"
        "tsn_imagenet-pretrained-swin-transformer_32xb8-1x1x8-50e_kinetics400-rgb_20230530-428f0064.pth"
    },
    ("vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400", None): {
        "weights": f"{_V1}videomaev2/vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400/"
        "vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400_20230510-25c748fd.pth"
    },
    ("uniformerv2-large-p14-res336_clip-kinetics710-pre_u32_kinetics700-rgb", None): {
        "dataset": "Kinetics-700",
        "weights": f"{_V1}uniformerv2/kinetics700/"
        "uniformerv2-large-p14-res336_clip-kinetics710-pre_u32_kinetics700-rgb_20221219-95cf9046.pth",
    },
    # The data set is another model's; the name, the README and the number of classes give it.
    ("tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb", None): {"dataset": "SthV2"},
    ("tsn_imagenet-pretrained-r50_8xb32-1x1x16-50e_sthv2-rgb", None): {"dataset": "SthV2"},
    # The data set is left out; the name and the README give it.
    ("uniformerv2-base-p16-res224_clip-pre_u8_kinetics710-rgb", None): {
        **_K710_DATASET,
        "metrics": {"Top 1 Accuracy": 78.9, "Top 5 Accuracy": 94.2},
    },
    ("uniformerv2-large-p14-res224_clip-pre_u8_kinetics710-rgb", None): _K710_DATASET,
    ("uniformerv2-large-p14-res336_clip-pre_u8_kinetics710-rgb", None): _K710_DATASET,
}
"""By name, and by hash or architecture where a name stands for several models: the fields that are replaced."""

DATASETS = {"MiT": "Moments in Time V1"}
"""Data sets that are spelt in two ways."""


def main(source: str, target: str | Path = TABLE) -> None:
    models = json.loads(Path(source).read_text(encoding="utf-8"))
    rows = _with_unique_names([_row(_corrected(model)) for model in models])
    with Path(target).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(models)} models read, {len(rows)} written to {target}")


def _corrected(model: dict[str, Any]) -> dict[str, Any]:
    name, weights = model["name"], model["weights"].lstrip("(")
    keys = [(name, None), (name, _hash(weights)), (name, model["architecture"])]
    changes = [CORRECTIONS[key] for key in keys if key in CORRECTIONS]
    return {**model, "weights": weights, **(changes[0] if changes else {})}


def _row(model: dict[str, Any]) -> dict[str, Any]:
    metrics = {name.lower(): value for name, value in (model["metrics"] or {}).items()}
    return {
        "name": model["name"],
        "line": model["line"],
        "family": _family(model),
        "dataset": DATASETS.get(model["dataset"], model["dataset"]),
        "input": (model["modality"] or "RGB").lower(),
        "resolution": model["resolution"],
        "top1": metrics.get("top 1 accuracy"),
        "top5": metrics.get("top 5 accuracy", metrics.get("top5 accuracy")),
        "mean_ap": metrics.get("map"),
        "gflop": _gflop(model["flops"]),
        "weights": model["weights"].removeprefix(HOST),
    }


def _family(model: dict[str, Any]) -> str:
    """The config's folder; what was trained with OmniSource has a folder of its own, whatever its family."""
    folder: str = model["config"].split("/")[2]
    return re.split("[_-]", model["name"])[0] if folder == "omnisource" else folder


def _gflop(published: float | str | None) -> float | None:
    """From operations, or from a text like `42.94G`, to 1e9 operations."""
    if published is None:
        return None
    gflop = float(published.removesuffix("G")) if isinstance(published, str) else published / 1e9
    return round(gflop, 1)


def _hash(weights: str) -> str:
    return weights.removesuffix(".pth").rpartition("-")[2]


def _with_unique_names(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A name that stands for several checkpoints goes to the most accurate; the others add `@` and their hash."""
    unique = {(row["name"], row["weights"]): row for row in rows}.values()
    named: dict[str, list[dict[str, Any]]] = {}
    for row in unique:
        named.setdefault(row["name"], []).append(row)
    for same in named.values():
        best = max(same, key=lambda row: row["top1"] or 0)
        for row in same:
            row["name"] += "" if row is best else f"@{_hash(row['weights'])}"
    return sorted(unique, key=lambda row: (row["line"], row["family"], row["name"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
