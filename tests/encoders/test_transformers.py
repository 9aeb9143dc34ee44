"""Encoders of transformers: networks against the library's own forward pass, weights, processors, bad repositories."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_transformers import TINY, make, write
from vidfeat.encoders import encoder
from vidfeat.models import pack

pytest.importorskip("transformers")

CPU = torch.device("cpu")

OWN: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "videomae-pretraining": lambda m, x: m.videomae(x).last_hidden_state.mean(1),
    "vjepa2": lambda m, x: m.get_vision_features(x).mean(1),
    "xclip": lambda m, x: m.get_video_features(x).pooler_output,
    "clip": lambda m, x: m.get_image_features(x).pooler_output,
    "siglip": lambda m, x: m.get_image_features(x).pooler_output,
}
"""The library's own features of a network, where they are not what its classifier or pooler gives."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tiny")

    def of(name: str) -> Path:
        if not (folder / name).exists():
            write(name, folder / name)
        return folder / name

    return of


def library_features(name: str, inputs: torch.Tensor) -> torch.Tensor:
    """What the library itself computes; for a classifier, what its last layer reads."""
    model = make(name)
    if name in OWN:
        return OWN[name](model, inputs)
    if not hasattr(model, "classifier"):
        return model(inputs).pooler_output
    read: list[torch.Tensor] = []
    model.classifier.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    model(inputs)
    return read[0]


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", TINY)
def test_a_network_gives_the_librarys_own_features(name: str, tiny: Callable[[str], Path]) -> None:
    compiled = encoder(f"hf:{tiny(name)}")
    assert compiled.name == name
    loaded = compiled.load(CPU)
    steps = compiled.preprocess.transforms
    size = steps[-1].width  # type: ignore[union-attr]
    pixels = np.random.default_rng(0).integers(0, 256, (3, compiled.clip.length, size, size, 3), dtype=np.uint8)
    normalize = compiled.description()["recipe"]["normalize"]
    values = (pixels.astype(np.float64) - normalize["mean"]) / normalize["std"]
    inputs = torch.from_numpy(values).float().permute(0, 1, 4, 2, 3)
    with torch.inference_mode():
        expected = library_features(name, inputs if loaded.network.recipe.model.dims == 3 else inputs.flatten(0, 1))
        plain = loaded.network(torch.from_numpy(pixels)).numpy()
        pack(loaded.network, torch.float32, one_shape=True)
        with ThreadPoolExecutor(2) as threads:  # as the inference threads of a run
            packed = list(threads.map(loaded.network, [torch.from_numpy(pixels)] * 4))
    assert plain.shape == (3, compiled.feature_size)
    assert relative(plain, expected.numpy()) < 1e-5
    assert max(relative(rows.numpy(), expected.numpy()) for rows in packed) < 1e-5
