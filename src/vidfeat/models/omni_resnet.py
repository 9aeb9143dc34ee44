"""OmniResNet: a ResNet for images and clips; here its path for clips.

Trained as in Duan et al., "Omni-sourced Webly-supervised Learning for Video Recognition" (arXiv:2003.13042). Layout and
parameter names are those of MMAction2's `OmniResNet` (1.x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vidfeat.models.layers import fold

TEMPORAL_KERNELS = (1, 1, 3, 3)
"""For each stage, the size in time of the first convolution of its blocks."""


@dataclass(frozen=True)
class OmniResNetConfig:
    """Configuration of an OmniResNet.

    Attributes:
        layers: blocks per stage.
    """

    layers: tuple[int, int, int, int] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        if len(self.layers) != 4 or not all(type(blocks) is int and blocks > 0 for blocks in self.layers):
            raise ValueError(f"layers must be four integers above 0; {self.layers = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return 2048


class OmniBottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, the first one optionally over time, and a shortcut."""

    def __init__(self, in_channels: int, width: int, temporal_kernel: int, stride: int) -> None:
        super().__init__()
        pad = (temporal_kernel // 2, 0, 0)
        strides = (1, stride, stride)
        self.conv1 = nn.Conv3d(in_channels, width, (temporal_kernel, 1, 1), padding=pad, bias=False)
        self.conv2 = nn.Conv3d(width, width, (1, 3, 3), stride=strides, padding=(0, 1, 1), bias=False)
        self.conv3 = nn.Conv3d(width, 4 * width, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm3d(width)
        self.bn2: nn.Module = nn.BatchNorm3d(width)
        self.bn3: nn.Module = nn.BatchNorm3d(4 * width)
        self.downsample: nn.Sequential | None = None
        if in_channels != 4 * width or stride != 1:
            shortcut = nn.Conv3d(in_channels, 4 * width, 1, stride=strides, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        return self.bn3(self.conv3(x)).add_(identity).relu_()

    def fold_norm(self) -> None:
        """Move all normalisations into the convolutions before them; idempotent."""
        if isinstance(self.bn1, nn.Identity):
            return
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            fold(conv, norm)
        self.bn1 = self.bn2 = self.bn3 = nn.Identity()
        if self.downsample is not None:
            fold(self.downsample[0], self.downsample[1])
            self.downsample[1] = nn.Identity()


class OmniResNet(nn.Module):
    """The network up to its last feature map."""

    def __init__(self, config: OmniResNetConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
        self.bn1: nn.Module = nn.BatchNorm3d(64)
        self.pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        channels = 64
        for stage, (blocks, temporal_kernel) in enumerate(zip(config.layers, TEMPORAL_KERNELS, strict=True)):
            width = 64 * 2**stage
            first = OmniBottleneck(channels, width, temporal_kernel, stride=1 if stage == 0 else 2)
            channels = 4 * width
            others = [OmniBottleneck(channels, width, temporal_kernel, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *others))

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Feature maps of clips.

        Args:
            clips: float32 `[N, 3, T, H, W]`, normalised.

        Returns:
            `[N, 2048, T, H / 32, W / 32]`.
        """
        x = self.pool(self.bn1(self.conv1(clips)).relu_())
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(stage)(x)
        return x

    def fold_norm(self) -> None:
        """Move the first normalisation into its convolution; idempotent."""
        if isinstance(self.bn1, nn.BatchNorm3d):
            fold(self.conv1, self.bn1)
            self.bn1 = nn.Identity()
