"""Write swin_uniformer.json: features of MMAction2's own Swin and UniFormers. Needs mmaction2 1.x; no test runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_models import write

SWIN = {
    "type": "SwinTransformer3D",
    "arch": {"embed_dims": 24, "depths": [2, 2, 3], "num_heads": [2, 3, 6]},
    "window_size": [4, 3, 3],
    "out_indices": [2],
}
V1 = {"type": "UniFormer", "depth": [2, 1, 2, 1], "embed_dim": [16, 24, 40, 64], "head_dim": 8}
V2 = {
    "type": "UniFormerV2",
    "clip_pretrained": False,
    "input_resolution": 64,
    "patch_size": 16,
    "width": 48,
    "layers": 4,
    "heads": 4,
    "t_size": 4,
    "return_list": [1, 3],
    "n_layers": 2,
    "n_dim": 48,
    "n_head": 6,
    "mlp_dropout": [0.5, 0.5],
}

CASES = {
    # Windows that divide the map: 8 x 12 x 12 tokens.
    "swin": (SWIN, [2, 3, 16, 48, 48]),
    # Maps that they do not divide, and odd ones that are merged.
    "swin-padded": (SWIN, [1, 3, 11, 45, 62]),
    # Fewer tokens than a window holds, in time, in space, in both.
    "swin-short": (SWIN, [1, 3, 4, 48, 40]),
    "swin-narrow": (SWIN, [1, 3, 16, 20, 8]),
    "swin-one-window": ({**SWIN, "window_size": [8, 7, 7]}, [1, 3, 6, 24, 20]),
    "swin-stages": (
        {
            **SWIN,
            "out_indices": [0, 2],
            "qkv_bias": False,
            "qk_scale": 0.2,
            "patch_norm": False,
            "norm_cfg": {"type": "LN", "eps": 1e-3},
        },
        [1, 3, 8, 40, 40],
    ),
    "swin-downsampled": (
        {**SWIN, "out_indices": [0, 1, 2], "out_after_downsample": True, "mlp_ratio": 2.5, "patch_size": [1, 4, 4]},
        [1, 3, 5, 36, 36],
    ),
    "swin-tiny": ({"type": "SwinTransformer3D", "arch": "tiny"}, [1, 3, 8, 64, 64]),
    "uniformer": (V1, [2, 3, 8, 64, 64]),
    "uniformer-odd": ({**V1, "qkv_bias": False, "qk_scale": 0.5, "mlp_ratio": 3}, [1, 3, 5, 70, 100]),
    "uniformerv2": (V2, [2, 3, 4, 64, 64]),
    "uniformerv2-local": ({**V2, "no_lmhra": False, "double_lmhra": False, "mlp_factor": 2.5}, [2, 3, 4, 64, 64]),
    "uniformerv2-double": ({**V2, "no_lmhra": False, "double_lmhra": True, "dw_reduction": 1.6}, [2, 3, 4, 64, 64]),
    "uniformerv2-halved": ({**V2, "t_size": 8, "temporal_downsample": True}, [2, 3, 8, 64, 64]),
}

if __name__ == "__main__":
    write("swin_uniformer.json", CASES)
