"""Layers with weights packed for oneDNN, where that is faster than PyTorch's default.

In fp32 PyTorch multiplies with Intel's MKL, which is a fifth slower than oneDNN on processors of other vendors, and
does not use oneDNN for small convolutions. Where it uses oneDNN, it packs the weights at every call. `torch.compile`
packs layers in the same way, with the same PyTorch operators, but needs a C++ compiler and half a minute.
"""

from __future__ import annotations

import platform
import threading
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import nn

from vidfeat.hardware import cpu_flags, cpu_vendor
from vidfeat.models.layers import ConvNorm, Pointwise


class PackedLinear(nn.Module):
    """A linear layer for inference on the CPU.

    Args:
        weight: `[out, in]`, fp32 or bf16.
        bias: `[out]`.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self._in_features = weight.shape[1]
        # torch.compile uses these two for constant weights
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self._bias = None if bias is None else bias.detach()

    @property
    def weight(self) -> torch.Tensor:
        """A plain copy of the weights, `[out, in]`: networks of other libraries use them beside `forward`."""
        return self._packed.to_dense()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[..., in]` to `[..., out]`; `ValueError`, clearer than oneDNN's error, for rows of another length."""
        if x.shape[-1] != self._in_features:
            raise ValueError(f"a layer of {self._in_features} inputs got {x.shape[-1]}")
        rows: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
        return rows


class PackedPointwise(PackedLinear):
    """The same over the channels of maps, `[N, in, T, H, W]` to `[N, out, T, H, W]`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every position separately."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class PackedConv(nn.Module):
    """A convolution for inference on the CPU, packed for inputs of one shape; for another shape it is packed again.

    Args:
        conv: of two or three dimensions, fp32 or bf16.
        relu: whether the output passes through a ReLU.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, *, relu: bool = False) -> None:
        super().__init__()
        self._weight = conv.weight.detach()  # not packed until the first call, when the shape is known
        self._bias = None if conv.bias is None else conv.bias.detach()
        # networks of other libraries ask for these, to pad
        self.kernel_size, self.stride, self.dilation = conv.kernel_size, conv.stride, conv.dilation
        self._how = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self._then = "relu" if relu else "none"
        self._shape: torch.Size | None = None
        self._packing = threading.Lock()

    @property
    def weight(self) -> torch.Tensor:
        """The packed weights: networks of other libraries ask for their dtype."""
        return self._weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in, ...]` to `[N, out, ...]`."""
        if x.shape != self._shape:
            self._pack_for(x.shape)
        maps: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._how, self._then, [], ""
        )
        return maps

    def _pack_for(self, shape: torch.Size) -> None:
        with self._packing:  # by several inference threads
            if shape != self._shape:
                plain = self._weight.to_dense() if self._weight.is_mkldnn else self._weight
                self._weight = torch.ops.mkldnn._reorder_convolution_weight(plain, *self._how, list(shape))
                self._shape = shape


class Unpacked(nn.Module):
    """A module whose layers are not replaced: its code, which is a user's, may do anything with them."""


@runtime_checkable
class Packable(Protocol):
    """A module with the weights of linear layers that are not `nn.Linear`, which can convert them to `PackedLinear`."""

    def pack(self) -> None: ...


def pack(model: nn.Module, dtype: torch.dtype, *, one_shape: bool) -> None:
    """Replace layers by packed ones where those are faster. The original weights are dropped: this is the last step.

    The choice depends on the processor and not on measurements, so that the last bits of a feature are reproducible.

    Args:
        model: on the CPU, with its weights, normalisations folded.
        dtype: the dtype of its weights.
        one_shape: whether all its inputs have one shape.
    """
    convolutions = one_shape and _convolutions_pay(dtype)
    linears = _linears_pay(dtype)
    others = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention | Unpacked)]
    excluded = {part for module in others for part in module.modules()}
    for module in [module for module in model.modules() if module not in excluded]:
        if linears and isinstance(module, Packable):
            module.pack()
        if convolutions and isinstance(module, ConvNorm) and type(module.bn) is nn.Identity and _can_pack(module.conv):
            module.conv, module.relu = PackedConv(module.conv, relu=module.relu), False
        for name, child in list(module.named_children()):
            if linears and isinstance(child, nn.Linear):
                setattr(module, name, PackedLinear(child.weight, child.bias))
            elif linears and isinstance(child, Pointwise):
                setattr(module, name, PackedPointwise(child.weight.flatten(1), child.bias))
            elif convolutions and _can_pack(child):
                setattr(module, name, PackedConv(child))


def _can_pack(layer: nn.Module) -> TypeGuard[nn.Conv2d | nn.Conv3d]:
    return type(layer) in (nn.Conv2d, nn.Conv3d) and isinstance(layer.padding, tuple) and layer.padding_mode == "zeros"


def _convolutions_pay(dtype: torch.dtype) -> bool:
    return _has_operators() and (dtype == torch.float32 or _computes_in(dtype))


def _linears_pay(dtype: torch.dtype) -> bool:
    if not _has_operators():
        return False
    if dtype == torch.float32:
        mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        return mkl and cpu_vendor() not in ("", "GenuineIntel")
    return _computes_in(dtype)


def _computes_in(dtype: torch.dtype) -> bool:
    return dtype == torch.bfloat16 and "avx512_bf16" in cpu_flags()


def _has_operators() -> bool:
    """Whether PyTorch has oneDNN and the operators with which `torch.compile` uses it; measured on x86 only."""
    names = ("_linear_pointwise", "_reorder_linear_weight", "_convolution_pointwise", "_reorder_convolution_weight")
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    x86 = platform.machine() in ("x86_64", "AMD64")
    return built and x86 and all(hasattr(torch.ops.mkldnn, name) for name in names)
