"""`Extractor` as a program uses it, and wrongly."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def test_a_device_of_torch_is_a_device(model: Mapping[str, Any]) -> None:
    assert Extractor(**model, device=torch.device("cpu")).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"device": None}, vidfeat.DeviceError, "found 'None'"),
        ({"precision": 16}, vidfeat.UsageError, "precision: expected fp32 or bf16 or fp16; found 16"),
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
