"""UniFormerV2: an image transformer for each frame, and a few blocks that aggregate a clip from its layers.

Paper: Li et al., "UniFormerV2: Spatiotemporal Learning by Arming Image ViTs with Video UniFormer" (arXiv:2211.09552).
Layout and parameter names are those of MMAction2's `UniFormerV2` (1.x).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from vidfeat.errors import ConfigError
from vidfeat.models.layers import Pointwise, fold_before
from vidfeat.models.transformer import MultiheadAttention


@dataclass(frozen=True)
class UniFormerV2Config:
    """Configuration of a UniFormerV2. The defaults are MMAction2's, a base one.

    Attributes:
        input_resolution: height and width of the input, in pixels.
        patch_size: height and width of the pixels that become one token.
        width: channels of the image transformer.
        layers: its blocks.
        heads: its attention heads.
        t_size: frames of a clip.
        kernel_size: frames per patch embedding with `temporal_downsample`; odd.
        dw_reduction: width over channels of the local blocks.
        temporal_downsample: whether the patch embedding halves the number of frames.
        no_lmhra: whether there are no local blocks, which combine neighbouring frames.
        double_lmhra: whether there are two for each layer, not one.
        return_list: layers, counted from 0, that a global block aggregates.
        n_layers: global blocks, one for each of those layers.
        n_dim: their channels; equal to `width`.
        n_head: their attention heads.
        mlp_factor: hidden over outer channels of their MLPs.
    """

    input_resolution: int = 224
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    t_size: int = 8
    kernel_size: int = 3
    dw_reduction: float = 1.5
    temporal_downsample: bool = False
    no_lmhra: bool = True
    double_lmhra: bool = False
    return_list: tuple[int, ...] = (8, 9, 10, 11)
    n_layers: int = 4
    n_dim: int = 768
    n_head: int = 12
    mlp_factor: float = 4.0

    def __post_init__(self) -> None:
        for name in ("patch_size", "width", "layers", "heads", "n_head", "dw_reduction", "mlp_factor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; it is {getattr(self, name)}")
        if self.n_dim != self.width:
            raise ValueError(f"n_dim must equal width, whose tokens are gathered; {self.n_dim = } {self.width = }")
        if self.width % self.heads or self.width % self.n_head:
            raise ValueError(f"heads and n_head must divide width; {self.heads = } {self.n_head = } {self.width = }")
        if self.input_resolution < self.patch_size:
            raise ValueError(f"one patch must fit into the input; {self.input_resolution = } {self.patch_size = }")
        if self.frames < 1 or (self.temporal_downsample and self.kernel_size % 2 != 1):
            raise ValueError(f"t_size must leave a frame, kernel_size be odd; {self.t_size = } {self.kernel_size = }")
        listed = set(self.return_list)
        if len(listed) != len(self.return_list) or not listed <= set(range(self.layers)):
            raise ValueError(f"return_list must be distinct layers in [0, {self.layers}); {self.return_list = }")
        if self.n_layers != len(listed):
            raise ValueError(f"n_layers must be the length of return_list; {self.n_layers = } {self.return_list = }")

    @property
    def frames(self) -> int:
        """Frames of a clip after the patch embedding."""
        return self.t_size // 2 if self.temporal_downsample else self.t_size

    @property
    def grid(self) -> int:
        """Tokens of a frame along each side."""
        return self.input_resolution // self.patch_size

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.n_dim


class QuickGelu(nn.Module):
    """CLIP's approximation of the GELU; works in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return x.mul_(torch.sigmoid_(1.702 * x))


