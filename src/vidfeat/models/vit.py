"""The plain vision transformer for clips: VideoMAE and VideoMAE V2, fine-tuned.

Papers: Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training"
(arXiv:2203.12602); Wang et al., "VideoMAE V2" (arXiv:2303.16727). Layout and parameter names are those of MMAction2's
`VisionTransformer` (1.x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from vidfeat.errors import ConfigError
from vidfeat.models.attention import attend
from vidfeat.models.packed import PackedLinear
from vidfeat.models.transformer import FeedForward, PatchEmbed

MAX_TOKENS = 65_536
"""Of a clip. The largest released network takes 2,048, and attention over this many fits into no memory."""


@dataclass(frozen=True)
class VisionTransformerConfig:
    """Configuration of a vision transformer for clips. The defaults are ViT-B's.

    Attributes:
        img_size: height and width of the frames that the position embedding is made for, in pixels; it is
            interpolated for others.
        patch_size: height and width of a patch, in pixels.
        num_frames: frames per clip.
        tubelet_size: frames per patch.
        in_channels: channels of the input.
        embed_dims: length C of a token.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_ratio: length of the hidden layer of a block's perceptron over that of a token.
        qkv_bias: whether queries and values have a bias (keys have none).
        qk_scale: factor on the products of queries and keys; 1 / sqrt(length of a head) if None.
        layer_scale: whether each block scales its output channel by channel.
        use_learnable_pos_emb: whether the position embedding is a weight; it is a buffer of sines otherwise.
        use_mean_pooling: whether the feature is the mean over all tokens, then normalised; otherwise it is the first
            token of all tokens normalised.
        norm_eps: epsilon of the layer normalisations.
    """

    img_size: int = 224
    patch_size: int = 16
    num_frames: int = 16
    tubelet_size: int = 2
    in_channels: int = 3
    embed_dims: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None
    layer_scale: bool = False
    use_learnable_pos_emb: bool = False
    use_mean_pooling: bool = True
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.embed_dims % self.num_heads:
            raise ValueError(f"embed_dims must be a multiple of {self.num_heads = }; {self.embed_dims = }")
        if self.embed_dims % 2 and not self.use_learnable_pos_emb:
            raise ValueError(f"embed_dims must be even for an embedding of sines; {self.embed_dims = }")
        if self.img_size < self.patch_size:
            raise ValueError(f"img_size must be at least {self.patch_size = }; {self.img_size = }")
        if self.num_frames < self.tubelet_size:
            raise ValueError(f"num_frames must be at least {self.tubelet_size = }; {self.num_frames = }")
        if math.prod(self.grid) > MAX_TOKENS:
            raise ValueError(f"a clip may have {MAX_TOKENS:,} patches at most; {self.grid = }")
        if int(self.embed_dims * self.mlp_ratio) < 1:
            raise ValueError(f"mlp_ratio must leave a hidden layer; {self.mlp_ratio = }")

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.embed_dims

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches over time, height and width, of the position embedding."""
        return self.num_frames // self.tubelet_size, self.img_size // self.patch_size, self.img_size // self.patch_size


