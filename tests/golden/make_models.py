"""Write models.json: features of MMAction2's own backbones. Needs mmaction2 1.x; never run by the tests."""

import base64
import json
import sys
from pathlib import Path

import mmaction.models  # noqa: F401  (fills the registry)
import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from derived_weights import state_of  # noqa: E402

SLOWONLY = {"type": "ResNet3dSlowOnly", "lateral": False, "conv1_kernel": [1, 7, 7], "inflate": [0, 0, 1, 1]}
NON_LOCAL = {"sub_sample": True, "use_scale": True, "norm_cfg": {"type": "BN3d"}, "mode": "embedded_gaussian"}
STAGES = [[0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0, 1, 0], [0, 0, 0]]

CASES = {
    "resnet18": ({"type": "ResNet", "depth": 18}, [2, 3, 64, 80]),
    "resnet34": ({"type": "ResNet", "depth": 34}, [1, 3, 64, 64]),
    "resnet50": ({"type": "ResNet", "depth": 50}, [1, 3, 64, 64]),
    "resnet50-caffe": ({"type": "ResNet", "depth": 50, "style": "caffe"}, [1, 3, 65, 63]),
    "resnet18-dilated": (
        {"type": "ResNet", "depth": 18, "strides": [1, 2, 2, 1], "dilations": [1, 1, 1, 2]},
        [1, 3, 64, 64],
    ),
    "resnet18-stages": (
        {
            "type": "ResNet",
            "depth": 18,
            "num_stages": 3,
            "out_indices": [2],
            "strides": [1, 2, 2],
            "dilations": [1, 1, 1],
        },
        [1, 3, 64, 64],
    ),
    "slowonly18": ({**SLOWONLY, "depth": 18}, [1, 3, 4, 64, 64]),
    "slowonly50": ({**SLOWONLY, "depth": 50}, [1, 3, 4, 64, 64]),
    "slowonly50-pools": (
        {**SLOWONLY, "depth": 50, "with_pool1": False, "with_pool2": True, "inflate_style": "3x3x3"},
        [1, 3, 4, 48, 48],
    ),
    "slowonly50-strides": (
        {
            **SLOWONLY,
            "depth": 50,
            "temporal_strides": [1, 2, 1, 2],
            "conv1_stride_t": 2,
            "pool1_stride_t": 2,
            "out_indices": [2, 3],
        },
        [1, 3, 16, 48, 48],
    ),
    "slowonly50-caffe": (
        {**SLOWONLY, "depth": 50, "style": "caffe", "dilations": [1, 1, 1, 2], "spatial_strides": [1, 2, 2, 1]},
        [1, 3, 4, 48, 48],
    ),
    "slowonly50-embedded": (
        {**SLOWONLY, "depth": 50, "non_local": STAGES, "non_local_cfg": NON_LOCAL},
        [1, 3, 4, 64, 64],
    ),
    "slowonly50-gaussian": (
        {**SLOWONLY, "depth": 50, "non_local": STAGES, "non_local_cfg": {**NON_LOCAL, "mode": "gaussian"}},
        [1, 3, 4, 64, 64],
    ),
    "slowonly50-dot": (
        {
            **SLOWONLY,
            "depth": 50,
            "non_local": STAGES,
            "non_local_cfg": {**NON_LOCAL, "mode": "dot_product", "sub_sample": False},
        },
        [1, 3, 4, 64, 64],
    ),
}


def tuples(value):
    """JSON lists as the tuples that the backbones expect."""
    if isinstance(value, list):
        return tuple(tuples(item) for item in value)
    return {key: tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def record(options, shape):
    """What a test needs to know of one backbone: its options, its input, how many parameters, its pooled feature."""
    wrapper = torch.nn.Module()
    wrapper.backbone = MODELS.build(tuples(options))
    wrapper.load_state_dict(state_of(wrapper))
    wrapper.eval()
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with torch.no_grad():
        maps = wrapper.backbone(torch.from_numpy(values))
    maps = maps if isinstance(maps, tuple) else (maps,)
    rows = torch.cat([one.flatten(2).double().mean(2) if one.dim() > 2 else one for one in maps], 1).float().numpy()
    return {
        "options": options,
        "input": shape,
        "parameters": len(wrapper.state_dict()),
        "rows": list(rows.shape),
        "feature": base64.b64encode(rows.astype("<f4").tobytes()).decode(),
    }


def write(file, cases):
    """One golden file: a record for each case, under its name."""
    init_default_scope("mmaction")
    records = {}
    for name, (options, shape) in cases.items():
        records[name] = record(options, shape)
        print(name, records[name]["rows"])
    (HERE / file).write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    write("models.json", CASES)
