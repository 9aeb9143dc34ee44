"""ResNeXt for images, as mmcls and mmpretrain name its parameters: a backbone of TSN.

Paper: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks" (arXiv:1611.05431). Released TSN
checkpoints have mmcls's names (`conv1`, `bn1`), which differ from those of MMAction2's own ResNet (`conv1.conv`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from vidfeat.models.layers import fold
from vidfeat.models.resnet import BLOCKS, ResNetConfig, expansion


@dataclass(frozen=True)
class ResNeXtConfig:
    """Configuration of a ResNeXt.

    Attributes:
        resnet: depth (50 or more), stages, strides and so on.
        groups: groups of the 3x3 convolutions.
        width_per_group: channels of each group in the first stage.
    """

    resnet: ResNetConfig = field(default_factory=lambda: ResNetConfig(depth=50))
    groups: int = 32
    width_per_group: int = 4

    def __post_init__(self) -> None:
        if expansion(self.resnet.depth) != 4:
            raise ValueError(f"depth must be 50, 101 or 152; {self.resnet.depth = }")
        if self.groups < 1 or self.width_per_group < 1:
            raise ValueError(f"groups and width_per_group must be at least 1; {self = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.resnet.feature_size

    def width(self, stage: int) -> int:
        """Channels inside the blocks of a stage."""
        # one group is an ordinary ResNet, whatever `width_per_group`
        return 2**stage * (64 if self.groups == 1 else self.groups * self.width_per_group)


class GroupedBottleneck(nn.Module):
    """1x1, grouped 3x3, 1x1 convolutions and a shortcut; `[N, C, H, W]` to `[N, out_channels, H', W']`."""

    def __init__(self, in_channels: int, stage: int, stride: int, config: ResNeXtConfig) -> None:
        super().__init__()
        resnet, width, out_channels = config.resnet, config.width(stage), 256 * 2**stage
        dilation, eps = resnet.dilations[stage], resnet.norm_eps
        first, second = (stride, 1) if resnet.style == "caffe" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width, eps)
        self.conv2 = nn.Conv2d(width, width, 3, second, dilation, dilation, config.groups, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(width, eps)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3: nn.Module = nn.BatchNorm2d(out_channels, eps)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels, eps)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        return self.bn3(self.conv3(x)).add_(identity).relu_()

    def fold_norm(self) -> None:
        """Move the normalisations into the convolutions, for inference; idempotent."""
        for number in (1, 2, 3):
            self._fold(self, f"conv{number}", f"bn{number}")
        if self.downsample is not None:
            self._fold(self.downsample, "0", "1")

    @staticmethod
    def _fold(parent: nn.Module, conv: str, norm: str) -> None:
        if isinstance(parent.get_submodule(norm), nn.BatchNorm2d):
            fold(parent.get_submodule(conv), parent.get_submodule(norm))
            parent.add_module(norm, nn.Identity())


class ResNeXt(nn.Module):
    """The network up to its last feature map."""

    def __init__(self, config: ResNeXtConfig) -> None:
        super().__init__()
        resnet = config.resnet
        self.out_indices = resnet.out_indices
        self.conv1 = nn.Conv2d(resnet.in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(64, resnet.norm_eps)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        self.stages: list[str] = []
        for stage, blocks in enumerate(BLOCKS[resnet.depth][: resnet.num_stages]):
            after = 256 * 2**stage
            first = GroupedBottleneck(channels, stage, resnet.strides[stage], config)
            rest = [GroupedBottleneck(after, stage, 1, config) for _ in range(blocks - 1)]
            self.stages.append(f"layer{stage + 1}")
            self.add_module(self.stages[-1], nn.Sequential(first, *rest))
            channels = after

    def fold_norm(self) -> None:
        """Move the first normalisation into its convolution, for inference; idempotent."""
        if isinstance(self.bn1, nn.BatchNorm2d):
            fold(self.conv1, self.bn1)
            self.bn1 = nn.Identity()

    def forward_features(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps of images.

        Args:
            images: float32 `[N, in_channels, H, W]`, normalised.

        Returns:
            `[N, C, H / 32, W / 32]`, or a tuple of such maps if several stages are returned.
        """
        x = self.maxpool(self.bn1(self.conv1(images)).relu_())
        outputs = []
        for number, stage in enumerate(self.stages):
            x = self.get_submodule(stage)(x)
            if number in self.out_indices:
                outputs.append(x)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
