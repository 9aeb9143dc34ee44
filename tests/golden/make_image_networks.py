"""Write image_networks.json and necks.json: what MMAction2's own image networks give. Never run by the tests.

Needs mmaction2 1.x, and mmpretrain for MobileOne and ResNeXt.
"""

import base64
import json
import sys
import types
from pathlib import Path

import mmaction.models
import mmaction.models.backbones.mobileone_tsm  # noqa: F401  (not in the registry by itself)
import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from mmpretrain.models.backbones.mobileone import MobileOne
from mmpretrain.models.backbones.resnext import ResNeXt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from derived_weights import state_of  # noqa: E402

FOREIGN = {"mmpretrain.MobileOne": MobileOne, "mmcls.ResNeXt": ResNeXt}

TSM = {"type": "ResNetTSM", "depth": 18, "num_segments": 4}
TANET = {"type": "TANet", "depth": 50, "num_segments": 4, "num_stages": 2, "strides": [1, 2], "dilations": [1, 1],
         "out_indices": [1]}  # fmt: skip
NON_LOCAL = {"sub_sample": True, "use_scale": False, "norm_cfg": {"type": "BN3d"}, "mode": "gaussian"}
STAGES = [[0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0]]
ARCH = {"num_blocks": [1, 2, 1, 1], "width_factor": [0.5, 0.5, 0.25, 0.25], "num_conv_branches": [1, 2, 1, 3],
        "num_se_blocks": [0, 1, 0, 1]}  # fmt: skip
FRAMES = [4, 3, 64, 64]

CASES = {
    "tsm18": (TSM, FRAMES),
    "tsm18-two-clips": ({**TSM, "num_segments": 2, "shift_div": 3}, FRAMES),
    "tsm18-block": ({**TSM, "shift_place": "block"}, FRAMES),
    "tsm18-no-shift": ({**TSM, "is_shift": False}, FRAMES),
    "tsm18-temporal-pool": ({**TSM, "temporal_pool": True}, [8, 3, 64, 64]),
    "tsm50-non-local": ({**TSM, "depth": 50, "non_local": STAGES, "non_local_cfg": NON_LOCAL,
                         "out_indices": [1]}, FRAMES),
    "tin18": ({"type": "ResNetTIN", "depth": 18, "num_segments": 4, "shift_div": 4}, FRAMES),
    "tanet50": (TANET, FRAMES),
    "tanet50-kernels": (
        {**TANET,
         "out_indices": [0], "tam_cfg": {"alpha": 3, "beta": 2, "adaptive_kernel_size": 5, "conv1d_kernel_size": 5,
                     "adaptive_convolution_padding": 2}},
        [8, 3, 48, 48],
    ),
    "mobilenetv2": ({"type": "MobileNetV2"}, [1, 3, 64, 64]),
    "mobilenetv2-wide": ({"type": "MobileNetV2", "widen_factor": 1.4, "out_indices": [5]}, [2, 3, 64, 64]),
    "mobilenetv2-tsm": ({"type": "MobileNetV2TSM", "num_segments": 4, "out_indices": [6]}, FRAMES),
    "mobileone": ({"type": "mmpretrain.MobileOne", "arch": ARCH}, [2, 3, 64, 64]),
    "mobileone-s0": ({"type": "mmpretrain.MobileOne", "arch": "s0", "out_indices": 3}, [1, 3, 64, 64]),
    "mobileone-s4": ({"type": "mmpretrain.MobileOne", "arch": "s4", "deploy": True}, [1, 3, 64, 64]),
    "mobileone-tsm": ({"type": "MobileOneTSM", "arch": ARCH, "num_segments": 4}, FRAMES),
    "resnext50": ({"type": "mmcls.ResNeXt", "depth": 50}, [1, 3, 64, 64]),
    "resnext50-caffe": ({"type": "mmcls.ResNeXt", "depth": 50, "groups": 16, "width_per_group": 8, "style": "caffe",
                         "num_stages": 2, "strides": [1, 2], "dilations": [1, 2], "out_indices": [1]}, [2, 3, 64, 64]),
}  # fmt: skip

