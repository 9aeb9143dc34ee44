"""A module of a user's own as backbone."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from vidfeat.errors import UsageError
from vidfeat.models.packed import Unpacked


@dataclass(frozen=True)
class ModuleConfig:
    """A module that no recipe can describe.

    Attributes:
        name: `package.module:function` that makes it; or the name of its class, where it was given as an object.
        feature_size: length C of a feature vector.
    """

    gives_vectors: ClassVar[bool] = True

    name: str
    feature_size: int

    def __str__(self) -> str:
        return f"module {self.name}"


class OwnModule(Unpacked):
    """A module with `forward_features`.

    Args:
        config: whose name is a factory.
        module: the module, where there is one already.

    Attributes:
        network: the module.
    """

    def __init__(self, config: ModuleConfig, module: nn.Module | None = None) -> None:
        super().__init__()
        self.network = make(config.name) if module is None else module

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, 3, H, W]` or `[N, 3, T, H, W]` to vectors `[N, C]`, of which a token grid `[N, tokens, C]` is the mean.

        Raises:
            UsageError: the module's output is neither.
        """
        output = self.network(x)
        if isinstance(output, torch.Tensor) and output.is_floating_point() and output.shape[:1] == x.shape[:1]:
            if output.dim() == 2:
                return output
            if output.dim() == 3:
                return output.mean(1)
        shape = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise UsageError(
            "module",
            expected=f"an output of shape [N, C] or a token grid [N, tokens, C] for an input {list(x.shape)}",
            found=f"{shape}",
            hint="Wrap it in a module that picks, pools or flattens what you want.",
        )


def make(reference: str) -> Any:
    """The module that `package.module:function` makes.

    Raises:
        UsageError: there is no such function, or it makes something else.
    """
    name, _, attribute = reference.partition(":")
    try:
        factory = importlib.import_module(name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
        module: Any = factory()  # type: ignore[operator]
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            "module",
            expected="`package.module:function`, which can be imported and makes a torch.nn.Module without arguments",
            found=f"{reference!r}: {type(error).__name__}: {error}",
        ) from error
    if not isinstance(module, nn.Module):
        raise UsageError("module", expected="a function that makes a torch.nn.Module", found=f"{type(module).__name__}")
    return module
