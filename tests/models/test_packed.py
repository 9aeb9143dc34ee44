"""Packed layers equal plain ones to the last bits, from any inference thread and for any shape."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from vidfeat.hardware import cpu_flags
from vidfeat.models import fold_norms, pack, packed
from vidfeat.models.layers import ConvNorm, Pointwise
from vidfeat.models.packed import PackedConv, PackedLinear
from vidfeat.models.transformer import MultiheadAttention

pytestmark = pytest.mark.skipif(not packed._has_operators(), reason="PyTorch has no oneDNN here")

DTYPES = [torch.float32, torch.bfloat16]


class Layers(nn.Module):
    """All that can be packed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 24, 3, stride=2, padding=1, dims=3)
        self.depthwise = nn.Conv3d(24, 24, 3, padding=1, groups=24, bias=False)
        self.first = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 24, bias=False))
        self.attention = MultiheadAttention(24, 3)
        self.last = Pointwise(24, 8)
        self.flat = ConvNorm(8, 8, 1, dims=2, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.depthwise(self.stem(x))
        tokens = self.attention(self.first(maps.flatten(2).transpose(1, 2))).transpose(1, 2)
        return self.flat(self.last(tokens.unflatten(2, maps.shape[2:])).flatten(2, 3))


@pytest.fixture
def layers() -> Layers:
    torch.manual_seed(0)
    layers = Layers().eval().requires_grad_(requires_grad=False)
    nn.init.normal_(layers.attention.in_proj_weight, std=0.2)
    nn.init.normal_(layers.attention.in_proj_bias)
    fold_norms(layers)
    return layers


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "bf16"])
def test_packed_layers_give_the_same(dtype: torch.dtype, layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    if dtype == torch.bfloat16 and "avx512_bf16" not in cpu_flags():
        pytest.skip("this processor does not compute in bf16")
    monkeypatch.setattr(packed, "cpu_vendor", lambda: "AuthenticAMD")  # there linear layers are packed in fp32, too
    x = torch.randn(2, 3, 4, 10, 6)
    expected = layers(x)
    layers.to(dtype)
    pack(layers, dtype, one_shape=True)
    pack(layers, dtype, one_shape=True)  # nothing is left to do
    kinds = [type(module) for module in layers.modules()]
    assert not {nn.Linear, Pointwise, nn.Conv2d, nn.Conv3d} & set(kinds)
    assert sum(issubclass(kind, PackedLinear) for kind in kinds) == 5
    assert kinds.count(PackedConv) == 3
    assert not list(layers.parameters())
    bound = 1e-6 if dtype == torch.float32 else 3e-2
    for clips in (2, 1, 2):  # a batch of fewer clips is a new shape
        found = layers(x[:clips].to(dtype))
        assert found.dtype == dtype
        assert found.shape == (clips, 8, 10, 3)
        assert distance(found, expected[:clips]) < bound


def test_lanes_that_come_first_at_once_pack_once(layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 3, 4, 16, 16)
    expected = layers(x)
    pack(layers, torch.float32, one_shape=True)
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(layers, [x] * 32))
    assert all(torch.equal(row, rows[0]) for row in rows)
    assert distance(rows[0], expected) < 1e-6


def test_convolutions_of_inputs_of_any_shape_stay_as_they_are(layers: Layers) -> None:
    pack(layers, torch.float32, one_shape=False)
    assert not any(isinstance(module, PackedConv) for module in layers.modules())


def test_a_relu_is_part_of_the_convolution() -> None:
    layer = ConvNorm(3, 4, 1, dims=2, norm_eps=None)
    x = torch.randn(1, 3, 5, 5)
    expected = layer(x)
    assert (expected == 0).any()
    pack(layer, torch.float32, one_shape=True)
    assert not layer.relu
    assert torch.allclose(layer(x), expected, atol=1e-6)


@pytest.mark.parametrize("packed_layer", [True, False])
def test_a_row_of_a_layer_is_its_own(packed_layer: bool) -> None:
    linear, conv = nn.Linear(192, 768), nn.Conv2d(16, 24, 3, padding=1)
    row = PackedLinear(linear.weight, linear.bias) if packed_layer else linear
    maps = PackedConv(conv) if packed_layer else conv
    x, images = torch.randn(2, 300, 192), torch.randn(4, 16, 20, 20)
    with torch.inference_mode():
        assert torch.equal(row(x.flip(0)), row(x).flip(0))
        assert torch.equal(row(x.roll(7, dims=1)), row(x).roll(7, dims=1))
        assert torch.equal(maps(images.flip(0)), maps(images).flip(0))


def test_a_row_of_another_length_is_told_in_plain_words() -> None:
    with pytest.raises(ValueError, match="a layer of 3 inputs got 4"):
        PackedLinear(torch.randn(2, 3), None)(torch.randn(1, 4))


def test_what_is_packed_follows_from_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def kinds(dtype: torch.dtype) -> set[type[nn.Module]]:
        model = nn.Sequential(nn.Linear(2, 2), nn.Conv2d(2, 2, 1))
        pack(model.to(dtype), dtype, one_shape=True)
        return {type(layer) for layer in model}

    has_mkl = torch.backends.mkl.is_available()
    for vendor, linear in (("GenuineIntel", False), ("", False), ("AuthenticAMD", has_mkl)):
        monkeypatch.setattr(packed, "cpu_vendor", lambda vendor=vendor: vendor)
        assert kinds(torch.float32) == {PackedLinear if linear else nn.Linear, PackedConv}
    assert kinds(torch.float16) == {nn.Linear, nn.Conv2d}
