"""Shared by the plain transformers: patches, attention among tokens, the two-layer perceptron."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from vidfeat.models.attention import attend
from vidfeat.models.packed import PackedLinear


class MultiheadAttention(nn.Module):
    """Attention with the parameter names of PyTorch's `MultiheadAttention`.

    Args:
        size: length C of a token.
        heads: number of parts of C; each attends separately.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * size))
        self.in_proj: PackedLinear | None = None
        self.out_proj = nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, L, C]` to the same: for every token, a weighted sum over all tokens of its row."""
        if self.in_proj is not None:
            qkv = self.in_proj(x)
        else:
            qkv = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        return self.out_proj(attend(qkv, self.heads))

    def pack(self) -> None:
        """See `packed.Packable`."""
        if self.in_proj is None:
            self.in_proj = PackedLinear(self.in_proj_weight, self.in_proj_bias)
            del self.in_proj_weight, self.in_proj_bias


class PatchEmbed(nn.Module):
    """A convolution from every patch to a token, under its name in MMAction2.

    Args:
        projection: `[N, in_channels, ...]` to `[N, C, ...]`.
    """

    def __init__(self, projection: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A map of tokens."""
        return self.projection(x)


class FeedForward(nn.Module):
    """Linear, GELU, linear: `[..., channels]` to the same. Parameters are named as mmcv's `FFN` names them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(channels, hidden), nn.GELU()), nn.Linear(hidden, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every token separately."""
        return self.layers(x)


class Mlp(nn.Module):
    """The same with parameters named `fc1` and `fc2`, as in the backbones that do not use mmcv's.

    Args:
        channels: length of a token.
        hidden: length between the two layers.
        out: length of the result; as long as a token if None.
    """

    def __init__(self, channels: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels if out is None else out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every token separately."""
        return self.fc2(functional.gelu(self.fc1(x)))
