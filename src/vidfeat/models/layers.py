"""The one building block that most families share: convolution, batch normalisation, ReLU."""

from __future__ import annotations

from typing import Protocol, Union, runtime_checkable

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

Size = Union[int, tuple[int, ...]]


class ConvNorm(nn.Module):
    """Convolution, then optional batch normalisation, then optional ReLU.

    Parameters are named as MMAction2 names them: `conv.weight`, `bn.weight`, `bn.running_mean`, and so on.

    Args:
        in_channels, out_channels, kernel, stride, padding, dilation, groups: of the convolution.
        dims: 2 for images, 3 for clips.
        norm_eps: epsilon of the normalisation; None means that there is none.
        relu: whether the output passes through a ReLU.
        bias: whether the convolution has a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        dims: int,
        norm_eps: float | None = 1e-5,
        relu: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        conv_class = nn.Conv2d if dims == 2 else nn.Conv3d
        norm_class = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
        self.conv: nn.Module = conv_class(
            in_channels,
            out_channels,
            kernel,  # type: ignore[arg-type]
            stride=stride,  # type: ignore[arg-type]
            padding=padding,  # type: ignore[arg-type]
            dilation=dilation,  # type: ignore[arg-type]
            groups=groups,
            bias=bias,
        )
        self.bn: nn.Module = nn.Identity() if norm_eps is None else norm_class(out_channels, eps=norm_eps)
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, ...]` to `[N, out_channels, ...]`."""
        x = self.bn(self.conv(x))
        return x.relu_() if self.relu else x

    def fold_norm(self) -> None:
        """Move the normalisation into the convolution's weights, for inference; idempotent."""
        if isinstance(self.bn, nn.BatchNorm2d | nn.BatchNorm3d):
            # TSM and TIN wrap the convolution together with a step before it
            (conv,) = (module for module in self.conv.modules() if isinstance(module, nn.Conv2d | nn.Conv3d))
            fold(conv, self.bn)
            self.bn = nn.Identity()


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution with a bias, computed as a linear layer.

    On CPUs this avoids the copies that convolutions make for small batches; maps should be in channels-last order.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, T, H, W]` to `[N, out_channels, T, H, W]`."""
        return functional.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


@runtime_checkable
class Foldable(Protocol):
    """A module that can move batch normalisations into its convolutions."""

    def fold_norm(self) -> None: ...


def fold(conv: nn.Module, norm: nn.Module) -> None:
    """Fold `norm` into the weight and bias of `conv`.

    Computed in double precision: in single precision the products would add a rounding error to every layer.
    """
    assert isinstance(conv, nn.Conv2d | nn.Conv3d)
    assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight.double(),
        None if conv.bias is None else conv.bias.double(),
        norm.running_mean.double(),
        norm.running_var.double(),
        norm.eps,
        norm.weight.double(),
        norm.bias.double(),
    )
    conv.weight = nn.Parameter(weight.detach().to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.detach().to(conv.weight.dtype), requires_grad=False)


def fold_before(norm: nn.Module, conv: nn.Module) -> nn.Module:
    """Fold the `norm` before a pointwise `conv` into it, in double precision as `fold` does.

    Returns:
        The replacement of `norm`: an identity.
    """
    if isinstance(norm, nn.BatchNorm3d):
        assert isinstance(conv, Pointwise)
        assert conv.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        weight = conv.weight.double()
        bias = conv.bias.double() + weight.flatten(1) @ shift
        conv.weight = nn.Parameter((weight * scale[:, None, None, None]).to(conv.weight.dtype), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    return nn.Identity()


def fold_norms(model: nn.Module) -> None:
    """Fold every batch normalisation that can be folded into a convolution; the model must be in eval mode."""
    for module in list(model.modules()):
        if isinstance(module, Foldable):
            module.fold_norm()


def channels_last(model: nn.Module) -> None:
    """Convert the weights of all convolutions, of images and clips, to channels-last layout, which is faster.

    `Module.to(memory_format=...)` has one layout for all and refuses image networks with a layer over clips.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            layout = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            # `contiguous` does not change depthwise weights, since with one channel both layouts are the same,
            # but kernels are selected by strides
            module.weight.data = module.weight.data.to(memory_format=layout)
