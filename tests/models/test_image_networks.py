"""Networks for images that look across frames, their necks, and those of other libraries."""

import base64
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from derived_weights import state_of
from vidfeat.checkpoint import find, load_into, load_state
from vidfeat.errors import ConfigError
from vidfeat.inference.pooling import pool_views
from vidfeat.mmaction import compile_config
from vidfeat.mmaction.backbones import compile_backbone, map_channels, segments_of
from vidfeat.mmaction.config import Node
from vidfeat.mmaction.necks import compile_neck
from vidfeat.mmaction.zoo import find_model
from vidfeat.models import Recognizer, build, channels_last, fold_norms
from vidfeat.models.mobilenet_v2 import divisible
from vidfeat.models.random_weights import write_random_weights
from vidfeat.models.resnet import ResNetConfig
from vidfeat.models.tanet import TAMConfig, TANetConfig, _mix_neighbours
from vidfeat.models.timm_torchvision import LibraryConfig, library_network
from vidfeat.models.tin import TINConfig, _mix
from vidfeat.models.tpn import TPN
from vidfeat.models.tsm import TSMConfig, shift
from vidfeat.preprocessing.clips import ClipBatch
from vidfeat.recipe import ModelSpec

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("VIDFEAT_SHARED", REPO.parent / "shared"))
NECKS = json.loads((REPO / "tests" / "golden" / "necks.json").read_text())


def distance(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# --- TSM --------------------------------------------------------------------------------------------------------------


def test_shift_by_hand() -> None:
    # Four frames of four channels, each channel of frame t holding t + 1.
    x = torch.arange(1.0, 5.0)[:, None, None, None].expand(4, 4, 1, 1).contiguous()
    assert shift(x, 4, 4).flatten(1).T.tolist() == [
        [2, 3, 4, 0],  # from the frame after
        [0, 1, 2, 3],  # from the frame before
        [1, 2, 3, 4],
        [1, 2, 3, 4],
    ]
    assert shift(x, 2, 4).flatten(1).T.tolist()[:2] == [[2, 0, 4, 0], [0, 1, 0, 3]]


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(2, 9))
def test_shift_moves_and_loses_only_the_ends(clips: int, segments: int, channels: int, shift_div: int) -> None:
    x = torch.rand(clips * segments, channels, 2, 3, generator=torch.Generator().manual_seed(0))
    moved = shift(x.contiguous(memory_format=torch.channels_last), segments, shift_div)
    fold = channels // shift_div
    before, after = x.view(clips, segments, channels, 2, 3), moved.view(clips, segments, channels, 2, 3)
    assert torch.equal(after[:, :, 2 * fold :], before[:, :, 2 * fold :])
    assert torch.equal(after[:, :-1, :fold], before[:, 1:, :fold])
    assert torch.equal(after[:, 1:, fold : 2 * fold], before[:, :-1, fold : 2 * fold])
    assert not after[:, -1, :fold].any()
    assert not after[:, 0, fold : 2 * fold].any()


def names_of(options: dict[str, Any]) -> set[str]:
    with torch.device("meta"):
        return set(Recognizer(ModelSpec(compile_backbone(Node.of(options, "config.py"), 2), 2)).state_dict())


def test_deep_networks_shift_in_every_other_block() -> None:
    names = names_of({"type": "ResNetTSM", "depth": 101})
    shifted = {name.split(".conv1")[0] for name in names if ".net." in name}
    assert {name for name in shifted if "layer4" in name} == {"backbone.layer4.0", "backbone.layer4.2"}
    assert len(shifted) == 2 + 2 + 12 + 2


def clips_of(pixels: npt.NDArray[np.uint8]) -> ClipBatch:
    """One clip per frame."""
    seconds = np.arange(float(len(pixels)))
    index = np.arange(len(pixels))[:, None]
    return ClipBatch(pixels=pixels, clips=index, first_clip=0, start_seconds=seconds, end_seconds=seconds + 1)


def test_samples_are_whole_groups() -> None:
    spec = ModelSpec(TSMConfig(ResNetConfig(18)), 2, segments=8)
    pixels = np.arange(16, dtype=np.uint8)[:, None, None, None, None] * np.ones((1, 3, 2, 2, 3), np.uint8)
    samples = [list(sample) for sample in clips_of(pixels).samples(spec)]
    groups = (range(8), range(8, 16))
    assert samples == [[(crop, frame) for frame in group] for crop in range(3) for group in groups]


