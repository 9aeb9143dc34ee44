"""The network as it is run: from the pixels of a batch to its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

import torch
from torch import nn

from vidfeat.inference.pooling import pool_views
from vidfeat.models import Recognizer
from vidfeat.recipe import Normalize, Recipe

ForwardFeatures = Callable[[torch.Tensor], Union[torch.Tensor, tuple[torch.Tensor, ...]]]
"""A model's `forward_features`."""


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


class FeatureNetwork(nn.Module):
    """Normalises pixels, runs a model on them, pools its maps inside each view, and applies its head if it has one.

    Args:
        model: with its weights, in eval mode, fp32.
        recipe: what it computes.

    Attributes:
        model, recipe: the arguments.
        dtype: number format of the model; normalisation and pooling are in fp32 whatever it is.
    """

    def __init__(self, model: Recognizer, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.normalize = Normalizer(recipe.normalize, recipe.model.dims)
        self.dtype = torch.float32

    def convert(self, dtype: torch.dtype) -> None:
        """Change the model's number format, in place."""
        self.model.to(dtype)
        self.dtype = dtype

    def forward(self, pixels: torch.Tensor, forward_features: ForwardFeatures | None = None) -> torch.Tensor:
        """The rows of some samples.

        Args:
            pixels: RGB `[N, frames, H, W, 3]`, of `Recipe.pixel_dtype`.
            forward_features: runs in place of the model's own, as compiled code does.

        Returns:
            float32 `[N * rows per sample, C]`, plus the axes that the recipe's pooling keeps.
        """
        inputs = self.normalize(pixels.flatten(0, 1) if self.recipe.model.dims == 2 else pixels)
        maps = (forward_features or self.model.forward_features)(inputs.to(self.dtype))
        rows = pool_views(maps, self.recipe.pooling)
        if self.recipe.model.head is None:
            return rows
        return self.model.cls_head(rows.to(self.dtype)).float()
