"""Networks of timm and torchvision, built by those libraries, as backbones.

MMAction2 accepts any of images by name (`timm.NAME`, `torchvision.NAME`) and pools their maps to one vector per frame.
`timm:NAME` and `torchvision:NAME` take what the network's own classifier reads. Parameter names below `backbone.` are
the library's.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import nn

from vidfeat.recipe import ADDED

FeatureShape = Literal["NCHW", "NHWC", "NLC"]
Features = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class LibraryConfig:
    """Configuration of a network of timm or torchvision.

    Attributes:
        library: the library, which must be installed.
        name: the network's name in the library.
        options: further arguments of its constructor, by name.
        feature_shape: the axes of its output: maps, maps with channels last, or tokens. None: timm's `output_fmt`, or
            the number of axes, determines it.
        pooled: the mean of the maps; or "own", the vector that the network's classifier reads.
        input_shape: of one image or clip, channels first, for "own".
    """

    library: Literal["timm", "torchvision"]
    name: str
    options: tuple[tuple[str, Any], ...] = ()
    feature_shape: FeatureShape | None = None
    pooled: Literal["mean", "own"] = field(default="mean", metadata=ADDED)
    input_shape: tuple[int, ...] = field(default=(3, 224, 224), metadata=ADDED)

    def __post_init__(self) -> None:
        if self.library not in ("timm", "torchvision"):
            raise ValueError(f"library must be 'timm' or 'torchvision'; {self.library = }")
        if self.feature_shape not in ("NCHW", "NHWC", "NLC", None):
            raise ValueError(f"feature_shape must be 'NCHW', 'NHWC' or 'NLC'; {self.feature_shape = }")

    def __str__(self) -> str:
        options = "".join(f", {name} {value}" for name, value in self.options)
        return f"{self.name} of {self.library}{options}"

    @property
    def gives_vectors(self) -> bool:
        """Whether the output has no axes to pool."""
        return self.pooled == "own"

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return _feature_size(self)


@functools.lru_cache(maxsize=8)
def _feature_size(config: LibraryConfig) -> int:
    """The size of the output for one image, computed on the meta device."""
    network = library_network(config).eval().to("meta")
    with torch.inference_mode():
        return cast(Any, network).forward_features(torch.empty(1, *config.input_shape, device="meta")).shape[1]


def library_network(config: LibraryConfig) -> nn.Module:
    """The library's own network, without its classifier, with a `forward_features` that returns vectors.

    For MMAction2 it is the library's module itself, without a wrapper: its parameters are directly below `backbone.`.

    Raises:
        ImportError: the library is not installed.
        Exception: the library's error for an unknown name or option.
    """
    # On the CPU even if the rest is built on the meta device: these networks compute tables when they are built.
    with torch.device("cpu"):
        network, features = _BUILDERS[config.library](config)
    if config.pooled == "own":
        return OwnOutput(network)
    shape = config.feature_shape or getattr(network, "output_fmt", None)
    vars(network)["forward_features"] = functools.partial(_pooled, features, None if shape is None else str(shape))
    return network


def _timm(config: LibraryConfig) -> tuple[nn.Module, Features]:
    create_model = importlib.import_module("timm").create_model
    network = create_model(config.name, pretrained=False, num_classes=0, **dict(config.options))
    return network, network.forward_features


def _torchvision(config: LibraryConfig) -> tuple[nn.Module, Features]:
    get_model = importlib.import_module("torchvision.models").get_model
    network = get_model(config.name, weights=None, **dict(config.options))
    if config.pooled == "own":
        classifier = classifier_of(network)
        if classifier:
            parent, _, name = classifier.rpartition(".")
            setattr(network.get_submodule(parent), name, nn.Identity())
        return network, network
    # both names, whichever the network has, as in MMAction2; checkpoints have neither
    network.classifier = nn.Identity()
    network.fc = nn.Identity()
    if config.name.startswith("swin"):
        # the only family in torchvision with channels last; timm's networks have the attribute
        network.output_fmt = "NHWC"
    return network, getattr(network, "features", network)


def classifier_of(network: nn.Module) -> str:
    """The name of a torchvision network's last linear layer; empty where it has none, as SqueezeNet."""
    return next((name for name, part in [*network.named_modules()][::-1] if isinstance(part, nn.Linear)), "")


_BUILDERS: dict[str, Callable[[LibraryConfig], tuple[nn.Module, Features]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}


class OwnOutput(nn.Module):
    """A network whose output is the vector: its parameter names lie below `backbone.network.`.

    Attributes:
        network: the library's.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward_features(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[N, 3, H, W]` or `[N, 3, T, H, W]` to `[N, C]`."""
        rows: torch.Tensor = self.network(inputs).flatten(1)
        return rows


def _pooled(features: Features, shape: str | None, images: torch.Tensor) -> torch.Tensor:
    """The mean over all positions.

    Args:
        features: from images to maps or tokens.
        shape: the order of their axes; None means by their number.
        images: float32 `[N, 3, H, W]`, normalised.

    Returns:
        `[N, C]`.
    """
    found = features(images)
    if found.dim() == 2:
        return found
    channels_last = shape in ("NHWC", "NLC") or (shape is None and found.dim() == 3)
    return found.flatten(1, -2).mean(1) if channels_last else found.flatten(2).mean(2)
