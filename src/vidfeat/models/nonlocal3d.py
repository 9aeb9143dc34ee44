"""Non-local blocks: attention over all positions of a clip's feature map.

Paper: Wang et al., "Non-local Neural Networks" (arXiv:1711.07971). Parameter names are those of the `NonLocal3d` that
MMAction2's backbones use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vidfeat.models.attention import attention
from vidfeat.models.layers import ConvNorm


@dataclass(frozen=True)
class NonLocalConfig:
    """Configuration of a non-local block.

    Attributes:
        mode: how two positions are compared: softmax over embedded features, over the features themselves, or a plain
            product divided by the number of positions.
        sub_sample: whether keys and values are max-pooled 2x2 in space first.
        use_scale: whether products of embedded features are divided by the square root of their length.
        reduction: channels over embedded channels.
        norm_eps: epsilon of the batch normalisation after the output convolution; None means that there is none.
    """

    mode: Literal["embedded_gaussian", "gaussian", "dot_product"] = "embedded_gaussian"
    sub_sample: bool = False
    use_scale: bool = True
    reduction: int = 2
    norm_eps: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("embedded_gaussian", "gaussian", "dot_product"):
            raise ValueError(f"mode must be 'embedded_gaussian', 'gaussian' or 'dot_product'; {self.mode = }")


class NonLocal3d(nn.Module):
    """A non-local block with its residual; `[N, C, T, H, W]` to the same."""

    def __init__(self, channels: int, config: NonLocalConfig) -> None:
        super().__init__()
        self.mode = config.mode
        self.use_scale = config.use_scale
        inner = max(channels // config.reduction, 1)

        def embed() -> nn.Module:
            return ConvNorm(channels, inner, 1, dims=3, norm_eps=None, relu=False, bias=True)

        def sub_sampled(layer: nn.Module) -> nn.Module:
            return nn.Sequential(layer, nn.MaxPool3d((1, 2, 2))) if config.sub_sample else layer

        self.g = sub_sampled(embed())
        self.conv_out = ConvNorm(
            inner, channels, 1, dims=3, norm_eps=config.norm_eps, relu=False, bias=config.norm_eps is None
        )
        if config.mode == "gaussian":
            self.theta: nn.Module = nn.Identity()
            self.phi: nn.Module = nn.MaxPool3d((1, 2, 2)) if config.sub_sample else nn.Identity()
        else:
            self.theta = embed()
            self.phi = sub_sampled(embed())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each position plus a weighted sum over all positions."""
        query, key, value = (_positions(layer(x)) for layer in (self.theta, self.phi, self.g))
        if self.mode == "dot_product":
            # divided by the number of keys; the product is associative, so the small factor is computed first
            summed = query @ (key.transpose(1, 2) @ value) / key.shape[1]
        else:
            scaled = self.mode == "embedded_gaussian" and self.use_scale
            scale = query.shape[2] ** -0.5 if scaled else 1.0
            summed = attention(query[:, None], key[:, None], value[:, None], scale=scale)[:, 0]
        maps = summed.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        return x + self.conv_out(maps)


def _positions(maps: torch.Tensor) -> torch.Tensor:
    """`[N, C, T, H, W]` to `[N, T * H * W, C]`."""
    return maps.flatten(2).transpose(1, 2)
