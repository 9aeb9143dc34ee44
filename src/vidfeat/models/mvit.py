"""MViTv2: a transformer whose tokens get fewer and longer from stage to stage.

Paper: Li et al., "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection"
(arXiv:2112.01526). Layout and parameter names are those of MMAction2's `MViT` (1.x).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from vidfeat.models.attention import attention
from vidfeat.models.transformer import Mlp, PatchEmbed

Shape = tuple[int, int, int]
"""Time, height, width."""

ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"embed_dims": 96, "num_layers": 10, "num_heads": 1, "downscale_indices": (1, 3, 8)},
    "small": {"embed_dims": 96, "num_layers": 16, "num_heads": 1, "downscale_indices": (1, 3, 14)},
    "base": {"embed_dims": 96, "num_layers": 24, "num_heads": 1, "downscale_indices": (2, 5, 21)},
    "large": {"embed_dims": 144, "num_layers": 48, "num_heads": 2, "downscale_indices": (2, 8, 44)},
}
"""The options of each size (table 1 of the paper)."""

_ALIGNMENT = 8
"""Fused attention kernels need vectors whose length is a multiple of this."""


@dataclass(frozen=True)
class MViTConfig:
    """Configuration of an MViT. The defaults are MViTv2-B's for 16 frames.

    Attributes:
        embed_dims: length of a token in the first stage.
        num_layers: number of blocks.
        num_heads: attention heads per block in the first stage.
        downscale_indices: the blocks, counted from 0, that halve height and width, and begin a stage.
        dim_mul_indices: the blocks at which tokens get longer; `downscale_indices` if None.
        spatial_size, temporal_size: edge of the square frames, in pixels, and frames per clip, that the position
            embeddings are made for; they are interpolated for others.
        in_channels: channels of the input.
        patch_kernel, patch_stride, patch_padding: of the patch embedding.
        pool_kernel: kernel of the convolutions that pool queries, keys and values.
        adaptive_kv_stride: strides with which the first stage pools keys and values; halved, where above 1, by each
            block of `downscale_indices`.
        dim_mul, head_mul: factors on the length of tokens and the number of heads.
        dim_mul_in_attention: whether the attention of the block itself makes tokens longer, or the perceptron of the
            block before.
        use_abs_pos_embed: whether an absolute position embedding is added to the first tokens.
        interpolate_mode: how that one is interpolated.
        rel_pos_embed: whether attention adds a relative position embedding.
        residual_pooling: whether the pooled queries are added to the output of attention.
        with_cls_token: whether there is a class token.
        output_cls_token: whether the feature is the class token; otherwise it is the mean over all patches.
        mlp_ratio: length of the hidden layer of a block's perceptron over that of its input.
        qkv_bias: whether queries, keys and values have a bias.
        norm_eps: epsilon of the layer normalisations.
    """

    embed_dims: int = 96
    num_layers: int = 24
    num_heads: int = 1
    downscale_indices: tuple[int, ...] = (2, 5, 21)
    dim_mul_indices: tuple[int, ...] | None = None
    spatial_size: int = 224
    temporal_size: int = 16
    in_channels: int = 3
    patch_kernel: Shape = (3, 7, 7)
    patch_stride: Shape = (2, 4, 4)
    patch_padding: Shape = (1, 3, 3)
    pool_kernel: Shape = (3, 3, 3)
    adaptive_kv_stride: Shape = (1, 8, 8)
    dim_mul: int = 2
    head_mul: int = 2
    dim_mul_in_attention: bool = True
    use_abs_pos_embed: bool = False
    interpolate_mode: Literal["nearest", "trilinear"] = "trilinear"
    rel_pos_embed: bool = True
    residual_pooling: bool = True
    with_cls_token: bool = True
    output_cls_token: bool = True
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("downscale_indices", "dim_mul_indices"):
            indices = getattr(self, name)
            if indices and not all(0 <= index < self.num_layers for index in indices):
                raise ValueError(f"{name} must lie within {self.num_layers = } blocks; {indices = }")
        if self.output_cls_token and not self.with_cls_token:
            raise ValueError("output_cls_token needs with_cls_token")
        if self.interpolate_mode not in ("nearest", "trilinear"):
            raise ValueError(f"interpolate_mode must be 'nearest' or 'trilinear'; {self.interpolate_mode = }")
        if any(edge % 2 == 0 for edge in self.pool_kernel):
            raise ValueError(f"pool_kernel must have odd edges; {self.pool_kernel = }")
        for block in self.blocks:
            if block.attention_dims % block.num_heads:
                raise ValueError(f"tokens of {block.attention_dims} cannot be cut into {block.num_heads} heads")
            if min(block.query_size) < 1:
                raise ValueError(f"{self.spatial_size = } and {self.temporal_size = } are too small for the strides")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.blocks[-1].out_dims

    @property
    def patches(self) -> Shape:
        """Patches over time, height and width, of the clips that the position embeddings are made for."""
        edges = zip(
            (self.temporal_size, self.spatial_size, self.spatial_size),
            self.patch_kernel,
            self.patch_stride,
            self.patch_padding,
            strict=True,
        )
        time, height, width = ((size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in edges)
        return time, height, width

    @property
    def blocks(self) -> tuple[BlockConfig, ...]:
        """The options of each block, in order."""
        grows = self.downscale_indices if self.dim_mul_indices is None else self.dim_mul_indices
        blocks: list[BlockConfig] = []
        dims, heads, kv_stride, size = self.embed_dims, self.num_heads, self.adaptive_kv_stride, self.patches
        for index in range(self.num_layers):
            halved = index in self.downscale_indices
            if halved or index in grows:
                heads *= self.head_mul
            if halved:
                kv_stride = (max(kv_stride[0] // 2, 1), max(kv_stride[1] // 2, 1), max(kv_stride[2] // 2, 1))
            grown = index + (0 if self.dim_mul_in_attention else 1) in grows
            out_dims = dims * self.dim_mul if grown else dims
            block = BlockConfig(
                in_dims=dims,
                attention_dims=out_dims if self.dim_mul_in_attention else dims,
                out_dims=out_dims,
                num_heads=heads,
                stride_q=(1, 2, 2) if halved else (1, 1, 1),
                stride_kv=kv_stride,
                size=size,
            )
            blocks.append(block)
            dims, size = out_dims, block.query_size
        return tuple(blocks)


@dataclass(frozen=True)
class BlockConfig:
    """One block.

    Attributes:
        in_dims, attention_dims, out_dims: length of a token before, inside and after it.
        num_heads: attention heads.
        stride_q, stride_kv: strides with which queries, and keys and values, are pooled.
        size: tokens over time, height and width, of the clips that the position embeddings are made for.
    """

    in_dims: int
    attention_dims: int
    out_dims: int
    num_heads: int
    stride_q: Shape
    stride_kv: Shape
    size: Shape

    @property
    def query_size(self) -> Shape:
        """Tokens over time, height and width after the pooling, rounded down.

        MMAction2 computes the sizes of its embeddings in this way, although its convolutions round up.
        """
        return _divided(self.size, self.stride_q)

    @property
    def key_size(self) -> Shape:
        """Keys over time, height and width, computed in the same way."""
        return _divided(self.size, self.stride_kv)


def _divided(size: Shape, stride: Shape) -> Shape:
    return size[0] // stride[0], size[1] // stride[1], size[2] // stride[2]


class MViT(nn.Module):
    """An MViT.

    Args:
        config: its configuration.
    """

    def __init__(self, config: MViTConfig) -> None:
        super().__init__()
        self.config = config
        # MMAction2 creates it even if it is not used.
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dims))
        if config.use_abs_pos_embed:
            time, height, width = config.patches
            self.pos_embed = nn.Parameter(torch.empty(1, time * height * width + 1, config.embed_dims))
        projection = nn.Conv3d(
            config.in_channels,
            config.embed_dims,
            config.patch_kernel,
            stride=config.patch_stride,
            padding=config.patch_padding,
        )
        self.patch_embed = PatchEmbed(projection)
        self.blocks = nn.ModuleList(Block(config, block) for block in config.blocks)
        self.last_norm = f"norm{len(config.downscale_indices)}"
        self.add_module(self.last_norm, nn.LayerNorm(config.feature_size, eps=config.norm_eps))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, T, H, W]` to the class token, `[N, C]`, or the patches, `[N, C, T', H', W']`."""
        maps = self.patch_embed(x)
        shape: Shape = tuple(maps.shape[2:])
        tokens = torch.cat((self.cls_token.expand(len(x), -1, -1), maps.flatten(2).transpose(1, 2)), 1)
        if self.config.use_abs_pos_embed:
            tokens += self._positions(shape)
        if not self.config.with_cls_token:
            tokens = tokens[:, 1:]
        for block in self.blocks:
            tokens, shape = block(tokens, shape)
        norm = self.get_submodule(self.last_norm)
        if self.config.output_cls_token:
            return norm(tokens[:, 0])
        first = int(self.config.with_cls_token)
        return norm(tokens[:, first:]).transpose(1, 2).reshape(len(x), -1, *shape)

    def _positions(self, shape: Shape) -> torch.Tensor:
        """The absolute position embedding, `[1, 1 + tokens, C]`, interpolated to `shape`."""
        if shape == self.config.patches:
            return self.pos_embed
        maps = self.pos_embed[:, 1:].reshape(1, *self.config.patches, -1).permute(0, 4, 1, 2, 3)
        stretched = functional.interpolate(maps, size=shape, mode=self.config.interpolate_mode)
        return torch.cat((self.pos_embed[:, :1], stretched.flatten(2).transpose(1, 2)), 1)


