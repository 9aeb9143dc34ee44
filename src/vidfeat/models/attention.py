"""Softmax attention: PyTorch's fused kernel, or the same in tiles where that is faster."""

from __future__ import annotations

import torch
from torch.nn import functional

from vidfeat.hardware import cpu_flags

TILE_BYTES = 1 << 20
"""Size of the products of queries and keys that are held at once, so that they stay in a core's cache. Of 0.125 to
2 MiB this was the fastest, or within 10 % of it, for the layers of every transformer among the released models."""


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """For each query, a weighted sum over the values; the weights are the softmax of its products with the keys.

    Args:
        query: `[N, heads, L, C]`.
        key, value: `[N, heads, K, C]`.
        scale: factor on the products; 1 / sqrt(C) if None.
        mask: added to the products, `[N or 1, heads or 1, L, K]`.

    Returns:
        `[N, heads, L, C]`.
    """
    if in_tiles(query):
        return _tiled(query, key, value, query.shape[3] ** -0.5 if scale is None else scale, mask)
    return functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)


def attend(qkv: torch.Tensor, heads: int, scale: float | None = None) -> torch.Tensor:
    """Attention of every token to all tokens of its row.

    Args:
        qkv: `[N, L, 3 * C]`: queries, keys and values, side by side.
        heads: number of parts of C; each attends separately.
        scale: factor on the products of queries and keys; 1 / sqrt(C / heads) if None.

    Returns:
        `[N, L, C]`.
    """
    query, key, value = qkv.reshape(*qkv.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return attention(query, key, value, scale=scale).transpose(1, 2).flatten(2)


def in_tiles(query: torch.Tensor) -> bool:
    """Whether PyTorch's kernel is slower than tiles.

    In bf16 on the CPU it multiplies small matrices, whose conversion costs more than it saves: it is no faster than in
    fp32. With AMX it packs them for the tile registers. A compiler generates better code without the loops here.
    """
    if torch.compiler.is_compiling() or query.dtype != torch.bfloat16 or query.device.type != "cpu":
        return False
    return "avx512_bf16" in cpu_flags() and "amx_bf16" not in cpu_flags()


def _tiled(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, mask: torch.Tensor | None
) -> torch.Tensor:
    """`attention`, some rows, heads and clips at a time.

    The result is in memory as `[N, L, heads, C]`, as PyTorch's is: heads are then joined without a copy.
    """
    clips, heads, rows, size = query.shape
    clips_at_once, heads_at_once, rows_at_once = tile(clips, heads, rows, key.shape[2] * query.element_size())
    out = query.new_empty(clips, rows, heads, size).transpose(1, 2)
    mask = None if mask is None else mask.expand(clips, heads, rows, key.shape[2])
    for clip in range(0, clips, clips_at_once):
        for head in range(0, heads, heads_at_once):
            part = slice(clip, clip + clips_at_once), slice(head, head + heads_at_once)
            keys, values = key[part].transpose(2, 3), value[part]
            for row in range(0, rows, rows_at_once):
                tile_ = (*part, slice(row, row + rows_at_once))
                products = (query[tile_] * scale) @ keys
                if mask is not None:
                    products += mask[tile_]
                out[tile_] = products.softmax(-1) @ values
    return out


def tile(clips: int, heads: int, rows: int, row_bytes: int) -> tuple[int, int, int]:
    """How many clips, heads and rows fit into `TILE_BYTES` at once; at least one of each, and whole rows of heads."""
    if rows * row_bytes > TILE_BYTES:
        return 1, 1, max(1, TILE_BYTES // row_bytes)
    if heads * rows * row_bytes > TILE_BYTES:
        return 1, TILE_BYTES // (rows * row_bytes), rows
    return min(clips, TILE_BYTES // (heads * rows * row_bytes)), heads, rows
