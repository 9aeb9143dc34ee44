"""Video Swin: attention inside windows of a clip that are shifted from block to block.

Paper: Liu et al., "Video Swin Transformer" (arXiv:2106.13230). Layout and parameter names are those of MMAction2's
`SwinTransformer3D` (1.x).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

from vidfeat.models.attention import attention
from vidfeat.models.transformer import Mlp

Size3d = tuple[int, int, int]
"""Time, height, width."""

MASKED = -100.0
"""Added to the logit of two tokens that are in one window because of the shift only: MMAction2's number, not -inf."""


@dataclass(frozen=True)
class SwinConfig:
    """Configuration of a Video Swin. The defaults are the tiny one's.

    Attributes:
        embed_dims: channels after the patch embedding; doubled from stage to stage.
        depths: blocks of each stage, 1 to 4 stages.
        num_heads: attention heads of each stage.
        patch_size: pixels that become one token, (time, height, width).
        in_channels: channels of the input.
        window_size: tokens of a window, (time, height, width); smaller if the map is.
        mlp_ratio: hidden over outer channels of the MLPs.
        qkv_bias: whether queries, keys and values have a bias.
        qk_scale: factor on the logits; 1 / sqrt(channels of a head) if None.
        patch_norm: whether the patch embedding is normalised.
        out_indices: stages whose maps are returned.
        out_after_downsample: whether they are returned after the downsampling for the next stage.
        norm_eps: epsilon of the layer normalisations.
    """

    embed_dims: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    patch_size: Size3d = (2, 4, 4)
    in_channels: int = 3
    window_size: Size3d = (8, 7, 7)
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None
    patch_norm: bool = True
    out_indices: tuple[int, ...] = (3,)
    out_after_downsample: bool = False
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        stages = len(self.depths)
        if not 1 <= stages <= 4 or len(self.num_heads) != stages:
            raise ValueError(f"depths and num_heads need 1 to 4 entries each; {self.depths = } {self.num_heads = }")
        if min(self.depths) < 1:
            raise ValueError(f"depths must be above 0; {self.depths = }")
        for name in ("patch_size", "window_size"):
            value = getattr(self, name)
            if len(value) != 3 or min(value) < 1:
                raise ValueError(f"{name} must be three integers above 0 (time, height, width); {value = }")
        for stage, heads in enumerate(self.num_heads):
            if heads < 1 or self.channels(stage) % heads:
                raise ValueError(f"num_heads must divide {self.channels(stage)} channels in stage {stage}; {heads = }")
        indices = self.out_indices
        if not indices or len(set(indices)) != len(indices) or not all(0 <= index < stages for index in indices):
            raise ValueError(f"out_indices must be distinct stages in [0, {stages}); {self.out_indices = }")

    def channels(self, stage: int) -> int:
        """Channels inside a stage, counted from 0."""
        return self.embed_dims * 2**stage

    def out_channels(self, stage: int) -> int:
        """Channels of the map that a stage returns."""
        halved = self.out_after_downsample and stage < len(self.depths) - 1
        return self.channels(stage) * (2 if halved else 1)

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the channels of all returned stages."""
        return sum(map(self.out_channels, self.out_indices))


@dataclass(frozen=True)
class Windows:
    """The partition of a map into windows.

    Attributes:
        size: tokens of a window.
        shift: number of tokens by which the map is rolled towards its start before the partition.
    """

    size: Size3d
    shift: Size3d

    @classmethod
    def fitted(cls, config: SwinConfig, shape: torch.Size) -> tuple[Windows, Windows]:
        """The plain and the shifted windows of a map `[N, D, H, W, C]`.

        Along an axis that one window covers, the window has the size of the map, and there is no shift.
        """
        axes = list(zip(shape[1:4], config.window_size, strict=True))
        d, h, w = (min(length, window) for length, window in axes)
        shift_d, shift_h, shift_w = (window // 2 if window < length else 0 for length, window in axes)
        return cls((d, h, w), (0, 0, 0)), cls((d, h, w), (shift_d, shift_h, shift_w))

    def cut(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, D, H, W, C]`, padded and shifted, to `[N, D / d, H / h, W / w, d * h * w, C]`."""
        d, h, w = self.size
        padding = [-length % window for length, window in zip(x.shape[1:4], self.size, strict=True)]
        if any(padding):
            x = functional.pad(x, (0, 0, 0, padding[2], 0, padding[1], 0, padding[0]))
        if any(self.shift):
            x = x.roll(tuple(-step for step in self.shift), (1, 2, 3))
        n, depth, height, width, channels = x.shape
        x = x.view(n, depth // d, d, height // h, h, width // w, w, channels)
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, depth // d, height // h, width // w, d * h * w, channels)

    def join(self, x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """The inverse of `cut`, for a map of that shape."""
        n, depth, height, width, _, channels = x.shape
        d, h, w = self.size
        x = x.view(n, depth, height, width, d, h, w, channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
        x = x.reshape(n, depth * d, height * h, width * w, channels)
        if any(self.shift):
            x = x.roll(self.shift, (1, 2, 3))
        return x[:, : shape[1], : shape[2], : shape[3]]

    def groups(self, like: torch.Tensor) -> list[Group]:
        """The windows in groups that share a mask; `like` gives the masks' device and dtype.

        Rolling joins the map's end and its start in the last window along an axis, and only there; its tokens may then
        only attend to those of their side.
        """
        found = []
        for joined in itertools.product(*((False, True) if step else (False,) for step in self.shift)):
            side = torch.zeros(self.size, dtype=torch.int64, device=like.device)
            where = [slice(None)]
            for axis, (step, size) in enumerate(zip(self.shift, self.size, strict=True)):
                where.append(slice(-1, None) if joined[axis] else slice(-1) if step else slice(None))
                if joined[axis]:
                    side.narrow(axis, size - step, step).add_(1 << axis)
            side = side.flatten()
            mask = (side[:, None] != side[None, :]).to(like.dtype) * MASKED if any(joined) else None
            found.append(Group(tuple(where), mask))
        return found


@dataclass(frozen=True, eq=False)
class Group:
    """Windows that share a mask.

    Attributes:
        where: slices of the first four axes of the result of `Windows.cut`.
        mask: `[tokens, tokens]`, added to the logits; None if all tokens attend to each other.
    """

    where: tuple[slice, ...]
    mask: torch.Tensor | None


class WindowAttention(nn.Module):
    """Self-attention inside each window, with a learnt bias for every relative position."""

    relative_position_index: torch.Tensor

    def __init__(self, channels: int, heads: int, config: SwinConfig) -> None:
        super().__init__()
        self.heads = heads
        self.scale = config.qk_scale
        d, h, w = config.window_size
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * d - 1) * (2 * h - 1) * (2 * w - 1), heads))
        self.register_buffer("relative_position_index", _relative_positions(config.window_size).clone())
        self.qkv = nn.Linear(channels, 3 * channels, bias=config.qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor, groups: list[Group]) -> torch.Tensor:
        """Windows `[N, D / d, H / h, W / w, d * h * w, C]` to the same."""
        bias = self._bias(tokens=x.shape[4])
        qkv = torch.unflatten(self.qkv(x), -1, (3, self.heads, -1))
        attended = torch.empty_like(x)
        for group in groups:
            # One mask for a whole group is broadcast by the kernel; one per window would need too much memory.
            query, key, value = qkv[group.where].flatten(0, 3).permute(2, 0, 3, 1, 4)
            added = bias if group.mask is None else bias + group.mask
            out = attention(query, key, value, scale=self.scale, mask=added[None])
            part = attended[group.where]
            part.copy_(out.transpose(1, 2).reshape(part.shape))
        return self.proj(attended)

    def _bias(self, tokens: int) -> torch.Tensor:
        """The relative position bias of a window's logits, `[heads, tokens, tokens]`."""
        # A smaller window uses the first rows of the full window's table, even where they describe other positions, as
        # in MMAction2.
        index = self.relative_position_index[:tokens, :tokens].flatten()
        table = self.relative_position_bias_table.t().contiguous()
        return table.index_select(1, index).view(self.heads, tokens, tokens)


