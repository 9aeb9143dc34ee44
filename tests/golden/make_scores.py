"""Write scores.jsonl.gz: class scores that MMAction2's own heads give for the clips of this folder.

usage: python tests/golden/make_scores.py MMACTION2

MMACTION2 is a checkout of `main`, as for `make_records.py`, whose records these are like: `mode` is "scores", and
`feature` holds what the model predicts, all views, averaged as the config says. No test runs this.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch
from make_records import (
    HERE,
    LANDSCAPE,
    PORTRAIT,
    R18,
    SHORT,
    SWIN,
    TIMESFORMER,
    V1,
    case,
    change_steps,
    record_of,
    sizes,
)

SCORES = HERE / "scores.jsonl.gz"
CLASSES = 40


def scores(config, clips, head=None, backbone=None, steps=None, neck=None, classes="num_classes"):
    """A record to make, with few classes."""
    options = {f"model.cls_head.{classes}": CLASSES}
    for part, changes in (("cls_head", head), ("backbone", backbone), ("neck", neck)):
        options |= {f"model.{part}.{name}": value for name, value in (changes or {}).items()}
    return case(config, clips, options, steps, mode="scores")


DEPTH_18 = {name.rpartition(".")[2]: value for name, value in R18.items()}
SMALL = {"base_channels": 16}
MVIT = {
    "arch": {"embed_dims": 24, "num_layers": 4, "num_heads": 1, "downscale_indices": [1, 3]},
    "spatial_size": 64,
    "temporal_size": 8,
}
VIT = {"img_size": 64, "embed_dims": 96, "depth": 3, "num_heads": 4, "num_frames": 8}
UNIFORMER_V2 = {
    "input_resolution": 64,
    "width": 48,
    "layers": 4,
    "heads": 4,
    "t_size": 4,
    "return_list": [1, 3],
    "n_layers": 2,
    "n_dim": 48,
    "n_head": 6,
    "mlp_dropout": [0.5, 0.5],
    "clip_pretrained": False,
}


def pyramid(*channels):
    """A small TPN."""
    return {
        "in_channels": channels,
        "out_channels": 32,
        "spatial_modulation_cfg": {"in_channels": channels, "out_channels": channels[-1]},
        "level_fusion_cfg.in_channels": (32, 32),
        "level_fusion_cfg.mid_channels": (32, 32),
        "level_fusion_cfg.out_channels": 32,
        "aux_head_cfg": None,
    }


UNIFORMER = {"depth": [2, 1, 2, 1], "embed_dim": [16, 24, 40, 64], "head_dim": 8}
K400 = "kinetics400-rgb.py"

CASES = (
    scores(
        f"tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_{K400}",
        [LANDSCAPE, SHORT],
        {"in_channels": 512},
        DEPTH_18,
        sizes(72, 64, num_clips=4),
    ),
    # Two groups of frames in each of three crops.
    scores(
        f"tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_{K400}",
        [PORTRAIT],
        {"in_channels": 512},
        DEPTH_18,
        sizes(64, 64, "ThreeCrop", twice_sample=True),
    ),
    scores(
        f"tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_{K400}",
        [SHORT],
        {"in_channels": 512, "temporal_pool": True, "average_clips": "score"},
        {**DEPTH_18, "temporal_pool": True},
        sizes(64, 64, "ThreeCrop"),
    ),
    scores(
        "trn/trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv1-rgb.py",
        [LANDSCAPE, PORTRAIT],
        {"in_channels": 512},
        DEPTH_18,
        sizes(64, 64),
    ),
    scores(
        "trn/trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv1-rgb.py",
        [SHORT],
        {"in_channels": 512, "relation_type": "TRN", "hidden_dim": 32},
        DEPTH_18,
        sizes(64, 64),
    ),
    scores(
        f"tpn/tpn-slowonly_imagenet-pretrained-r50_8xb8-8x8x1-150e_{K400}",
        [LANDSCAPE],
        None,
        {**DEPTH_18, **SMALL},
        sizes(64, 64, num_clips=2),
        pyramid(64, 128),
    ),
    scores(
        "tpn/tpn-tsm_imagenet-pretrained-r50_8xb8-1x1x8-150e_sthv1-rgb.py",
        [PORTRAIT],
        None,
        DEPTH_18,
        sizes(64, 64),
        pyramid(256, 512),
    ),
    scores(
        f"slowonly/slowonly_r50_8xb16-4x16x1-256e_{K400}",
        [LANDSCAPE, SHORT],
        {"in_channels": 512},
        SMALL,
        sizes(64, 64, num_clips=3),
    ),
    # The scores of the views, before any softmax.
    scores(
        f"slowonly/slowonly_r50_8xb16-4x16x1-256e_{K400}",
        [PORTRAIT],
        {"in_channels": 512, "average_clips": None},
        SMALL,
        sizes(64, 64, num_clips=2),
    ),
    scores(
        f"slowfast/slowfast_r50_8xb8-4x16x1-256e_{K400}",
        [LANDSCAPE],
        {"in_channels": 576},
        {"slow_pathway.depth": 18, "fast_pathway.depth": 18},
        sizes(48, 48, num_clips=2),
    ),
    scores(f"x3d/x3d_s_13x6x1_facebook-{K400}", [LANDSCAPE], steps=sizes(64, 64, num_clips=2)),
    scores(
        f"omnisource/slowonly_r50_8xb16-8x8x1-256e_imagenet-{K400}",
        [SHORT],
        {"image_classes": 10},
        {"layers": [1, 1, 1, 1]},
        sizes(48, 48, num_clips=1),
        classes="video_classes",
    ),
    scores(
        f"timesformer/timesformer_divST_8xb8-8x32x1-15e_{K400}",
        [LANDSCAPE],
        {"in_channels": TIMESFORMER["embed_dims"]},
        TIMESFORMER,
        sizes(96, 96, frame_interval=4),
    ),
    scores(
        f"swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_{K400}",
        [PORTRAIT],
        {"in_channels": 192},
        {**SWIN, "arch": {name: value for name, value in SWIN["arch"].items() if name != "_delete_"}},
        sizes(64, 64, clip_len=8, num_clips=2),
    ),
    scores(
        f"mvit/mvit-small-p244_32xb16-16x4x1-200e_{K400}",
        [LANDSCAPE],
        {"in_channels": 96},
        MVIT,
        sizes(64, 64, clip_len=8, num_clips=3),
    ),
    scores(
        "videomae/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400.py",
        [LANDSCAPE],
        {"in_channels": 96},
        VIT,
        sizes(64, 64, clip_len=8, num_clips=2),
    ),
    scores(
        f"uniformerv2/uniformerv2-base-p16-res224_clip_8xb32-u8_{K400}",
        [PORTRAIT],
        {"in_channels": 48},
        UNIFORMER_V2,
        {**sizes(64, 64), "SampleFrames": {}, "UniformSample": {"clip_len": 4, "num_clips": 2}},
    ),
    scores(
        f"uniformer/uniformer-small_imagenet1k-pre_16x4x1_{K400}",
        [SHORT],
        {"in_channels": 64},
        UNIFORMER,
        sizes(64, 64, clip_len=8, num_clips=2),
    ),
)


class Tested(V1):
    """Runs of main, on a CPU, as its test script builds them: with the config's own head and views."""

    def __init__(self, checkout, made, videos, folder):
        from mmaction.registry import DATASETS, MODELS
        from mmaction.utils import register_all_modules
        from mmengine.config import Config

        register_all_modules()
        config = Config.fromfile(str(checkout / made["config"]))
        for name, value in (made["options"] or {}).items():
            *parents, last = name.split(".")
            node = config
            for parent in parents:
                node = node[parent]
            node[last] = value  # as a whole: `merge_from_dict` would mix two architectures
        dataset = config.test_dataloader.dataset
        if dataset.pop("filename_tmpl", None):  # extracted frames
            decoded = {"RawFrameDecode": {"type": "DecordDecode"}}
            dataset.pipeline = [{"type": "DecordInit"}, *(decoded.get(step.type, step) for step in dataset.pipeline)]
        steps = {name: step for name, step in (made["steps"] or {}).items() if name != "SampleFrames" or step}
        change_steps(dataset.pipeline, {**steps, "PackActionInputs": {"meta_keys": ["frame_inds"]}})
        self.data = json.loads(json.dumps({"model": config.model, "pipeline": dataset.pipeline}))
        dataset.update(type="VideoDataset", ann_file=str(videos), data_prefix={"video": str(folder)}, delimiter=" ")
        config.model.backbone.pop("pretrained", None)
        self.model = MODELS.build(config.model).eval()
        self.dataset = DATASETS.build(dataset)

    def run(self, number):
        """Frame indices, the input and the scores of one video."""
        from mmengine.dataset import pseudo_collate

        data = self.model.data_preprocessor(pseudo_collate([self.dataset[number]]), training=False)
        np.random.seed(0)  # TRN draws the relations that it scores
        with torch.no_grad():
            if self.data["model"]["type"] == "RecognizerOmni":
                (sample,) = self.model(data, mode="predict")
            else:
                (sample,) = self.model(**data, mode="predict")
        return sample.frame_inds, data["inputs"], sample.pred_score.numpy()


def main():
    checkout = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(checkout))
    records = []
    for made in CASES:
        records.append({"line": "1.x", **record_of(Tested, checkout, made)})
        for clip, video in records[-1]["videos"].items():
            print(made["config"], clip, video["imgs_shape"], video["out_shape"], max(video["feature"]), flush=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    SCORES.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(len(records), "records,", SCORES.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
