"""X3D: small networks for clips, expanded from one tiny network by a few factors.

Paper: Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition" (arXiv:2004.04730). Layout and
parameter names are those of MMAction2's `X3D` (0.x and 1.x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vidfeat.models.layers import ConvNorm

BASE_CHANNELS = 24
BASE_BLOCKS = (1, 2, 5, 3)
"""The network that is expanded: channels of the first stage, and blocks per stage."""


@dataclass(frozen=True)
class X3DConfig:
    """Configuration of an X3D.

    Attributes:
        gamma_w, gamma_b, gamma_d: factors of the width, of the width inside blocks, and of the blocks per stage.
        in_channels: channels of the input.
        num_stages: number of stages that are built, 1 to 4.
        spatial_strides: stride in space of the first block of each stage.
        se_style: whether every block has a squeeze-and-excitation, or every second one, from the first on.
        se_ratio: channels inside of those over channels outside; None means none of them.
        norm_eps: epsilon of the batch normalisations.
    """

    gamma_w: float = 1.0
    gamma_b: float = 1.0
    gamma_d: float = 1.0
    in_channels: int = 3
    num_stages: int = 4
    spatial_strides: tuple[int, ...] = (2, 2, 2, 2)
    se_style: Literal["half", "all"] = "half"
    se_ratio: float | None = 1 / 16
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("gamma_w", "gamma_b", "gamma_d", "se_ratio"):
            value = getattr(self, name)
            if not (value is None and name == "se_ratio") and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0; {value = }")
        if not 1 <= self.num_stages <= 4:
            raise ValueError(f"num_stages must be 1, 2, 3 or 4; {self.num_stages = }")
        if len(self.spatial_strides) != self.num_stages or not all(
            type(stride) is int and stride > 0 for stride in self.spatial_strides
        ):
            raise ValueError(f"spatial_strides needs {self.num_stages = } integers above 0; {self.spatial_strides = }")
        if self.se_style not in ("half", "all"):
            raise ValueError(f"se_style must be 'half' or 'all'; {self.se_style = }")

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        return tuple(round_width(BASE_CHANNELS, self.gamma_w) * 2**stage for stage in range(self.num_stages))

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return tuple(math.ceil(self.gamma_d * blocks) for blocks in BASE_BLOCKS[: self.num_stages])

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the channels of the last convolution."""
        return self.widened(self.stage_channels[-1])

    def widened(self, channels: int) -> int:
        """Channels inside a block whose output has `channels`."""
        return int(channels * self.gamma_b)


def round_width(channels: int, factor: float) -> int:
    """`channels * factor` to the nearest multiple of 8 that is at least 8 and not more than 10 % too small."""
    exact = channels * factor
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


class SqueezeExcitation(nn.Module):
    """A factor in (0, 1) for each channel, from the mean over all positions; `[N, C, T, H, W]` to the same."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        inner = round_width(channels, ratio)
        self.fc1 = nn.Conv3d(channels, inner, 1)
        self.fc2 = nn.Conv3d(inner, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale `x` in place."""
        means = x.mean((2, 3, 4), keepdim=True)
        return x.mul_(self.fc2(self.fc1(means).relu_()).sigmoid_())


class BlockX3D(nn.Module):
    """1x1x1, depthwise 3x3x3 and 1x1x1 convolutions and a shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, se_ratio: float | None, config: X3DConfig
    ) -> None:
        super().__init__()
        width = config.widened(out_channels)
        eps = config.norm_eps
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = ConvNorm(
                in_channels, out_channels, 1, stride=(1, stride, stride), dims=3, norm_eps=eps, relu=False
            )
        self.conv1 = ConvNorm(in_channels, width, 1, dims=3, norm_eps=eps)
        self.conv2 = ConvNorm(
            width, width, 3, stride=(1, stride, stride), padding=1, groups=width, dims=3, norm_eps=eps, relu=False
        )
        self.conv3 = ConvNorm(width, out_channels, 1, dims=3, norm_eps=eps, relu=False)
        self.se_module = None if se_ratio is None else SqueezeExcitation(width, se_ratio)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.conv2(self.conv1(x))
        if self.se_module is not None:
            x = self.se_module(x)
        return self.conv3(nn.functional.silu(x, inplace=True)).add_(identity).relu_()


class X3D(nn.Module):
    """The network up to its last convolution."""

    def __init__(self, config: X3DConfig) -> None:
        super().__init__()
        base = config.stage_channels[0]
        eps = config.norm_eps
        self.conv1_s = ConvNorm(
            config.in_channels, base, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), dims=3, norm_eps=None, relu=False
        )
        self.conv1_t = ConvNorm(base, base, (5, 1, 1), padding=(2, 0, 0), groups=base, dims=3, norm_eps=eps)
        self.stages = [f"layer{stage + 1}" for stage in range(config.num_stages)]
        into_stage = (base, *config.stage_channels)
        for stage, name in enumerate(self.stages):
            self.add_module(name, _stage(config, stage, into_stage[stage]))
        self.conv5 = ConvNorm(config.stage_channels[-1], config.feature_size, 1, dims=3, norm_eps=eps)

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Feature maps of clips.

        Args:
            clips: float32 `[N, in_channels, T, H, W]`, normalised.

        Returns:
            `[N, C, T, H / 32, W / 32]`.
        """
        x = self.conv1_t(self.conv1_s(clips))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.conv5(x)


def _stage(config: X3DConfig, stage: int, in_channels: int) -> nn.Sequential:
    """All blocks of one stage; only the first has a stride."""
    channels = config.stage_channels[stage]
    blocks = []
    for number in range(config.stage_blocks[stage]):
        excited = config.se_style == "all" or number % 2 == 0
        blocks.append(
            BlockX3D(
                in_channels if number == 0 else channels,
                channels,
                config.spatial_strides[stage] if number == 0 else 1,
                config.se_ratio if excited else None,
                config,
            )
        )
    return nn.Sequential(*blocks)
