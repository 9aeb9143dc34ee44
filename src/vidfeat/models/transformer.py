"""What the plain transformers share: attention among tokens, and the two-layer perceptron, the patches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def attend(qkv: torch.Tensor, heads: int, scale: float | None = None) -> torch.Tensor:
    """Softmax attention of every token to all tokens of its row.

    Args:
        qkv: `[N, L, 3 * C]`: queries, keys and values, side by side.
        heads: parts into which C is cut; each attends on its own.
        scale: factor on the products of queries and keys; one over the root of the part's length where None.

    Returns:
        `[N, L, C]`.
    """
    query, key, value = qkv.reshape(*qkv.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return functional.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2).flatten(2)


class PatchEmbed(nn.Module):
    """A convolution that makes a token of every patch, under the name that MMAction2 gives it.

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
        """Every token on its own."""
        return self.layers(x)


class Mlp(nn.Module):
    """The same with parameters named `fc1` and `fc2`, as the backbones that bring their own name them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every token on its own."""
        return self.fc2(functional.gelu(self.fc1(x)))
