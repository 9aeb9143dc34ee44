"""Swin and the UniFormers: their parts against plain definitions, and the released configs' parameters."""

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from derived_weights import state_of
from vidfeat.errors import ConfigError
from vidfeat.mmaction.backbones import compile_backbone
from vidfeat.mmaction.config import Node
from vidfeat.models import Recognizer, build, fold_norms
from vidfeat.models.layers import Pointwise, fold_before
from vidfeat.models.swin3d import MASKED, SwinConfig, WindowAttention, Windows
from vidfeat.models.uniformerv2 import GatheringAttention
from vidfeat.recipe import ModelSpec

TYPES = ("SwinTransformer3D", "UniFormer", "UniFormerV2")
SWIN = {"type": "SwinTransformer3D", "arch": {"embed_dims": 24, "depths": [2, 2], "num_heads": [2, 3]},
        "window_size": [4, 3, 3], "out_indices": [1]}  # fmt: skip
V1 = {"type": "UniFormer", "depth": [1, 1, 1, 1], "embed_dim": [8, 8, 16, 16], "head_dim": 8}
V2 = {"type": "UniFormerV2", "input_resolution": 32, "patch_size": 16, "width": 16, "layers": 2, "heads": 2,
      "t_size": 4, "return_list": [1], "n_layers": 1, "n_dim": 16, "n_head": 2, "no_lmhra": False}  # fmt: skip


def model_of(options: dict[str, Any]) -> Recognizer:
    model = build(ModelSpec(compile_backbone(Node.of(options, "config.py", "model.backbone"), 3), 3))
    model.load_state_dict(state_of(model))
    return model


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


lengths = st.tuples(*[st.integers(1, 9)] * 3)
windows_of = st.tuples(*[st.integers(1, 5)] * 3)


@settings(max_examples=60)
@given(lengths, windows_of)
def test_joining_undoes_cutting(length: tuple[int, int, int], window: tuple[int, int, int]) -> None:
    x = random(2, *length, 3)
    for windows in Windows.fitted(SwinConfig(window_size=window), x.shape):
        parts = windows.cut(x)
        assert parts.shape[4] == windows.size[0] * windows.size[1] * windows.size[2]
        assert torch.equal(windows.join(parts, x.shape), x)


@settings(max_examples=40)
@given(lengths, windows_of)
def test_masks_part_what_the_shift_joined(length: tuple[int, int, int], window: tuple[int, int, int]) -> None:
    """Two tokens of a window see each other where neither crossed the end of the padded map, or both did."""
    x = torch.zeros(1, *length, 1)
    for windows in Windows.fitted(SwinConfig(window_size=window), x.shape):
        padded = [-(-n // size) * size for n, size in zip(length, windows.size, strict=True)]
        place = torch.stack(torch.meshgrid(*map(torch.arange, padded), indexing="ij"), -1)[None]
        crossed = (place < torch.tensor(windows.shift)) & (torch.tensor(windows.shift) > 0)
        code = windows.cut((crossed * torch.tensor([1, 2, 4])).sum(-1, keepdim=True)).squeeze(-1)
        expected = MASKED * (code[..., :, None] != code[..., None, :])
        found = torch.full_like(expected, torch.nan)
        for group in windows.groups(x):
            assert found[group.where].isnan().all()
            found[group.where] = 0.0 if group.mask is None else group.mask
        assert torch.equal(found, expected)


def test_relative_positions() -> None:
    index = WindowAttention(6, 2, SwinConfig(window_size=(2, 3, 2))).relative_position_index
    places = list(itertools.product(range(2), range(3), range(2)))
    for (one, (d, h, w)), (other, (d2, h2, w2)) in itertools.product(enumerate(places), repeat=2):
        assert index[one, other] == ((d - d2 + 1) * 5 + (h - h2 + 2)) * 3 + (w - w2 + 1)


def test_gathering_is_multihead_attention() -> None:
    ours, torchs = GatheringAttention(24, 3), nn.MultiheadAttention(24, 3, batch_first=True)
    state = {name: torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) for name, tensor in
             torchs.state_dict().items()}  # fmt: skip
    ours.load_state_dict(state)
    torchs.load_state_dict(state)
    one, tokens = random(2, 24), random(2, 7, 24)
    with torch.inference_mode():
        expected = torchs(one[:, None], tokens, tokens, need_weights=False)[0][:, 0]
        torch.testing.assert_close(ours(one, tokens), expected, rtol=1e-4, atol=1e-4)


def test_pointwise_with_a_norm_before_it() -> None:
    norm, conv, plain = nn.BatchNorm3d(5), Pointwise(5, 4), nn.Conv3d(5, 4, 1)
    plain.load_state_dict(conv.state_dict())
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(random(5))
    norm.running_var.copy_(random(5).abs() + 0.5)
    x = random(2, 5, 3, 4, 6)
    with torch.inference_mode():
        expected = plain(norm.eval()(x))
        left = fold_before(norm, conv)
        torch.testing.assert_close(conv(left(x)), expected)
        assert isinstance(fold_before(left, conv), nn.Identity)
        torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize(
    ("options", "shape"),
    [(SWIN, (3, 3, 10, 40, 30)), (V1, (3, 3, 4, 64, 64)), (V2, (3, 3, 4, 32, 32))],
    ids=TYPES,
)
def test_clips_of_a_batch_do_not_mix(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    model = model_of(options)
    fold_norms(model)
    clips = random(*shape)
    with torch.inference_mode():
        together = model.forward_features(clips)
        alone = [model.forward_features(clip[None]) for clip in clips]
    assert isinstance(together, torch.Tensor)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 8, 32, 32), (1, 3, 4, 48, 32)])