class VisionTransformer(nn.Module):
    """A vision transformer over the patches of a clip.

    Args:
        config: its configuration.
    """

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        self.config = config
        time, height, width = config.grid
        embedding = torch.empty(1, time * height * width, config.embed_dims)
        if config.use_learnable_pos_emb:
            self.pos_embed: torch.Tensor = nn.Parameter(embedding)
        else:
            self.register_buffer("pos_embed", sines(embedding.shape[1], embedding.shape[2]))
        patch = (config.tubelet_size, config.patch_size, config.patch_size)
        self.patch_embed = PatchEmbed(nn.Conv3d(config.in_channels, config.embed_dims, patch, stride=patch))
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        norm = nn.LayerNorm(config.embed_dims, eps=config.norm_eps)
        self.norm: nn.Module = nn.Identity() if config.use_mean_pooling else norm
        self.fc_norm: nn.Module = norm if config.use_mean_pooling else nn.Identity()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, T, H, W]` to `[N, C]`.

        Raises:
            ConfigError: T is not the number of frames that the position embedding is made for.
        """
        maps = self.patch_embed(x)
        tokens = maps.flatten(2).transpose(1, 2) + self._positions(maps.shape[2], maps.shape[3], maps.shape[4])
        tokens = self.norm(self.blocks(tokens))
        return self.fc_norm(tokens.mean(1)) if self.config.use_mean_pooling else tokens[:, 0]

    def _positions(self, time: int, height: int, width: int) -> torch.Tensor:
        """The position embedding, `[1, time * height * width, C]`, interpolated if frames have another size."""
        grid = self.config.grid
        if time != grid[0]:
            raise ConfigError(
                "model.backbone.num_frames",
                expected=f"clips of {self.config.num_frames} frames, as the position embedding is made for",
                found=f"clips of about {time * self.config.tubelet_size}",
                hint="Give the backbone's num_frames and the pipeline's clip_len the same value.",
            )
        if (height, width) == grid[1:]:
            return self.pos_embed
        maps = self.pos_embed.reshape(*grid, -1).permute(0, 3, 1, 2)
        stretched = functional.interpolate(maps, size=(height, width), mode="bicubic", align_corners=False)
        return stretched.permute(0, 2, 3, 1).reshape(1, time * height * width, -1)


class Block(nn.Module):
    """Attention, then a perceptron; the output of each is added to its input."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        size = config.embed_dims
        self.layer_scale = config.layer_scale
        if config.layer_scale:
            self.gamma_1 = nn.Parameter(torch.empty(size))
            self.gamma_2 = nn.Parameter(torch.empty(size))
        self.norm1 = nn.LayerNorm(size, eps=config.norm_eps)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(size, eps=config.norm_eps)
        self.mlp = FeedForward(size, int(size * config.mlp_ratio))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, L, C]` to the same."""
        attended = self.attn(self.norm1(x))
        x = x + (self.gamma_1 * attended if self.layer_scale else attended)
        changed = self.mlp(self.norm2(x))
        return x + (self.gamma_2 * changed if self.layer_scale else changed)


class Attention(nn.Module):
    """Attention among all tokens of a clip, `[N, L, C]` to the same."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        size = config.embed_dims
        self.heads, self.scale, self.has_bias = config.num_heads, config.qk_scale, config.qkv_bias
        if config.qkv_bias:
            self.q_bias = nn.Parameter(torch.empty(size))
            self.v_bias = nn.Parameter(torch.empty(size))
        self.qkv: nn.Linear | PackedLinear = nn.Linear(size, 3 * size, bias=False)
        self.proj = nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """For every token, a weighted sum over all tokens."""
        if isinstance(self.qkv, PackedLinear):
            qkv = self.qkv(x)
        else:
            qkv = functional.linear(x, self.qkv.weight, self._bias())
        return self.proj(attend(qkv, self.heads, self.scale))

    def pack(self) -> None:
        """See `packed.Packable`."""
        if isinstance(self.qkv, nn.Linear):
            self.qkv = PackedLinear(self.qkv.weight, self._bias())

    def _bias(self) -> torch.Tensor | None:
        # a bias of the keys would add the same number to all products of a query, which the softmax cancels
        return torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias)) if self.has_bias else None


def sines(positions: int, size: int) -> torch.Tensor:
    """The fixed position embedding: sines and cosines of falling frequency ("Attention Is All You Need").

    Args:
        positions: number of tokens.
        size: length of a token.

    Returns:
        float32 `[1, positions, size]` on the CPU.
    """
    pairs = torch.arange(size, dtype=torch.float64, device="cpu") // 2
    places = torch.arange(positions, dtype=torch.float64, device="cpu")
    angles = places[:, None] * 10000.0 ** (-2 * pairs / size)
    even = torch.arange(size, device="cpu") % 2 == 0
    return torch.where(even, angles.sin(), angles.cos()).float()[None]
