"""MobileOne for images, and the TSM made from it.

Papers: Vasu et al., "MobileOne: An Improved One millisecond Mobile Backbone" (arXiv:2206.04040); Lin et al., "TSM"
(arXiv:1811.08383). Layout and parameter names are those of mmpretrain's `MobileOne` and MMAction2's `MobileOneTSM`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from vidfeat.models.layers import ConvNorm, fold
from vidfeat.models.mobilenet_v2 import divisible
from vidfeat.models.tsm import TemporalShift

BASE_CHANNELS = (64, 128, 256, 512)


@dataclass(frozen=True)
class MobileOneConfig:
    """Configuration of a MobileOne. The defaults are those of S0; `ARCHS` has the others.

    Attributes:
        num_blocks: blocks in each of the four stages, each a convolution over space and one over channels.
        width_factor: factor on the channels of each stage.
        num_conv_branches: parallel convolutions in each block.
        num_se_blocks: number of blocks, the last ones of each stage, with squeeze and excitation.
        se_ratio: channels over squeezed channels.
        out_indices: the stages whose output is returned, counted from 0.
        deploy: whether the checkpoint has one convolution for each block, its branches already merged.
        norm_eps: epsilon of the batch normalisations.
    """

    num_blocks: tuple[int, ...] = (2, 8, 10, 1)
    width_factor: tuple[float, ...] = (0.75, 1.0, 1.0, 2.0)
    num_conv_branches: tuple[int, ...] = (4, 4, 4, 4)
    num_se_blocks: tuple[int, ...] = (0, 0, 0, 0)
    se_ratio: int = 16
    out_indices: tuple[int, ...] = (3,)
    deploy: bool = False
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("num_blocks", "width_factor", "num_conv_branches", "num_se_blocks"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != 4:
                raise ValueError(f"{name} needs four entries, one for each stage; {value = }")
        if any(some > all_ for some, all_ in zip(self.num_se_blocks, self.num_blocks, strict=True)):
            raise ValueError(f"num_se_blocks must not exceed num_blocks; {self = }")
        if not self.out_indices or not all(0 <= stage < 4 for stage in self.out_indices):
            raise ValueError(f"out_indices must name stages in [0, 4); {self.out_indices = }")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels after the first block and after each stage."""
        stages = [int(base * factor) for base, factor in zip(BASE_CHANNELS, self.width_factor, strict=True)]
        return (min(64, stages[0]), *stages)

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the channels of all returned stages."""
        return sum(self.channels[stage + 1] for stage in self.out_indices)


ARCHS: dict[str, MobileOneConfig] = {
    "s0": MobileOneConfig(),
    "s1": MobileOneConfig(width_factor=(1.5, 1.5, 2.0, 2.5), num_conv_branches=(1, 1, 1, 1)),
    "s2": MobileOneConfig(width_factor=(1.5, 2.0, 2.5, 4.0), num_conv_branches=(1, 1, 1, 1)),
    "s3": MobileOneConfig(width_factor=(2.0, 2.5, 3.0, 4.0), num_conv_branches=(1, 1, 1, 1)),
    "s4": MobileOneConfig(
        width_factor=(3.0, 3.5, 3.5, 4.0), num_conv_branches=(1, 1, 1, 1), num_se_blocks=(0, 0, 5, 1)
    ),
}
"""The sizes of the paper's table 3."""


