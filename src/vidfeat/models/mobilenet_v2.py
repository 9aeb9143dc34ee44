"""MobileNetV2 for images, and the TSM made from it.

Papers: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv:1801.04381); Lin et al., "TSM"
(arXiv:1811.08383). Layout and parameter names are those of MMAction2's `MobileNetV2` and `MobileNetV2TSM`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from vidfeat.models.layers import ConvNorm
from vidfeat.models.tsm import TemporalShift

LAYERS: tuple[tuple[int, int, int, int], ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, blocks and stride of each layer (table 2 of the paper)."""

LAST = len(LAYERS)
"""Index, among the outputs, of the last convolution."""


def divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is not more than a tenth below `channels`."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


@dataclass(frozen=True)
class MobileNetV2Config:
    """Configuration of a MobileNetV2.

    Attributes:
        widen_factor: factor on the number of channels.
        out_indices: the layers whose output is returned: 0 to 6, and 7 for the last convolution.
        norm_eps: epsilon of the batch normalisations.
    """

    widen_factor: float = 1.0
    out_indices: tuple[int, ...] = (LAST,)
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if type(self.widen_factor) not in (int, float) or self.widen_factor <= 0:
            raise ValueError(f"widen_factor must be above 0; {self.widen_factor = }")
        if not self.out_indices or not all(0 <= index <= LAST for index in self.out_indices):
            raise ValueError(f"out_indices must name layers in [0, {LAST}]; {self.out_indices = }")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels after the first convolution and after each layer."""
        return tuple(divisible(channels * self.widen_factor) for channels in (32, *(row[1] for row in LAYERS)))

    @property
    def last_channels(self) -> int:
        """Channels after the last convolution."""
        return int(1280 * max(1.0, self.widen_factor))

    @property
    def layer_channels(self) -> tuple[int, ...]:
        """Output channels of each layer, including the last convolution."""
        return (*self.channels[1:], self.last_channels)

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return sum(self.layer_channels[index] for index in self.out_indices)


@dataclass(frozen=True)
class MobileNetV2TSMConfig:
    """Configuration of a MobileNetV2 with temporal shifts.

    Attributes:
        mobilenet: the network without shifts.
        segments, is_shift, shift_div: as in `TSMConfig`.
    """

    mobilenet: MobileNetV2Config = field(default_factory=MobileNetV2Config)
    segments: int = 8
    is_shift: bool = True
    shift_div: int = 8

    def __post_init__(self) -> None:
        if self.segments < 1 or self.shift_div < 2:
            raise ValueError(f"segments must be above 0 and shift_div above 1; {self.segments = }, {self.shift_div = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.mobilenet.feature_size


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; with a shortcut if input and output have the same shape."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, norm_eps: float) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers = [
            ConvNorm(in_channels, hidden, 1, dims=2, norm_eps=norm_eps, relu=False),
            ConvNorm(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, dims=2, norm_eps=norm_eps, relu=False),
            ConvNorm(hidden, out_channels, 1, dims=2, norm_eps=norm_eps, relu=False),
        ]
        self.conv = nn.Sequential(*layers[0 if expansion != 1 else 1 :])
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, H, W]` to `[N, out_channels, H / stride, W / stride]`."""
        *filters, project = self.conv
        y = x
        for layer in filters:
            y = functional.hardtanh_(layer(y), 0.0, 6.0)
        y = project(y)
        return y.add_(x) if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """The network up to its last feature map."""

    def __init__(self, config: MobileNetV2Config) -> None:
        super().__init__()
        eps = config.norm_eps
        self.out_indices = config.out_indices
        self.conv1 = ConvNorm(3, config.channels[0], 3, stride=2, padding=1, dims=2, norm_eps=eps, relu=False)
        self.layers: list[str] = []
        for number, (expansion, _, blocks, stride) in enumerate(LAYERS):
            before, after = config.channels[number : number + 2]
            first = InvertedResidual(before, after, stride, expansion, eps)
            rest = [InvertedResidual(after, after, 1, expansion, eps) for _ in range(blocks - 1)]
            self.layers.append(f"layer{number + 1}")
            self.add_module(self.layers[-1], nn.Sequential(first, *rest))
        self.conv2 = ConvNorm(config.channels[-1], config.last_channels, 1, dims=2, norm_eps=eps, relu=False)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps of images.

        Args:
            images: float32 `[N, 3, H, W]`, normalised; `[N * segments, 3, H, W]` in order of time if there are shifts.

        Returns:
            `[N, C, H / 32, W / 32]`, or a tuple of maps if several layers are returned.
        """
        x = functional.hardtanh_(self.conv1(images), 0.0, 6.0)
        outputs = []
        for number, name in enumerate(self.layers):
            x = self.get_submodule(name)(x)
            if number in self.out_indices:
                outputs.append(x)
        if LAST in self.out_indices:
            outputs.append(functional.hardtanh_(self.conv2(x), 0.0, 6.0))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


class MobileNetV2TSM(MobileNetV2):
    """A MobileNetV2 whose residual blocks, from the second layer on, begin with a temporal shift."""

    def __init__(self, config: MobileNetV2TSMConfig) -> None:
        super().__init__(config.mobilenet)
        if not config.is_shift:
            return
        for block in list(self.modules()):
            if isinstance(block, InvertedResidual) and block.has_shortcut and len(block.conv) == 3:
                block.conv[0] = TemporalShift(block.conv[0], config.segments, config.shift_div)
