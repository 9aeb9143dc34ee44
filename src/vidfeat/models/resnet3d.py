"""ResNets for clips: SlowOnly, and the parts that other clip networks are built from.

Papers: Feichtenhofer et al., "SlowFast Networks for Video Recognition" (arXiv:1812.03982); Carreira and Zisserman, "Quo
Vadis, Action Recognition?" (arXiv:1705.07750) for inflation. Layout and parameter names are those of MMAction2's
`ResNet3d` and `ResNet3dSlowOnly` (0.x and 1.x).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from vidfeat.models.layers import ConvNorm
from vidfeat.models.nonlocal3d import NonLocal3d, NonLocalConfig
from vidfeat.models.resnet import BLOCKS, check_resnet_shape, expansion

PerBlock = tuple[tuple[int, ...], ...]
"""One flag for each block of each stage."""


@dataclass(frozen=True)
class ResNet3dConfig:
    """Configuration of a ResNet for clips. The defaults are SlowOnly's.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        stage_blocks: blocks per stage; those of the depth if None.
        in_channels, num_stages, out_indices, dilations, style, norm_eps: as in `ResNetConfig`.
        base_channels: channels after the first convolution.
        spatial_strides, temporal_strides: strides of the first block of each stage.
        conv1_kernel: kernel of the first convolution, (time, height, width).
        conv1_stride_s, conv1_stride_t: its strides in space and time.
        pool1_stride_s, pool1_stride_t: strides of the first max pooling.
        with_pool1: whether there is a max pooling after the first convolution.
        with_pool2: whether there is one over time, (2, 1, 1), after the first stage.
        inflate: for each stage, or each of its blocks, whether its kernels extend over time.
        inflate_style: which kernels do: "3x1x1" the first of a bottleneck, "3x3x3" the middle one.
        non_local: for each stage, or each of its blocks, whether a non-local block follows.
        non_local_block: its configuration.
    """

    depth: int
    stage_blocks: tuple[int, ...] | None = None
    in_channels: int = 3
    num_stages: int = 4
    base_channels: int = 64
    out_indices: tuple[int, ...] = (3,)
    spatial_strides: tuple[int, ...] = (1, 2, 2, 2)
    temporal_strides: tuple[int, ...] = (1, 1, 1, 1)
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    conv1_kernel: tuple[int, int, int] = (1, 7, 7)
    conv1_stride_s: int = 2
    conv1_stride_t: int = 1
    pool1_stride_s: int = 2
    pool1_stride_t: int = 1
    with_pool1: bool = True
    with_pool2: bool = False
    style: Literal["pytorch", "caffe"] = "pytorch"
    inflate: tuple[int | tuple[int, ...], ...] | int = (0, 0, 1, 1)
    inflate_style: Literal["3x1x1", "3x3x3"] = "3x1x1"
    non_local: tuple[int | tuple[int, ...], ...] | int = (0, 0, 0, 0)
    non_local_block: NonLocalConfig = field(default_factory=NonLocalConfig)
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_resnet_shape(self.depth, self.num_stages, self.out_indices)
        for name in ("spatial_strides", "temporal_strides", "dilations"):
            _check_sizes(name, getattr(self, name), self.num_stages)
        if self.stage_blocks is not None:
            _check_sizes("stage_blocks", self.stage_blocks, self.num_stages)
        _check_sizes("conv1_kernel", self.conv1_kernel, 3)
        for name in ("in_channels", "base_channels"):
            _check_sizes(name, (getattr(self, name),), 1)
        for name in ("conv1_stride_s", "conv1_stride_t", "pool1_stride_s", "pool1_stride_t"):
            _check_sizes(name, (getattr(self, name),), 1)
        if self.style not in ("pytorch", "caffe"):
            raise ValueError(f"style must be 'pytorch' or 'caffe'; {self.style = }")
        if self.inflate_style not in ("3x1x1", "3x3x3"):
            raise ValueError(f"inflate_style must be '3x1x1' or '3x3x3'; {self.inflate_style = }")
        self.per_block(self.inflate, "inflate")
        self.per_block(self.non_local, "non_local")

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks per stage."""
        return self.stage_blocks or BLOCKS[self.depth][: self.num_stages]

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        return tuple(self.base_channels * 2**stage * expansion(self.depth) for stage in range(self.num_stages))

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the channels of all returned stages."""
        return sum(self.stage_channels[stage] for stage in self.out_indices)

    def per_block(self, flags: tuple[int | tuple[int, ...], ...] | int, name: str) -> PerBlock:
        """`flags`, given for the network, its stages or their blocks, as one flag per block.

        Raises:
            ValueError: their number does not fit.
        """
        stages = (flags,) * self.num_stages if isinstance(flags, int) else flags
        # the defaults have four entries, even if fewer stages are built
        if len(stages) < self.num_stages:
            raise ValueError(f"{name} needs {self.num_stages = } entries; {stages = }")
        spelled = tuple(
            (stage,) * blocks if isinstance(stage, int) else stage
            for stage, blocks in zip(stages, self.blocks, strict=False)
        )
        if tuple(map(len, spelled)) != self.blocks:
            raise ValueError(f"{name} needs one entry for each of {self.blocks} blocks; {stages = }")
        return spelled


def _check_sizes(name: str, value: tuple[int, ...], count: int) -> None:
    if not (isinstance(value, tuple) and len(value) == count and all(type(size) is int and size > 0 for size in value)):
        raise ValueError(f"{name} needs {count} integer(s) above 0; {value = }")


@dataclass(frozen=True)
class BlockConfig:
    """One residual block of a clip network; `stride` and `dilation` are (time, space) and space.

    `conv` builds its convolutions: ordinary ones, or those of another family with the same arguments.
    """

    in_channels: int
    width: int
    stride: tuple[int, int] = (1, 1)
    dilation: int = 1
    style: str = "pytorch"
    inflate: bool = True
    inflate_style: str = "3x1x1"
    non_local: NonLocalConfig | None = None
    norm_eps: float = 1e-5
    conv: type[ConvNorm] = ConvNorm


class BasicBlock3d(nn.Module):
    """Two 3x3 (inflated: 3x3x3) convolutions, a shortcut and an optional non-local block."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        time, space = config.stride
        depth = 3 if config.inflate else 1
        pad = depth // 2
        dilation = config.dilation
        self.conv1 = config.conv(
            config.in_channels,
            config.width,
            (depth, 3, 3),
            stride=(time, space, space),
            padding=(pad, dilation, dilation),
            dilation=(1, dilation, dilation),
            dims=3,
            norm_eps=config.norm_eps,
        )
        self.conv2 = config.conv(
            config.width,
            config.width,
            (depth, 3, 3),
            padding=(pad, 1, 1),
            dims=3,
            norm_eps=config.norm_eps,
            relu=False,
        )
        self.downsample = _shortcut(config, config.width)
        self.non_local_block = None if config.non_local is None else NonLocal3d(config.width, config.non_local)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.conv2(self.conv1(x)).add_(identity).relu_()
        return x if self.non_local_block is None else self.non_local_block(x)


