"""Classification heads: from feature vectors to class scores.

Parameter names below `cls_head.` are those of MMAction2's heads. Dropout is for training only. Scores are what a head
gives for one view; the softmax and the mean over views are those of `vidfeat.inference.pooling`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class LinearHeadConfig:
    """Configuration of a head of one layer, as most networks have.

    Attributes:
        in_channels: length of a feature vector.
        classes: number of classes.
        fast_channels: of SlowFast: how many of the last channels of a feature come first in the head's weights.
    """

    in_channels: int
    classes: int
    fast_channels: int = 0


class LinearHead(nn.Module):
    """One layer, `[N, in_channels]` to `[N, classes]`."""

    def __init__(self, config: LinearHeadConfig) -> None:
        super().__init__()
        self.fast_channels = config.fast_channels
        self.fc_cls = nn.Linear(config.in_channels, config.classes)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of each row."""
        return self.fc_cls(rows.roll(self.fast_channels, 1) if self.fast_channels else rows)


@dataclass(frozen=True)
class X3DHeadConfig:
    """Configuration of the head of X3D.

    Attributes:
        in_channels: length of a feature vector.
        classes: number of classes.
        bias: whether the first layer has a bias.
    """

    in_channels: int
    classes: int
    bias: bool = False


class X3DHead(nn.Module):
    """A hidden layer of 2048 channels, `[N, in_channels]` to `[N, classes]`."""

    def __init__(self, config: X3DHeadConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.in_channels, 2048, bias=config.bias)
        self.fc2 = nn.Linear(2048, config.classes)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of each row."""
        return self.fc2(self.fc1(rows).relu())


@dataclass(frozen=True)
class RelationHeadConfig:
    """Configuration of the head of TRN (Zhou et al., "Temporal Relational Reasoning in Videos", arXiv:1711.08496).

    Attributes:
        in_channels: length of the feature vector of a frame.
        classes: number of classes.
        segments: frames whose relations are scored together.
        hidden: channels of a frame in a relation.
        multi_scale: whether relations are of 2 to `segments` frames, or of all frames only.
    """

    in_channels: int
    classes: int
    segments: int = 8
    hidden: int = 256
    multi_scale: bool = True

    def __post_init__(self) -> None:
        if self.segments < 2:
            raise ValueError(f"a relation needs two frames; {self.segments = }")


class RelationHead(nn.Module):
    """Scores of relations among frames, `[N * segments, in_channels]` to `[N, classes]`.

    Of all relations of fewer than `segments` frames, MMAction2 draws three of each number of frames at every call,
    so that its scores differ from call to call. Here they are the ones that it draws after `numpy.random.seed(0)`.
    """

    def __init__(self, config: RelationHeadConfig) -> None:
        super().__init__()
        self.segments = config.segments
        self.relations = _relations(config.segments) if config.multi_scale else [[tuple(range(config.segments))]]
        width = 256 if config.multi_scale else 512
        scorers = [
            nn.Sequential(
                nn.ReLU(),
                nn.Linear(len(relations[0]) * config.hidden, width),
                nn.ReLU(),
                nn.Linear(width, config.classes),
            )
            for relations in self.relations
        ]
        name, part = ("fc_fusion_scales", nn.ModuleList(scorers)) if config.multi_scale else ("classifier", scorers[0])
        self.consensus = nn.ModuleDict({name: part})
        self.fc_cls = nn.Linear(config.in_channels, config.hidden)
        self.multi_scale = config.multi_scale

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of each group of `segments` rows."""
        frames = self.fc_cls(rows).unflatten(0, (-1, self.segments))
        scorers = self.consensus["fc_fusion_scales"] if self.multi_scale else [self.consensus["classifier"]]
        scores = [
            scorer(frames[:, relation].flatten(1))
            for scorer, relations in zip(scorers, self.relations, strict=True)  # type: ignore[arg-type]
            for relation in relations
        ]
        return torch.stack(scores).sum(0)


def _relations(segments: int) -> list[list[tuple[int, ...]]]:
    """The relations that are scored: frames in order, of all frames first."""
    draws = np.random.RandomState(0)
    chosen: list[list[tuple[int, ...]]] = [[tuple(range(segments))]]
    for frames in range(segments - 1, 1, -1):
        every = list(itertools.combinations(range(segments), frames))
        chosen.append([every[n] for n in draws.choice(len(every), min(3, len(every)), replace=False)])
    return chosen


@dataclass(frozen=True)
class OmniHeadConfig:
    """Configuration of the head of a network for images and videos.

    Attributes:
        in_channels: length of a feature vector.
        classes: number of classes of videos.
        image_classes: number of classes of images, which are not scored here; the weights are in checkpoints.
        hidden: whether there is a hidden layer of twice as many channels as classes.
    """

    in_channels: int
    classes: int
    image_classes: int
    hidden: bool = True


class OmniHead(nn.Module):
    """Scores of videos, `[N, in_channels]` to `[N, classes]`."""

    def __init__(self, config: OmniHeadConfig) -> None:
        super().__init__()
        channels, classes = config.in_channels, config.classes
        pool = (nn.Identity(), nn.Identity())  # pooled already; the places give the layers their names
        norm = nn.BatchNorm1d(channels)
        self.fc2d = nn.Sequential(*pool, norm, nn.Identity(), nn.Linear(channels, config.image_classes))
        if config.hidden:
            first = (nn.Linear(channels, 2 * classes), nn.BatchNorm1d(2 * classes), nn.ReLU(), nn.Identity())
            self.fc3d = nn.Sequential(*pool, *first, nn.Linear(2 * classes, classes))
        else:
            self.fc3d = nn.Sequential(*pool, nn.BatchNorm1d(channels), nn.Identity(), nn.Linear(channels, classes))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of each row."""
        return self.fc3d(rows)


HEADS: dict[type, Callable[[Any], nn.Module]] = {
    LinearHeadConfig: LinearHead,
    X3DHeadConfig: X3DHead,
    RelationHeadConfig: RelationHead,
    OmniHeadConfig: OmniHead,
}
"""Config class to module class."""
