"""The 1.x dialect: configs to recipes, what is refused, and the records of MMAction2 1.x itself."""

import gzip
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from vidfeat.errors import ConfigError, UsageError
from vidfeat.mmaction import FeatureRequest, LongVideo, compile_config, compile_file
from vidfeat.mmaction.feature_script import apply_request
from vidfeat.models import build
from vidfeat.models.resnet import ResNetConfig
from vidfeat.preprocessing.sampling import (
    DenseSampling,
    SegmentSampling,
    SpreadSampling,
    UniformSampling,
    WindowSampling,
)
from vidfeat.recipe import CenterCrop, Flip, ModelSpec, Normalize, Pooling, Recipe, ResizeShortEdge, TenCrop, ThreeCrop
from vidfeat.video import probe, with_exact_frames

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def tsn() -> dict[str, Any]:
    """The content of a 1.x config for an image network."""
    return {
        "model": {
            "type": "Recognizer2D",
            "backbone": {"type": "ResNet", "pretrained": "somewhere", "depth": 50, "norm_eval": False},
            "cls_head": {"type": "TSNHead", "num_classes": 400},
            "data_preprocessor": {
                "type": "ActionDataPreprocessor",
                "mean": MEAN,
                "std": STD,
                "format_shape": "NCHW",
            },
            "train_cfg": None,
            "test_cfg": None,
        },
        "test_dataloader": {
            "batch_size": 1,
            "num_workers": 8,
            "persistent_workers": True,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": {
                "type": "VideoDataset",
                "ann_file": "list.txt",
                "data_prefix": {"video": "videos"},
                "test_mode": True,
                "pipeline": [
                    {"type": "DecordInit", "io_backend": "disk"},
                    {"type": "SampleFrames", "clip_len": 1, "frame_interval": 1, "num_clips": 25, "test_mode": True},
                    {"type": "DecordDecode"},
                    {"type": "Resize", "scale": (-1, 256)},
                    {"type": "TenCrop", "crop_size": 224},
                    {"type": "FormatShape", "input_format": "NCHW"},
                    {"type": "PackActionInputs"},
                ],
            },
        },
        "test_evaluator": {"type": "AccMetric"},
        "optim_wrapper": {},
        "default_scope": "mmaction",
    }


def slowonly() -> dict[str, Any]:
    """The content of a 1.x config for a clip network."""
    config = tsn()
    config["model"]["type"] = "Recognizer3D"
    config["model"]["backbone"] = {
        "type": "ResNet3dSlowOnly",
        "depth": 50,
        "lateral": False,
        "conv1_kernel": (1, 7, 7),
        "inflate": (0, 0, 1, 1),
    }
    config["model"]["data_preprocessor"]["format_shape"] = "NCTHW"
    steps = config["test_dataloader"]["dataset"]["pipeline"]
    steps[1] = {"type": "SampleFrames", "clip_len": 4, "frame_interval": 16, "num_clips": 10, "test_mode": True}
    steps[4] = {"type": "ThreeCrop", "crop_size": 256}
    steps[5] = {"type": "FormatShape", "input_format": "NCTHW"}
    return config


def compiled(config: dict[str, Any]) -> Recipe:
    return compile_config(config, file="config.py")


def with_step(config: dict[str, Any], number: int, **step: Any) -> dict[str, Any]:
    config["test_dataloader"]["dataset"]["pipeline"][number] = step
    return config


