"""From crops to the network's float32 input, on the device."""

from __future__ import annotations

import torch
from torch import nn

from vidfeat.recipe import Normalize


class Normalizer(nn.Module):
    """Subtracts the mean of each channel and divides by its deviation.

    Args:
        how: mean and deviation per channel, in the network's order of channels.
        dims: 2 for a network of images, 3 for one of clips.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, how: Normalize, dims: int) -> None:
        super().__init__()
        self._to_bgr = how.to_bgr
        self._channels_first = (0, 3, 1, 2) if dims == 2 else (0, 4, 1, 2, 3)
        # On the device from the start: made there for every batch, they would have it wait for the host.
        self.register_buffer("mean", torch.tensor(how.mean, dtype=torch.float32), persistent=False)
        # The deviation is inverted in double precision and multiplied with, as OpenCV's normalisation does it.
        scale = (1.0 / torch.tensor(how.std, dtype=torch.float32).double()).float()
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """The input of the network.

        Args:
            crops: RGB, uint8 or float32, `[N, H, W, 3]` for 2 dimensions, `[N, T, H, W, 3]` for 3.

        Returns:
            float32, `[N, 3, H, W]` or `[N, 3, T, H, W]`, in channels-last memory order (which is the order that the
            pixels already have, so nothing is moved).
        """
        pixels = crops.flip(-1) if self._to_bgr else crops
        return pixels.to(torch.float32, copy=True).sub_(self.mean).mul_(self.scale).permute(self._channels_first)
