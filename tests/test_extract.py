"""`Extractor` as a program uses it: from threads, in other processes, and wrongly."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vidfeat
from made_outputs import write_clip
from vidfeat import Extractor


@pytest.fixture(scope="module")
def model(repository: Path) -> Mapping[str, Any]:
    weights = repository / "examples" / "tiny_slowonly_fixed_seed-1983a9be.safetensors"
    return {"model": repository / "examples" / "tiny_slowonly.py", "checkpoint": weights}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=24)


@pytest.fixture(scope="module")
def extractor(model: Mapping[str, Any]) -> Extractor:
    return Extractor(**model, device="cpu")


def test_threads_may_share_extractors(model: Mapping[str, Any], extractor: Extractor, clip: Path) -> None:
    other = Extractor(**model, precision="bf16", threads=1)
    expected = [extractor.extract(clip).array, other.extract(clip).array]
    assert not np.array_equal(*expected)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: (extractor, other)[number % 2].extract(clip).array, range(12)))
    for number, array in enumerate(found):
        np.testing.assert_array_equal(array, expected[number % 2])


def test_an_extractor_that_nobody_needs_is_gone(model: Mapping[str, Any], clip: Path) -> None:
    networks = []
    for _ in range(2):
        extractor = Extractor(**model)
        extractor.extract(clip)
        networks.append(weakref.ref(extractor.model))
        del extractor
    gc.collect()
    assert [network() for network in networks] == [None, None]


def test_a_device_of_torch_is_a_device(model: Mapping[str, Any]) -> None:
    assert Extractor(**model, device=torch.device("cpu")).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"model": None}, vidfeat.UsageError, "model: expected the name of a released model.* of type NoneType"),
        ({"model": b"config.py"}, vidfeat.UsageError, "model: expected .* of type bytes"),
        ({"checkpoint": 3}, vidfeat.UsageError, "checkpoint: expected a path or a URL; found 3, of type int"),
        ({"device": None}, vidfeat.DeviceError, "found 'None'"),
        ({"precision": 16}, vidfeat.UsageError, "precision: expected fp32 or bf16 or fp16; found 16"),
        ({"cfg_options": ["a=b"]}, vidfeat.UsageError, "cfg_options: expected a dict, such as"),
        ({"cfg_options": {3: 4}}, vidfeat.ConfigError, "override 3: expected a dotted key as text"),
        (
            {"cfg_options": {"model.backbone.depth": np.int64(18)}},
            vidfeat.ConfigError,
            "override `model.backbone.depth`: expected None, a number, text, or lists.* of type int64",
        ),
        (
            {"cfg_options": {"model.backbone": {"inflate": [0, {1}]}}},
            vidfeat.ConfigError,
            "override `model.backbone`: .* of type set",
        ),
        ({"request": "max"}, vidfeat.UsageError, "request: expected a vidfeat.FeatureRequest"),
        ({"threads": 0}, vidfeat.UsageError, "threads: expected a whole number above 0.*found 0"),
        ({"threads": "2"}, vidfeat.UsageError, "threads: .*found '2'"),
    ],
)
def test_arguments_that_are_none(
    wrong: dict[str, Any], error: type[Exception], words: str, model: Mapping[str, Any]
) -> None:
    with pytest.raises(error, match=words):
        Extractor(**{**model, **wrong})


@pytest.mark.parametrize("path", [None, b"clip.mp4", 3, ["clip.mp4"]])
def test_a_path_that_is_none(extractor: Extractor, path: Any) -> None:
    with pytest.raises(vidfeat.UsageError, match=f"path: expected the path of a video; .* {type(path).__name__}"):
        extractor.extract(path)


def test_a_misspelt_choice_is_not_passed_over(extractor: Extractor, clip: Path) -> None:
    with pytest.raises(vidfeat.UsageError, match="on_corrupt: expected fail or salvage; found 'skip'"):
        extractor.extract(clip, on_corrupt="skip")  # type: ignore[arg-type]


def test_a_video_that_is_gone(extractor: Extractor, tmp_path: Path) -> None:
    with pytest.raises(vidfeat.VideoError, match=r"no file of that name\. Check the name") as caught:
        extractor.extract(tmp_path / "gone.mp4")
    assert (caught.value.stage, caught.value.kind) == ("open", "missing")


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.deepcopy])
def test_an_extractor_stays_in_its_process(duplicate: Any, extractor: Extractor) -> None:
    with pytest.raises(vidfeat.UsageError, match="Make one in every process"):
        duplicate(extractor)


def test_features_travel(extractor: Extractor, clip: Path) -> None:
    features = extractor.extract(clip)
    there = pickle.loads(pickle.dumps(features))
    assert there.array.tobytes() == features.array.tobytes()
    assert (there.frames, there.fps, there.views) == (features.frames, features.fps, features.views)


FORKING = """
import os, signal, sys
import vidfeat

model, checkpoint, clip, before, made = sys.argv[1:]
extractor = vidfeat.Extractor(model, checkpoint=checkpoint)
if before == "computed":
    extractor.extract(clip)
if not (child := os.fork()):
    signal.alarm(60)  # rather than wait for ever
    try:
        extractor = extractor if made == "inherited" else vidfeat.Extractor(model, checkpoint=checkpoint)
        found = str(extractor.extract(clip).array.shape)
    except vidfeat.UsageError as error:
        found = str(error)
    print(found, flush=True)
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.parametrize(
    ("before", "made", "words"),
    [
        ("idle", "inherited", "(32,)"),
        ("computed", "inherited", "which has computed features already. Start it with"),
        ("computed", "anew", "which has computed features already. Start it with"),
    ],
)
def test_a_forked_process_computes_or_says_why_not(
    before: str, made: str, words: str, model: Mapping[str, Any], clip: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKING, *map(str, model.values()), str(clip), before, made]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