@dataclass(frozen=True)
class MobileOneTSMConfig:
    """Configuration of a MobileOne with temporal shifts.

    Attributes:
        mobileone: the network without shifts.
        segments, is_shift, shift_div: as in `TSMConfig`.
    """

    mobileone: MobileOneConfig = field(default_factory=MobileOneConfig)
    segments: int = 8
    is_shift: bool = True
    shift_div: int = 8

    def __post_init__(self) -> None:
        if self.segments < 1 or self.shift_div < 2:
            raise ValueError(f"segments must be above 0 and shift_div above 1; {self.segments = }, {self.shift_div = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.mobileone.feature_size


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: weight the channels of each image by its content; `[N, C, H, W]` to the same."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        squeezed = divisible(channels // ratio)
        self.conv1 = ConvNorm(channels, squeezed, 1, dims=2, norm_eps=None, bias=True)
        self.conv2 = ConvNorm(squeezed, channels, 1, dims=2, norm_eps=None, bias=True, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The weighted maps."""
        return x * self.conv2(self.conv1(x.mean((2, 3), keepdim=True))).sigmoid()


class ConvThenNorm(nn.Module):
    """One branch of a block: a convolution named `conv`, then a normalisation named `norm`."""

    def __init__(self, conv: nn.Conv2d, norm_eps: float) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels, eps=norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output of the branch."""
        return self.norm(self.conv(x))


class MobileOneBlock(nn.Module):
    """A sum of parallel convolutions, which inference merges into one.

    Args:
        in_channels, out_channels, kernel, stride, groups: of the convolutions.
        branches: how many of them have the full kernel.
        squeeze: whether a squeeze-and-excitation follows.
        config: of the network.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        branches: int,
        squeeze: bool = False,
        config: MobileOneConfig,
    ) -> None:
        super().__init__()

        def conv(size: int, *, bias: bool = False) -> nn.Conv2d:
            return nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=bias)

        self.kernel = kernel
        self.se = SqueezeExcite(out_channels, config.se_ratio) if squeeze else nn.Identity()
        if config.deploy:
            self.branch_reparam: nn.Conv2d | None = conv(kernel, bias=True)
            return
        self.branch_reparam = None
        same_shape = in_channels == out_channels and stride == 1
        self.branch_norm = nn.BatchNorm2d(in_channels, eps=config.norm_eps) if same_shape else None
        self.branch_scale = ConvThenNorm(conv(1), config.norm_eps) if kernel > 1 else None
        self.branch_conv_list = nn.ModuleList(ConvThenNorm(conv(kernel), config.norm_eps) for _ in range(branches))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, H, W]` to `[N, out_channels, H / stride, W / stride]`."""
        summed = self._sum_of_branches(x) if self.branch_reparam is None else self.branch_reparam(x)
        return self.se(summed).relu_()

    def _sum_of_branches(self, x: torch.Tensor) -> torch.Tensor:
        branches = [self.branch_norm, self.branch_scale, *self.branch_conv_list]
        return torch.stack([branch(x) for branch in branches if branch is not None]).sum(0)

    def fold_norm(self) -> None:
        """Merge all branches into one convolution, for inference; idempotent."""
        if self.branch_reparam is not None:
            return
        branches = [branch for branch in self.branch_conv_list if isinstance(branch, ConvThenNorm)]
        merged = branches[0].conv
        dtype, middle = merged.weight.dtype, self.kernel // 2
        parts = [_folded(branch.conv, branch.norm) for branch in branches]
        if self.branch_norm is not None:
            parts.append(_folded(_unit_conv(merged), self.branch_norm))
        if self.branch_scale is not None:
            parts.append(_folded(self.branch_scale.conv, self.branch_scale.norm))
        weight, bias = torch.zeros_like(parts[0][0]), torch.zeros_like(parts[0][1])
        for part_weight, part_bias in parts:
            # small kernels are padded to the size of large ones
            weight += functional.pad(part_weight, [middle if part_weight.shape[-1] == 1 else 0] * 4)
            bias += part_bias
        merged.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        merged.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
        self.branch_reparam = merged
        del self.branch_norm, self.branch_scale, self.branch_conv_list


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias, in double precision, of a convolution with a normalisation folded in."""
    conv, norm = conv.double(), norm.double()
    fold(conv, norm)
    assert conv.bias is not None
    return conv.weight.detach(), conv.bias.detach()


def _unit_conv(like: nn.Conv2d) -> nn.Conv2d:
    """A 1x1 identity convolution with the groups of another."""
    conv = nn.Conv2d(like.in_channels, like.out_channels, 1, groups=like.groups, bias=False)
    per_group = like.in_channels // like.groups
    weight = torch.eye(per_group, dtype=torch.float64).repeat(like.groups, 1)
    conv.weight = nn.Parameter(weight[..., None, None], requires_grad=False)
    return conv


class MobileOne(nn.Module):
    """The network up to its last feature map."""

    def __init__(self, config: MobileOneConfig) -> None:
        super().__init__()
        self.out_indices = config.out_indices
        self.stage0: nn.Module = MobileOneBlock(3, config.channels[0], 3, stride=2, branches=1, config=config)
        self.stages: list[str] = []
        for number in range(4):
            self.stages.append(f"stage{number + 1}")
            self.add_module(self.stages[-1], _stage(config, number))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps of images.

        Args:
            images: float32 `[N, 3, H, W]`, normalised; `[N * segments, 3, H, W]` in order of time if there are shifts.

        Returns:
            `[N, C, H / 32, W / 32]`, or a tuple of maps if several stages are returned.
        """
        x = self.stage0(images)
        outputs = []
        for number, name in enumerate(self.stages):
            x = self.get_submodule(name)(x)
            if number in self.out_indices:
                outputs.append(x)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _stage(config: MobileOneConfig, number: int) -> nn.Sequential:
    """Alternating blocks over space and over channels; the first has the stride."""
    channels, after = config.channels[number : number + 2]
    branches, first_squeeze = (
        config.num_conv_branches[number],
        config.num_blocks[number] - config.num_se_blocks[number],
    )
    blocks = []
    for index in range(config.num_blocks[number]):
        squeeze = index >= first_squeeze
        blocks.append(
            MobileOneBlock(
                channels,
                channels,
                3,
                stride=2 if index == 0 else 1,
                groups=channels,
                branches=branches,
                squeeze=squeeze,
                config=config,
            )
        )
        blocks.append(MobileOneBlock(channels, after, 1, branches=branches, squeeze=squeeze, config=config))
        channels = after
    return nn.Sequential(*blocks)


class MobileOneTSM(MobileOne):
    """A MobileOne with a temporal shift before every block."""

    def __init__(self, config: MobileOneTSMConfig) -> None:
        super().__init__(config.mobileone)
        if not config.is_shift:
            return
        # the first of these has three channels, too few to shift; its name changes nevertheless
        self.stage0 = TemporalShift(self.stage0, config.segments, config.shift_div)
        for name in self.stages:
            stage = self.get_submodule(name)
            assert isinstance(stage, nn.Sequential)
            for index, block in enumerate(stage):
                stage[index] = TemporalShift(block, config.segments, config.shift_div)