def test_one_clip_does_not_see_another() -> None:
    spec = ModelSpec(TSMConfig(ResNetConfig(18), segments=2), 2, segments=2)
    model = build(spec)
    model.load_state_dict(state_of(model))
    fold_norms(model)
    clips = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = model.forward_features(clips)
        alone = model.forward_features(clips[2:])
    assert isinstance(together, torch.Tensor)
    assert isinstance(alone, torch.Tensor)
    assert distance(together[2:].numpy(), alone.numpy()) <= 1e-5


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"type": "ResNetTSM", "depth": 50, "num_segments": 0}, "num_segments"),
        ({"type": "ResNetTSM", "depth": 50, "num_segmets": 8}, "num_segmets"),
        ({"type": "ResNetTSM", "depth": 50, "shift_place": "blocks"}, "shift_place"),
        ({"type": "ResNetTSM", "depth": 50, "shift_div": 1}, "shift_div"),
        ({"type": "ResNetTSM", "depth": 50, "temporal_pool": True, "num_segments": 7}, "temporal_pool"),
        ({"type": "ResNetTSM", "depth": 50, "in_channels": 10}, "in_channels"),
        ({"type": "ResNetTSM", "depth": 50, "non_local": [1, 0, 0, 0], "non_local_cfg": {"mode": "gaussian"}}, "block"),
        ({"type": "TANet", "depth": 18, "num_segments": 8}, "depth"),
        ({"type": "TANet", "depth": 50}, "segments"),
        ({"type": "TANet", "depth": 50, "num_segments": 2}, "segments"),
        ({"type": "TANet", "depth": 50, "num_segments": 8, "tam_cfg": {"adaptive_kernel_size": 5}}, "padding"),
        ({"type": "ResNetTIN", "depth": 50, "shift_div": 3}, "shift_div"),
        ({"type": "MobileNetV2", "out_indices": [8]}, "out_indices"),
        ({"type": "MobileNetV2", "act_cfg": {"type": "HSwish"}}, "act_cfg"),
        ({"type": "mmpretrain.MobileOne", "arch": "s9"}, "arch"),
        ({"type": "mmpretrain.MobileOne", "arch": {"num_blocks": [1]}}, "width_factor"),
        ({"type": "mmpretrain.MobileOne", "out_indices": [0, 1]}, "out_indices"),
        ({"type": "mmcls.ResNeXt", "depth": 18}, "depth"),
        ({"type": "mmcls.ResNeXt", "depth": 50, "deep_stem": True}, "deep_stem"),
        ({"type": "mmcls.ResNet", "depth": 50}, "ResNeXt"),
    ],
)
def test_refusals(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        compile_backbone(Node.of(options, "config.py"), 2)


@pytest.mark.parametrize("writer", ["mmcv1", "mmengine"])
def test_released_checkpoint_loads_strictly(writer: str) -> None:
    files = list((SHARED / "checkpoints").glob(f"tsm_mobilenetv2_dense_1x1x8_{writer}-*.pth"))
    if not files:
        pytest.skip(f"no checkpoint written by {writer} in {SHARED / 'checkpoints'}")
    backbone = compile_backbone(Node.of({"type": "MobileNetV2TSM", "num_segments": 8}, "config.py"), 2)
    model = build(ModelSpec(backbone, 2, segments_of(backbone)))
    report = load_into(model, load_state(find(str(files[0]))), source=files[0].name)
    assert (report.loaded, report.heads) == (312, ("cls_head",))


# --- TIN and TANet ----------------------------------------------------------------------------------------------------


@given(st.integers(2, 8), st.floats(-2, 2), st.integers(0, 2**32 - 1))
def test_a_distance_between_frames_mixes_two(segments: int, offset: float, seed: int) -> None:
    mix = _mix(torch.tensor([[offset]]), segments)[0, 0].numpy()
    frames = np.random.default_rng(seed).standard_normal(segments)
    moved = mix @ frames
    # The same, frame by frame: time t - offset, between two frames, zero outside.
    padded = np.concatenate([np.zeros(3), frames, np.zeros(3)])
    at = np.arange(segments) + 3 - np.float32(offset)
    assert np.allclose(moved, np.interp(at, np.arange(len(padded)), padded), atol=1e-5)


@settings(max_examples=20)
@given(st.integers(1, 2), st.integers(1, 6), st.sampled_from([1, 3, 5]))
def test_adaptive_mixing_is_a_grouped_convolution(clips: int, segments: int, kernel: int) -> None:
    random = torch.Generator().manual_seed(segments)
    frames = torch.rand(clips, segments, 4, 2, 3, generator=random, dtype=torch.float64)
    weights = torch.rand(clips, 4, segments, generator=random, dtype=torch.float64)
    kernels = torch.rand(clips, 4, kernel, generator=random, dtype=torch.float64)
    weighted = (frames * weights.transpose(1, 2)[..., None, None]).transpose(1, 2)
    expected = torch.nn.functional.conv2d(
        weighted.reshape(1, clips * 4, segments, 6),
        kernels.reshape(clips * 4, 1, kernel, 1),
        padding=(kernel // 2, 0),
        groups=clips * 4,
    )
    mixed = _mix_neighbours(frames, weights, kernels)
    assert torch.allclose(mixed, expected.view(clips, 4, segments, 2, 3).transpose(1, 2))


def test_configs_refuse_what_makes_no_network() -> None:
    resnet = ResNetConfig(50, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))
    with pytest.raises(ValueError, match="four stages"):
        TSMConfig(resnet)
    with pytest.raises(ValueError, match="four stages"):
        TINConfig(resnet)
    with pytest.raises(ValueError, match="odd"):
        TAMConfig(adaptive_kernel_size=2)
    assert TANetConfig(resnet, segments=3).feature_size == 512


@given(st.floats(1, 4000))
def test_divisible(channels: float) -> None:
    rounded = divisible(channels)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels)
    assert rounded <= channels + 8


