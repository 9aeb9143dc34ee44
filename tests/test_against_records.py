"""The whole main path against MMAction2's own records: real videos in, the same features out."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from derived_weights import state_of
from vidfeat import Extractor
from vidfeat.mmaction import compile_file
from vidfeat.models import build
from vidfeat.preprocessing.clips import PreprocessSpec, read_whole
from vidfeat.videos import VideoRef

SLOW = os.environ.get("VIDFEAT_SLOW") == "1"
"""All three configs on all clips take minutes; the default is the cheapest config on all clips."""

CONFIGS = {
    "tsn": "configs/recognition/tsn/tsn_r50_clip_feature_extraction_1x1x3_rgb.py",
    "slowonly": "configs/recognition/slowonly/slowonly_r50_clip_feature_extraction_4x16x1_rgb.py",
    "slowonly-crops": "configs/recognition/slowonly/slowonly_r50_video_4x16x1_256e_kinetics400_rgb.py",
}


@pytest.fixture(scope="module")
def records(shared: Path) -> dict[str, dict]:
    with gzip.open(shared / "reference" / "seed.jsonl.gz", "rt") as lines:
        return {record["config"]: record for record in map(json.loads, lines)}


@pytest.fixture(scope="module")
def checkpoints(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint file for each config, its weights derived from their names."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = {}
    for name, config in CONFIGS.items():
        model = build(compile_file(repository / config).model)
        paths[name] = folder / f"{name}.safetensors"
        save_file(state_of(model), paths[name])
    return paths


@pytest.mark.parametrize("name", CONFIGS)
def test_parameter_names_and_shapes(name: str, repository: Path, records: dict[str, dict]) -> None:
    model = build(compile_file(repository / CONFIGS[name]).model)
    ours = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    theirs = {key: shape for key, shape in records[CONFIGS[name]]["state"].items() if not key.startswith("cls_head.")}
    assert list(ours.items()) == list(theirs.items())


@pytest.mark.parametrize("name", CONFIGS)
def test_frames_and_clips(name: str, repository: Path, records: dict[str, dict], shared: Path) -> None:
    recipe = compile_file(repository / CONFIGS[name])
    for clip, video in records[CONFIGS[name]]["videos"].items():
        path = shared / "videos" / "clips" / clip
        batch = read_whole(PreprocessSpec.of(recipe), VideoRef(clip, str(path)))
        distinct = np.unique(video["frame_inds"])
        assert distinct[batch.clips].ravel().tolist() == video["frame_inds"], clip
        # The mean over the input is the mean over the distinct frames, weighted with how often each is sampled.
        pixels = batch.pixels.astype(np.float64)
        means = ((pixels - recipe.normalize.mean) / recipe.normalize.std).mean(axis=(2, 3, 4))
        weights = np.bincount(batch.clips.ravel())
        assert (weights @ means.mean(axis=1)) / weights.sum() == pytest.approx(video["imgs_mean"], abs=2e-6), clip


@pytest.mark.parametrize("name", CONFIGS)
def test_features(
    name: str, repository: Path, records: dict[str, dict], checkpoints: dict[str, Path], shared: Path
) -> None:
    videos = records[CONFIGS[name]]["videos"]
    clips = list(videos) if SLOW or name == "tsn" else ["mpeg4_320x240.avi"] if name == "slowonly" else []
    if not clips:
        pytest.skip("takes minutes; set VIDFEAT_SLOW=1")
    with Extractor(repository / CONFIGS[name], checkpoint=checkpoints[name], device="cpu") as extractor:
        for clip in clips:
            features = extractor.extract(shared / "videos" / "clips" / clip)
            expected = np.array(videos[clip]["feature"])
            assert features.values.dtype == np.float32
            assert np.linalg.norm(features.values - expected) <= 1e-5 * np.linalg.norm(expected), clip


def test_cores_do_not_change_a_bit(repository: Path, checkpoints: dict[str, Path], shared: Path) -> None:
    clip = shared / "videos" / "clips" / "mpeg4_320x240.avi"
    arrays = []
    for threads in (1, 2, 3):
        with Extractor(
            repository / CONFIGS["tsn"], checkpoint=checkpoints["tsn"], device="cpu", threads=threads
        ) as extractor:
            arrays.append(extractor.extract(clip).values.tobytes())
    assert len(set(arrays)) == 1