class Block(nn.Module):
    """Attention with pooling, then a perceptron."""

    def __init__(self, config: MViTConfig, block: BlockConfig) -> None:
        super().__init__()
        self.first = int(config.with_cls_token)
        self.grows_in_attention = config.dim_mul_in_attention and block.in_dims != block.out_dims
        self.grows_after = not config.dim_mul_in_attention and block.in_dims != block.out_dims
        self.norm1 = nn.LayerNorm(block.in_dims, eps=config.norm_eps)
        self.attn = Attention(config, block)
        self.norm2 = nn.LayerNorm(block.attention_dims, eps=config.norm_eps)
        self.mlp = Mlp(block.attention_dims, int(block.attention_dims * config.mlp_ratio), block.out_dims)
        if block.in_dims != block.out_dims:
            self.proj = nn.Linear(block.in_dims, block.out_dims)
        self.pool_skip: nn.Module | None = None
        if block.stride_q != (1, 1, 1):
            kernel = tuple(stride + 1 if stride > 1 else 1 for stride in block.stride_q)
            self.pool_skip = nn.MaxPool3d(kernel, block.stride_q, tuple(edge // 2 for edge in kernel))

    def forward(self, x: torch.Tensor, shape: Shape) -> tuple[torch.Tensor, Shape]:
        """`[N, L, in_dims]` to `[N, L', out_dims]`, with the shapes over time and space of either."""
        normed = self.norm1(x)
        attended, new_shape = self.attn(normed, shape)
        skip = self.proj(normed) if self.grows_in_attention else x
        if self.pool_skip is not None:
            skip = _pool(skip[:, None], self.pool_skip, shape, self.first)[0][:, 0]
        x = skip + attended
        normed = self.norm2(x)
        skip = self.proj(normed) if self.grows_after else x
        return skip + self.mlp(normed), new_shape


class Attention(nn.Module):
    """Attention among tokens, with queries, keys and values pooled over time and space first."""

    def __init__(self, config: MViTConfig, block: BlockConfig) -> None:
        super().__init__()
        dims, self.heads, self.first = block.attention_dims, block.num_heads, int(config.with_cls_token)
        self.residual, self.relative = config.residual_pooling, config.rel_pos_embed
        head_dims = dims // block.num_heads
        if config.rel_pos_embed:
            time, height, width = (
                block.size[0],
                max(block.query_size[1], block.key_size[1]),
                max(block.query_size[2], block.key_size[2]),
            )
            self.rel_pos_h = nn.Parameter(torch.empty(2 * height - 1, head_dims))
            self.rel_pos_w = nn.Parameter(torch.empty(2 * width - 1, head_dims))
            self.rel_pos_t = nn.Parameter(torch.empty(2 * time - 1, head_dims))
        self.qkv = nn.Linear(block.in_dims, 3 * dims, bias=config.qkv_bias)
        self.proj = nn.Linear(dims, dims)

        def pooling(stride: Shape) -> tuple[nn.Module, nn.Module]:
            kernel = config.pool_kernel
            padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
            pool = nn.Conv3d(head_dims, head_dims, kernel, stride, padding, groups=head_dims, bias=False)
            return pool, nn.LayerNorm(head_dims, eps=config.norm_eps)

        self.pool_q, self.norm_q = pooling(block.stride_q)
        self.pool_k, self.norm_k = pooling(block.stride_kv)
        self.pool_v, self.norm_v = pooling(block.stride_kv)

    def forward(self, x: torch.Tensor, shape: Shape) -> tuple[torch.Tensor, Shape]:
        """`[N, L, in_dims]` to `[N, L', attention_dims]`, with the shapes over time and space of either."""
        query, key, value = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, query_shape = _pool(query, self.pool_q, shape, self.first)
        key, key_shape = _pool(key, self.pool_k, shape, self.first)
        value, _ = _pool(value, self.pool_v, shape, self.first)
        query, key, value = self.norm_q(query), self.norm_k(key), self.norm_v(value)
        if self.relative:
            summed = self._attend_relative(query, key, value, query_shape, key_shape)
        else:
            summed = attention(query, key, value)
        if self.residual:
            summed[:, :, self.first :].add_(query[:, :, self.first :])
        return self.proj(summed.transpose(1, 2).flatten(2)), query_shape

    def _attend_relative(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, query_shape: Shape, key_shape: Shape
    ) -> torch.Tensor:
        """Attention with a relative position embedding over time, height and width.

        The embedding is a sum over the three axes, so it can be part of the product: the query is extended by the
        embedding of every position on each axis, the key by a one at each of its three positions. No tensor of the
        size queries x keys is needed.
        """
        size = query.shape[3]
        width = -(-sum(key_shape) // _ALIGNMENT) * _ALIGNMENT
        query = torch.cat((query, self._worth(query, query_shape, key_shape, width)), 3)
        places = _places(key_shape, width, self.first, key)
        key = torch.cat((key * size**-0.5, places.expand(*key.shape[:2], -1, -1)), 3)
        value = functional.pad(value, (0, width))  # fused kernels need all three of one length
        return attention(query, key, value, scale=1.0)[..., :size]

    def _worth(self, query: torch.Tensor, query_shape: Shape, key_shape: Shape, width: int) -> torch.Tensor:
        """`[N, heads, L, width]`: for every query, the embedding of each time, height and width that a key can have."""
        grid = query[:, :, self.first :].reshape(*query.shape[:2], *query_shape, -1)
        tables = (self.rel_pos_t, self.rel_pos_h, self.rel_pos_w)
        over_time, over_height, over_width = map(_by_distance, tables, query_shape, key_shape)
        worth = (
            torch.einsum("nathwc,tkc->nathwk", grid, over_time),
            torch.einsum("nathwc,hkc->nathwk", grid, over_height),
            torch.einsum("nathwc,wkc->nathwk", grid, over_width),
        )
        # the class token has no position: its embedding is zero
        return functional.pad(torch.cat(worth, 5).flatten(2, 4), (0, width - sum(key_shape), self.first, 0))


def _pool(x: torch.Tensor, pool: nn.Module, shape: Shape, first: int) -> tuple[torch.Tensor, Shape]:
    """Pool tokens as a map; the class token, if there is one, is not changed.

    Args:
        x: `[N, heads, first + time * height * width, C]`.
        pool: `[N * heads, C, ...]` to the same.
        shape: time, height and width.
        first: 1 if the class token comes first, else 0.

    Returns:
        `[N, heads, first + L', C]`, and the pooled shape.
    """
    count, heads, _, size = x.shape
    # channels-last, with which convolution and pooling are fastest
    maps = pool(x[:, :, first:].reshape(count * heads, *shape, size).permute(0, 4, 1, 2, 3))
    tokens = maps.permute(0, 2, 3, 4, 1).reshape(count, heads, -1, size)
    time, height, width = maps.shape[2:]
    return (torch.cat((x[:, :, :first], tokens), 2) if first else tokens), (time, height, width)


def _by_distance(table: torch.Tensor, queries: int, keys: int) -> torch.Tensor:
    """The embedding of the distance between each query and each key on one axis.

    Args:
        table: `[distances, C]`; interpolated to `2 * max(queries, keys) - 1` distances.
        queries, keys: their number on this axis; the smaller number is spread over the larger.

    Returns:
        `[queries, keys, C]`.
    """
    distances = 2 * max(queries, keys) - 1
    if len(table) != distances:
        table = functional.interpolate(table.T[None], size=distances, mode="linear")[0].T
    query_places = torch.arange(queries, device=table.device)[:, None] * max(keys / queries, 1.0)
    key_places = torch.arange(keys, device=table.device)[None, :] * max(queries / keys, 1.0)
    apart = (query_places - key_places) + (keys - 1) * max(queries / keys, 1.0)
    return table[apart.long()]


def _places(shape: Shape, width: int, first: int, like: torch.Tensor) -> torch.Tensor:
    """`[first + time * height * width, width]`: for every key a one at its time, its height and its width."""
    places = like.new_zeros(*shape, width)
    start = 0
    for axis, length in enumerate(shape):
        ones = torch.eye(length, dtype=like.dtype, device=like.device)
        places[..., start : start + length] = ones.view(*(length if a == axis else 1 for a in range(3)), length)
        start += length
    return functional.pad(places.flatten(0, 2), (0, 0, first, 0))