# --- necks ------------------------------------------------------------------------------------------------------------

BACKBONE_3D = {"type": "ResNet3dSlowOnly", "depth": 18, "lateral": False, "out_indices": [0, 1]}


def neck_of(options: dict[str, Any], backbone: dict[str, Any] = BACKBONE_3D, dims: int = 3) -> Any:
    model = Node.of({"backbone": backbone, "neck": options}, "config.py", "model")
    backbone = compile_backbone(model.dict("backbone"), dims)  # type: ignore[arg-type]
    return compile_neck(model.dict("neck"), map_channels(backbone))


@pytest.mark.parametrize("name", NECKS)
def test_neck(name: str) -> None:
    case = NECKS[name]
    wrapper = torch.nn.Module()
    wrapper.neck = TPN(neck_of(case["options"]))
    wrapper.eval().load_state_dict(state_of(wrapper))
    assert [f"{key} {list(tensor.shape)}" for key, tensor in wrapper.state_dict().items()] == case["names"]
    fold_norms(wrapper)
    channels_last(wrapper)
    random = np.random.default_rng(0)
    levels = [torch.from_numpy(random.standard_normal(shape, dtype=np.float32)) for shape in case["inputs"]]
    with torch.inference_mode():
        row = pool_views(wrapper.neck(tuple(levels))).numpy()
    expected = np.frombuffer(base64.b64decode(case["feature"]), "<f4").reshape(case["rows"])
    assert row.shape == expected.shape
    assert distance(row, expected) <= 1e-5


def test_neck_of_an_image_network_joins_frames() -> None:
    options = {"type": "ResNetTSM", "depth": 18, "num_segments": 2, "out_indices": [0, 1]}
    neck = neck_of(NECKS["tpn"]["options"], options, dims=2)
    backbone = compile_backbone(Node.of(options, "config.py"), 2)
    frames = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    rows = {}
    for joins in (True, False):
        model = build(ModelSpec(backbone, 2, 2, neck, neck_joins_video=joins))
        model.load_state_dict(state_of(model))
        fold_norms(model)
        channels_last(model)
        with torch.inference_mode():
            stages = model.backbone.forward_features(frames)  # type: ignore[operator]
            rows[joins] = pool_views(model.forward_features(frames))
            by_hand = [stage.unflatten(0, (1 if joins else 2, -1)).transpose(1, 2) for stage in stages]
            expected = pool_views(model.neck(tuple(by_hand)))
        assert rows[joins].shape == (1 if joins else 2, 2048)
        assert distance(rows[joins].numpy(), expected.numpy()) <= 1e-6
    assert distance(rows[True].numpy(), rows[False].mean(0, keepdim=True).numpy()) > 1e-3


