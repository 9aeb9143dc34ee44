"""Channel-separated networks: ResNets for clips whose 3x3x3 convolutions are depthwise.

Paper: Tran et al., "Video Classification with Channel-Separated Convolutional Networks" (arXiv:1904.02811). Layout and
parameter names are those of MMAction2's `ResNet3dCSN` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from vidfeat.models.layers import ConvNorm
from vidfeat.models.resnet import expansion
from vidfeat.models.resnet3d import BlockConfig, Bottleneck3d, ResNet3d, ResNet3dConfig

Mode = Literal["ip", "ir"]


@dataclass(frozen=True)
class CSNConfig:
    """Configuration of a channel-separated network.

    Attributes:
        net: the ResNet whose middle convolutions are separated; of bottlenecks, so at least 50 deep.
        mode: "ip" (interaction-preserved) puts a 1x1x1 convolution before each separated one, "ir" (interaction-
            reduced) does not.
    """

    net: ResNet3dConfig
    mode: Mode = "ir"

    def __post_init__(self) -> None:
        if expansion(self.net.depth) != 4:
            raise ValueError(f"depth must be 50, 101 or 152; {self.net.depth = }")
        if self.mode not in ("ip", "ir"):
            raise ValueError(f"mode must be 'ip' or 'ir'; {self.mode = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.net.feature_size


class CSNBottleneck(Bottleneck3d):
    """A bottleneck whose middle convolution is separated into channels."""

    def __init__(self, config: BlockConfig, *, mode: Mode) -> None:
        self.mode = mode
        super().__init__(config)

    def middle(self, config: BlockConfig, **shape: Any) -> nn.Module:
        """A depthwise convolution; after a pointwise one if `mode` is "ip"."""
        width, eps = config.width, config.norm_eps
        separated = ConvNorm(width, width, groups=width, dims=3, norm_eps=eps, **shape)
        if self.mode == "ir":
            return nn.Sequential(separated)
        return nn.Sequential(ConvNorm(width, width, 1, dims=3, norm_eps=eps, relu=False), separated)


class CSN(ResNet3d):
    """The network up to its last feature map."""

    def __init__(self, config: CSNConfig) -> None:
        super().__init__(config.net, block=partial(CSNBottleneck, mode=config.mode))
