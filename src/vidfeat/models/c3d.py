"""C3D: eight plain 3D convolutions and two fully connected layers.

Paper: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks" (arXiv:1412.0767). Layout and
parameter names are those of MMAction2's `C3D` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vidfeat.models.layers import ConvNorm


@dataclass(frozen=True)
class C3DConfig:
    """Configuration of a C3D.

    Attributes:
        flat_size: values of a clip's last feature map, `512 * T' * H' * W'`; 8192 for clips of 16x112x112.
        norm_eps: epsilon of batch normalisations after the convolutions; None means that there are none.
    """

    flat_size: int = 8192
    norm_eps: float | None = None

    def __post_init__(self) -> None:
        if type(self.flat_size) is not int or self.flat_size < 1:
            raise ValueError(f"flat_size must be an integer above 0; {self.flat_size = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the outputs of the last fully connected layer."""
        return 4096


class C3D(nn.Module):
    """The network up to its second fully connected layer."""

    def __init__(self, config: C3DConfig) -> None:
        super().__init__()

        def conv(in_channels: int, out_channels: int) -> ConvNorm:
            bias = config.norm_eps is None
            return ConvNorm(in_channels, out_channels, 3, padding=1, dims=3, norm_eps=config.norm_eps, bias=bias)

        self.conv1a = conv(3, 64)
        self.pool1 = nn.MaxPool3d((1, 2, 2))
        self.conv2a = conv(64, 128)
        self.pool2 = nn.MaxPool3d(2)
        self.conv3a = conv(128, 256)
        self.conv3b = conv(256, 256)
        self.pool3 = nn.MaxPool3d(2)
        self.conv4a = conv(256, 512)
        self.conv4b = conv(512, 512)
        self.pool4 = nn.MaxPool3d(2)
        self.conv5a = conv(512, 512)
        self.conv5b = conv(512, 512)
        self.pool5 = nn.MaxPool3d(2, padding=(0, 1, 1))
        self.fc6 = nn.Linear(config.flat_size, 4096)
        self.fc7 = nn.Linear(4096, 4096)

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Feature vectors of clips.

        Args:
            clips: float32 `[N, 3, T, H, W]`, normalised; T, H and W must give `flat_size` values.

        Returns:
            `[N, 4096]`.
        """
        x = self.pool1(self.conv1a(clips))
        x = self.pool2(self.conv2a(x))
        x = self.pool3(self.conv3b(self.conv3a(x)))
        x = self.pool4(self.conv4b(self.conv4a(x)))
        x = self.pool5(self.conv5b(self.conv5a(x)))
        return self.fc7(self.fc6(x.flatten(1)).relu_()).relu_()