def test_neck_that_joins_a_video_gets_all_of_it_at_once() -> None:
    spec = ModelSpec(TSMConfig(ResNetConfig(18)), 2, 8, neck_joins_video=True)
    (sample,) = clips_of(np.zeros((16, 3, 2, 2, 3), np.uint8)).samples(spec)
    assert list(sample) == [(crop, frame) for crop in range(3) for frame in range(16)]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"type": "FPN"}, "neck.type"),
        ({"in_channels": [64, 256]}, "in_channels"),
        ({"in_channels": [128, 256], "spatial_modulation_cfg": {"in_channels": [128, 256], "out_channels": 256}}, "64"),
        ({"flow_type": "cascading"}, "flow"),
        ({"flow": "cascade"}, "flow"),
        ({"downsample_cfg": {"downsample_scale": [1, 1, 1], "downsample_position": "before"}}, "downsample_position"),
        ({"downsample_cfg": {"scale": [1, 1, 1]}}, "scale"),
        ({"upsample_cfg": {}}, "scale_factor"),
        ({"temporal_modulation_cfg": None}, "temporal_modulation_cfg"),
        ({"temporal_modulation_cfg": {"downsample_scales": [8]}}, "temporal"),
        ({"level_fusion_cfg": None}, "level_fusion_cfg"),
    ],
)
def test_neck_refusals(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        neck_of({**NECKS["tpn"]["options"], **change})


def test_several_outputs_need_a_neck() -> None:
    backbone = {"type": "ResNetTSM", "depth": 18, "out_indices": [2, 3]}
    with pytest.raises(ConfigError, match="out_indices"):
        compile_config({"model": {"type": "Recognizer2D", "backbone": backbone}, "data": {"test": {}}}, file="a.py")


# --- other libraries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"Install it with: pip install '{library}>="):
        compile_backbone(Node.of({"type": f"{library}.resnet18", "pretrained": True}, "config.py"), 2)


def test_clip_networks_of_other_libraries_are_refused() -> None:
    with pytest.raises(ConfigError, match="one of"):
        compile_backbone(Node.of({"type": "timm.resnet18"}, "config.py"), 3)


def importable(library: str) -> bool:
    if importlib.util.find_spec(library) is None:
        return False
    try:
        importlib.import_module(library)
    except (ImportError, RuntimeError):  # built for another PyTorch
        return False
    return True


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("timm.resnet18", {}, 512),
        ("timm.swin_tiny_patch4_window7_224", {"feature_shape": "NHWC"}, 768),
        ("timm.vit_tiny_patch16_224", {}, 192),
        ("torchvision.resnet18", {}, 512),
        ("torchvision.densenet121", {}, 1024),
        ("torchvision.mobilenet_v2", {"width_mult": 0.5}, 1280),
    ],
)
def test_network_of_another_library(name: str, options: dict[str, Any], size: int) -> None:
    library = name.partition(".")[0]
    if not importable(library):
        pytest.skip(f"{library} cannot be imported here")
    config = compile_backbone(Node.of({"type": name, "pretrained": True, **options}, "config.py"), 2)
    assert isinstance(config, LibraryConfig)
    assert config.feature_size == size
    model = build(ModelSpec(config, 2))
    made_there = library_network(config)
    assert list(model.state_dict()) == [f"backbone.{key}" for key in made_there.state_dict()]
    model.backbone.load_state_dict(made_there.state_dict())
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        rows = model.forward_features(images)
        expected = made_there.eval().forward_features(images)  # type: ignore[operator]
    assert isinstance(rows, torch.Tensor)
    assert rows.shape == (2, size)
    assert torch.equal(rows, expected)


def test_library_complaints_name_the_config() -> None:
    if not importable("timm"):
        pytest.skip("timm cannot be imported here")
    with pytest.raises(ConfigError, match=r"config\.py: type.*no_such_network"):
        compile_backbone(Node.of({"type": "timm.no_such_network"}, "config.py"), 2)


def test_random_weights_of_non_local_blocks_do_not_overflow(tmp_path: Path) -> None:
    """As `vidfeat estimate` and `bench` run them: each dot product would multiply three activations."""
    spec = find_model("tsm_nl_dot_product_r50_1x1x8_50e_kinetics400_rgb").recipe().model
    model = build(spec).eval()
    model.load_state_dict(load_file(write_random_weights(spec, tmp_path / "random.safetensors")))
    with torch.inference_mode():
        assert model.forward_features(torch.rand(spec.segments, 3, 64, 64)).isfinite().all()
