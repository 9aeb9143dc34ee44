"""What the plain transformers do beside giving MMAction2's numbers, which `test_against_mmaction2.py` compares."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from derived_weights import state_of
from vidfeat.errors import ConfigError
from vidfeat.mmaction.backbones import compile_backbone
from vidfeat.mmaction.config import Node
from vidfeat.models import Recognizer, build, fold_norms
from vidfeat.models.mvit import MViTConfig
from vidfeat.models.vit import VisionTransformerConfig, sines
from vidfeat.recipe import BackboneConfig, ModelSpec

TIMESFORMER = {
    "type": "TimeSformer",
    "num_frames": 4,
    "img_size": 32,
    "patch_size": 8,
    "embed_dims": 24,
    "num_heads": 2,
    "num_transformer_layers": 2,
}
VIT = {
    "type": "VisionTransformer",
    "img_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "embed_dims": 24,
    "depth": 2,
    "num_heads": 2,
}


def compiled(options: dict[str, Any]) -> BackboneConfig:
    return compile_backbone(Node.of(options, "config.py", "model.backbone"), 3)


def network(options: dict[str, Any]) -> Recognizer:
    model = build(ModelSpec(compiled(options), 3))
    model.load_state_dict(state_of(model))
    return model


def clip(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize(
    ("arch", "size"), [("tiny", 768), ("small", 768), ("Base", 768), ("large", 1152)], ids=lambda value: str(value)
)
def test_feature_size_of_mvit(arch: str, size: int) -> None:
    assert compiled({"type": "MViT", "arch": arch}).feature_size == size


def test_mvit_grows_late_or_early() -> None:
    early, late = MViTConfig(), MViTConfig(dim_mul_in_attention=False)
    assert [index for index, block in enumerate(early.blocks) if block.out_dims > block.in_dims] == [2, 5, 21]
    assert [index for index, block in enumerate(late.blocks) if block.out_dims > block.in_dims] == [1, 4, 20]
    assert [early.blocks[index].stride_kv for index in (0, 2, 5, 21)] == [(1, 8, 8), (1, 4, 4), (1, 2, 2), (1, 1, 1)]
    assert [block.num_heads for block in early.blocks] == [1] * 2 + [2] * 3 + [4] * 16 + [8] * 3
    assert early.blocks[-1].query_size == (8, 7, 7)


def test_rows_do_not_depend_on_their_batch() -> None:
    arch = {"embed_dims": 16, "num_layers": 2, "num_heads": 1, "downscale_indices": [1]}
    model = network({"type": "MViT", "arch": arch, "spatial_size": 64, "temporal_size": 4})
    clips = clip(3, 3, 4, 64, 64)
    with torch.inference_mode():
        together = model.forward_features(clips)
        alone = [model.forward_features(one[None]) for one in clips]
    for number, row in enumerate(alone):
        torch.testing.assert_close(together[number], row[0], rtol=1e-5, atol=1e-5)


def test_folding_keeps_the_feature() -> None:
    model, clips = network(TIMESFORMER), clip(2, 3, 4, 32, 32)
    with torch.inference_mode():
        before = model.forward_features(clips)
        fold_norms(model)
        fold_norms(model)
        after = model.forward_features(clips)
    assert not any("temporal_fc" in name for name in model.state_dict())
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


def test_sines() -> None:
    table = sines(5, 6)[0]
    for place in range(5):
        for channel in range(6):
            angle = place / 10000 ** ((channel - channel % 2) / 6)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert float(table[place, channel]) == pytest.approx(expected, abs=1e-7)


def test_sines_are_there_without_a_checkpoint() -> None:
    config = VisionTransformerConfig(img_size=16, patch_size=8, num_frames=2, embed_dims=6, num_heads=1, depth=1)
    assert torch.equal(build(ModelSpec(config, 3)).state_dict()["backbone.pos_embed"], sines(4, 6))


@pytest.mark.parametrize(
    ("options", "shape", "key"),
    [
        (TIMESFORMER, (1, 3, 8, 32, 32), "num_frames"),
        ({**TIMESFORMER, "attention_type": "space_only"}, (1, 3, 8, 32, 32), "num_frames"),
        (TIMESFORMER, (1, 3, 4, 40, 40), "img_size"),
        (VIT, (1, 3, 8, 32, 32), "num_frames"),
    ],
)
def test_clips_that_the_embeddings_are_not_made_for(options: dict[str, Any], shape: tuple[int, ...], key: str) -> None:
    with pytest.raises(ConfigError, match=f"model.backbone.{key}: expected"), torch.inference_mode():
        network(options).forward_features(clip(*shape))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({**TIMESFORMER, "num_frame": 8}, "num_frame"),
        ({**TIMESFORMER, "transformer_layers": {"type": "Other"}}, "transformer_layers"),
        ({**TIMESFORMER, "attention_type": "space"}, "type"),
        ({**TIMESFORMER, "img_size": 30}, "type"),
        ({**TIMESFORMER, "num_heads": 5}, "type"),
        ({**TIMESFORMER, "in_channels": 2}, "in_channels"),
        ({**TIMESFORMER, "norm_cfg": {"type": "BN"}}, "norm_cfg.type"),
        ({**VIT, "drop_paths": 0.1}, "drop_paths"),
        ({**VIT, "return_feat_map": True}, "return_feat_map"),
        ({**VIT, "mlp_ratio": "4"}, "mlp_ratio"),
        ({**VIT, "qk_scale": -1}, "qk_scale"),
        ({**VIT, "depth": 0}, "depth"),
        ({**VIT, "norm_cfg": {"type": "LN", "eps": 2}}, "norm_cfg.eps"),
        ({"type": "MViT", "arch": "huge"}, "arch"),
        ({"type": "MViT", "arch": {"embed_dims": 16}}, "arch.num_layers"),
        ({"type": "MViT", "out_scales": [0, 1]}, "out_scales"),
        ({"type": "MViT", "with_cls_token": False}, "type"),
        ({"type": "MViT", "interpolate_mode": "cubic"}, "type"),
        ({"type": "MViT", "pool_kernel": (2, 3, 3)}, "type"),
        ({"type": "MViT", "pool_kernel": (3, 3)}, "pool_kernel"),
        ({"type": "MViT", "spatial_size": 16}, "type"),
        ({"type": "MViT", "patch_cfg": {"kernel_size": 4, "stride": 4, "padding": "corner"}}, "patch_cfg.padding"),
    ],
)
def test_refused_options(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"config.py: model.backbone.{key}: expected"):
        compiled(options)


def test_training_options_are_ignored() -> None:
    rates = {"drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.1, "init_cfg": {"type": "Pretrained"}}
    assert compiled({**VIT, **rates}) == compiled(VIT)
    assert compiled({**TIMESFORMER, "dropout_ratio": 0.5, "pretrained": "x.pth"}) == compiled(TIMESFORMER)
    started = {"drop_path_rate": 0.3, "pretrained_type": "maskfeat", "rel_pos_zero_init": True}
    assert compiled({"type": "MViT", **started}) == compiled({"type": "MViT"}) == MViTConfig()
