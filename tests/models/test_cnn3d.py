"""What the 3D CNNs compute beyond MMAction2's numbers, which `test_against_mmaction2.py` compares."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional

from derived_weights import state_of
from vidfeat.errors import ConfigError
from vidfeat.inference.pooling import pool_views
from vidfeat.mmaction.backbones import compile_backbone
from vidfeat.mmaction.config import Node
from vidfeat.models import Recognizer, build, fold_norms
from vidfeat.models.c2d import C2DConfig, _pool_pairs
from vidfeat.models.c3d import C3DConfig
from vidfeat.models.csn import CSNConfig
from vidfeat.models.omni_resnet import OmniResNetConfig
from vidfeat.models.r2plus1d import ResNet2Plus1dConfig
from vidfeat.models.resnet import ResNetConfig
from vidfeat.models.resnet3d import ResNet3dConfig
from vidfeat.models.slowfast import LateralConfig, SlowFastConfig, _every
from vidfeat.models.x3d import X3DConfig, round_width
from vidfeat.recipe import BackboneConfig, ModelSpec

SMALL = ResNet3dConfig(depth=18, stage_blocks=(1, 1, 1, 1), base_channels=16)
BOTTLENECKS = ResNet3dConfig(depth=50, stage_blocks=(1, 1, 1, 1), base_channels=8)

FAMILIES: dict[str, BackboneConfig] = {
    "resnet3d": SMALL,
    "r2plus1d": ResNet2Plus1dConfig(SMALL),
    "csn-ir": CSNConfig(BOTTLENECKS),
    "csn-ip": CSNConfig(BOTTLENECKS, mode="ip"),
    "slowfast": SlowFastConfig(SMALL, ResNet3dConfig(depth=18, stage_blocks=(1, 1, 1, 1), base_channels=2)),
    "x3d": X3DConfig(),
    "c2d": C2DConfig(ResNetConfig(18, num_stages=2, out_indices=(1,), strides=(1, 2), dilations=(1, 1))),
    "omni-resnet": OmniResNetConfig((1, 1, 1, 1)),
}


def network(config: BackboneConfig) -> Recognizer:
    model = build(ModelSpec(config, dims=3))
    model.load_state_dict(state_of(model))
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_folding_changes_no_number(name: str) -> None:
    config = FAMILIES[name]
    model = network(config)
    clips = torch.randn(2, 3, 8, 24, 33, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain = pool_views(model.forward_features(clips))
        fold_norms(model)
        fold_norms(model)
        folded = pool_views(model.forward_features(clips.to(memory_format=torch.channels_last_3d)))
    assert folded.shape == (2, config.feature_size)
    assert (folded - plain).norm() <= 1e-5 * plain.norm()
    assert not any("running_mean" in key for key in model.state_dict())


@pytest.mark.parametrize("name", ["c2d", "x3d"])
def test_clips_of_a_batch_do_not_mix(name: str) -> None:
    model = network(FAMILIES[name])
    clips = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = pool_views(model.forward_features(clips))
        alone = torch.cat([pool_views(model.forward_features(clip[None])) for clip in clips])
    assert (together - alone).norm() <= 1e-5 * alone.norm()


@given(frames=st.integers(1, 130), step=st.integers(1, 16))
def test_every_step_th_frame_is_what_nearest_interpolation_takes(frames: int, step: int) -> None:
    assume(frames >= step)  # Interpolation refuses to make no frame at all.
    clips = torch.arange(float(frames)).reshape(1, 1, frames, 1, 1)
    expected = functional.interpolate(clips, mode="nearest", scale_factor=(1.0 / step, 1.0, 1.0))
    # 1.0 / step is rounded, and with it the number of frames: once in a while the original loses the last one.
    taken = _every(clips, step)
    assert taken.shape[2] - expected.shape[2] in (0, 1)
    assert torch.equal(taken[:, :, : expected.shape[2]], expected)


@given(frames=st.integers(2, 9))
def test_pairs_are_pooled_as_max_pooling_does(frames: int) -> None:
    maps = torch.randn(2, frames, 3, 2, 2, generator=torch.Generator().manual_seed(frames))
    expected = functional.max_pool3d(maps.transpose(1, 2), (2, 1, 1)).transpose(1, 2)
    assert torch.equal(_pool_pairs(maps), expected)


@pytest.mark.parametrize(
    ("channels", "factor", "expected"),
    # 24 * 1.05 = 25.2 -> 24; 24 * 1.5 = 36 -> 40; 54 / 16 -> the least, 8; 12 * 1.0 -> 16; 10 -> 8, a fifth too
    # small -> 16.
    [(24, 1.0, 24), (24, 1.05, 24), (24, 1.5, 40), (54, 1 / 16, 8), (12, 1.0, 16), (10, 1.0, 16), (432, 1 / 16, 32)],
)
def test_round_width(channels: int, factor: float, expected: int) -> None:
    assert round_width(channels, factor) == expected


def test_x3d_m_is_the_papers() -> None:
    config = X3DConfig(gamma_w=1.0, gamma_b=2.25, gamma_d=2.2)
    assert config.stage_channels == (24, 48, 96, 192)
    assert config.stage_blocks == (3, 5, 11, 7)
    assert config.feature_size == 432


def test_slowfast_lateral_channels() -> None:
    slow = ResNet3dConfig(depth=50)
    fast = ResNet3dConfig(depth=50, base_channels=8)
    assert SlowFastConfig(slow, fast).lateral_channels == (16, 64, 128, 256)
    assert SlowFastConfig(slow, fast, lateral=None).lateral_channels == (0, 0, 0, 0)
    assert SlowFastConfig(slow, fast).feature_size == 2304


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (ResNet3dConfig, {"depth": 18, "conv1_kernel": 7}, "conv1_kernel needs 3"),
        (ResNet3dConfig, {"depth": 18, "conv1_stride_t": 0}, "conv1_stride_t needs 1"),
        (ResNet3dConfig, {"depth": 18, "spatial_strides": (1, 2, 2, "2")}, "spatial_strides needs 4"),
        (ResNet3dConfig, {"depth": 18, "inflate": (0, 1)}, "inflate needs"),
        (ResNet3dConfig, {"depth": 18, "inflate": ((0, 1, 1), 1, 1, 1)}, "one entry for each"),
        (CSNConfig, {"net": SMALL}, "depth must be 50, 101 or 152"),
        (CSNConfig, {"net": BOTTLENECKS, "mode": "pi"}, "mode must be"),
        (ResNet2Plus1dConfig, {"net": ResNet3dConfig(18, dilations=(1, 1, 1, 2))}, "dilations must be 1"),
        (C3DConfig, {"flat_size": 0}, "flat_size"),
        (C2DConfig, {"net": ResNetConfig(18, out_indices=(2,))}, "only be the last stage"),
        (X3DConfig, {"gamma_d": 0.0}, "gamma_d must be a number above 0"),
        (X3DConfig, {"se_ratio": 0.0}, "se_ratio must be a number above 0"),
        (X3DConfig, {"num_stages": 3}, "spatial_strides needs"),
        (X3DConfig, {"se_style": "most"}, "se_style"),
        (OmniResNetConfig, {"layers": (3, 4, 6)}, "four integers"),
        (LateralConfig, {"kernel": 0}, "kernel must be"),
        (SlowFastConfig, {"slow": SMALL, "fast": SMALL}, "must be 8 times"),
        (SlowFastConfig, {"slow": SMALL, "fast": SMALL, "resample_rate": 4}, "multiple of speed_ratio"),
        (SlowFastConfig, {"slow": SMALL, "fast": SMALL, "resample_rate": 9}, "multiple of speed_ratio"),
        (
            SlowFastConfig,
            {"slow": SMALL, "fast": ResNet3dConfig(18, base_channels=2, spatial_strides=(1, 1, 2, 2))},
            "spatial_strides of both",
        ),
    ],
)
def test_what_makes_no_network_is_refused(config: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**options)


SLOW = {"type": "resnet3d", "depth": 50, "lateral": True}
FAST = {"type": "resnet3d", "depth": 50, "base_channels": 8}


@pytest.mark.parametrize(
    ("options", "where", "found"),
    [
        ({"type": "ResNet3d", "conv1_kernell": (3, 7, 7)}, "conv1_kernell", "unknown key"),
        ({"type": "ResNet3d", "conv_cfg": {"type": "Conv2plus1d"}}, "conv_cfg.type", "'Conv2plus1d'"),
        ({"type": "ResNet3d", "in_channels": 2}, "in_channels", "2"),
        ({"type": "ResNet3d", "norm_cfg": None}, "norm_cfg", "None"),
        ({"type": "ResNet3d", "norm_cfg": {"type": "GN"}}, "norm_cfg.type", "'GN'"),
        ({"type": "ResNet3d", "act_cfg": {"type": "GELU"}}, "act_cfg.type", "'GELU'"),
        ({"type": "ResNet2Plus1d", "depth": 18}, "conv_cfg", "no such key"),
        ({"type": "ResNet2Plus1d", "conv_cfg": {"type": "Conv3d"}}, "conv_cfg.type", "'Conv3d'"),
        ({"type": "ResNet3dCSN", "depth": 18}, "type", "depth must be"),
        ({"type": "ResNet3dCSN", "depth": 50, "bottleneck_mode": "irr"}, "bottleneck_mode", "'irr'"),
        ({"type": "C3D", "out_dim": "8192"}, "out_dim", "'8192'"),
        ({"type": "C2D", "depth": 50, "in_channels": 10}, "in_channels", "10"),
        ({"type": "X3D", "gamma_w": float("inf")}, "gamma_w", "inf"),
        ({"type": "X3D", "use_se": True}, "use_se", "unknown key"),
        ({"type": "OmniResNet", "layers": 3}, "type", "int"),
        ({"type": "ResNet3dSlowFast", "speed_ratio": 16}, "type", "multiple of speed_ratio"),
        ({"type": "ResNet3dSlowFast", "slow_pathway": {**SLOW, "type": "resnext"}}, "slow_pathway.type", "'resnext'"),
        ({"type": "ResNet3dSlowFast", "slow_pathway": {**SLOW, "fusion": 3}}, "slow_pathway.fusion", "unknown key"),
        (
            {"type": "ResNet3dSlowFast", "slow_pathway": {**SLOW, "lateral_inv": True}},
            "slow_pathway.lateral_inv",
            "True",
        ),
        (
            {"type": "ResNet3dSlowFast", "slow_pathway": {**SLOW, "lateral_activate": (1, 0, 1, 1)}},
            "slow_pathway.lateral_activate",
            "(1, 0, 1, 1)",
        ),
        ({"type": "ResNet3dSlowFast", "fast_pathway": {**FAST, "lateral": True}}, "fast_pathway.lateral", "True"),
        ({"type": "ResNet3dSlowFast", "fast_pathway": {**FAST, "base_channels": 16}}, "type", "must be 8 times"),
        ({"type": "ResNet3dSlowFast", "slow_pathway": {**SLOW, "in_channels": 2}}, "slow_pathway.in_channels", "2"),
        ({"type": "ResNet3dSlowFast", "slow_pathway": {**SLOW, "num_stages": "4"}}, "slow_pathway.num_stages", "'4'"),
    ],
)
def test_what_a_config_gets_wrong_is_named(options: dict[str, Any], where: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_backbone(Node.of(options, "a.py", "model.backbone"), 3)
    assert caught.value.where == f"a.py: model.backbone.{where}"
    assert found in caught.value.found


def test_defaults_are_those_of_each_family() -> None:
    def compiled(**options: Any) -> Any:
        return compile_backbone(Node.of(options, "a.py"), 3)

    i3d = ResNet3dConfig(depth=50, conv1_kernel=(3, 7, 7), inflate=1, with_pool2=True)
    assert compiled(type="ResNet3d") == i3d
    assert compiled(type="ResNet3dSlowOnly") == ResNet3dConfig(depth=50)
    csn = compiled(type="ResNet3dCSN", depth=50)
    assert csn.mode == "ir"
    assert (csn.net.norm_eps, csn.net.inflate_style, csn.net.temporal_strides) == (1e-3, "3x3x3", (1, 2, 2, 2))
    assert csn.net.with_pool2
    slowfast = compiled(type="ResNet3dSlowFast")
    assert slowfast.slow == ResNet3dConfig(depth=50)
    assert slowfast.fast == ResNet3dConfig(depth=50, base_channels=8, conv1_kernel=(5, 7, 7), inflate=1)
    assert slowfast.lateral == LateralConfig(kernel=5, channel_factor=2, norm_eps=None)
    assert compiled(type="X3D") == X3DConfig()
    assert compiled(type="C3D") == C3DConfig()
    assert compiled(type="OmniResNet") == OmniResNetConfig()
    assert compiled(type="C2D", depth=50) == C2DConfig(ResNetConfig(50))
