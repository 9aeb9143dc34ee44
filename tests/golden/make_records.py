"""Write records.jsonl.gz: features that MMAction2's own code gives for the clips of this folder.

usage: python tests/golden/make_records.py MMACTION2

MMACTION2 is a checkout, of branch `0.x` (with mmcv 1.7.2, installed with MMCV_WITH_OPS=0) or of `main` (with
mmengine 0.10.7 and mmcv-lite 2.1.0); both need decord and torchvision. The records of that line are made again, those
of the other line are kept. No test runs this.

A config is one of MMAction2's, made smaller with the options below. Weights are derived from parameter names
(`tests/derived_weights.py`), so that they need not be stored.
"""

import argparse
import gzip
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
CLIPS, RECORDS = HERE / "clips", HERE / "records.jsonl.gz"
sys.path.insert(0, str(HERE.parent))
from derived_weights import state_of  # noqa: E402

RECOGNITION = "configs/recognition"
LANDSCAPE, PORTRAIT, SHORT = "landscape.mp4", "portrait.mp4", "short.mp4"


def case(config, clips, options=None, steps=None, **record):
    """A record to make: options of the config, changes to the steps of its test pipeline by their type."""
    return {"config": f"{RECOGNITION}/{config}", "clips": clips, "options": options, "steps": steps, "record": record}


def sizes(resize, size, crop=None, **sampling):
    """The changes that make frames and crops smaller; `crop` is another type of crop than the config's."""
    kind = {"type": crop} if crop else {}
    return {"Resize": {"scale": (-1, resize)}, "Crop": {"crop_size": size, **kind}, "SampleFrames": sampling}


R18, NARROW = {"model.backbone.depth": 18}, {"model.backbone.base_channels": 16}
TSM_POOL = {"model.backbone.temporal_pool": True, "model.cls_head.temporal_pool": True}
SWIN_ARCH = {"_delete_": True, "embed_dims": 24, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8]}
SWIN = {"arch": SWIN_ARCH, "window_size": (4, 7, 7)}
TIMESFORMER = {"img_size": 96, "embed_dims": 96, "num_heads": 4, "num_transformer_layers": 4}

CASES_V0 = (
    case("tsn/tsn_r50_clip_feature_extraction_1x1x3_rgb.py", [LANDSCAPE]),
    case(
        "tsn/tsn_r50_video_1x1x8_100e_kinetics400_rgb.py",
        [LANDSCAPE, PORTRAIT, SHORT],
        R18,
        sizes(112, 96, "TenCrop", num_clips=8),
    ),
    case(
        "slowonly/slowonly_r50_clip_feature_extraction_4x16x1_rgb.py",
        [LANDSCAPE],
        steps=sizes(112, 96),
    ),
    case(
        "slowonly/slowonly_r50_video_4x16x1_256e_kinetics400_rgb.py",
        [PORTRAIT, SHORT],
        {**NARROW, "model.backbone.inflate": (0, 1, 1, 1)},
        sizes(80, 80, num_clips=3),
    ),
    case(
        "tsm/tsm_r50_video_1x1x8_50e_kinetics400_rgb.py",
        [LANDSCAPE, SHORT],
        steps=sizes(96, 96, "ThreeCrop", twice_sample=True),
    ),
    case("tsm/tsm_r50_video_1x1x8_50e_kinetics400_rgb.py", [PORTRAIT], TSM_POOL, sizes(128, 112)),
    case(
        "slowfast/slowfast_r50_video_4x16x1_256e_kinetics400_rgb.py",
        [LANDSCAPE],
        steps=sizes(96, 96, num_clips=1),
    ),
)
CASES_V1 = (
    case(
        "tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py",
        [LANDSCAPE, SHORT],
        steps=sizes(128, 112),
        mode="few",
    ),
    case(
        "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.py",
        [PORTRAIT],
        R18,
        sizes(128, 128),
        mode="few",
    ),
    case(
        "slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb.py",
        [LANDSCAPE],
        NARROW,
        sizes(80, 80, num_clips=2),
        mode="multi",
    ),
    case(
        "slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb.py",
        [LANDSCAPE],
        NARROW,
        sizes(80, 80),
        mode="long",
        long_video=[32, 4],
    ),
    case(
        "swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py",
        [LANDSCAPE, PORTRAIT],
        {f"model.backbone.{name}": value for name, value in SWIN.items()},
        sizes(90, 90, clip_len=12),
        mode="few",
    ),
    case(
        "timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb.py",
        [LANDSCAPE, PORTRAIT],
        {f"model.backbone.{name}": value for name, value in TIMESFORMER.items()},
        sizes(96, 96, frame_interval=4),
        mode="few",
    ),
)


