"""Write vits.json: features of MMAction2's own plain transformers. Needs mmaction2 1.x; never run by the tests."""

import base64
import copy
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

TIMESFORMER = {
    "type": "TimeSformer",
    "num_frames": 4,
    "img_size": 32,
    "patch_size": 8,
    "embed_dims": 48,
    "num_heads": 4,
    "num_transformer_layers": 3,
}
VIT = {
    "type": "VisionTransformer",
    "img_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "embed_dims": 48,
    "depth": 3,
    "num_heads": 4,
}
ARCH = {"embed_dims": 16, "num_layers": 4, "num_heads": 1, "downscale_indices": [1, 3]}
MVIT = {"type": "MViT", "arch": ARCH, "spatial_size": 64, "temporal_size": 8, "drop_path_rate": 0.3}
CLIP, MVIT_CLIP = [2, 3, 4, 32, 32], [2, 3, 8, 64, 64]

CASES = {
    "timesformer-divided": (TIMESFORMER, CLIP),
    "timesformer-joint": ({**TIMESFORMER, "attention_type": "joint_space_time", "norm_cfg": {"type": "LN"}}, CLIP),
    "timesformer-space": ({**TIMESFORMER, "attention_type": "space_only", "img_size": [32, 48]}, [2, 3, 4, 32, 48]),
    "vit": (VIT, CLIP),
    "vit-larger-frames": ({**VIT, "mlp_ratio": 2.5}, [2, 3, 4, 40, 50]),
    "vit-first-token": (
        {
            **VIT,
            "use_mean_pooling": False,
            "use_learnable_pos_emb": True,
            "init_values": 0.1,
            "norm_cfg": {"type": "LN"},
        },
        CLIP,
    ),
    "vit-no-bias": ({**VIT, "qkv_bias": False, "qk_scale": 0.5, "tubelet_size": 1, "init_values": 1}, CLIP),
    "mvit": (MVIT, MVIT_CLIP),
    "mvit-mlp-grows": ({**MVIT, "dim_mul_in_attention": False, "qkv_bias": False}, MVIT_CLIP),
    "mvit-odd-size": ({**MVIT, "spatial_size": 72, "arch": {**ARCH, "dim_mul_indices": [1, 2]}}, [1, 3, 6, 72, 88]),
    "mvit-absolute": (
        {
            **MVIT,
            "use_abs_pos_embed": True,
            "rel_pos_embed": False,
            "residual_pooling": False,
            "adaptive_kv_stride": [2, 4, 4],
        },
        [2, 3, 12, 80, 64],
    ),
    "mvit-no-token": (
        {
            **MVIT,
            "with_cls_token": False,
            "output_cls_token": False,
            "pool_kernel": [1, 3, 5],
            "head_mul": 1,
            "dim_mul": 3,
        },
        MVIT_CLIP,
    ),
    "mvit-mean-with-token": (
        {
            **MVIT,
            "output_cls_token": False,
            "out_scales": [2],
            "patch_cfg": {"kernel_size": [2, 4, 4], "stride": [2, 4, 4], "padding": 0},
        },
        MVIT_CLIP,
    ),
}


def feature(maps):
    """What the heads read: a row as it is, of MViT's last stage the class token, else the mean over all places."""
    last = maps[-1] if isinstance(maps, tuple) else maps
    last = last[1] if isinstance(last, list) else last
    return last.flatten(2).double().mean(2).float() if last.dim() > 2 else last


def main():
    init_default_scope("mmaction")
    records = {}
    for name, (options, shape) in CASES.items():
        wrapper = torch.nn.Module()
        wrapper.backbone = MODELS.build(copy.deepcopy(options))
        wrapper.load_state_dict(state_of(wrapper))
        wrapper.eval()
        values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        with torch.no_grad():
            rows = feature(wrapper.backbone(torch.from_numpy(values))).numpy()
        records[name] = {
            "options": options,
            "input": shape,
            "parameters": len(wrapper.state_dict()),
            "rows": list(rows.shape),
            "feature": base64.b64encode(rows.astype("<f4").tobytes()).decode(),
        }
        print(name, rows.shape, float(np.abs(rows).max()))
    (HERE / "vits.json").write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
