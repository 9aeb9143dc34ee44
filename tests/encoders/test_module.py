"""Encoders of a user's own module: features, identity, other processes, what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import vidfeat
from encoders.own_networks import Tokens, no_module, tokens
from video.video_files import write_video
from vidfeat.encoders import ClipSpec, encoder, encoder_from_json
from vidfeat.errors import CheckpointError, UsageError
from vidfeat.mmaction import FeatureRequest
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.recipe import CenterCrop, Normalize, Recipe, ResizeShortEdge

PREPROCESS = (ResizeShortEdge(32), CenterCrop(32, 32), Normalize((127.5,) * 3, (127.5,) * 3))
CLIP = ClipSpec(4, 2)
FACTORY = "module:encoders.own_networks:tokens"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_video(path, frames=24, size=(48, 36))
    return path


def test_features_are_those_of_the_module(video: Path) -> None:
    module = tokens()
    compiled = encoder(module, clip=CLIP, preprocess=PREPROCESS)
    assert (compiled.name, compiled.feature_size, compiled.clip) == ("tokens", 12, CLIP)
    loaded = compiled.load(torch.device("cpu"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    values = torch.from_numpy((pixels.astype(np.float32) - 127.5) / 127.5).permute(0, 4, 1, 2, 3)
    with torch.inference_mode():
        np.testing.assert_allclose(
            loaded.network(torch.from_numpy(pixels)), module(values).mean(1), rtol=1e-5, atol=1e-6
        )
    job = vidfeat.Job(videos=str(video), encoders=vidfeat.Encoder.from_module(module, clip=CLIP, preprocess=PREPROCESS))  # type: ignore[attr-defined]
    (streamed,) = vidfeat.stream(job)
    recipe = compiled.description()["recipe"]
    with vidfeat.Extractor(tokens(), recipe=Recipe.from_json(recipe)) as extractor:
        extracted = extractor.extract(video)
    assert isinstance(streamed, vidfeat.VideoFeatures)
    np.testing.assert_array_equal(streamed.values, extracted.values)
    assert np.isfinite(extracted.values).all()
    assert np.ptp(extracted.values) > 0


def test_the_identity_is_that_of_its_weights() -> None:
    changed = tokens()
    with torch.no_grad():
        next(changed.parameters())[0] += 1e-6
    made = [encoder(module, clip=CLIP, preprocess=PREPROCESS) for module in (tokens(), tokens(), changed)]
    assert made[0].identity == made[1].identity != made[2].identity


def test_a_factory_travels() -> None:
    compiled = encoder(FACTORY, clip=CLIP, preprocess=PREPROCESS, name="mine")
    assert pickle.loads(pickle.dumps(compiled)) == compiled
    data = json.loads(json.dumps(compiled.to_json()))
    assert encoder_from_json(data) == compiled
    script = """
import json, sys
from vidfeat.encoders import encoder_from_json
print(encoder_from_json(json.loads(sys.stdin.read())).identity)
"""
    tests = str(Path(__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(data), capture_output=True, text=True, check=True, cwd=tests
    )
    assert found.stdout.split() == [compiled.identity]


def test_an_object_stays_in_its_process() -> None:
    compiled = encoder(tokens(), clip=CLIP, preprocess=PREPROCESS)
    for send in (pickle.dumps, lambda it: it.to_json()):
        with pytest.raises(
            UsageError, match=r"other processes can create.*object of Tokens.*module:package.module:func"
        ):
            send(compiled)


def test_a_factory_that_makes_another_module_there() -> None:
    compiled = encoder("module:encoders.own_networks:other_every_time", clip=CLIP, preprocess=PREPROCESS)
    with pytest.raises(CheckpointError, match="as in the process that made the encoder"):
        pickle.loads(pickle.dumps(compiled))


class Gives(nn.Module):
    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> Any:
        return self.output


IMAGES = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten())


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (Gives(torch.zeros(1, 4, 2, 2)), {}, r"module: expected an output .* a token grid.*\[1, 4, 2, 2\]"),
        (Gives(torch.tensor(1.0)), {}, r"module: expected an output .* a token grid.*found \[\]"),
        (Gives({"a": 1}), {}, "module: .*found dict"),
        (Gives(torch.zeros(3, 5)), {}, r"module: .*found \[3, 5\]"),
        (Gives(torch.zeros(1, 5, dtype=torch.int64)), {}, "module: expected an output"),
        (IMAGES, {}, "module: expected a module that takes clips: .*Give ClipSpec"),
        (Tokens(), {"clip": ClipSpec(1, None)}, "module: expected a module that takes images"),
        (Tokens(), {"clip": None}, "clip: expected the frames that the module sees.* .vidfeat.encoder. takes"),
        (Tokens(), {"request": FeatureRequest(scores=True)}, "request: expected none with module:"),
        (Tokens(), {"request": FeatureRequest(), "clip": None}, "clip: expected"),  # as the command line asks
        (Tokens(), {"preprocess": None}, "preprocess: expected transforms of frames that end with a Normalize"),
        (Tokens(), {"preprocess": PREPROCESS[:1]}, "preprocess: expected"),
        (Tokens(), {"grid": SegmentSampling(5)}, "grid: expected clips of 4 frames"),
        (Tokens(), {"checkpoint": "x.pth"}, "checkpoint: expected none with module:"),
        ("module:encoders.own_networks:gone", {}, "module: expected .*AttributeError"),
        ("module:no_such_package:make", {}, "module: expected .*ModuleNotFoundError"),
        ("module:encoders.own_networks:no_module", {}, "expected a function that makes a torch.nn.Module; found int"),
    ],
)  # fmt: skip
def test_what_is_refused(model: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        encoder(model, **{"clip": CLIP, "preprocess": PREPROCESS, **options})
    assert no_module() == 3


def test_a_module_in_half_precision_is_run_in_float32(video: Path) -> None:
    half = tokens().bfloat16()
    whole = copy.deepcopy(half).float()
    of_half, of_whole = (
        vidfeat.Extractor(encoder(module, clip=CLIP, preprocess=PREPROCESS), device="cpu").extract(video).values
        for module in (half, whole)
    )
    np.testing.assert_array_equal(of_half, of_whole)
    assert next(half.parameters()).dtype == torch.bfloat16


def test_a_network_of_images_is_run_frame_by_frame() -> None:
    compiled = encoder(IMAGES, clip=ClipSpec(1, None), preprocess=PREPROCESS)
    assert (compiled.feature_size, compiled.grid) == (4 * 4 * 4, SegmentSampling(1, num_clips=16))
