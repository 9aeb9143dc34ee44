"""TPN: a neck that joins the last stages of a backbone, each at its own temporal rate.

Paper: Yang et al., "Temporal Pyramid Network for Action Recognition" (arXiv:2004.03548). Layout and parameter names
below `neck.` are those of MMAction2's `TPN` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vidfeat.models.layers import ConvNorm

GROUPS = 32
"""Groups of the convolutions that modulate time and those that fuse levels."""


@dataclass(frozen=True)
class FusionConfig:
    """Configuration of the fusion of a pyramid's levels.

    Attributes:
        mid_channels: channels of each level before they are joined.
        out_channels: channels of the result.
        scales: pooling of each level over (time, height, width).
    """

    mid_channels: tuple[int, ...]
    out_channels: int
    scales: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class TPNConfig:
    """Configuration of a TPN.

    Attributes:
        in_channels: channels of the input maps, one for each level.
        out_channels: channels of each level inside the pyramid.
        temporal_scales: pooling of each level over time.
        fusion: how levels are joined, top down and bottom up.
        upsample: factors over (time, height, width) from one level to the one below; None means no such step.
        downsample: pooling from one level to the one above; None means no such step.
        flow: whether the bottom-up flow begins at the result of the top-down flow ("cascade") or at its input
            ("parallel").
        aux_classes: classes of the auxiliary head, which is used in training only; None if there is none. Its
            weights are in released checkpoints, under the neck's name, and are loaded with the rest.
    """

    in_channels: tuple[int, ...]
    out_channels: int
    temporal_scales: tuple[int, ...]
    fusion: FusionConfig
    upsample: tuple[float, float, float] | None = None
    downsample: tuple[int, int, int] | None = None
    flow: Literal["cascade", "parallel"] = "cascade"
    aux_classes: int | None = None

    def __post_init__(self) -> None:
        levels = len(self.in_channels)
        if levels < 2:
            raise ValueError(f"a pyramid needs at least two levels; {self.in_channels = }")
        if not levels == len(self.temporal_scales) == len(self.fusion.mid_channels) == len(self.fusion.scales):
            raise ValueError(
                f"each of {levels} levels needs a temporal scale, channels and a scale of fusion; {self = }"
            )
        if any(channels % GROUPS for channels in (self.in_channels[-1], self.out_channels, *self.fusion.mid_channels)):
            raise ValueError(f"channels must be multiples of {GROUPS}; {self = }")
        ratios = [self.in_channels[-1] / channels for channels in self.in_channels]
        if any(ratio not in (1, 2, 4, 8, 16, 32) for ratio in ratios):
            raise ValueError(f"channels must double from level to level; {self.in_channels = }")
        if self.flow not in ("cascade", "parallel"):
            raise ValueError(f"flow must be 'cascade' or 'parallel'; {self.flow = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return 2048


class SpatialModulation(nn.Module):
    """Bring each level to the channels and the size in space of the last one."""

    def __init__(self, in_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.spatial_modulation = nn.ModuleList(_halvings(channels, in_channels[-1]) for channels in in_channels)

    def forward(self, levels: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """Maps `[N, C_i, T, H_i, W_i]` to maps `[N, C, T, H, W]`."""
        return [modulate(level) for modulate, level in zip(self.spatial_modulation, levels, strict=True)]


def _halvings(channels: int, target: int) -> nn.Module:
    """Convolutions that double the channels and halve the size, until there are `target` channels."""
    steps = (target // channels).bit_length() - 1
    return nn.Sequential(
        *(
            ConvNorm(
                channels * 2**step, channels * 2 ** (step + 1), (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), dims=3
            )
            for step in range(steps)
        )
    )


def _pool(scale: tuple[int, int, int]) -> nn.Module:
    """The maximum over blocks of (time, height, width); those at the end may be smaller."""
    return nn.Identity() if scale == (1, 1, 1) else nn.MaxPool3d(scale, ceil_mode=True)


class TemporalModulation(nn.Module):
    """A convolution over time, then pooling over time."""

    def __init__(self, in_channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.conv = ConvNorm(
            in_channels, out_channels, (3, 1, 1), padding=(1, 0, 0), groups=GROUPS, dims=3, norm_eps=None, relu=False
        )
        self.pool = _pool((scale, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, T, H, W]` to `[N, out_channels, T / scale, H, W]`, the last group rounded up."""
        return self.pool(self.conv(x))


