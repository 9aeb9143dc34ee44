"""TIN: ResNets for images whose blocks combine frames by shifting channels in time by learned distances.

Paper: Shao et al., "Temporal Interlacing Network" (arXiv:2001.06499). Layout and parameter names are those of
MMAction2's `ResNetTIN` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from vidfeat.models.nonlocal3d import NonLocalConfig
from vidfeat.models.resnet import ResNet, ResNetConfig
from vidfeat.models.tsm import BlockFlags, add_non_local, by_clip, check_non_local

GROUPS = 2
"""Learned distances per layer; each applies to one group of channels forward in time and one backward."""


@dataclass(frozen=True)
class TINConfig:
    """Configuration of a TIN.

    Attributes:
        resnet: the network without shifts.
        segments: number of neighbouring frames in a group.
        is_tin: whether channels are shifted at all.
        shift_div: one channel in `shift_div` is shifted.
        non_local, non_local_block: as in `TSMConfig`.
    """

    resnet: ResNetConfig
    segments: int = 8
    is_tin: bool = True
    shift_div: int = 4
    non_local: BlockFlags = ()
    non_local_block: NonLocalConfig = field(default_factory=NonLocalConfig)

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise ValueError(f"segments must be at least 1; {self.segments = }")
        # the narrowest blocks have 64 channels, whose shifted part is divided into 2 * GROUPS equal groups
        if self.shift_div < 1 or 64 % (self.shift_div * 2 * GROUPS):
            raise ValueError(f"shift_div must be 1, 2, 4, 8 or 16; {self.shift_div = }")
        if self.is_tin and self.resnet.num_stages != 4:
            raise ValueError(f"the shift needs all four stages; {self.resnet.num_stages = }")
        check_non_local(self.non_local, self.resnet)

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.resnet.feature_size


class OffsetNet(nn.Module):
    """The distance by which each group of channels is shifted in time."""

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 1, 3, padding=1)
        self.fc1 = nn.Linear(segments, segments)
        self.fc2 = nn.Linear(segments, GROUPS)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """`[N, channels, segments]` to frames in (-2, 2), `[N, GROUPS]`."""
        hidden = self.fc1(self.conv(series).squeeze(1)).relu_()
        return 4 * (self.fc2(hidden).sigmoid() - 0.5)


class WeightNet(nn.Module):
    """The weight of each group of channels in each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, GROUPS, 3, padding=1)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """`[N, channels, segments]` to weights in (0, 2), `[N, GROUPS, segments]`."""
        return 2 * self.conv(series).sigmoid()


class TemporalInterlace(nn.Module):
    """Shift the first `channels` channels in time; `[N * segments, C, H, W]` to the same."""

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        self.channels = channels
        self.segments = segments
        self.offset_net = OffsetNet(channels, segments)
        self.weight_net = WeightNet(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each group becomes a linear interpolation between two frames; frames outside are zero."""
        moved = by_clip(x[:, : self.channels], self.segments)
        series = moved.mean((3, 4)).transpose(1, 2)
        offsets = self.offset_net(series)
        mix = _mix(torch.cat([offsets, -offsets], 1), self.segments)
        mix = mix * self.weight_net(series).repeat(1, 2, 1)[..., None]
        groups = moved.view(*moved.shape[:2], 2 * GROUPS, -1, *moved.shape[3:])
        mixed = torch.einsum("ngts,nsgchw->ntgchw", mix, groups).flatten(2, 3).flatten(0, 1)
        out = x.clone()
        out[:, : self.channels] = mixed
        return out


def _mix(offsets: torch.Tensor, segments: int) -> torch.Tensor:
    """The coefficient of frame s in frame t, when shifted by a distance between two whole numbers of frames.

    Args:
        offsets: frames `[N, groups]`, positive towards later frames.
        segments: number of frames.

    Returns:
        `[N, groups, t, s]`.
    """
    whole = offsets.floor()
    to_later = offsets - whole
    frames = torch.arange(segments, device=offsets.device)
    distance = (frames[:, None] - frames[None, :])[None, None]
    whole, to_later = whole[..., None, None], to_later[..., None, None]
    return torch.where(distance == whole, 1 - to_later, 0) + torch.where(distance == whole + 1, to_later, 0)


class InterlacedConv(nn.Module):
    """A temporal interlace, then a convolution."""

    def __init__(self, interlace: TemporalInterlace, conv: nn.Module) -> None:
        super().__init__()
        self.net1 = interlace
        self.net2 = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N * segments, C, H, W]` to the output of the convolution."""
        return self.net2(self.net1(x))


class ResNetTIN(ResNet):
    """A ResNet with temporal interlacing; `forward_features` takes `[N * segments, 3, H, W]`, in order of time."""

    def __init__(self, config: TINConfig) -> None:
        super().__init__(config.resnet)
        for name in self.stages if config.is_tin else ():
            for block in self.get_submodule(name).children():
                first = block.get_submodule("conv1")
                conv = first.get_submodule("conv")
                assert isinstance(conv, nn.Conv2d)
                interlace = TemporalInterlace(conv.in_channels // config.shift_div, config.segments)
                first.conv = InterlacedConv(interlace, conv)
        add_non_local(self, config.resnet, config.segments, config.non_local, config.non_local_block)
