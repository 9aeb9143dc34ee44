"""Write cnn3d.json: features of MMAction2's own 3D CNNs. Needs mmaction2 1.x; never run by the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_models import write

I3D = {"type": "ResNet3d", "depth": 50, "pretrained2d": False}
FEW = {"stage_blocks": [1, 2, 2, 1]}
HEAVY = {
    **I3D,
    **FEW,
    "conv1_kernel": [5, 7, 7],
    "conv1_stride_t": 2,
    "pool1_stride_t": 2,
    "inflate": [[1], [1, 0], [0, 1], [0]],
}
NON_LOCAL = {"sub_sample": True, "use_scale": False, "norm_cfg": {"type": "BN3d"}}
STAGES = [[0], [0, 1], [0, 1], [0]]
R2PLUS1D = {"type": "ResNet2Plus1d", "pretrained2d": False, "conv_cfg": {"type": "Conv2plus1d"}}
CSN = {"type": "ResNet3dCSN", "depth": 50, "pretrained": None, **FEW}
SLOW = {
    "type": "resnet3d",
    "depth": 18,
    "pretrained": None,
    "lateral": True,
    "conv1_kernel": [1, 7, 7],
    "inflate": [0, 0, 1, 1],
}
FAST = {
    "type": "resnet3d",
    "depth": 18,
    "pretrained": None,
    "lateral": False,
    "base_channels": 8,
    "conv1_kernel": [5, 7, 7],
}
SLOWFAST = {"type": "ResNet3dSlowFast", "slow_pathway": SLOW, "fast_pathway": FAST}

CASES = {
    "i3d18": ({**I3D, **FEW, "depth": 18}, [2, 3, 5, 48, 64]),
    "i3d50-heavy": (HEAVY, [1, 3, 16, 48, 48]),
    "i3d50-dot": (
        {**HEAVY, "non_local": STAGES, "non_local_cfg": {**NON_LOCAL, "mode": "dot_product"}},
        [1, 3, 16, 48, 48],
    ),
    "i3d18-two-stages": (
        {
            **I3D,
            "depth": 18,
            "num_stages": 2,
            "out_indices": [0, 1],
            "spatial_strides": [1, 2],
            "temporal_strides": [1, 2],
            "dilations": [1, 1],
            "with_pool1": False,
            "norm_cfg": {"type": "SyncBN", "eps": 1e-3},
        },
        [1, 3, 4, 33, 31],
    ),
    "r2plus1d18": (
        {
            **R2PLUS1D,
            **FEW,
            "depth": 18,
            "temporal_strides": [1, 2, 2, 2],
            "norm_cfg": {"type": "SyncBN", "requires_grad": True, "eps": 1e-3},
        },
        [2, 3, 8, 40, 40],
    ),
    "r2plus1d50": ({**R2PLUS1D, **FEW, "depth": 50, "with_pool1": False, "inflate": [0, 1, 0, 1]}, [1, 3, 3, 32, 32]),
    "csn50-ir": ({**CSN, "bn_frozen": True, "with_pool2": False}, [1, 3, 8, 48, 48]),
    "csn50-ip": ({**CSN, "bottleneck_mode": "ip", "norm_cfg": {"type": "BN3d"}}, [1, 3, 9, 48, 48]),
    "csn50-flat": ({**CSN, "inflate_style": "3x1x1", "style": "caffe"}, [1, 3, 8, 48, 48]),
    "c3d": ({"type": "C3D", "out_dim": 512}, [2, 3, 16, 20, 30]),
    "c3d-norm": ({"type": "C3D", "out_dim": 512, "norm_cfg": {"type": "BN3d"}}, [1, 3, 16, 20, 30]),
    "slowfast18": (SLOWFAST, [2, 3, 16, 48, 48]),
    "slowfast18-norm": (
        {
            **SLOWFAST,
            "resample_rate": 4,
            "speed_ratio": 4,
            "slow_pathway": {
                **SLOW,
                "lateral_norm": True,
                "fusion_kernel": 7,
                "lateral_infl": 3,
                "norm_cfg": {"type": "BN3d", "eps": 1e-3},
            },
        },
        [1, 3, 16, 48, 48],
    ),
    "slowfast18-apart": (
        {**SLOWFAST, "resample_rate": 6, "speed_ratio": 3, "slow_pathway": {**SLOW, "lateral": False}},
        [1, 3, 17, 48, 48],
    ),
    "slowfast18-blocks": (
        {
            **SLOWFAST,
            "speed_ratio": 4,
            "slow_pathway": {**SLOW, "stage_blocks": [1, 2, 1, 1]},
            "fast_pathway": {**FAST, "stage_blocks": [1, 1, 1, 2]},
        },
        [1, 3, 16, 48, 48],
    ),
    "x3d": ({"type": "X3D", "gamma_w": 1, "gamma_b": 2.25, "gamma_d": 2.2}, [1, 3, 4, 64, 80]),
    "x3d-all": (
        {
            "type": "X3D",
            "gamma_w": 2.1,
            "gamma_b": 1.3,
            "gamma_d": 0.5,
            "se_style": "all",
            "se_ratio": 0.1,
            "use_swish": False,
            "num_stages": 3,
            "spatial_strides": [1, 2, 2],
        },
        [1, 3, 4, 31, 33],
    ),
    "x3d-no-se": ({"type": "X3D", "se_ratio": None}, [1, 3, 4, 64, 64]),
    "c2d18": ({"type": "C2D", "depth": 18}, [2, 3, 5, 64, 48]),
    "c2d50": (
        {
            "type": "C2D",
            "depth": 50,
            "style": "caffe",
            "num_stages": 2,
            "out_indices": [1],
            "strides": [1, 2],
            "dilations": [1, 1],
        },
        [1, 3, 4, 65, 63],
    ),
    "omni-resnet": ({"type": "OmniResNet", "layers": [1, 2, 2, 1]}, [2, 3, 4, 48, 48]),
}

if __name__ == "__main__":
    write("cnn3d.json", CASES)
