"""UniFormer: convolutions over neighbouring tokens in the early stages, attention over all tokens in the late ones.

Paper: Li et al., "UniFormer: Unified Transformer for Efficient Spatiotemporal Representation Learning"
(arXiv:2201.04676). Layout and parameter names are those of MMAction2's `UniFormer` (1.x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from vidfeat.models.attention import attend
from vidfeat.models.layers import Pointwise, fold_before
from vidfeat.models.transformer import Mlp

STAGES = 4


@dataclass(frozen=True)
class UniFormerConfig:
    """Configuration of a UniFormer. The defaults are the base one's.

    Attributes:
        depth: blocks of each of the four stages.
        embed_dim: channels of each stage.
        head_dim: channels of an attention head, in the last two stages.
        in_chans: channels of the input.
        mlp_ratio: hidden over outer channels of the MLPs.
        qkv_bias: whether queries, keys and values have a bias.
        qk_scale: factor on the logits; 1 / sqrt(channels of a head) if None.
    """

    depth: tuple[int, ...] = (5, 8, 20, 7)
    embed_dim: tuple[int, ...] = (64, 128, 320, 512)
    head_dim: int = 64
    in_chans: int = 3
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None

    def __post_init__(self) -> None:
        for name in ("depth", "embed_dim"):
            value = getattr(self, name)
            if len(value) != STAGES or min(value) < 1:
                raise ValueError(f"{name} must be four integers above 0; {value = }")
        for channels in self.embed_dim[2:]:
            if not 0 < self.head_dim <= channels or channels % self.heads(channels):
                raise ValueError(f"head_dim must cut {channels} channels into equal heads; {self.head_dim = }")
        if not self.mlp_ratio > 0:
            raise ValueError(f"mlp_ratio must be above 0; {self.mlp_ratio = }")

    def heads(self, channels: int) -> int:
        """Attention heads of a stage with that many channels."""
        return channels // self.head_dim

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector: the channels of the last stage."""
        return self.embed_dim[-1]


def _depthwise(channels: int, kernel: int) -> nn.Conv3d:
    return nn.Conv3d(channels, channels, kernel, padding=kernel // 2, groups=channels)


class ConvMlp(nn.Module):
    """Two 1x1x1 convolutions with a GELU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Pointwise(channels, hidden)
        self.fc2 = Pointwise(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, channels, T, H, W]` to the same."""
        return self.fc2(functional.gelu(self.fc1(x)))


class ConvBlock(nn.Module):
    """A block of the early stages, with a depthwise 5x5x5 convolution in place of attention."""

    def __init__(self, channels: int, config: UniFormerConfig) -> None:
        super().__init__()
        self.pos_embed = _depthwise(channels, 3)
        self.norm1: nn.Module = nn.BatchNorm3d(channels)
        self.conv1 = Pointwise(channels, channels)
        self.conv2 = Pointwise(channels, channels)
        self.attn = _depthwise(channels, 5)
        self.norm2: nn.Module = nn.BatchNorm3d(channels)
        self.mlp = ConvMlp(channels, int(channels * config.mlp_ratio))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, channels, T, H, W]` to the same."""
        x = self.pos_embed(x).add_(x)
        x = self.conv2(self.attn(self.conv1(self.norm1(x)))).add_(x)
        return self.mlp(self.norm2(x)).add_(x)

    def fold_norm(self) -> None:
        """Move both normalisations into the convolutions that follow them, for inference; idempotent."""
        self.norm1 = fold_before(self.norm1, self.conv1)
        self.norm2 = fold_before(self.norm2, self.mlp.fc1)


class Attention(nn.Module):
    """Self-attention over all tokens of a clip."""

    def __init__(self, channels: int, config: UniFormerConfig) -> None:
        super().__init__()
        self.heads = config.heads(channels)
        self.scale = config.qk_scale
        self.qkv = nn.Linear(channels, 3 * channels, bias=config.qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, tokens, channels]` to the same."""
        return self.proj(attend(self.qkv(x), self.heads, self.scale))


class AttentionBlock(nn.Module):
    """A block of the late stages: attention over all tokens, then an MLP, each with a shortcut."""

    def __init__(self, channels: int, config: UniFormerConfig) -> None:
        super().__init__()
        self.pos_embed = _depthwise(channels, 3)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, config)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, channels, T, H, W]` to the same."""
        x = self.pos_embed(x).add_(x)
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.attn(self.norm1(tokens)).add_(tokens)
        tokens = self.mlp(self.norm2(tokens)).add_(tokens)
        return torch.unflatten(tokens.transpose(1, 2), 2, x.shape[2:])


class PatchEmbed(nn.Module):
    """Patch embedding at the begin of a stage, with or without halving the number of frames."""

    def __init__(self, in_channels: int, channels: int, patch: int, *, halve_time: bool) -> None:
        super().__init__()
        time = (3, 2, 1) if halve_time else (1, 1, 0)
        self.norm = nn.LayerNorm(channels)
        self.proj = nn.Conv3d(
            in_channels, channels, (time[0], patch, patch), stride=(time[1], patch, patch), padding=(time[2], 0, 0)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, T, H, W]` to `[N, channels, T', H / patch, W / patch]`, rounded down."""
        return self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1)


class UniFormer(nn.Module):
    """The network up to its last normalised map."""

    def __init__(self, config: UniFormerConfig) -> None:
        super().__init__()
        in_channels = config.in_chans
        for stage, channels in enumerate(config.embed_dim):
            first = stage == 0
            embed = PatchEmbed(in_channels, channels, 4 if first else 2, halve_time=first)
            self.add_module(f"patch_embed{stage + 1}", embed)
            in_channels = channels
        for stage, channels in enumerate(config.embed_dim):
            block_class = ConvBlock if stage < 2 else AttentionBlock
            blocks = [block_class(channels, config) for _ in range(config.depth[stage])]
            self.add_module(f"blocks{stage + 1}", nn.Sequential(*blocks))
        self.norm = nn.BatchNorm3d(config.embed_dim[-1])

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Feature maps of clips.

        Args:
            clips: float32 `[N, in_chans, T, H, W]`, normalised.

        Returns:
            `[N, C, T / 2, H / 32, W / 32]`; T rounded up, H and W down.
        """
        x = clips
        for stage in range(1, STAGES + 1):
            x = self.get_submodule(f"patch_embed{stage}")(x)
            x = self.get_submodule(f"blocks{stage}")(x)
        return self.norm(x)
