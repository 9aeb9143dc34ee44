"""Every family's network on a GPU that is not there: PyTorch's fake tensors compute shapes and devices, and refuse what
mixes devices or number formats, as a GPU would."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vidfeat.inference.network import FeatureNetwork
from vidfeat.mmaction import compile_recipe
from vidfeat.models import BACKBONES, build, fold_norms

FAMILIES = {
    "C2DConfig": "c2d_r50-in1k-pre_8xb32-16x4x1-100e_kinetics400-rgb",
    "C3DConfig": "c3d_sports1m_16x1x1_45e_ucf101_rgb",
    "CSNConfig": "ipcsn_bnfrozen_r152_32x2x1_180e_kinetics400_rgb",
    "MViTConfig": "mvit-base-p244_32x3x1_kinetics400-rgb",
    "MobileNetV2TSMConfig": "tsm_mobilenetv2_dense_1x1x8_100e_kinetics400_rgb",
    "MobileOneConfig": "tsn_imagenet-pretrained-mobileone-s4_8xb32-1x1x8-100e_kinetics400-rgb",
    "MobileOneTSMConfig": "tsm_imagenet-pretrained-mobileone-s4_8xb16-1x1x16-50e_kinetics400-rgb",
    "OmniResNetConfig": "slowonly_r50_8xb16-8x8x1-256e_imagenet-kinetics400-rgb",
    "ResNet2Plus1dConfig": "r2plus1d_r34_32x2x1_180e_kinetics400_rgb",
    "ResNet3dConfig": "i3d_nl_dot_product_r50_32x2x1_100e_kinetics400_rgb",
    "ResNetConfig": "trn_r50_1x1x8_50e_sthv1_rgb",
    "ResNeXtConfig": "tsn_rn101_32x4d_320p_1x1x3_100e_kinetics400_rgb",
    "SlowFastConfig": "slowfast_multigrid_r50_8x8x1_358e_kinetics400_rgb",
    "SwinConfig": "swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
    "TANetConfig": "tanet_r50_1x1x16_50e_sthv1_rgb",
    "TINConfig": "tin_r50_1x1x8_40e_sthv1_rgb",
    "TSMConfig": "tsm_k400_pretrained_r50_1x1x16_25e_hmdb51_rgb",
    "TimeSformerConfig": "timesformer_divST_8x32x1_15e_kinetics400_rgb",
    "UniFormerConfig": "uniformer-base_imagenet1k-pre_16x4x1_kinetics400-rgb",
    "UniFormerV2Config": "uniformerv2-base-p16-res224_clip-kinetics710-kinetics-k400-pre_16xb32-u8_mitv1-rgb",
    "VisionTransformerConfig": "vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400",
    "X3DConfig": "x3d_m_16x5x1_facebook_kinetics400_rgb",
    "TPNConfig": "tpn_tsm_r50_1x1x8_150e_sthv1_rgb",
}
"""A released model of each; for two families there is none."""


def test_every_family_is_here() -> None:
    without_a_model = {"LibraryConfig", "MobileNetV2Config", "ModuleConfig", "TransformersConfig"}
    assert FAMILIES.keys() - {"TPNConfig"} == {config.__name__ for config in BACKBONES} - without_a_model


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_a_network_is_computed_on_its_device_in_its_format(family: str) -> None:
    recipe, _ = compile_recipe(FAMILIES[family], None, None)
    frames = recipe.model.segments if recipe.model.dims == 2 else recipe.sampling.clip_len
    edge = recipe.transforms[-1].height
    model = build(recipe.model)
    fold_norms(model)
    network = FeatureNetwork(model, recipe)
    network.dtype = torch.bfloat16
    with FakeTensorMode(), torch.inference_mode():
        on_a_gpu(model, torch.bfloat16)
        on_a_gpu(network.normalize, torch.float32)
        pixels = torch.empty(2, frames, edge, edge, 3, dtype=torch.uint8, device="cuda")
        try:
            rows = network(pixels)
        except RuntimeError as error:
            if "not linked with support for cuda" not in str(error):
                raise
            pytest.skip("of this network's operators PyTorch's build for the CPU cannot fake all")
    assert (rows.device.type, rows.dtype) == ("cuda", torch.float32)


def on_a_gpu(model: nn.Module, dtype: torch.dtype) -> None:
    """Move a network there; `nn.Module.to` would look for the driver."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            on_gpu = torch.empty(parameter.shape, dtype=dtype, device="cuda")
            module.register_parameter(name, nn.Parameter(on_gpu, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            kept = dtype if buffer.is_floating_point() else buffer.dtype
            module.register_buffer(name, torch.empty(buffer.shape, dtype=kept, device="cuda"))
