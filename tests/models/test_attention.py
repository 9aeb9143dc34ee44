"""Attention, also in tiles, against the formula written out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.models import attention
from vidfeat.models.attention import TILE_BYTES, tile

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
