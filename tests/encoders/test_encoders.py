"""Encoders of MMAction2: what they are compiled from, what identifies them, other grids, JSON data, weights."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vidfeat.checkpoint import CheckpointFile
from vidfeat.encoders import ClipSpec, encoder, encoder_from_json
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.errors import CheckpointError, ConfigError, UsageError, VidfeatError
from vidfeat.mmaction import FeatureRequest, LongVideo, compile_file, compile_recipe
from vidfeat.models import build, channels_last, fold_norms
from vidfeat.preprocessing.sampling import DenseSampling, SegmentSampling, UniformSampling, WindowSampling
from vidfeat.recipe import Pooling, Recipe, TimeGrid

CPU = torch.device("cpu")
UNIFORMER = "uniformerv2-base-p16-res224_clip-kinetics710-kinetics-k400-pre_16xb32-u8_mitv1-rgb"


@pytest.fixture(scope="module")
def config(repository: Path) -> Path:
    return repository / "examples" / "tiny_slowonly.py"


@pytest.fixture(scope="module")
def checkpoint(repository: Path) -> Path:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return checkpoint


@pytest.fixture(scope="module")
def tiny(config: Path, checkpoint: Path) -> RecipeEncoder:
    compiled = encoder(config, checkpoint=checkpoint)
    assert isinstance(compiled, RecipeEncoder)
    return compiled


def of_model(name: str) -> RecipeEncoder:
    """A released model whose checkpoint is not here."""
    return RecipeEncoder(
        compile_recipe(name)[0], CheckpointFile(Path("gone.pth"), "0" * 64, "gone.pth"), name, "mmaction"
    )


# --- compile ----------------------------------------------------------------------------------------------------------


def test_a_config_and_its_recipe_are_one_encoder(config: Path, checkpoint: Path, tiny: RecipeEncoder) -> None:
    recipe = compile_file(config)
    assert (tiny.name, tiny.recipe, tiny.grid, tiny.feature_size) == ("tiny_slowonly", recipe, recipe.sampling, 32)
    assert tiny.recipe_digest == recipe.digest
    assert encoder(f"mmaction:{config}", checkpoint=checkpoint) == tiny
    of_recipe = encoder(recipe, checkpoint=checkpoint)
    assert (of_recipe.name, of_recipe.identity) == ("resnet3d", tiny.identity)


def test_requests_and_overrides_change_the_recipe(config: Path, checkpoint: Path) -> None:
    request = FeatureRequest(long_video=LongVideo(8), pooling=Pooling(views="per_clip"))
    options = {"model.backbone.depth": 34}
    compiled = encoder(config, checkpoint=checkpoint, cfg_options=options, request=request)
    assert compiled.recipe_digest == compile_file(config, options, request).digest
    of_recipe = encoder(compile_file(config, options), checkpoint=checkpoint, request=request)
    assert of_recipe.identity == compiled.identity


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"model": None}, UsageError, "model: expected the name of a released model.* of type NoneType"),
        ({"model": b"config.py"}, UsageError, "model: expected .* of type bytes"),
        ({"checkpoint": 3}, UsageError, "checkpoint: expected a path or a URL; found 3, of type int"),
        ({"checkpoint": None}, UsageError, "checkpoint: expected the weights of tiny_slowonly; found none"),
        ({"checkpoint": "gone.pth"}, CheckpointError, "gone.pth: expected a checkpoint file"),
        ({"cfg_options": ["a=b"]}, UsageError, "cfg_options: expected a dict, such as"),
        ({"cfg_options": {3: 4}}, ConfigError, "override 3: expected a dotted key as text"),
        (
            {"cfg_options": {"model.backbone.depth": np.int64(18)}},
            ConfigError,
            "override `model.backbone.depth`: expected None, a number, text, or lists.* of type int64",
        ),
        (
            {"cfg_options": {"model.backbone": {"inflate": [0, {1}]}}},
            ConfigError,
            "override `model.backbone`: .* of type set",
        ),
        ({"request": "max"}, UsageError, "request: expected a vidfeat.FeatureRequest"),
    ],
)
def test_arguments_that_are_wrong(
    wrong: dict[str, Any], error: type[VidfeatError], words: str, config: Path, checkpoint: Path
) -> None:
    with pytest.raises(error, match=words):
        encoder(**{"model": config, "checkpoint": checkpoint, **wrong})


def test_a_recipe_has_no_options(tiny: RecipeEncoder, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="cfg_options: expected none with a Recipe"):
        encoder(tiny.recipe, checkpoint=checkpoint, cfg_options={"model.backbone.depth": 34})


def test_a_misspelt_argument_is_not_ignored(config: Path, checkpoint: Path) -> None:
    with pytest.raises(TypeError, match="checkpiont"):
        encoder(config, checkpiont=checkpoint)


# --- plain data -------------------------------------------------------------------------------------------------------


def test_identity_is_that_of_recipe_and_weights(tiny: RecipeEncoder) -> None:
    others = [
        tiny,
        tiny.with_pooling(Pooling(views="keep")),
        tiny.with_grid(SegmentSampling(clip_len=8, num_clips=3)),
        dataclasses.replace(tiny, weights=dataclasses.replace(tiny.weights, sha256="0" * 64)),
    ]
    assert len({other.identity for other in others}) == len(others)
    elsewhere = dataclasses.replace(tiny.weights, path=Path("/elsewhere"), source="https://example.org/x.pth")
    assert dataclasses.replace(tiny, name="other", weights=elsewhere).identity == tiny.identity


def test_an_encoder_travels(tiny: RecipeEncoder) -> None:
    assert pickle.loads(pickle.dumps(tiny)) == tiny
    assert encoder_from_json(json.loads(json.dumps(tiny.to_json()))) == tiny
    assert tiny.recipe_digest[:12] in repr(tiny)
    assert str(tiny.weights.source) in repr(tiny)


def test_its_weights_are_found_by_their_source_and_verified(
    tiny: RecipeEncoder, checkpoint: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copy(checkpoint, tmp_path / "weights.safetensors"))
    here = tiny.to_json() | {"path": str(tmp_path / "gone.safetensors")}
    here["checkpoint"] = {"source": copied.as_uri(), "sha256": tiny.weights.sha256}
    assert encoder_from_json(here).weights.path == copied
    copied.write_bytes(copied.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=f"expected a checkpoint of SHA-256 {tiny.weights.sha256}"):
        encoder_from_json(here)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"origin": "caffe"}, "encoder.origin: expected mmaction or hf.*found 'caffe'"),
        ({"grid": {}}, "encoder: expected the fields checkpoint, encoder"),
        ({"recipe": {"schema": 1, "type": "Recipe"}}, "recipe: expected the fields of Recipe"),
    ],
)
def test_json_data_that_is_no_encoder(change: dict[str, Any], words: str, tiny: RecipeEncoder) -> None:
    with pytest.raises(ConfigError, match=words):
        encoder_from_json(tiny.to_json() | change)


def test_description_is_what_a_manifest_says(tiny: RecipeEncoder, checkpoint: Path) -> None:
    assert tiny.description() == {
        "encoder": "tiny_slowonly",
        "recipe": tiny.recipe.to_json(),
        "checkpoint": {"source": str(checkpoint), "sha256": tiny.weights.sha256},
    }
    assert Recipe.from_json(tiny.description()["recipe"]) == tiny.recipe


def test_preprocessing_travels_without_torch(tiny: RecipeEncoder) -> None:
    script = "import pickle, sys; pickle.loads(sys.stdin.buffer.read()); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(tiny.preprocess), capture_output=True, check=True
    )
    assert done.stdout.split() == [b"False"]
    script = "import sys, vidfeat.encoders; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.split() == [b"False"]


# --- clips and grids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("slowonly_r50_8x8x1_256e_kinetics400_rgb", ClipSpec(8, 8)),
        ("tsn_r50_320p_1x1x3_100e_kinetics400_rgb", ClipSpec(1, None)),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb", ClipSpec(8, None)),
        (UNIFORMER, ClipSpec(8, None)),
    ],
)
def test_clip(name: str, clip: ClipSpec) -> None:
    assert of_model(name).clip == clip


@pytest.mark.parametrize(
    ("name", "grid", "words"),
    [
        ("slowonly_r50_8x8x1_256e_kinetics400_rgb", WindowSampling(16, 16), ""),
        ("c3d_sports1m_16x1x1_45e_ucf101_rgb", WindowSampling(16, 8), ""),
        ("c3d_sports1m_16x1x1_45e_ucf101_rgb", WindowSampling(8, 8), "its own 16; found 8 frames, on which it fails"),
        ("timesformer_divST_8x32x1_15e_kinetics400_rgb", DenseSampling(16, 2), "found 16 frames"),
        (
            UNIFORMER,
            UniformSampling(8, 3),
            "",
        ),
        ("slowfast_r50_8x8x1_256e_kinetics400_rgb", SegmentSampling(5), "its own 32; found 5 frames"),
        ("tsn_r50_320p_1x1x3_100e_kinetics400_rgb", WindowSampling(5, 5), ""),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb", WindowSampling(16, 16), ""),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb", WindowSampling(12, 16), "multiple of the network's 8 segments; found 12"),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb", SegmentSampling(1, num_clips=16), ""),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb", SegmentSampling(2, num_clips=6), "segments; found 12 frames"),
    ],
)
def test_grids_that_a_network_can_take(name: str, grid: TimeGrid, words: str) -> None:
    if not words:
        assert of_model(name).with_grid(grid).grid == grid
        return
    with pytest.raises(UsageError, match=f"^grid: .*{words}"):
        of_model(name).with_grid(grid)


def test_windows_of_a_network_that_joins_a_video() -> None:
    whole = of_model("tpn_tsm_r50_1x1x8_150e_sthv1_rgb")
    assert whole.recipe.model.neck_joins_video or whole.recipe.pooling.row_length
    windows = whole.with_grid(WindowSampling(8, 8))
    assert (windows.recipe.model.neck_joins_video, windows.recipe.pooling.row_length) == (False, None)


# --- load -------------------------------------------------------------------------------------------------------------


def test_a_loaded_network_gives_the_rows_of_its_layers(tiny: RecipeEncoder) -> None:
    loaded = tiny.load(CPU)
    assert (loaded.match.loaded > 0, loaded.match.ignored_heads) == (True, 0)
    model = build(tiny.recipe.model)
    model.load_state_dict(load_file(tiny.weights.path))
    fold_norms(model)
    channels_last(model)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 8, 64, 64, 3), dtype=np.uint8))
    with torch.inference_mode():
        normalize = tiny.recipe.normalize
        inputs = (pixels.double() - torch.tensor(normalize.mean)) / torch.tensor(normalize.std)
        expected = model.forward_features(inputs.float().permute(0, 4, 1, 2, 3)).mean((2, 3, 4))
        found = loaded.network(pixels)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_weights_that_do_not_fit_are_refused(config: Path, checkpoint: Path) -> None:
    other = encoder(config, checkpoint=checkpoint, cfg_options={"model.backbone.depth": 34})
    with pytest.raises(CheckpointError, match="tensors that do not match"):
        other.load(CPU)
