"""Linear layers in the layout in which oneDNN multiplies, where that is faster than what PyTorch does by itself.

In fp32 PyTorch multiplies with Intel's MKL, which on processors of other makers is a fifth slower than oneDNN. In bf16
it uses oneDNN, but lays the weights out anew at every call.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from vidfeat.machine import cpu_flags, cpu_vendor
from vidfeat.models.layers import Pointwise


class PackedLinear(nn.Module):
    """A linear layer for inference on the CPU.

    Args:
        weight: `[out, in]`, fp32 or bf16.
        bias: `[out]`.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self._in_features = weight.shape[1]
        # These two are what torch.compile itself uses for weights that are constant.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self._bias = None if bias is None else bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[..., in]` to `[..., out]`; raises `ValueError` for rows of another length, in clearer words than oneDNN."""
        if x.shape[-1] != self._in_features:
            raise ValueError(f"a layer of {self._in_features} inputs got {x.shape[-1]}")
        rows: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
        return rows


class PackedPointwise(PackedLinear):
    """The same over the channels of maps, `[N, in, T, H, W]` to `[N, out, T, H, W]`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every position on its own."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


@runtime_checkable
class Packable(Protocol):
    """A module that has weights of linear layers which are no `nn.Linear`, and can make them a `PackedLinear`."""

    def pack(self) -> None: ...


def packing_pays(dtype: torch.dtype) -> bool:
    """Whether packed layers are faster, on this machine's CPU, for numbers of that type.

    It follows from the processor and is not measured, so that the last bits of a feature do not depend on chance.
    """
    operators = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    if not operators or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.float32:
        mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        return mkl and cpu_vendor() not in ("", "GenuineIntel")
    return dtype == torch.bfloat16 and "avx512_bf16" in cpu_flags()


def pack_linears(model: nn.Module) -> None:
    """Put packed layers in the place of all linear ones. Their weights are gone then: it is the last step."""
    for module in list(model.modules()):
        if isinstance(module, Packable):
            module.pack()
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, PackedLinear(child.weight, child.bias))
            elif isinstance(child, Pointwise):
                setattr(module, name, PackedPointwise(child.weight.flatten(1), child.bias))