TPN = {
    "type": "TPN",
    "in_channels": [64, 128],
    "out_channels": 64,
    "spatial_modulation_cfg": {"in_channels": [64, 128], "out_channels": 128},
    "temporal_modulation_cfg": {"downsample_scales": [2, 2]},
    "upsample_cfg": {"scale_factor": [1, 1, 1]},
    "downsample_cfg": {"downsample_scale": [1, 1, 1]},
    "level_fusion_cfg": {"in_channels": [64, 64], "mid_channels": [64, 96], "out_channels": 128,
                         "downsample_scales": [[1, 1, 1], [1, 1, 1]]},
    "aux_head_cfg": {"out_channels": 10, "loss_weight": 0.5},
}  # fmt: skip

NECKS = {
    "tpn": (TPN, 6),
    "tpn-odd": (TPN, 5),
    "tpn-parallel": ({**TPN, "flow_type": "parallel", "aux_head_cfg": None}, 4),
    "tpn-rates": (
        {**TPN, "temporal_modulation_cfg": {"downsample_scales": [2, 4]},
         "upsample_cfg": {"scale_factor": [2, 1, 1]}, "downsample_cfg": {"downsample_scale": [2, 1, 1]},
         "level_fusion_cfg": {**TPN["level_fusion_cfg"], "downsample_scales": [[2, 2, 2], [1, 2, 2]]}},
        8,
    ),
}  # fmt: skip
"""Neck and number of frames; two levels of 8x8 and 4x4 positions."""


def tin_shift(frames, shifts):
    """The CUDA operator that TIN calls, in words of tensors: frame t goes to t + shift, nothing comes from outside."""
    batch, time, channels, _ = frames.shape
    groups = shifts.shape[1]
    moved = torch.zeros_like(frames)
    for n in range(batch):
        for g in range(groups):
            of_group = slice(g * channels // groups, (g + 1) * channels // groups)
            for t in range(time):
                if 0 <= t + int(shifts[n, g]) < time:
                    moved[n, t + int(shifts[n, g]), of_group] = frames[n, t, of_group]
    return moved


def tuples(value):
    """JSON lists as the tuples that the networks expect."""
    if isinstance(value, list):
        return tuple(tuples(item) for item in value)
    return {key: tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def backbone(options):
    """A backbone with MMAction2's own classes."""
    given = tuples({key: value for key, value in options.items() if key not in ("type", "arch")})
    if "arch" in options:
        given["arch"] = options["arch"]  # whose lists must stay lists
    if options["type"] in FOREIGN:
        return FOREIGN[options["type"]](**given)
    return MODELS.build({**given, "type": options["type"]})


def encoded(rows):
    """Features as text."""
    return {"rows": list(rows.shape), "feature": base64.b64encode(rows.astype("<f4").tobytes()).decode()}


def of_backbone(options, shape):
    wrapper = torch.nn.Module()
    wrapper.backbone = backbone(options)
    wrapper.load_state_dict(state_of(wrapper))
    wrapper.eval()
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with torch.no_grad():
        maps = wrapper.backbone(torch.from_numpy(values))
    maps = maps if isinstance(maps, tuple) else (maps,)
    rows = torch.cat([one.flatten(2).double().mean(2) for one in maps], 1).float().numpy()
    return {"options": options, "input": shape, "parameters": len(wrapper.state_dict()), **encoded(rows)}


def of_neck(options, frames):
    wrapper = torch.nn.Module()
    wrapper.neck = MODELS.build(tuples(options))
    wrapper.load_state_dict(state_of(wrapper))
    wrapper.eval()
    random = np.random.default_rng(0)
    shapes = [[1, 64, frames, 8, 8], [1, 128, frames, 4, 4]]
    levels = [torch.from_numpy(random.standard_normal(shape, dtype=np.float32)) for shape in shapes]
    with torch.no_grad():
        joined, _ = wrapper.neck(levels)
    names = [f"{key} {list(tensor.shape)}" for key, tensor in wrapper.state_dict().items()]
    rows = joined.flatten(2).double().mean(2).float().numpy()
    return {"options": options, "inputs": shapes, "names": names, **encoded(rows)}


def main():
    init_default_scope("mmaction")
    sys.modules["mmcv.ops"] = types.ModuleType("mmcv.ops")
    sys.modules["mmcv.ops"].tin_shift = tin_shift
    for file, cases, run in (("image_networks.json", CASES, of_backbone), ("necks.json", NECKS, of_neck)):
        records = {name: run(*case) for name, case in cases.items()}
        for name, record in records.items():
            print(name, record["rows"], len(record["feature"]))
        (HERE / file).write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