@lru_cache(maxsize=1)  # all blocks of a network have the same; each has a copy, which a checkpoint may fill
def _relative_positions(window: Size3d) -> torch.Tensor:
    """For every pair of tokens of a window, the row of their bias in the table; int64 `[tokens, tokens]`."""
    with torch.device("cpu"):
        axes = torch.meshgrid(*(torch.arange(size) for size in window), indexing="ij")
    index = torch.zeros((), dtype=torch.int64, device="cpu")
    for axis, size in zip(axes, window, strict=True):
        place = axis.flatten()
        index = index * (2 * size - 1) + (place[:, None] - place[None, :] + size - 1)
    return index


class Block(nn.Module):
    """Attention inside windows, then an MLP, each with a shortcut."""

    def __init__(self, channels: int, heads: int, config: SwinConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=config.norm_eps)
        self.attn = WindowAttention(channels, heads, config)
        self.norm2 = nn.LayerNorm(channels, eps=config.norm_eps)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio))

    def forward(self, x: torch.Tensor, windows: Windows, groups: list[Group]) -> torch.Tensor:
        """`[N, D, H, W, C]` to the same."""
        x = x + windows.join(self.attn(windows.cut(self.norm1(x)), groups), x.shape)
        return self.mlp(self.norm2(x)).add_(x)


