"""TANet: ResNets for images whose blocks mix neighbouring frames with kernels that depend on the video.

Paper: Liu et al., "TAM: Temporal Adaptive Module for Video Recognition" (arXiv:2005.06803). Layout and parameter names
are those of MMAction2's `TANet` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from vidfeat.models.resnet import Bottleneck, ResNet, ResNetConfig, expansion
from vidfeat.models.tsm import by_clip


@dataclass(frozen=True)
class TAMConfig:
    """Configuration of a temporal adaptive module.

    Attributes:
        alpha: hidden units over segments, in the branch that computes kernels.
        adaptive_kernel_size: length of those kernels, in frames; odd.
        beta: channels over hidden channels, in the branch that computes weights.
        conv1d_kernel_size: length of that branch's first kernel, in frames; odd.
    """

    alpha: int = 2
    adaptive_kernel_size: int = 3
    beta: int = 4
    conv1d_kernel_size: int = 3

    def __post_init__(self) -> None:
        if self.alpha < 1 or self.beta < 1:
            raise ValueError(f"alpha and beta must be at least 1; {self = }")
        if self.adaptive_kernel_size % 2 != 1 or self.conv1d_kernel_size % 2 != 1:
            raise ValueError(f"kernel sizes must be odd; {self = }")


@dataclass(frozen=True)
class TANetConfig:
    """Configuration of a TANet.

    Attributes:
        resnet: the network without modules; depth 50 or more.
        segments: number of neighbouring frames that are mixed; at least 3.
        tam: the configuration of the modules.
    """

    resnet: ResNetConfig
    segments: int
    tam: TAMConfig = field(default_factory=TAMConfig)

    def __post_init__(self) -> None:
        if expansion(self.resnet.depth) != 4:
            raise ValueError(f"TANet needs bottlenecks, depth 50 or more; {self.resnet.depth = }")
        if self.segments < 3:
            raise ValueError(f"segments must be at least 3; {self.segments = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.resnet.feature_size


class TemporalAdaptive(nn.Module):
    """Weight every frame, then mix neighbours with a separate kernel for each channel.

    `G` computes kernels from a channel's values in all segments, `L` weights from all channels of neighbouring frames.
    """

    def __init__(self, channels: int, segments: int, config: TAMConfig) -> None:
        super().__init__()
        self.segments = segments
        hidden, kernel = segments * config.alpha, config.conv1d_kernel_size
        self.G = nn.Sequential(
            nn.Linear(segments, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, config.adaptive_kernel_size, bias=False),
            nn.Softmax(-1),
        )
        self.L = nn.Sequential(
            nn.Conv1d(channels, channels // config.beta, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(channels // config.beta),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels // config.beta, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N * segments, C, H, W]`, in order of time, to the same."""
        frames = by_clip(x, self.segments)
        series = frames.mean((3, 4)).transpose(1, 2)
        kernels = self.G(series.flatten(0, 1)).view(*series.shape[:2], -1)
        weights = self.L(series)
        return _mix_neighbours(frames, weights, kernels).flatten(0, 1)


def _mix_neighbours(frames: torch.Tensor, weights: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Weighted frames, convolved in time.

    Args:
        frames: `[N, T, C, H, W]`.
        weights: of each frame, `[N, C, T]`.
        kernels: `[N, C, K]`, K odd; frames outside the T frames are zero.

    Returns:
        `[N, T, C, H, W]`.
    """
    segments, middle = frames.shape[1], kernels.shape[2] // 2
    # the coefficients of the mix are a small tensor; weighted frames would be one of full size
    shares = (weights[..., None] * kernels[:, :, None]).transpose(1, 2)[..., None, None]
    mixed = frames * shares[:, :, :, middle]
    for offset in range(-middle, middle + 1):
        span = segments - abs(offset)
        if offset == 0 or span <= 0:
            continue
        source = slice(max(offset, 0), max(offset, 0) + span)
        target = slice(max(-offset, 0), max(-offset, 0) + span)
        mixed[:, target].addcmul_(frames[:, source], shares[:, source, :, middle + offset])
    return mixed


class AdaptiveBlock(nn.Module):
    """A bottleneck with a temporal adaptive module after its first convolution."""

    def __init__(self, block: Bottleneck, channels: int, config: TANetConfig) -> None:
        super().__init__()
        self.block = block
        self.tam = TemporalAdaptive(channels, config.segments, config.tam)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One residual block."""
        block = self.block
        identity = x if block.downsample is None else block.downsample(x)
        return block.conv3(block.conv2(self.tam(block.conv1(x)))).add_(identity).relu_()


class TANet(ResNet):
    """A ResNet of adaptive blocks; `forward_features` takes `[N * segments, 3, H, W]`, in order of time."""

    def __init__(self, config: TANetConfig) -> None:
        super().__init__(config.resnet)
        for number, name in enumerate(self.stages):
            stage = self.get_submodule(name)
            assert isinstance(stage, nn.Sequential)
            for index, block in enumerate(stage):
                assert isinstance(block, Bottleneck)
                stage[index] = AdaptiveBlock(block, 64 * 2**number, config)
