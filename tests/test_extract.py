"""`Extractor` as a program uses it, and wrongly."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Iterator, Mapping
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
def arguments(repository: Path) -> Mapping[str, Any]:
    weights = repository / "examples" / "tiny_slowonly_fixed_seed-1983a9be.safetensors"
    return {"encoder": repository / "examples" / "tiny_slowonly.py", "checkpoint": weights}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=24)


@pytest.fixture(scope="module")
def extractor(arguments: Mapping[str, Any]) -> Iterator[Extractor]:
    with Extractor(**arguments, device="cpu") as extractor:
        yield extractor


def test_a_device_of_torch_is_a_device(arguments: Mapping[str, Any]) -> None:
    with Extractor(**arguments, device=torch.device("cpu")) as extractor:
        assert extractor.encoder.name == "tiny_slowonly"


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
    wrong: dict[str, Any], error: type[Exception], words: str, arguments: Mapping[str, Any]
) -> None:
    with pytest.raises(error, match=words):
        Extractor(**{**arguments, **wrong})


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
    assert there.values.tobytes() == features.values.tobytes()
    assert (there.key, there.encoder, there.info) == (features.key, features.encoder, features.info)


def test_features_are_arrays(extractor: Extractor, clip: Path) -> None:
    features = extractor.extract(clip)
    assert np.asarray(features) is not None
    assert np.asarray(features).tobytes() == features.values.tobytes()
    assert np.array(features, dtype=np.float64).dtype == np.float64
    assert np.stack([features, features]).shape == (2, extractor.encoder.feature_size)


def test_an_encoder_takes_no_checkpoint_beside_it(arguments: Mapping[str, Any], extractor: Extractor) -> None:
    with pytest.raises(vidfeat.UsageError, match="checkpoint: expected no other argument with an `Encoder`"):
        Extractor(extractor.encoder, checkpoint=arguments["checkpoint"])


def test_one_decode_process_serves_all_calls(extractor: Extractor, clip: Path) -> None:
    extractor.extract(clip)
    (first,) = (worker.process.pid for worker in extractor._worker._idle)
    extractor.extract(clip)
    (second,) = (worker.process.pid for worker in extractor._worker._idle)
    assert first == second


def test_an_extractor_that_nobody_closes_leaves_no_process(arguments: Mapping[str, Any], clip: Path) -> None:
    extractor = Extractor(**arguments, device="cpu")
    extractor.extract(clip)
    (process,) = (worker.process for worker in extractor._worker._idle)
    del extractor
    gc.collect()
    assert process.wait(20) < 0


def test_several_threads_may_use_one(extractor: Extractor, clip: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(extractor.extract, [clip] * 8))
    assert {features.values.tobytes() for features in found} == {extractor.extract(clip).values.tobytes()}