class Bottleneck3d(nn.Module):
    """1x1, 3x3, 1x1 convolutions, one of them inflated, a shortcut and an optional non-local block."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        time, space = config.stride
        first, second = ((time, space), (1, 1)) if config.style == "caffe" else ((1, 1), (time, space))
        deep1 = 3 if config.inflate and config.inflate_style == "3x1x1" else 1
        deep2 = 3 if config.inflate and config.inflate_style == "3x3x3" else 1
        dilation = config.dilation
        self.conv1 = config.conv(
            config.in_channels,
            config.width,
            (deep1, 1, 1),
            stride=(first[0], first[1], first[1]),
            padding=(deep1 // 2, 0, 0),
            dims=3,
            norm_eps=config.norm_eps,
        )
        self.conv2 = self.middle(
            config,
            kernel=(deep2, 3, 3),
            stride=(second[0], second[1], second[1]),
            padding=(deep2 // 2, dilation, dilation),
            dilation=(1, dilation, dilation),
        )
        self.conv3 = config.conv(config.width, 4 * config.width, 1, dims=3, norm_eps=config.norm_eps, relu=False)
        self.downsample = _shortcut(config, 4 * config.width)
        self.non_local_block = None if config.non_local is None else NonLocal3d(4 * config.width, config.non_local)

    def middle(self, config: BlockConfig, **shape: Any) -> nn.Module:
        """The second convolution, of `config.width` channels; a family may replace it."""
        return config.conv(config.width, config.width, dims=3, norm_eps=config.norm_eps, **shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.conv3(self.conv2(self.conv1(x))).add_(identity).relu_()
        return x if self.non_local_block is None else self.non_local_block(x)


def _shortcut(config: BlockConfig, out_channels: int) -> ConvNorm | None:
    time, space = config.stride
    # A stride in time alone adds no shortcut convolution: MMAction2 checks space and channels only.
    if space == 1 and config.in_channels == out_channels:
        return None
    return config.conv(
        config.in_channels, out_channels, 1, stride=(time, space, space), dims=3, norm_eps=config.norm_eps, relu=False
    )


BlockClass = Callable[[BlockConfig], nn.Module]
"""Builds a residual block."""


class ResNet3d(nn.Module):
    """The network up to its last feature map.

    Args:
        config: depth, strides, inflation and so on.
        block: builds its residual blocks; None means the kind of the depth.
        conv: builds its convolutions.
        joined_channels: for each stage, how many channels of another pathway are joined to its input.
    """

    def __init__(
        self,
        config: ResNet3dConfig,
        *,
        block: BlockClass | None = None,
        conv: type[ConvNorm] = ConvNorm,
        joined_channels: tuple[int, ...] = (0, 0, 0, 0),
    ) -> None:
        super().__init__()
        self.out_indices = config.out_indices
        self.conv1 = conv(
            config.in_channels,
            config.base_channels,
            config.conv1_kernel,
            stride=(config.conv1_stride_t, config.conv1_stride_s, config.conv1_stride_s),
            padding=tuple((size - 1) // 2 for size in config.conv1_kernel),
            dims=3,
            norm_eps=config.norm_eps,
        )
        pool_stride = (config.pool1_stride_t, config.pool1_stride_s, config.pool1_stride_s)
        self.pool1 = nn.MaxPool3d((1, 3, 3), stride=pool_stride, padding=(0, 1, 1)) if config.with_pool1 else None
        self.pool2 = nn.MaxPool3d((2, 1, 1)) if config.with_pool2 else None
        self.stages = [f"layer{stage + 1}" for stage in range(config.num_stages)]
        block = block or (Bottleneck3d if expansion(config.depth) == 4 else BasicBlock3d)
        into_stage = (config.base_channels, *config.stage_channels)
        for stage, name in enumerate(self.stages):
            blocks = _blocks(config, stage, into_stage[stage] + joined_channels[stage], conv)
            self.add_module(name, nn.Sequential(*map(block, blocks)))

    def stem(self, clips: torch.Tensor) -> torch.Tensor:
        """The first convolution and its pooling: float32 `[N, in_channels, T, H, W]` to the first stage's input."""
        x = self.conv1(clips)
        return x if self.pool1 is None else self.pool1(x)

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps of clips.

        Args:
            clips: float32 `[N, in_channels, T, H, W]`, normalised.

        Returns:
            `[N, C, T', H / 32, W / 32]`, or a tuple of such maps if several stages are returned.
        """
        x = self.stem(clips)
        outputs = []
        for number, stage in enumerate(self.stages):
            x = self.get_submodule(stage)(x)
            if number == 0 and self.pool2 is not None:
                x = self.pool2(x)
            if number in self.out_indices:
                outputs.append(x)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _blocks(config: ResNet3dConfig, stage: int, in_channels: int, conv: type[ConvNorm]) -> list[BlockConfig]:
    """All blocks of one stage; only the first has strides."""
    inflate = config.per_block(config.inflate, "inflate")[stage]
    non_local = config.per_block(config.non_local, "non_local")[stage]
    strides = (config.temporal_strides[stage], config.spatial_strides[stage])
    return [
        BlockConfig(
            in_channels=in_channels if number == 0 else config.stage_channels[stage],
            width=config.base_channels * 2**stage,
            stride=strides if number == 0 else (1, 1),
            dilation=config.dilations[stage],
            style=config.style,
            inflate=inflate[number] == 1,
            inflate_style=config.inflate_style,
            non_local=config.non_local_block if non_local[number] == 1 else None,
            norm_eps=config.norm_eps,
            conv=conv,
        )
        for number in range(config.blocks[stage])
    ]