def test_uniformerv2_refuses_other_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"4 frames \(t_size\), 32x32 pixels \(input_resolution\)"):
        model_of(V2).forward_features(random(*shape))


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (SWIN, "arch", "huge"),
        (SWIN, "arch", {"embed_dims": 24, "depths": [2, 2]}),
        (SWIN, "arch", {"embed_dims": 24, "depths": [2, 2], "num_heads": [2, 5]}),
        (SWIN, "arch", {"embed_dims": 24, "depths": [2, 2], "num_heads": [2]}),
        (SWIN, "window_size", 7),
        (SWIN, "window_size", [7, 7]),
        (SWIN, "out_indices", [2]),
        (SWIN, "out_indices", []),
        (SWIN, "mlp_ratio", "4"),
        (SWIN, "act_cfg", {"type": "ReLU"}),
        (SWIN, "norm_cfg", {"type": "BN"}),
        (SWIN, "in_channels", 2),
        (SWIN, "windowsize", [7, 7, 7]),
        (V1, "depth", [1, 1, 1]),
        (V1, "embed_dim", [8, 8, 16, 17]),
        (V1, "head_dim", 32),
        (V1, "in_chans", 2),
        (V2, "n_layers", 2),
        (V2, "return_list", [2]),
        (V2, "n_dim", 32),
        (V2, "heads", 3),
        (V2, "patch_size", 64),
        (V2, "no_lmhra", 1),
    ],
)
def test_refuses(options: dict[str, Any], key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"config\.py: model\.backbone"):
        compile_backbone(Node.of({**options, key: value}, "config.py", "model.backbone"), 3)


def test_parameters_of_the_records(shared: Path) -> None:
    """Names, shapes and order equal MMAction2's for every config of these families, the large ones too."""
    seen: dict[str, Any] = {}
    with gzip.open(shared / "reference" / "mm1.jsonl.gz", "rt") as lines:
        for line in lines:
            record = json.loads(line)
            options = record["model"]["backbone"]
            if options["type"] not in TYPES or options in seen.values():
                continue
            seen[record["config"]] = options
            with torch.device("meta"):
                model = Recognizer(ModelSpec(compile_backbone(Node.of(options, record["config"]), 3), 3))
            state = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
            expected = {name: shape for name, shape in record["state"].items() if name.startswith("backbone.")}
            assert list(state.items()) == list(expected.items()), record["config"]
    assert {options["type"] for options in seen.values()} == set(TYPES)