class PatchMerging(nn.Module):
    """Merge 2x2 tokens into one with twice the channels."""

    def __init__(self, channels: int, norm_eps: float) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels, eps=norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, D, H, W, C]` to `[N, D, H / 2, W / 2, 2 * C]`, rounded up."""
        x = functional.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        quarters = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(quarters, -1)))


class Stage(nn.Module):
    """Blocks whose windows are plain and shifted in turn, and the step down to the next stage."""

    def __init__(self, number: int, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        channels, heads = config.channels(number), config.num_heads[number]
        self.blocks = nn.ModuleList(Block(channels, heads, config) for _ in range(config.depths[number]))
        last = number == len(config.depths) - 1
        self.downsample = None if last else PatchMerging(channels, config.norm_eps)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`[N, D, H, W, C]` to the same, and the input of the next stage: the same again if there is none."""
        alternating = [(windows, windows.groups(x)) for windows in Windows.fitted(self.config, x.shape)]
        for number, block in enumerate(self.blocks):
            x = block(x, *alternating[number % 2])
        return x, x if self.downsample is None else self.downsample(x)


class PatchEmbed(nn.Module):
    """Blocks of pixels to tokens."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.proj = nn.Conv3d(config.in_channels, config.embed_dims, config.patch_size, config.patch_size)
        self.norm = nn.LayerNorm(config.embed_dims, eps=config.norm_eps) if config.patch_norm else None

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, T, H, W]` to `[N, T / t, H / h, W / w, C]`, rounded up."""
        t, h, w = (-length % size for length, size in zip(clips.shape[2:], self.patch_size, strict=True))
        if t or h or w:
            clips = functional.pad(clips, (0, w, 0, h, 0, t))
        x = self.proj(clips).permute(0, 2, 3, 4, 1)
        return x if self.norm is None else self.norm(x)


class Swin3d(nn.Module):
    """The network up to its last normalised map."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.layers = nn.ModuleList(Stage(number, config) for number in range(len(config.depths)))
        for stage in config.out_indices:
            self.add_module(f"norm{stage}", nn.LayerNorm(config.out_channels(stage), eps=config.norm_eps))

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Feature maps of clips.

        Args:
            clips: float32 `[N, in_channels, T, H, W]`, normalised.

        Returns:
            `[N, C, T / 2, H / 32, W / 32]` (for patches of 2x4x4 pixels and 4 stages), rounded up, or a tuple of maps
            if several stages are returned.
        """
        x = self.patch_embed(clips)
        outputs = []
        for number, stage in enumerate(self.layers):
            before, x = stage(x)
            if number in self.config.out_indices:
                norm = self.get_submodule(f"norm{number}")
                outputs.append(norm(x if self.config.out_after_downsample else before).permute(0, 4, 1, 2, 3))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
