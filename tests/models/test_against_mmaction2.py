"""Backbones against MMAction2's own numbers, in the `golden` files named below."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from derived_weights import state_of
from vidfeat.inference.pooling import pool_views
from vidfeat.mmaction.backbones import compile_backbone
from vidfeat.mmaction.config import Node
from vidfeat.models import build, fold_norms
from vidfeat.recipe import ModelSpec

HERE = Path(__file__).parents[1] / "golden"
FILES = ("models.json", "cnn3d.json", "swin_uniformer.json", "vits.json", "image_networks.json")
GOLDEN = {name: case for file in FILES for name, case in json.loads((HERE / file).read_text()).items()}


@pytest.mark.parametrize("name", GOLDEN)
def test_feature(name: str) -> None:
    case = GOLDEN[name]
    dims = 2 if len(case["input"]) == 4 else 3
    spec = ModelSpec(compile_backbone(Node.of(case["options"], name), dims), dims)
    model = build(spec)
    model.load_state_dict(state_of(model))
    fold_norms(model)
    values = np.random.default_rng(0).standard_normal(case["input"], dtype=np.float32)
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    with torch.inference_mode():
        rows = pool_views(model.forward_features(torch.from_numpy(values).to(memory_format=layout))).numpy()
    expected = np.frombuffer(base64.b64decode(case["feature"]), "<f4").reshape(case["rows"])
    assert rows.shape == expected.shape
    assert rows.shape[1] == spec.feature_size
    distances = np.linalg.norm(rows - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert distances.max() <= 1e-5


@pytest.mark.parametrize("name", GOLDEN)
def test_parameters(name: str) -> None:
    case = GOLDEN[name]
    dims = 2 if len(case["input"]) == 4 else 3
    model = build(ModelSpec(compile_backbone(Node.of(case["options"], name), dims), dims))
    assert len(model.state_dict()) == case["parameters"]
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())
