"""Encoders of timm and torchvision: preprocessing from their configurations, and networks where they are installed.

The tests that need the libraries are run in an environment of their own:
pip install 'vidfeat[timm,torchvision]' pillow pytest; pytest tests/encoders/test_libraries.py
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tiny_transformers import frame
from vidfeat.encoders import encoder
from vidfeat.encoders.timm import processing
from vidfeat.encoders.torchvision import processing as preset_processing
from vidfeat.errors import ConfigError, UsageError
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import CenterCrop, ResizeShortEdge, ResizeTo

CFG: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "crop_pct": 0.95,
    "crop_mode": "center",
    "interpolation": "bicubic",
}


def test_a_configuration_of_timm() -> None:
    (resize, crop), normalize = processing(CFG, "model")
    assert resize == ResizeShortEdge(235, "pillow_bicubic", "down")
    assert crop == CenterCrop(224, 224, "half_even", "pad")
    assert (normalize.mean, normalize.std) == ((127.5,) * 3, (63.75,) * 3)
    (resize, _), _ = processing(CFG | {"crop_mode": "squash", "input_size": (3, 192, 256)}, "model")
    assert resize == ResizeTo(269, 202, "pillow_bicubic")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"interpolation": "lanczos"}, "model: interpolation: expected bilinear or bicubic; found 'lanczos'"),
        ({"crop_mode": "border"}, "model: crop_mode: expected center, of a square, or squash; found border"),
        ({"input_size": (3, 192, 256)}, "model: crop_mode: expected center, of a square"),
        ({"input_size": (1, 224, 224), "mean": (0.5,), "std": (0.5,)}, "model: input_size: expected RGB; found 1"),
    ],
)
def test_configurations_of_timm_that_are_not_supported(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        processing(CFG | change, "model")


def test_a_preset_of_torchvision() -> None:
    preset = {"resize_size": [128, 171], "crop_size": [112, 112], "mean": [0.5] * 3, "std": [0.2] * 3}
    clips, _ = preset_processing({**preset, "interpolation": "bilinear"}, "model", antialiased=False)
    assert clips == (ResizeTo(171, 128, "bilinear_float"), CenterCrop(112, 112, "half_even", "pad"))
    with pytest.raises(ConfigError, match="model: interpolation: expected bilinear; found 'bicubic'"):
        preset_processing({**preset, "interpolation": "bicubic"}, "model", antialiased=False)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="the libraries are installed")
def test_a_library_that_is_missing(library: str) -> None:
    with pytest.raises(UsageError, match=rf"the package {library} for {library}:resnet18; found none. Install it"):
        encoder(f"{library}:resnet18")


GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "libraries.npz"))


@pytest.mark.parametrize("case", [case for case in GOLDEN if not case.endswith("/options")])
def test_pixels_are_those_of_the_library(case: str) -> None:
    options = json.loads(str(GOLDEN[f"{case}/options"]))
    kind = options.pop("kind")
    compiled = (
        processing(options, case) if kind == "timm" else preset_processing(options, case, antialiased=kind != "clip")
    )
    (pixels,) = FrameTransformer(compiled[0])(frame(245, 333), where="picture")
    found = (pixels[::23, ::23] - np.array(compiled[1].mean)) / np.array(compiled[1].std)
    expected = GOLDEN[case].transpose(1, 2, 0)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= (1e-3 if kind == "clip" else 1e-6) * np.linalg.norm(expected)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def rows_of(
    compiled: Any, inputs: torch.Tensor, picture: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the library's inputs and of a picture: rows of the network, and the network's own inputs."""
    loaded = compiled.load(torch.device("cpu"))
    frames = compiled.clip.length
    pixels = torch.from_numpy(FrameTransformer(compiled.preprocess.transforms)(picture, where=""))
    pixels = pixels.repeat(frames, 1, 1, 1)[None]
    with torch.inference_mode():
        own = loaded.network.normalize(pixels.flatten(0, 1) if loaded.network.recipe.model.dims == 2 else pixels)
        return loaded.network.model.forward_features(inputs), loaded.network(pixels), own


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "vit_tiny_patch16_224.augreg_in21k", "test_vit.r160_in1k"])
def test_networks_of_timm(name: str, tmp_path: Path) -> None:
    timm, image = pytest.importorskip("timm"), pytest.importorskip("PIL.Image")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    compiled = encoder(f"timm:{name}", checkpoint=tmp_path / "weights.safetensors")
    picture = frame(245, 333)
    inputs = timm.data.create_transform(**timm.data.resolve_model_data_config(model))(image.fromarray(picture))[None]
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(inputs), pre_logits=True)
    rows, whole, own = rows_of(compiled, inputs, picture)
    assert relative(rows, expected) < 1e-5
    assert relative(own, inputs) < 1e-6
    assert relative(whole, expected) < 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "squeezenet1_1", "r3d_18"])
def test_networks_of_torchvision(name: str, tmp_path: Path) -> None:
    models, image = pytest.importorskip("torchvision.models"), pytest.importorskip("PIL.Image")
    from vidfeat.models.timm_torchvision import classifier_of

    torch.manual_seed(0)
    model = models.get_model(name, weights=None).eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    compiled = encoder(f"torchvision:{name}", checkpoint=tmp_path / "weights.safetensors")
    picture, preset = frame(245, 333), models.get_model_weights(name).DEFAULT.transforms()
    if compiled.clip.length > 1:
        inputs = preset(torch.from_numpy(picture).permute(2, 0, 1).repeat(compiled.clip.length, 1, 1, 1))[None]
    else:
        inputs = preset(image.fromarray(picture))[None]
    read: list[torch.Tensor] = []
    if classifier_of(model):
        layer = model.get_submodule(classifier_of(model))
        layer.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    with torch.inference_mode():
        logits = model(inputs)
    expected = read[0].flatten(1) if read else logits
    rows, whole, own = rows_of(compiled, inputs, picture)
    assert relative(rows, expected) < 1e-5
    assert relative(own, inputs) < (1e-3 if compiled.clip.length > 1 else 1e-6)  # ties may be rounded otherwise
    assert relative(whole, expected) < (1e-3 if compiled.clip.length > 1 else 1e-5)
