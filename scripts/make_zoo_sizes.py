"""Make `src/vidfeat/mmaction/zoo/sizes.csv`: what the recipe of each released model says of its size and cost.

Run: python scripts/make_zoo_sizes.py [CSV]

The multiply-adds are those that PyTorch counts in matrix products and convolutions while the network runs on tensors
without values. timm and torchvision have to be installed. `vidfeat models` reads the table in place of the networks.
"""

from __future__ import annotations

import csv
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidfeat.mmaction.zoo.models import released
from vidfeat.models import build
from vidfeat.preprocessing.clips import samples_per_video
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import ModelSpec, Recipe

TABLE = Path(__file__).parents[1] / "src" / "vidfeat" / "mmaction" / "zoo" / "sizes.csv"
COLUMNS = ("name", "feature_size", "views", "gflop")
SOURCE = (256, 340)
"""Height and width of the video, for the few pipelines whose frames are as wide as those of the video."""


def sizes(recipe: Recipe) -> dict[str, Any]:
    """The columns of a recipe but its name: `gflop` are 1e9 multiply-adds of a video, all views."""
    samples = samples_per_video(recipe)
    assert samples is not None
    crops, height, width, _ = FrameTransformer(recipe.transforms)(np.zeros((*SOURCE, 3), np.uint8), where="").shape
    frames = recipe.model.segments if recipe.model.dims == 2 else recipe.sampling.clip_len
    if recipe.model.neck_joins_video:
        frames = recipe.sampling.frame_index(1).size * crops
    return {
        "feature_size": recipe.feature_size,
        "views": _views(recipe, samples, crops),
        "gflop": f"{samples * _multiply_adds(recipe.model, frames, (height, width)) / 1e9:.1f}",
    }


def _views(recipe: Recipe, samples: int, crops: int) -> int:
    """How many views MMAction2 counts: a clip, or group of segments, under one crop; of single frames, all of them."""
    if recipe.model.neck_joins_video:
        return crops
    if recipe.model.dims == 3 or recipe.model.segments > 1:
        return samples
    return crops * (len(recipe.sampling.frame_index(1)) if recipe.sampling.clip_len > 1 else 1)


@cache
def _multiply_adds(model: ModelSpec, frames: int, image: tuple[int, int]) -> float:
    network = build(model).eval().to("meta")
    shape = (frames, 3, *image) if model.dims == 2 else (1, 3, frames, *image)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.forward_features(torch.empty(shape, device="meta"))
    return counter.get_total_flops() / 2


def main(target: str | Path = TABLE) -> None:
    with Path(target).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for entry in released():
            writer.writerow({"name": entry.name, **sizes(entry.recipe())})


if __name__ == "__main__":
    main(*sys.argv[1:])
