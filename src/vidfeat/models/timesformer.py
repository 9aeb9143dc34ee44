"""TimeSformer: attention over space and over time, divided or joint.

Paper: Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?" (arXiv:2102.05095). Layout and
parameter names are those of MMAction2's `TimeSformer` (0.x and 1.x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vidfeat.errors import ConfigError
from vidfeat.models.transformer import FeedForward, MultiheadAttention, PatchEmbed

_BLOCK_NORM_EPS = 1e-6
"""Epsilon of the normalisations inside the blocks; only that of the last one is an option in MMAction2."""


@dataclass(frozen=True)
class TimeSformerConfig:
    """Configuration of a TimeSformer.

    Attributes:
        num_frames: frames per clip.
        img_size: height and width of a frame, in pixels, each a multiple of `patch_size`.
        patch_size: height and width of a patch, in pixels.
        in_channels: channels of the input.
        embed_dims: length C of a token.
        num_heads: attention heads per block.
        num_transformer_layers: number of blocks.
        attention_type: the tokens that a token attends to in one block: the same position in all frames, then its own
            frame; all tokens of the clip; or only its own frame.
        norm_eps: epsilon of the last layer normalisation.
    """

    num_frames: int
    img_size: tuple[int, int]
    patch_size: int
    in_channels: int = 3
    embed_dims: int = 768
    num_heads: int = 12
    num_transformer_layers: int = 12
    attention_type: Literal["divided_space_time", "joint_space_time", "space_only"] = "divided_space_time"
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.embed_dims % self.num_heads:
            raise ValueError(f"embed_dims must be a multiple of {self.num_heads = }; {self.embed_dims = }")
        if any(edge % self.patch_size for edge in self.img_size):
            raise ValueError(f"img_size must be a multiple of {self.patch_size = }; {self.img_size = }")
        if self.attention_type not in ("divided_space_time", "joint_space_time", "space_only"):
            raise ValueError(
                "attention_type must be 'divided_space_time', 'joint_space_time' or 'space_only'; "
                f"{self.attention_type = }"
            )

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.embed_dims

    @property
    def patches(self) -> int:
        """Patches per frame."""
        return (self.img_size[0] // self.patch_size) * (self.img_size[1] // self.patch_size)


class TimeSformer(nn.Module):
    """A TimeSformer; its feature is the class token.

    Args:
        config: its configuration.
    """

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        self.config = config
        size = config.embed_dims
        self.cls_token = nn.Parameter(torch.empty(1, 1, size))
        self.pos_embed = nn.Parameter(torch.empty(1, config.patches + 1, size))
        if config.attention_type != "space_only":
            self.time_embed = nn.Parameter(torch.empty(1, config.num_frames, size))
        patch = config.patch_size
        self.patch_embed = PatchEmbed(nn.Conv2d(config.in_channels, size, patch, stride=patch))
        self.norm = nn.LayerNorm(size, eps=config.norm_eps)
        self.transformer_layers = Layers(config)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, T, H, W]` to `[N, C]`.

        Raises:
            ConfigError: T or the number of patches is not the one that the embeddings are made for.
        """
        clips, _, frames, height, width = x.shape
        self._check(frames, height, width)
        maps = self.patch_embed(x.transpose(1, 2).flatten(0, 1))
        patches = maps.flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        token = self.cls_token + self.pos_embed[:, :1]
        if self.config.attention_type == "space_only":
            tokens = torch.cat((token.expand(clips * frames, -1, -1), patches), 1)
            tokens = self.transformer_layers(tokens)[:, 0]
            return self.norm(tokens.reshape(clips, frames, -1).mean(1))
        # ordered by position, then by frame
        patches = patches.reshape(clips, frames, -1, patches.shape[2]).transpose(1, 2) + self.time_embed[:, None]
        tokens = torch.cat((token.expand(clips, -1, -1), patches.flatten(1, 2)), 1)
        return self.norm(self.transformer_layers(tokens)[:, 0])

    def _check(self, frames: int, height: int, width: int) -> None:
        config = self.config
        if frames != config.num_frames:
            raise ConfigError(
                "model.backbone.num_frames",
                expected=f"clips of {config.num_frames} frames, as the time embedding is made for",
                found=f"clips of {frames}",
                hint="Give the backbone's num_frames and the pipeline's clip_len the same value.",
            )
        if (height // config.patch_size) * (width // config.patch_size) != config.patches:
            raise ConfigError(
                "model.backbone.img_size",
                expected=f"frames of {config.img_size[0]}x{config.img_size[1]} pixels, as the position embedding is "
                "made for",
                found=f"frames of {height}x{width}",
                hint="End the pipeline's resizing with a crop of that size.",
            )


class Layers(nn.Module):
    """All blocks, under their name in MMAction2."""

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        block = DividedBlock if config.attention_type == "divided_space_time" else JointBlock
        self.layers = nn.Sequential(*(block(config) for _ in range(config.num_transformer_layers)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, L, C]` to the same."""
        return self.layers(x)


class DividedBlock(nn.Module):
    """Attention over time, attention over space, then a perceptron; `[N, 1 + P * T, C]` to the same.

    The class token comes first, then the patches, ordered by position, then by frame.
    """

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        self.attentions = nn.ModuleList((TimeAttention(config), SpaceAttention(config)))
        self.ffns = nn.ModuleList([NormedFeedForward(config.embed_dims)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output of each of the three steps is added to its input, in place."""
        over_time, over_space = self.attentions
        x[:, 1:].add_(over_time(x[:, 1:]))
        x += over_space(x)
        x += self.ffns[0](x)
        return x


class TimeAttention(nn.Module):
    """Attention among the T frames of each position; `[N, P * T, C]` to the same."""

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        self.frames = config.num_frames
        self.norm = nn.LayerNorm(config.embed_dims, eps=_BLOCK_NORM_EPS)
        self.attn = MultiheadAttention(config.embed_dims, config.num_heads)
        self.temporal_fc: nn.Module = nn.Linear(config.embed_dims, config.embed_dims)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """The class token is not included."""
        places = self.norm(patches).reshape(-1, self.frames, patches.shape[2])
        return self.temporal_fc(self.attn(places)).reshape(patches.shape)

    def fold_norm(self) -> None:
        """Move the last linear layer into the one before it, for inference; idempotent.

        There is no layer between the two. Computed in double precision, as when normalisations are folded.
        """
        first, second = self.attn.out_proj, self.temporal_fc
        if isinstance(second, nn.Linear):
            weight = second.weight.double() @ first.weight.double()
            bias = second.weight.double() @ first.bias.double() + second.bias.double()
            first.weight = nn.Parameter(weight.to(first.weight.dtype), requires_grad=False)
            first.bias = nn.Parameter(bias.to(first.bias.dtype), requires_grad=False)
            self.temporal_fc = nn.Identity()


class SpaceAttention(nn.Module):
    """Attention among the patches of each frame and the class token; `[N, 1 + P * T, C]` to the same."""

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        self.frames = config.num_frames
        self.norm = nn.LayerNorm(config.embed_dims, eps=_BLOCK_NORM_EPS)
        self.attn = MultiheadAttention(config.embed_dims, config.num_heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The class token is part of every frame; its output is the mean over the frames."""
        clips, _, size = x.shape
        normed = self.norm(x)
        token = normed[:, None, :1].expand(-1, self.frames, -1, -1)
        patches = normed[:, 1:].reshape(clips, -1, self.frames, size).transpose(1, 2)
        attended = self.attn(torch.cat((token, patches), 2).flatten(0, 1)).reshape(clips, self.frames, -1, size)
        patches = attended[:, :, 1:].transpose(1, 2).reshape(clips, -1, size)
        return torch.cat((attended[:, :, 0].mean(1, keepdim=True), patches), 1)


class NormedFeedForward(FeedForward):
    """The perceptron of a divided block, which includes its normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 4 * channels)
        self.norm = nn.LayerNorm(channels, eps=_BLOCK_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every token separately."""
        return super().forward(self.norm(x))


class JointBlock(nn.Module):
    """Attention among all tokens of a row, then a perceptron; `[N, L, C]` to the same."""

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        size = config.embed_dims
        self.attentions = nn.ModuleList([JointAttention(config)])
        self.ffns = nn.ModuleList([FeedForward(size, 4 * size)])
        self.norms = nn.ModuleList(nn.LayerNorm(size, eps=_BLOCK_NORM_EPS) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output of each of the two steps is added to its input."""
        x = x + self.attentions[0](self.norms[0](x))
        return x + self.ffns[0](self.norms[1](x))


class JointAttention(nn.Module):
    """The attention of a joint block, under its name in mmcv."""

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        self.attn = MultiheadAttention(config.embed_dims, config.num_heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, L, C]` to the same."""
        return self.attn(x)