def test_a_recipe_of_an_image_network() -> None:
    assert compiled(tsn()) == Recipe(
        sampling=SpreadSampling(clip_len=1, num_clips=25),
        transforms=(ResizeShortEdge(256), TenCrop(224, 224)),
        normalize=Normalize((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        model=ModelSpec(ResNetConfig(depth=50), dims=2),
    )


def test_a_recipe_of_a_clip_network() -> None:
    recipe = compiled(slowonly())
    assert recipe.sampling == SpreadSampling(clip_len=4, frame_interval=16, num_clips=10)
    assert recipe.transforms == (ResizeShortEdge(256), ThreeCrop(256, 256))
    assert (recipe.model.dims, recipe.model.feature_size) == (3, 2048)
    assert recipe.pooling == Pooling()


SAMPLINGS = [
    (
        {"type": "SampleFrames", "clip_len": 16, "frame_interval": 5, "num_clips": 10, "target_fps": 30},
        SpreadSampling(16, 5, 10, target_fps=30.0),
    ),
    (
        {"type": "SampleFrames", "clip_len": 8, "num_clips": 2, "twice_sample": True, "out_of_bound_opt": "loop"},
        SpreadSampling(8, num_clips=2, twice_sample=True),
    ),
    (
        {"type": "SampleFrames", "clip_len": 8, "out_of_bound_opt": "repeat_last"},
        SpreadSampling(8, 1, 1, False, "repeat_last"),
    ),
    ({"type": "DenseSampleFrames", "clip_len": 32, "frame_interval": 2}, DenseSampling(32, 2)),
    ({"type": "UniformSample", "clip_len": 16, "num_clips": 4}, UniformSampling(16, 4)),
]


@pytest.mark.parametrize(("step", "sampling"), SAMPLINGS)
def test_samplings(step: dict[str, Any], sampling: object) -> None:
    assert compiled(with_step(slowonly(), 1, **step, test_mode=True)).sampling == sampling
    with pytest.raises(ConfigError, match="test_mode"):
        compiled(with_step(slowonly(), 1, **step))


def test_untrimmed_sampling_has_no_mode() -> None:
    step = {"type": "UntrimmedSampleFrames", "clip_len": 8, "clip_interval": 64, "frame_interval": 2}
    assert compiled(with_step(slowonly(), 1, **step)).sampling == WindowSampling(8, 64, 2)


def test_the_model_normalises() -> None:
    config = slowonly()
    config["model"]["data_preprocessor"]["to_rgb"] = True
    assert compiled(config).normalize.to_bgr
    config["model"]["data_preprocessor"] = {"type": "ActionDataPreprocessor", "format_shape": "NCTHW"}
    assert compiled(config).normalize == Normalize((0, 0, 0), (1, 1, 1))
    del config["model"]["data_preprocessor"]
    assert compiled(config).normalize == Normalize((0, 0, 0), (1, 1, 1))


def test_an_omni_recognizer_takes_clips() -> None:
    config = slowonly()
    config["model"] |= {"type": "RecognizerOmni", "backbone": {"type": "OmniResNet"}}
    config["model"]["data_preprocessor"]["format_shape"] = "MIX2d3d"
    assert compiled(config).model.dims == 3
    image_network = tsn()
    image_network["model"]["data_preprocessor"]["format_shape"] = "MIX2d3d"
    with pytest.raises(ConfigError, match="format_shape"):
        compiled(image_network)


def test_lists_of_one_pipeline_are_one() -> None:
    config = slowonly()
    dataset = config["test_dataloader"]["dataset"]
    config["test_dataloader"]["dataset"] = {"type": "ConcatDataset", "datasets": [dataset, deepcopy(dataset)]}
    assert compiled(config) == compiled(slowonly())
    config["test_dataloader"]["dataset"]["datasets"][1]["pipeline"].insert(3, {"type": "Flip", "flip_ratio": 1})
    with pytest.raises(ConfigError, match="one and the same pipeline"):
        compiled(config)


def test_a_pipeline_one_level_too_high_is_the_one_that_counts() -> None:
    config = slowonly()
    steps = deepcopy(config["test_dataloader"]["dataset"]["pipeline"])
    config["test_dataloader"] |= {"pipeline": [*steps[:4], {"type": "CenterCrop", "crop_size": 224}, *steps[5:]]}
    assert compiled(config).transforms[-1] == CenterCrop(224, 224)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The clip network's config with one value set."""
    config = slowonly()
    node: Any = config
    *parents, last = path.split(".")
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = value
    return config


PIPELINE = "test_dataloader.dataset.pipeline"
REFUSED = [
    ("model.type", "RecognizerGCN", "for skeletons"),
    ("model.type", "RecognizerAudio", "for audio"),
    ("model.type", "BMN", "for temporal localisation"),
    ("model.type", "Recognizer4D", "Recognizer3D"),
    ("model.backbone.type", "ResNet3dSlowOnl", "Did you mean 'ResNet3dSlowOnly'"),
    ("model.data_preprocessor.type", "MultiModalDataPreprocessor", "ActionDataPreprocessor"),
    ("model.data_preprocessor.mean", [128, 128], "three numbers"),
    ("model.data_preprocessor.std", None, "three numbers"),
    ("model.data_preprocessor.format_shape", "NCHW", "'NCTHW'"),
    ("model.data_preprocessor.bgr_to_rgb", True, "unknown key"),
    ("test_dataloader.dataset.type", "PoseDataset", "RGB videos"),
    ("test_dataloader.dataset.modality", "Flow", "'RGB'"),
    ("test_dataloader.dataset.pipline", [], "Did you mean 'pipeline'"),
    ("test_dataloader.batchsize", 1, "Did you mean 'batch_size'"),
    ("test_pipline", [], "Did you mean 'test_pipeline'"),
    (f"{PIPELINE}.1.frame_intervall", 2, "Did you mean 'frame_interval'"),
    (f"{PIPELINE}.1.target_fps", 0, "an integer above 0"),
    (f"{PIPELINE}.1.temporal_jitter", True, "random frames"),
    (f"{PIPELINE}.2.mode", "efficient", "'accurate'"),
    (f"{PIPELINE}.3.type", "RandomResizedCrop", "one of"),
    (f"{PIPELINE}.3.type", "Normalize", "one of"),
    (f"{PIPELINE}.5.input_format", "NCHW", "'NCTHW'"),
    (f"{PIPELINE}.6.collect_keys", ("imgs", "heatmap_imgs"), "the input is the frames"),
]


@pytest.mark.parametrize(("path", "value", "said"), REFUSED)
def test_what_is_not_understood_is_refused_by_its_place(path: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled(changed(path, value))
    assert caught.value.where == f"config.py: {path}"
    assert said in str(caught.value)


def test_twice_one_clip_is_refused() -> None:
    step = {"type": "SampleFrames", "clip_len": 8, "twice_sample": True, "test_mode": True}
    with pytest.raises(ConfigError, match="divides by zero"):
        compiled(with_step(slowonly(), 1, **step))


def test_a_config_is_of_one_generation() -> None:
    with pytest.raises(ConfigError, match="neither"):
        compiled({"model": {}})


# --- the switches of the feature script -------------------------------------------------------------------------------


def test_few_views() -> None:
    request = FeatureRequest(views="few")
    assert apply_request(compiled(slowonly()), request).sampling == SpreadSampling(4, 16, 1)
    image_network = apply_request(compiled(tsn()), request)
    assert image_network.sampling == SpreadSampling(1, num_clips=25)
    assert image_network.transforms[-1] == CenterCrop(224, 224)
    twice = with_step(tsn(), 1, type="SampleFrames", clip_len=1, num_clips=8, twice_sample=True, test_mode=True)
    assert apply_request(compiled(twice), request).sampling == SpreadSampling(1, num_clips=8)
    dense = with_step(slowonly(), 1, type="DenseSampleFrames", clip_len=32, test_mode=True)
    assert apply_request(compiled(dense), request) == compiled(dense)


def test_long_videos() -> None:
    clip_network, image_network = compiled(slowonly()), compiled(tsn())
    wanted = FeatureRequest(pooling=Pooling(views="keep"), views="few", long_video=LongVideo(64, 8))
    recipe = apply_request(clip_network, wanted)
    assert (recipe.sampling, recipe.pooling.views) == (WindowSampling(4, 64, 8), "keep")
    assert recipe.transforms == clip_network.transforms
    assert apply_request(image_network, wanted).sampling == WindowSampling(25, 64, 8)
    own_interval = FeatureRequest(long_video=LongVideo(32))
    assert apply_request(clip_network, own_interval).sampling == WindowSampling(4, 32, 16)
    with pytest.raises(UsageError, match=r"^long_video\.frame_interval: "):
        apply_request(image_network, own_interval)
    with pytest.raises(UsageError, match=r"^long_video\.clip_interval: "):
        apply_request(clip_network, FeatureRequest(long_video=LongVideo(0)))


def test_windows_fit_the_networks_segments() -> None:
    tsm = tsn()
    tsm["model"]["backbone"] = {"type": "ResNetTSM", "depth": 50, "num_segments": 8}
    with_step(tsm, 1, type="SampleFrames", clip_len=1, num_clips=8, test_mode=True)
    request = FeatureRequest(long_video=LongVideo(64, 8))
    assert apply_request(compiled(tsm), request).sampling == WindowSampling(8, 64, 8)
    with_step(tsm, 1, type="DenseSampleFrames", clip_len=1, num_clips=4, num_sample_positions=2, test_mode=True)
    with pytest.raises(UsageError, match="8 segments"):
        apply_request(compiled(tsm), request)
    with_step(tsm, 1, type="SampleFrames", clip_len=1, num_clips=12, test_mode=True)
    with pytest.raises(ConfigError, match="num_clips: expected a multiple of the backbone's 8 segments; found 12"):
        compiled(tsm)


def test_files_of_both_generations(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(slowonly()))
    assert compile_file(path) == compiled(slowonly())
    assert compile_file(path, request=FeatureRequest(views="few")).sampling == SpreadSampling(4, 16, 1)
    old = {
        "model": tsn()["model"] | {"data_preprocessor": None},
        "data": {
            "test": {
                "type": "VideoDataset",
                "pipeline": [
                    {"type": "SampleFrames", "clip_len": 1, "num_clips": 3, "test_mode": True},
                    {"type": "Flip", "flip_ratio": 1},
                    {"type": "Normalize", "mean": MEAN, "std": STD},
                    {"type": "FormatShape", "input_format": "NCHW"},
                ],
            }
        },
    }
    del old["model"]["data_preprocessor"]
    path.write_text(json.dumps(old))
    recipe = compile_file(path)
    assert recipe.sampling == SegmentSampling(1, num_clips=3)
    assert recipe.transforms == (Flip(),)


# --- the records ------------------------------------------------------------------------------------------------------


def test_records_of_mmaction2(shared: Path) -> None:
    """The frame indices of every record of MMAction2 1.x."""
    with gzip.open(shared / "reference" / "mm1.jsonl.gz") as lines:
        records = [json.loads(line) for line in lines]
    infos: dict[str, Any] = {}
    for record in records:
        dataset = {"type": "VideoDataset", "pipeline": record["pipeline"]}
        recipe = compile_config({"model": record["model"], "test_dataloader": {"dataset": dataset}}, file="record")
        for name, video in (record["videos"] or {}).items():
            info = infos.setdefault(name, with_exact_frames(probe(shared / "videos" / "clips" / name)))
            plan = recipe.sampling.frame_index(info.frames, info.fps)
            assert plan.ravel().tolist() == video["frame_inds"], record["config"]
    assert len(records) == 75


def test_names_and_shapes_of_a_record(shared: Path) -> None:
    with gzip.open(shared / "reference" / "mm1.jsonl.gz") as lines:
        record = next(r for r in map(json.loads, lines) if "slowonly_r50_8xb16-8x8x1" in r["config"])
    dataset = {"type": "VideoDataset", "pipeline": record["pipeline"]}
    recipe = compile_config({"model": record["model"], "test_dataloader": {"dataset": dataset}}, file="record")
    ours = {name: list(tensor.shape) for name, tensor in build(recipe.model).state_dict().items()}
    theirs = {name: shape for name, shape in record["state"].items() if not name.startswith("cls_head.")}
    assert ours == theirs