class GatheringAttention(nn.Module):
    """Attention of one token to all tokens of a clip; parameters as in `MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, one: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """`[N, width]` and `[N, tokens, width]` to `[N, width]`.

        With a single query it is cheaper to multiply the query by the key's weights, and the weighted mean of the
        tokens by the value's, than to multiply every token by both: with h heads and width w, h instead of w
        products per token and channel. The key's bias adds the same to all logits of a head, so softmax drops it.
        """
        query_weight, key_weight, value_weight = self.in_proj_weight.chunk(3)
        query_bias, _, value_bias = self.in_proj_bias.chunk(3)
        query = functional.linear(one, query_weight, query_bias).view(one.shape[0], self.heads, -1)
        size = query.shape[-1]
        probes = torch.einsum("nhc,hcw->nhw", query * size**-0.5, key_weight.view(self.heads, size, -1))
        shares = (probes @ tokens.transpose(1, 2)).softmax(-1)
        values = torch.einsum("nhw,hcw->nhc", shares @ tokens, value_weight.view(self.heads, size, -1))
        return self.out_proj(values.flatten(1) + value_bias)


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(c_fc=nn.Linear(width, hidden), gelu=QuickGelu(), c_proj=nn.Linear(hidden, width)),
    )


class LocalBlock(nn.Module):
    """Combine each token with those at its position in the frames before and after."""

    def __init__(self, config: UniFormerV2Config) -> None:
        super().__init__()
        self.grid = (config.frames, config.grid, config.grid)
        width, inner = config.width, int(config.width // config.dw_reduction)
        self.pos_embed = nn.Sequential(
            nn.BatchNorm3d(width),
            Pointwise(width, inner),
            nn.Conv3d(inner, inner, (3, 1, 1), padding=(1, 0, 0), groups=inner),
            Pointwise(inner, width),
        )

    def forward(self, x: torch.Tensor) -> None:
        """Change the tokens `[N * T, 1 + H * W, width]` in place; the first of each frame is not changed."""
        places = x[:, 1:]
        places += _as_tokens(self.pos_embed(_as_maps(places, self.grid)))

    def fold_norm(self) -> None:
        """Move the normalisation into the convolution that follows it, for inference; idempotent."""
        self.pos_embed[0] = fold_before(self.pos_embed[0], self.pos_embed[1])


def _as_maps(places: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
    """`[N * T, H * W, C]` to `[N, C, T, H, W]`."""
    return torch.unflatten(torch.unflatten(places, 1, grid[1:]), 0, (-1, grid[0])).movedim(-1, 1)


def _as_tokens(maps: torch.Tensor) -> torch.Tensor:
    """`[N, C, T, H, W]` to `[N * T, H * W, C]`."""
    return maps.movedim(1, -1).flatten(2, 3).flatten(0, 1)


class Layer(nn.Module):
    """A block of the image transformer, with the local blocks that combine frames."""

    def __init__(self, config: UniFormerV2Config) -> None:
        super().__init__()
        self.lmhra1 = None if config.no_lmhra else LocalBlock(config)
        self.lmhra2 = None if config.no_lmhra or not config.double_lmhra else LocalBlock(config)
        self.attn = MultiheadAttention(config.width, config.heads)
        self.ln_1 = nn.LayerNorm(config.width)
        self.mlp = _mlp(config.width, 4 * config.width)
        self.ln_2 = nn.LayerNorm(config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N * T, 1 + H * W, width]` to the same; changes its input."""
        if self.lmhra1 is not None:
            self.lmhra1(x)
        x = self.attn(self.ln_1(x)).add_(x)
        if self.lmhra2 is not None:
            self.lmhra2(x)
        return self.mlp(self.ln_2(x)).add_(x)


class GlobalBlock(nn.Module):
    """Aggregate all tokens of a clip into one."""

    def __init__(self, config: UniFormerV2Config) -> None:
        super().__init__()
        width = config.n_dim
        self.attn = GatheringAttention(width, config.n_head)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = _mlp(width, round(config.mlp_factor * width))
        self.ln_2 = nn.LayerNorm(width)
        self.ln_3 = nn.LayerNorm(width)

    def forward(self, one: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """`[N, width]` and `[N, tokens, width]` to `[N, width]`."""
        one = one + self.attn(self.ln_1(one), self.ln_3(tokens))
        return one + self.mlp(self.ln_2(one))


class Transformer(nn.Module):
    """Layers over the frames, and global blocks over the output of some of them."""

    def __init__(self, config: UniFormerV2Config) -> None:
        super().__init__()
        self.config = config
        width = config.n_dim
        self.temporal_cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.balance = nn.Parameter(torch.empty(width))
        self.resblocks = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.dpe = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1, groups=width) for _ in range(config.n_layers))
        self.dec = nn.ModuleList(GlobalBlock(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N * T, 1 + H * W, width]` to `[N, width]`."""
        frames, grid = self.config.frames, self.config.grid
        clip = self.temporal_cls_token[0].expand(x.shape[0] // frames, -1)
        gathering = iter(zip(self.dpe, self.dec, strict=True))
        for number, layer in enumerate(self.resblocks):
            x = layer(x)
            if number in self.config.return_list:
                position, gather = next(gathering)
                tokens = x.clone()
                tokens[:, 1:] += _as_tokens(position(_as_maps(x[:, 1:], (frames, grid, grid))))
                clip = gather(clip, torch.unflatten(tokens, 0, (-1, frames)).flatten(1, 2))
        of_frames = torch.unflatten(x[:, 0], 0, (-1, frames)).mean(1)
        return self.norm(torch.lerp(clip, of_frames, self.balance.sigmoid()))


class UniFormerV2(nn.Module):
    """The whole network; its output is already one vector per clip."""

    def __init__(self, config: UniFormerV2Config) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(config.grid**2 + 1, width))
        time = (config.kernel_size, 2, config.kernel_size // 2) if config.temporal_downsample else (1, 1, 0)
        self.conv1 = nn.Conv3d(
            3, width, (time[0], patch, patch), stride=(time[1], patch, patch), padding=(time[2], 0, 0), bias=False
        )
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(config)

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        """One vector per clip.

        Args:
            clips: float32 `[N, 3, t_size, input_resolution, input_resolution]`, normalised.

        Returns:
            `[N, C]`.

        Raises:
            ConfigError: the clips have another size than the network.
        """
        maps = self.conv1(clips)
        wanted = (self.config.frames, self.config.grid, self.config.grid)
        if maps.shape[2:] != wanted:
            side = self.config.input_resolution
            raise ConfigError(
                "UniFormerV2",
                expected=f"clips of {self.config.t_size} frames (t_size), {side}x{side} pixels (input_resolution)",
                found="{} frames, {}x{} pixels".format(*clips.shape[2:]),
                hint="Make clip_len and the crops of the pipeline agree with the backbone.",
            )
        patches = _as_tokens(maps)
        first = self.class_embedding.expand(patches.shape[0], 1, -1)
        x = torch.cat([first, patches], 1).add_(self.positional_embedding)
        return self.transformer(self.ln_pre(x))