def script_of(checkout):
    """MMAction2's own feature script as a module."""
    spec = importlib.util.spec_from_file_location("script", checkout / "tools/misc/clip_feature_extraction.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def change_steps(pipeline, changes):
    """Apply `changes` to the steps of a test pipeline, by how their types end; every change must find its step."""
    for ending, change in changes.items():
        (step,) = (step for step in pipeline if step["type"].endswith(ending))
        step.update(change)


class V0:
    """Runs of branch 0.x, on a CPU, as its feature script builds them."""

    cases = CASES_V0

    def __init__(self, checkout, made, videos, folder):
        from mmaction.datasets import build_dataset
        from mmaction.models import build_model
        from mmcv import Config

        config = Config.fromfile(str(checkout / made["config"]))
        config.merge_from_dict(made["options"] or {})
        script_of(checkout).turn_off_pretrained(config.model)
        config.model["test_cfg"] = {**(config.model["test_cfg"] or {}), "feature_extraction": True}
        test = config.data.test
        change_steps(test.pipeline, {**(made["steps"] or {}), "Collect": {"meta_keys": ["frame_inds"]}})
        self.data = json.loads(json.dumps({"model": config.model, "pipeline": test.pipeline}))
        test.ann_file, test.data_prefix = str(videos), str(folder)
        self.model = build_model(config.model).eval()
        self.dataset = build_dataset(test, {"test_mode": True})

    def run(self, number):
        """Frame indices, the input and the features of one video."""
        item = self.dataset[number]
        with torch.no_grad():
            features = self.model(item["imgs"][None], return_loss=False)
        return item["img_metas"].data["frame_inds"], item["imgs"], features


class V1:
    """Runs of main, on a CPU, with the config as its feature script changes it."""

    cases = CASES_V1

    def __init__(self, checkout, made, videos, folder):
        from mmaction.registry import DATASETS, MODELS
        from mmaction.utils import register_all_modules
        from mmengine.config import Config

        register_all_modules()
        config = Config.fromfile(str(checkout / made["config"]))
        config.merge_from_dict(made["options"] or {})
        pipeline = config.test_dataloader.dataset.pipeline
        change_steps(pipeline, {**(made["steps"] or {}), "PackActionInputs": {"meta_keys": ["frame_inds"]}})
        # What is recorded is the config before the script changes it: its switches are a part of what is compared.
        self.data = json.loads(json.dumps({"model": config.model, "pipeline": pipeline}))
        mode, windows = made["record"]["mode"], made["record"].get("long_video", [None, None])
        switches = argparse.Namespace(
            dump_score=False,
            spatial_type="avg",
            temporal_type="avg",
            multi_view=mode == "multi",
            long_video_mode=mode == "long",
            clip_interval=windows[0],
            frame_interval=windows[1],
            video_list=str(videos),
            video_root=str(folder),
            output_prefix="unused",
        )
        config = script_of(checkout).merge_args(config, switches)
        self.model = MODELS.build(config.model).eval()
        self.dataset = DATASETS.build(config.test_dataloader.dataset)

    def run(self, number):
        """Frame indices, the input and the features of one video."""
        from mmengine.dataset import pseudo_collate

        data = self.model.data_preprocessor(pseudo_collate([self.dataset[number]]), training=False)
        with torch.no_grad():
            features = self.model(**data, mode="predict")
        return data["data_samples"][0].frame_inds, data["inputs"], features.numpy()


def record_of(line, checkout, made, folder=CLIPS):
    """Run one case."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as videos:
        videos.write("".join(f"{clip} 0\n" for clip in made["clips"]))
        videos.flush()
        runs = line(checkout, made, videos.name, folder)
    state = state_of(runs.model)
    runs.model.load_state_dict(state)
    record = {
        "config": made["config"],
        **made["record"],
        **runs.data,
        "state": {name: list(tensor.shape) for name, tensor in state.items()},
        "videos": {},
    }
    for number, clip in enumerate(made["clips"]):
        frame_inds, inputs, features = runs.run(number)
        record["videos"][clip] = {
            "frame_inds": [int(index) for index in frame_inds.ravel()],
            "imgs_shape": list(inputs.shape),
            "imgs_mean": float(inputs.double().mean()),
            "imgs_std": float(inputs.double().std()),
            "out_shape": list(features.shape),
            "feature": [float(f"{value:.8g}") for value in features.ravel()],
        }
    return record


def main():
    checkout = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(checkout))
    import mmaction

    name, line = ("0.x", V0) if mmaction.__version__.startswith("0.") else ("1.x", V1)
    records = []
    if RECORDS.exists():
        kept = map(json.loads, gzip.decompress(RECORDS.read_bytes()).splitlines())
        records = [record for record in kept if record["line"] != name]
    for made in line.cases:
        records.append({"line": name, **record_of(line, checkout, made)})
        for clip, video in records[-1]["videos"].items():
            print(made["config"], clip, video["imgs_shape"], video["out_shape"], video["feature"][:3], flush=True)
    text = "".join(json.dumps(record) + "\n" for record in sorted(records, key=lambda record: record["line"]))
    RECORDS.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(len(records), "records,", RECORDS.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
