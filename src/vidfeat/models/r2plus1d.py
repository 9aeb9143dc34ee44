"""R(2+1)D: a ResNet for clips whose 3D convolutions are split into one over space and one over time.

Paper: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (arXiv:1711.11248). Layout and
parameter names are those of MMAction2's `ResNet2Plus1d` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vidfeat.models.layers import ConvNorm, Size, fold
from vidfeat.models.resnet3d import ResNet3d, ResNet3dConfig

INNER_NORM_EPS = 1e-5
"""Epsilon of the normalisation between the two halves; MMAction2 uses the default, whatever the config."""


@dataclass(frozen=True)
class ResNet2Plus1dConfig:
    """Configuration of an R(2+1)D.

    Attributes:
        net: the ResNet whose convolutions are split. It has no pooling over time and returns its last stage.
    """

    net: ResNet3dConfig

    def __post_init__(self) -> None:
        if set(self.net.dilations) != {1}:
            raise ValueError(f"dilations must be 1: split convolutions have none; {self.net.dilations = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.net.feature_size


class SplitConv(nn.Module):
    """A convolution over space, normalisation, ReLU, and a convolution over time.

    `[N, in_channels, T, H, W]` to `[N, out_channels, ...]`; `kernel`, `stride` and `padding` are (time, height, width).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int],
        padding: tuple[int, int, int],
    ) -> None:
        super().__init__()
        area = in_channels * kernel[1] * kernel[2]
        # As many weights as one kernel of depth 3 would have (section 3.5 of the paper), even if it is flat.
        middle = int(3 * area * out_channels / (area + 3 * out_channels))
        self.conv_s = nn.Conv3d(
            in_channels, middle, (1, *kernel[1:]), stride=(1, *stride[1:]), padding=(0, *padding[1:]), bias=False
        )
        self.bn_s: nn.Module = nn.BatchNorm3d(middle, eps=INNER_NORM_EPS)
        self.conv_t = nn.Conv3d(
            middle, out_channels, (kernel[0], 1, 1), stride=(stride[0], 1, 1), padding=(padding[0], 0, 0), bias=False
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both halves."""
        return self.conv_t(self.bn_s(self.conv_s(x)).relu_())

    def fold_norm(self) -> None:
        """Move the inner normalisation into the convolution over space; idempotent."""
        if isinstance(self.bn_s, nn.BatchNorm3d):
            fold(self.conv_s, self.bn_s)
            self.bn_s = nn.Identity()


class SplitConvNorm(ConvNorm):
    """`ConvNorm` with a split convolution; the same arguments, of which `dilation` and `groups` must be 1."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Size, *, stride: Size = 1, padding: Size = 0, **options: Any
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=padding, **options)
        self.conv = SplitConv(in_channels, out_channels, _triple(kernel), _triple(stride), _triple(padding))

    def fold_norm(self) -> None:
        """Move the outer normalisation into the convolution over time; idempotent."""
        if isinstance(self.conv, SplitConv) and isinstance(self.bn, nn.BatchNorm3d):
            fold(self.conv.conv_t, self.bn)
            self.bn = nn.Identity()


def _triple(size: Size) -> tuple[int, int, int]:
    time, height, width = (size,) * 3 if isinstance(size, int) else size
    return time, height, width


class ResNet2Plus1d(ResNet3d):
    """The network up to its last feature map."""

    def __init__(self, config: ResNet2Plus1dConfig) -> None:
        super().__init__(config.net, conv=SplitConvNorm)
