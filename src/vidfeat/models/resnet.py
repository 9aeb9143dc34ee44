"""ResNet for images, frame by frame: the backbone of TSN and TRN.

Paper: He et al., "Deep Residual Learning for Image Recognition" (arXiv:1512.03385). Block counts and the two styles
are those of MMAction2's `ResNet` (0.x and 1.x), as are the parameter names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vidfeat.models.layers import ConvNorm

BLOCKS: dict[int, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth to blocks per stage (table 1 of the paper)."""


@dataclass(frozen=True)
class ResNetConfig:
    """Configuration of a ResNet.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        in_channels: channels of the input.
        num_stages: number of stages that are built, 1 to 4.
        out_indices: the stages whose output is returned, counted from 0.
        strides: stride of the first block of each stage.
        dilations: dilation of each stage.
        style: the convolution with a bottleneck's stride: "pytorch" its 3x3, "caffe" in its first 1x1.
        norm_eps: epsilon of the batch normalisations.
    """

    depth: int
    in_channels: int = 3
    num_stages: int = 4
    out_indices: tuple[int, ...] = (3,)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    style: Literal["pytorch", "caffe"] = "pytorch"
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_resnet_shape(self.depth, self.num_stages, self.out_indices)
        if not len(self.strides) == len(self.dilations) == self.num_stages:
            raise ValueError(f"strides and dilations need {self.num_stages = } entries each; {self = }")
        if self.style not in ("pytorch", "caffe"):
            raise ValueError(f"style must be 'pytorch' or 'caffe'; {self.style = }")

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        return tuple(64 * 2**stage * expansion(self.depth) for stage in range(self.num_stages))

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the channels of all returned stages."""
        return sum(self.stage_channels[stage] for stage in self.out_indices)


def check_resnet_shape(depth: int, num_stages: int, out_indices: tuple[int, ...]) -> None:
    """Raise ValueError if depth, stages and outputs do not fit together."""
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {sorted(BLOCKS)}; {depth = }")
    if not 1 <= num_stages <= 4:
        raise ValueError(f"num_stages must be 1, 2, 3 or 4; {num_stages = }")
    if not out_indices or not all(0 <= stage < num_stages for stage in out_indices):
        raise ValueError(f"out_indices must name stages in [0, {num_stages}); {out_indices = }")


def expansion(depth: int) -> int:
    """Output channels of a block over its width: 4 for bottlenecks (depth 50 and more), else 1."""
    return 4 if depth >= 50 else 1


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `[N, in_channels, H, W]` to `[N, width, H / stride, W / stride]`."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, style: str, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = ConvNorm(
            in_channels, width, 3, stride=stride, padding=dilation, dilation=dilation, dims=2, norm_eps=norm_eps
        )
        self.conv2 = ConvNorm(width, width, 3, padding=1, dims=2, norm_eps=norm_eps, relu=False)
        self.downsample = _shortcut(in_channels, width, stride, norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        identity = x if self.downsample is None else self.downsample(x)
        return self.conv2(self.conv1(x)).add_(identity).relu_()


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; `[N, C, H, W]` to `[N, 4 * width, H / stride, W / stride]`."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, style: str, norm_eps: float) -> None:
        super().__init__()
        first, second = (stride, 1) if style == "caffe" else (1, stride)
        self.conv1 = ConvNorm(in_channels, width, 1, stride=first, dims=2, norm_eps=norm_eps)
        self.conv2 = ConvNorm(
            width, width, 3, stride=second, padding=dilation, dilation=dilation, dims=2, norm_eps=norm_eps
        )
        self.conv3 = ConvNorm(width, 4 * width, 1, dims=2, norm_eps=norm_eps, relu=False)
        self.downsample = _shortcut(in_channels, 4 * width, stride, norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        identity = x if self.downsample is None else self.downsample(x)
        return self.conv3(self.conv2(self.conv1(x))).add_(identity).relu_()


def _shortcut(in_channels: int, out_channels: int, stride: int, norm_eps: float) -> ConvNorm | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return ConvNorm(in_channels, out_channels, 1, stride=stride, dims=2, norm_eps=norm_eps, relu=False)


class ResNet(nn.Module):
    """The network up to its last feature map."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.out_indices = config.out_indices
        self.conv1 = ConvNorm(config.in_channels, 64, 7, stride=2, padding=3, dims=2, norm_eps=config.norm_eps)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        block = Bottleneck if expansion(config.depth) == 4 else BasicBlock
        channels = 64
        self.stages: list[str] = []
        for stage, blocks in enumerate(BLOCKS[config.depth][: config.num_stages]):
            width = 64 * 2**stage
            layers = []
            for number in range(blocks):
                stride = config.strides[stage] if number == 0 else 1
                layers.append(block(channels, width, stride, config.dilations[stage], config.style, config.norm_eps))
                channels = width * expansion(config.depth)
            self.stages.append(f"layer{stage + 1}")
            self.add_module(self.stages[-1], nn.Sequential(*layers))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps of images.

        Args:
            images: float32 `[N, in_channels, H, W]`, normalised.

        Returns:
            `[N, C, H / 32, W / 32]`, or a tuple of such maps if several stages are returned.
        """
        x = self.maxpool(self.conv1(images))
        outputs = []
        for number, stage in enumerate(self.stages):
            x = self.get_submodule(stage)(x)
            if number in self.out_indices:
                outputs.append(x)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
