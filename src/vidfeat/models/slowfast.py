"""SlowFast: a wide pathway over few frames, and a narrow one over many, with connections into the first.

Paper: Feichtenhofer et al., "SlowFast Networks for Video Recognition" (arXiv:1812.03982). Layout and parameter names
are those of MMAction2's `ResNet3dSlowFast` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vidfeat.models.layers import ConvNorm
from vidfeat.models.resnet3d import ResNet3d, ResNet3dConfig


@dataclass(frozen=True)
class LateralConfig:
    """The convolutions over time that carry the fast pathway's maps into the slow one.

    Attributes:
        kernel: their size in time.
        channel_factor: their output channels over their input channels.
        norm_eps: epsilon of a batch normalisation (and a ReLU) after each; None means neither.
    """

    kernel: int = 5
    channel_factor: int = 2
    norm_eps: float | None = None

    def __post_init__(self) -> None:
        for name in ("kernel", "channel_factor"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be an integer above 0; {value = }")


@dataclass(frozen=True)
class SlowFastConfig:
    """Configuration of a SlowFast.

    Attributes:
        slow, fast: the two pathways; each returns its last stage.
        resample_rate: of the clip's frames, the slow pathway takes every `resample_rate`-th (tau in the paper).
        speed_ratio: the fast pathway takes `speed_ratio` times as many (alpha in the paper).
        channel_ratio: the slow pathway has `channel_ratio` times as many channels (1 / beta in the paper).
        lateral: the connections between them; None means none.
    """

    slow: ResNet3dConfig
    fast: ResNet3dConfig
    resample_rate: int = 8
    speed_ratio: int = 8
    channel_ratio: int = 8
    lateral: LateralConfig | None = LateralConfig()

    def __post_init__(self) -> None:
        for name in ("resample_rate", "speed_ratio", "channel_ratio"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be an integer above 0; {value = }")
        rate, ratio = self.resample_rate, self.speed_ratio
        if rate < ratio or (self.lateral is not None and rate % ratio):
            raise ValueError(f"resample_rate must be a multiple of speed_ratio; {rate = }, {ratio = }")
        stages = self.slow.num_stages, self.fast.num_stages
        if stages[0] != stages[1]:
            raise ValueError(f"both pathways need as many stages; {stages = }")
        if self.lateral is not None:
            self._check_joints()

    def _check_joints(self) -> None:
        """The maps that lateral connections join must have the same size."""
        wide, narrow = _into_stages(self.slow), _into_stages(self.fast)
        if wide != tuple(channels * self.channel_ratio for channels in narrow):
            raise ValueError(f"the slow pathway's channels must be {self.channel_ratio} times {narrow = }; {wide = }")
        slow, fast = self.slow.spatial_strides, self.fast.spatial_strides
        if slow != fast:
            raise ValueError(f"spatial_strides of both pathways must be equal; {slow = }, {fast = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the slow pathway's channels, then the fast one's."""
        return self.slow.feature_size + self.fast.feature_size

    @property
    def lateral_channels(self) -> tuple[int, ...]:
        """For each stage, the channels that a lateral connection joins to the slow pathway's input."""
        factor = 0 if self.lateral is None else self.lateral.channel_factor
        return tuple(channels * factor for channels in _into_stages(self.fast))


def _into_stages(config: ResNet3dConfig) -> tuple[int, ...]:
    return (config.base_channels, *config.stage_channels[:-1])


class SlowFast(nn.Module):
    """Both pathways up to their last feature maps."""

    def __init__(self, config: SlowFastConfig) -> None:
        super().__init__()
        self.slow_step = config.resample_rate
        self.fast_step = config.resample_rate // config.speed_ratio
        self.slow_path = ResNet3d(config.slow, joined_channels=config.lateral_channels)
        self.laterals: list[str] = []
        if config.lateral is not None:
            # each is before a stage and named after the layer that it follows
            self.laterals = ["conv1_lateral", *(f"{stage}_lateral" for stage in self.slow_path.stages[:-1])]
            for name, channels in zip(self.laterals, _into_stages(config.fast), strict=True):
                self.slow_path.add_module(name, _lateral(channels, config.speed_ratio, config.lateral))
        self.fast_path = ResNet3d(config.fast)

    def forward_features(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Feature maps of clips.

        Args:
            clips: float32 `[N, 3, T, H, W]`, normalised; T a multiple of `resample_rate`.

        Returns:
            The slow pathway's `[N, C, T / resample_rate, H / 32, W / 32]` and the fast pathway's
            `[N, C / channel_ratio, T * speed_ratio / resample_rate, H / 32, W / 32]`.
        """
        slow = self.slow_path.stem(_every(clips, self.slow_step))
        fast = self.fast_path.stem(_every(clips, self.fast_step))
        for number, stage in enumerate(self.slow_path.stages):
            if self.laterals:
                slow = torch.cat((slow, self.slow_path.get_submodule(self.laterals[number])(fast)), dim=1)
            slow = self.slow_path.get_submodule(stage)(slow)
            fast = self.fast_path.get_submodule(stage)(fast)
        return slow, fast


def _every(clips: torch.Tensor, step: int) -> torch.Tensor:
    """Each `step`-th frame, from the first on; a remainder shorter than `step` is dropped."""
    return clips[:, :, : clips.shape[2] // step * step : step]


def _lateral(channels: int, speed_ratio: int, config: LateralConfig) -> ConvNorm:
    return ConvNorm(
        channels,
        channels * config.channel_factor,
        (config.kernel, 1, 1),
        stride=(speed_ratio, 1, 1),
        padding=((config.kernel - 1) // 2, 0, 0),
        dims=3,
        norm_eps=config.norm_eps,
        relu=config.norm_eps is not None,
    )
