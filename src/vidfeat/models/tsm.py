"""TSM: ResNets for images whose blocks combine neighbouring frames by shifting some channels in time.

Paper: Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding" (arXiv:1811.08383). Layout and
parameter names are those of MMAction2's `ResNetTSM` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from vidfeat.models.nonlocal3d import NonLocal3d, NonLocalConfig
from vidfeat.models.resnet import BLOCKS, ResNet, ResNetConfig, expansion

BlockFlags = tuple[tuple[int, ...], ...]
"""For each stage, one flag for each of its blocks."""


@dataclass(frozen=True)
class TSMConfig:
    """Configuration of a TSM.

    Attributes:
        resnet: the network without shifts.
        segments: number of neighbouring frames in a group; at least 2 with `temporal_pool`.
        is_shift: whether channels are shifted at all.
        shift_div: one channel in `shift_div` is shifted forward in time, and one in `shift_div` backward.
        shift_place: before a block's first convolution ("blockres"; in stages as deep as those of ResNet-101 in every
            other block), or before the whole block, shortcut included ("block").
        temporal_pool: whether the second stage begins by halving the number of frames.
        non_local: for each stage, one flag for each block: whether a non-local block follows; empty for none.
        non_local_block: its configuration.
    """

    resnet: ResNetConfig
    segments: int = 8
    is_shift: bool = True
    shift_div: int = 8
    shift_place: Literal["block", "blockres"] = "blockres"
    temporal_pool: bool = False
    non_local: BlockFlags = ()
    non_local_block: NonLocalConfig = field(default_factory=NonLocalConfig)

    def __post_init__(self) -> None:
        if self.segments < 1 or self.shift_div < 2:
            raise ValueError(
                f"segments must be at least 1 and shift_div at least 2; {self.segments = }, {self.shift_div = }"
            )
        if self.shift_place not in ("block", "blockres"):
            raise ValueError(f"shift_place must be 'block' or 'blockres'; {self.shift_place = }")
        if self.is_shift and self.resnet.num_stages != 4:
            raise ValueError(f"the shift needs all four stages; {self.resnet.num_stages = }")
        if self.temporal_pool and self.segments % 2:
            raise ValueError(f"temporal_pool halves the segments, which must be even; {self.segments = }")
        check_non_local(self.non_local, self.resnet)
        if self.non_local and (self.temporal_pool or (self.is_shift and self.shift_place == "block")):
            raise ValueError("non-local blocks go neither with temporal_pool nor with shift_place='block'")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.resnet.feature_size


def check_non_local(flags: BlockFlags, resnet: ResNetConfig) -> None:
    """Raise ValueError if the flags do not fit the network's blocks."""
    if flags == ():
        return
    blocks = BLOCKS[resnet.depth][: resnet.num_stages]
    if (
        not isinstance(flags, tuple)
        or not all(isinstance(stage, tuple) for stage in flags)
        or tuple(map(len, flags)) != blocks
    ):
        raise ValueError(f"non_local needs one entry for each of {blocks} blocks; {flags = }")
    if expansion(resnet.depth) != 4:
        raise ValueError(f"non-local blocks need bottlenecks, depth 50 or more; {resnet.depth = }")


