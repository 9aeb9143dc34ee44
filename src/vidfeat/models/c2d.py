"""C2D: a ResNet for images that pools over time once; the baseline of the non-local networks.

Paper: Wang et al., "Non-local Neural Networks" (arXiv:1711.07971), section 4. Layout and parameter names are those of
MMAction2's `C2D` (1.x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vidfeat.models.resnet import ResNet, ResNetConfig


@dataclass(frozen=True)
class C2DConfig:
    """Configuration of a C2D.

    Attributes:
        net: the ResNet for images; it returns its last stage.
    """

    net: ResNetConfig

    def __post_init__(self) -> None:
        if self.net.out_indices != (self.net.num_stages - 1,):
            raise ValueError(f"out_indices can only be the last stage; {self.net.out_indices = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.net.feature_size


class C2D(ResNet):
    """The network up to its last feature map."""

    def __init__(self, config: C2DConfig) -> None:
        super().__init__(config.net)
        # without the padding of a ResNet
        self.maxpool = nn.MaxPool2d(3, stride=2)

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Feature maps of clips.

        Args:
            clips: float32 `[N, in_channels, T, H, W]`, normalised.

        Returns:
            `[N, C, T // 2, H / 32, W / 32]`.
        """
        number = clips.shape[0]
        x = self.maxpool(self.conv1(clips.transpose(1, 2).flatten(0, 1)))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
            if stage == "layer1":
                x = _pool_pairs(x.unflatten(0, (number, -1))).flatten(0, 1)
        return x.unflatten(0, (number, -1)).transpose(1, 2)


def _pool_pairs(frames: torch.Tensor) -> torch.Tensor:
    """The maximum of each two neighbours in time; `[N, T, C, H, W]` to `[N, T // 2, C, H, W]`."""
    pairs = frames.shape[1] // 2
    return torch.maximum(frames[:, 0 : 2 * pairs : 2], frames[:, 1 : 2 * pairs : 2])
