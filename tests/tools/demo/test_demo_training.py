"""The training script: it sees what `vidfeat extract` sees, and what it writes loads."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidfeat.checkpoint import find, load_into, load_state
from vidfeat.checkpoint.files import name_hash
from vidfeat.mmaction import compile_file
from vidfeat.models import build
from vidfeat.preprocessing.clips import PreprocessSpec, read_whole
from vidfeat.tools.demo import CONFIG
from vidfeat.tools.demo.clips import encode
from vidfeat.tools.demo.motions import MOTIONS
from vidfeat.tools.demo.scene import draw_scene
from vidfeat.videos import VideoRef


@pytest.fixture(scope="module")
def script(repository: Path) -> dict[str, Any]:
    return runpy.run_path(str(repository / "scripts" / "train_demo.py"))


@pytest.mark.parametrize("index", [0, 37])
def test_training_clips_are_what_the_files_would_give(script: dict[str, Any], index: int, tmp_path: Path) -> None:
    recipe = compile_file(CONFIG)
    pixels, label = script["RenderedClips"](recipe, 100)[index]
    assert label == index % len(MOTIONS)
    encode(draw_scene(list(MOTIONS)[label], "train", index // len(MOTIONS)), tmp_path / "clip.mp4")
    batch = read_whole(PreprocessSpec.of(recipe), VideoRef("clip.mp4", str(tmp_path / "clip.mp4")))
    assert batch.clips.shape == (1, 16)
    from_file = batch.pixels[batch.clips[0], 0]
    assert pixels.shape == from_file.shape == (16, 60, 80, 3)
    # Compression takes a little away; a neighbouring frame would differ more.
    difference = np.abs(pixels.numpy().astype(int) - from_file)
    assert difference.mean() < 4
    assert difference.mean() < np.abs(pixels.numpy()[1:].astype(int) - from_file[:-1]).mean()


def test_a_new_network_is_drawn_from_the_seed_and_what_is_written_loads(script: dict[str, Any], tmp_path: Path) -> None:
    recipe = compile_file(CONFIG)
    drawn = script["new_network"](recipe)
    assert all(parameter.requires_grad for parameter in drawn.parameters())
    path = script["write"](drawn, tmp_path, "a note")
    checkpoint = find(str(path))
    assert checkpoint.sha256.startswith(name_hash(path.name))
    loaded = build(recipe.model)
    load_into(loaded, load_state(checkpoint), source="test")
    again = script["new_network"](recipe).state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, again[name]), name
