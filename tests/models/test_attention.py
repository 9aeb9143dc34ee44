"""Attention in tiles against the formula written out, and packed linear layers against plain ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vidfeat.machine import cpu_flags
from vidfeat.models import attention, pack_linears, packed
from vidfeat.models.attention import TILE_BYTES, tile
from vidfeat.models.layers import Pointwise
from vidfeat.models.packed import PackedLinear, packing_pays
from vidfeat.models.transformer import MultiheadAttention

SIZES = st.integers(1, 5000)


def written_out(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, mask: torch.Tensor | None
) -> torch.Tensor:
    products = torch.einsum("nhlc,nhkc->nhlk", query.double(), key.double()) * scale
    weights = (products if mask is None else products + mask.double()).exp()
    return torch.einsum("nhlk,nhkc->nhlc", weights / weights.sum(-1, keepdim=True), value.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    ("clips", "heads", "rows", "keys", "masks"),
    [
        (2, 3, 40, 40, None),
        (1, 2, 1500, 400, None),
        (3, 4, 20, 300, (1, 4)),
        (2, 2, 700, 900, (2, 1)),
        (1, 1, 1, 1, None),
    ],
)
def test_attention_is_the_formula(
    clips: int, heads: int, rows: int, keys: int, masks: tuple[int, int] | None, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(rows)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    # As the networks have them: cut from one tensor, heads in the middle.
    query = random(clips, rows, heads, 16).transpose(1, 2)
    key, value = (random(clips, keys, heads, 16).transpose(1, 2) for _ in range(2))
    mask = None if masks is None else random(*masks, rows, keys)
    expected = written_out(query, key, value, 0.3, mask)
    bound = 1e-5 if dtype == torch.float32 else 2e-2
    for found in (
        attention.attention(query, key, value, scale=0.3, mask=mask),
        attention._tiled(query, key, value, 0.3, mask),
    ):
        assert found.dtype == dtype
        assert found.shape == expected.shape
        assert (found - expected).norm() / expected.norm() < bound
        assert found.transpose(1, 2).is_contiguous()


def test_one_over_the_root_is_the_scale() -> None:
    query, key, value = torch.randn(3, 1, 2, 30, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        attention.attention(query, key, value).double(),
        written_out(query, key, value, 0.25, None),
        rtol=1e-4,
        atol=1e-5,
    )


@given(SIZES, SIZES, SIZES, SIZES.map(lambda keys: 2 * keys))
def test_a_tile_is_as_large_as_it_may_be(clips: int, heads: int, rows: int, row_bytes: int) -> None:
    shape = tile(clips, heads, rows, row_bytes)
    assert all(1 <= part <= whole for part, whole in zip(shape, (clips, heads, rows), strict=True))
    assert math.prod(shape) * row_bytes <= max(TILE_BYTES, row_bytes)
    if shape != (clips, heads, rows):
        assert 2 * math.prod(shape) * row_bytes >= TILE_BYTES or shape[2] == rows


class Layers(nn.Module):
    """All that can be packed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 24, bias=False))
        self.attention = MultiheadAttention(24, 3)
        self.last = Pointwise(24, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.attention(self.first(x)).transpose(1, 2)
        return self.last(tokens.unflatten(2, (-1, 5, 2)))


packs = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="PyTorch has no oneDNN here",
)


@packs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_packed_layers_give_the_same(dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and "avx512_bf16" not in cpu_flags():
        pytest.skip("this processor does not compute in bf16")
    torch.manual_seed(0)
    layers = Layers().requires_grad_(requires_grad=False)
    nn.init.normal_(layers.attention.in_proj_weight, std=0.2)
    nn.init.normal_(layers.attention.in_proj_bias)
    x = torch.randn(3, 40, 24)
    expected = layers(x)
    layers.to(dtype)
    pack_linears(layers)
    pack_linears(layers)  # nothing is left to do
    kinds = {type(module) for module in layers.modules()}
    assert not kinds & {nn.Linear, Pointwise}
    assert sum(issubclass(type(module), PackedLinear) for module in layers.modules()) == 5
    assert not list(layers.parameters())
    found = layers(x.to(dtype))
    assert found.dtype == dtype
    assert found.shape == expected.shape == (3, 8, 4, 5, 2)
    assert (found.float() - expected).norm() / expected.norm() < (1e-6 if dtype == torch.float32 else 2e-2)


@packs
def test_a_row_of_a_packed_layer_is_its_own() -> None:
    layer = PackedLinear(torch.randn(768, 192), torch.randn(768))
    x = torch.randn(2, 300, 192)
    assert torch.equal(layer(x.flip(0)), layer(x).flip(0))
    assert torch.equal(layer(x.roll(7, dims=1)), layer(x).roll(7, dims=1))


def test_what_is_packed_follows_from_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor, pays in (("GenuineIntel", False), ("", False), ("AuthenticAMD", torch.backends.mkl.is_available())):
        monkeypatch.setattr(packed, "cpu_vendor", lambda vendor=vendor: vendor)
        assert packing_pays(torch.float32) is pays
    assert not packing_pays(torch.float16)