class Downsample(nn.Module):
    """A convolution over time, then pooling: from one level to the one above."""

    def __init__(self, channels: int, scale: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, (3, 1, 1), padding=(1, 0, 0), dims=3, norm_eps=None, relu=False)
        self.pool = _pool(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, channels, ...]` to the same, pooled."""
        return self.pool(self.conv(x))


class PooledConv(nn.Module):
    """Pooling, then a convolution: one level, before the fusion."""

    def __init__(self, in_channels: int, out_channels: int, scale: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv = ConvNorm(in_channels, out_channels, 1, groups=GROUPS, dims=3)
        self.pool = _pool(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, ...]` to `[N, out_channels, ...]`, pooled."""
        return self.conv(self.pool(x))


class LevelFusion(nn.Module):
    """Join all levels."""

    def __init__(self, channels: int, config: FusionConfig) -> None:
        super().__init__()
        self.downsamples = nn.ModuleList(
            PooledConv(channels, mid, scale) for mid, scale in zip(config.mid_channels, config.scales, strict=True)
        )
        self.fusion_conv = ConvNorm(sum(config.mid_channels), config.out_channels, 1, dims=3)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Maps `[N, channels, T, H, W]` to one `[N, out_channels, T, H, W]`."""
        return self.fusion_conv(
            torch.cat([pooled(level) for pooled, level in zip(self.downsamples, levels, strict=True)], 1)
        )


class AuxHead(nn.Module):
    """The weights of the auxiliary head, so that checkpoints load; inference does not run it."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, 2 * channels, (1, 3, 3), dims=3)
        self.fc = nn.Linear(2 * channels, classes)


class TPN(nn.Module):
    """The neck."""

    def __init__(self, config: TPNConfig) -> None:
        super().__init__()
        self.flow = config.flow
        levels = len(config.in_channels)
        self.temporal_modulation_ops = nn.ModuleList(
            TemporalModulation(config.in_channels[-1], config.out_channels, scale) for scale in config.temporal_scales
        )
        self.upsample = None if config.upsample is None else nn.Upsample(scale_factor=config.upsample)
        self.downsample_ops = nn.ModuleList(
            Downsample(config.out_channels, config.downsample)
            for _ in range(levels - 1)
            if config.downsample is not None
        )
        self.level_fusion_1 = LevelFusion(config.out_channels, config.fusion)
        self.spatial_modulation = SpatialModulation(config.in_channels)
        self.level_fusion_2 = LevelFusion(config.out_channels, config.fusion)
        self.pyramid_fusion = ConvNorm(2 * config.fusion.out_channels, config.feature_size, 1, dims=3)
        self.aux_head = None if config.aux_classes is None else AuxHead(config.in_channels[-2], config.aux_classes)

    def forward(self, stages: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Join the maps of a backbone's stages.

        Args:
            stages: one `[N, C_i, T, H_i, W_i]` for each level, in order of depth.

        Returns:
            `[N, 2048, T', H, W]`, sizes in space those of the last level.
        """
        modulated = [
            modulate(level)
            for modulate, level in zip(self.temporal_modulation_ops, self.spatial_modulation(stages), strict=True)
        ]
        descended = self._descend(modulated)
        ascended = self._ascend(descended if self.flow == "cascade" else modulated)
        return self.pyramid_fusion(torch.cat([self.level_fusion_1(descended), self.level_fusion_2(ascended)], 1))

    def _descend(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        """Add to each level the one above it, from the top down."""
        levels = list(levels)
        if self.upsample is not None:
            for above in range(len(levels) - 1, 0, -1):
                levels[above - 1] = levels[above - 1] + self.upsample(levels[above])
        return levels

    def _ascend(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        """Add to each level the one below it, from the bottom up."""
        levels = list(levels)
        for below, downsample in enumerate(self.downsample_ops):
            levels[below + 1] = levels[below + 1] + downsample(levels[below])
        return levels
