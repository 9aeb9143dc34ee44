"""What the families' translators share: options taken over as they are, and the few that need a check."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from vidfeat.mmaction.node import Node


def options(node: Node, names: Collection[str]) -> dict[str, Any]:
    """The options that are given, lists turned into tuples."""
    return {name: frozen(node.value(name)) for name in names if name in node.data}


def frozen(value: Any) -> Any:
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value


def make(config_class: Callable[..., Any], node: Node, options: dict[str, Any]) -> Any:
    """Build the dataclass; what it refuses becomes an error with the key path."""
    try:
        return config_class(**options)
    except (TypeError, ValueError) as error:
        raise node.error("type", expected="options that make a network", found=str(error)) from None


def norm_eps(node: Node, key: str = "norm_cfg", default: float = 1e-5) -> float:
    """Epsilon of the batch normalisation; synchronised ones do the same in inference.

    `default` is that of a family whose own default for the whole key is another epsilon.
    """
    if key not in node.data:
        return default
    norm = node.dict(key)
    norm.choice("type", dict.fromkeys(("BN", "BN2d", "BN3d", "SyncBN")))
    norm.ignore({"requires_grad", "momentum"})
    eps = norm.value("eps", 1e-5)
    if type(eps) is not float or not 0 < eps < 1:
        raise norm.error("eps", expected="a small number above 0", found=f"{eps!r}")
    norm.refuse_rest("type, requires_grad, momentum and eps")
    return eps


TRAINING_OPTIONS = frozenset(
    """
    frozen_stages init_cfg norm_eval partial_bn pretrained pretrained2d torchvision_pretrain with_cp
    zero_init_residual
    """.split()
)
"""Options that decide where weights start from or which of them learn."""


def integers(node: Node, names: Collection[str]) -> dict[str, int]:
    """Those options that are given, each an integer above 0."""
    return {name: node.positive(name) for name in names if name in node.data}


def flags(node: Node, names: Collection[str]) -> dict[str, bool]:
    """Those options that are given, each True or False."""
    return {name: node.flag(name, False) for name in names if name in node.data}


def factors(node: Node, names: Collection[str]) -> dict[str, float]:
    """Those options that are given and not None, each a number above 0."""
    given = {name: node.value(name) for name in names if name in node.data}
    for name, value in given.items():
        if value is not None and (type(value) not in (int, float) or not 0 < value < float("inf")):
            raise node.error(name, expected="a number above 0", found=f"{value!r}")
    return {name: float(value) for name, value in given.items() if value is not None}


def series(node: Node, names: Collection[str], least: int = 1) -> dict[str, tuple[int, ...]]:
    """Those options that are given, each a list of integers from `least` up."""
    given = {name: frozen(node.value(name)) for name in names if name in node.data}
    for name, value in given.items():
        if not (isinstance(value, tuple) and value and all(type(x) is int and x >= least for x in value)):
            raise node.error(name, expected=f"a list of integers from {least} up", found=f"{value!r}")
    return given


def layer_norm_eps(node: Node, default: float) -> float:
    """Epsilon of the layer normalisations; `default` is the family's own without `norm_cfg`."""
    if "norm_cfg" not in node.data:
        return default
    norm = node.dict("norm_cfg")
    norm.choice("type", {"LN": None})
    norm.ignore({"requires_grad"})
    eps = norm.value("eps", 1e-5)
    if type(eps) is not float or not 0 < eps < 1:
        raise norm.error("eps", expected="a small number above 0", found=f"{eps!r}")
    norm.refuse_rest("type, requires_grad and eps")
    return eps


def plain_conv(node: Node, types: Collection[str]) -> None:
    """Only ordinary convolutions and ReLU are built."""
    if node.value("conv_cfg", None) is not None:
        conv = node.dict("conv_cfg")
        conv.choice("type", dict.fromkeys(types))
        conv.refuse_rest("type")
    if node.value("act_cfg", None) is not None:
        act = node.dict("act_cfg")
        act.choice("type", {"ReLU": None})
        act.ignore({"inplace"})
        act.refuse_rest("type and inplace")


def rgb(node: Node, in_channels: int) -> None:
    if in_channels != 3:
        raise node.error(
            "in_channels",
            expected="3 (RGB)",
            found=f"{in_channels}",
            hint="Optical-flow models are not supported: their input is not a video.",
        )