class TemporalShift(nn.Module):
    """Shift channels in time, then apply `net`."""

    def __init__(self, net: nn.Module, segments: int, shift_div: int) -> None:
        super().__init__()
        self.net = net
        self.segments = segments
        self.shift_div = shift_div

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N * segments, C, H, W]` in order of time to the output of `net` for the same shape."""
        return self.net(shift(x, self.segments, self.shift_div))


def by_clip(x: torch.Tensor, segments: int) -> torch.Tensor:
    """Frames `[N * segments, C, H, W]` as `[N, segments, C, H, W]`, without a copy.

    Raises:
        RuntimeError: the number of frames is not a multiple of `segments`.
    """
    return x.view(-1, segments, *x.shape[1:])


def shift(x: torch.Tensor, segments: int, shift_div: int) -> torch.Tensor:
    """The first `C // shift_div` channels of every frame come from the frame after it, the next as many from before.

    Args:
        x: `[N * segments, C, H, W]`, each group of `segments` frames in order of time.
        segments: frames in a group; frames outside are zero.
        shift_div: as in `TSMConfig`.

    Returns:
        A tensor of the same shape and memory format.
    """
    fold = x.shape[1] // shift_div
    if fold == 0:
        return x
    # One copy of everything, then one of the few shifted channels: a copy per channel is several times slower.
    shifted = x.clone()
    source, target = by_clip(x, segments), by_clip(shifted, segments)
    target[:, :-1, :fold] = source[:, 1:, :fold]
    target[:, -1, :fold] = 0
    target[:, 1:, fold : 2 * fold] = source[:, :-1, fold : 2 * fold]
    target[:, 0, fold : 2 * fold] = 0
    return shifted


class TemporalPool(nn.Module):
    """The maximum over three frames, at every other frame, then `net`."""

    def __init__(self, net: nn.Module, segments: int) -> None:
        super().__init__()
        self.net = net
        self.segments = segments

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N * segments, C, H, W]` to the output of `net` for `[N * segments / 2, C, H, W]`."""
        frames = by_clip(x, self.segments)
        # The window at frame 2k is from 2k - 1 to 2k + 1; the first one begins with the video.
        pooled = torch.maximum(frames[:, ::2], frames[:, 1::2])
        pooled[:, 1:] = torch.maximum(pooled[:, 1:], frames[:, 1:-1:2])
        return self.net(pooled.flatten(0, 1).contiguous(memory_format=torch.channels_last))


class NonLocalFrames(nn.Module):
    """A residual block, then a non-local block over all positions of `segments` neighbouring frames."""

    def __init__(self, block: nn.Module, channels: int, segments: int, config: NonLocalConfig) -> None:
        super().__init__()
        self.block = block
        self.non_local_block = NonLocal3d(channels, config)
        self.segments = segments

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N * segments, C, H, W]` to the output of the block."""
        clips = by_clip(self.block(x), self.segments).transpose(1, 2)
        return self.non_local_block(clips).transpose(1, 2).flatten(0, 1)


def add_non_local(net: ResNet, resnet: ResNetConfig, segments: int, flags: BlockFlags, config: NonLocalConfig) -> None:
    """Wrap the flagged blocks of a ResNet, in place."""
    for number, (name, stage_flags) in enumerate(zip(net.stages, flags, strict=False)):
        stage = net.get_submodule(name)
        assert isinstance(stage, nn.Sequential)
        channels = 64 * 2**number * expansion(resnet.depth)
        for index, flag in enumerate(stage_flags):
            if flag:
                stage[index] = NonLocalFrames(stage[index], channels, segments, config)


class ResNetTSM(ResNet):
    """A ResNet with shifts; `forward_features` takes `[N * segments, 3, H, W]`, in order of time.

    With `temporal_pool` it returns the maps of half as many frames.
    """

    def __init__(self, config: TSMConfig) -> None:
        super().__init__(config.resnet)
        if config.is_shift:
            _add_shifts(self, config)
        add_non_local(self, config.resnet, config.segments, config.non_local, config.non_local_block)
        if config.temporal_pool:
            self.layer2 = TemporalPool(self.get_submodule("layer2"), config.segments)


def _add_shifts(net: ResNet, config: TSMConfig) -> None:
    every = 2 if config.shift_place == "blockres" and BLOCKS[config.resnet.depth][2] >= 23 else 1
    for number, name in enumerate(net.stages):
        stage = net.get_submodule(name)
        assert isinstance(stage, nn.Sequential)
        segments = config.segments // 2 if config.temporal_pool and number > 0 else config.segments
        for index in range(0, len(stage), every):
            if config.shift_place == "block":
                stage[index] = TemporalShift(stage[index], segments, config.shift_div)
            else:
                first = stage[index].get_submodule("conv1")
                first.conv = TemporalShift(first.get_submodule("conv"), segments, config.shift_div)
