"""What an encoder is, whatever it was compiled from. Imports no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vidfeat.errors import UsageError
from vidfeat.recipe import Pooling, TimeGrid

if TYPE_CHECKING:
    import torch

    from vidfeat.checkpoint import CheckpointFile, MatchReport
    from vidfeat.inference.network import FeatureNetwork
    from vidfeat.preprocessing.clips import PreprocessSpec


@dataclass(frozen=True)
class ClipSpec:
    """The frames that a network sees together.

    Attributes:
        length: how many; 1 for networks that see single frames.
        interval: distance between neighbouring ones, in frames; None for single frames, and where it depends on the
            length of the video.
    """

    length: int
    interval: int | None


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder with its weights in memory.

    Attributes:
        network: from uint8 `[N, frames, H, W, 3]` to float32 rows, on the device; in eval mode, fp32.
        match: which tensors of the checkpoint it took.
    """

    network: FeatureNetwork
    match: MatchReport


class Encoder(Protocol):
    """From the frames of a video to feature vectors: which frames, what is done to them, which network.

    Implementations are frozen dataclasses of plain data: they can be compared, printed, pickled and written as JSON.
    Weights are read by `load` alone.
    """

    if not TYPE_CHECKING:  # no member that an implementation needs

        @staticmethod
        def from_module(module: Any, **options: Any) -> Encoder:
            """The same as `vidfeat.encoder(module, ...)`; see `vidfeat.encoders.module.compile_encoder`."""
            from vidfeat.encoders.module import compile_encoder

            return compile_encoder(module, **options)

    @property
    def name(self) -> str:
        """Its name in outputs."""

    @property
    def identity(self) -> str:
        """SHA-256 over recipe and weights, 64 hex digits: encoders of one identity give the same features."""

    @property
    def recipe_digest(self) -> str:
        """SHA-256 over everything that decides a feature, apart from the weights."""

    @property
    def weights(self) -> CheckpointFile:
        """Where the weights are; with `source` and `sha256`."""

    @property
    def grid(self) -> TimeGrid:
        """Which frames of a video make which clip."""

    @property
    def clip(self) -> ClipSpec:
        """The frames that the network sees together."""

    @property
    def preprocess(self) -> PreprocessSpec:
        """What a decode process needs of it; picklable without torch."""

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""

    def with_grid(self, grid: TimeGrid) -> Encoder:
        """The encoder of the same network and weights with clips of another grid, as `TimeGrid.of_clip` fits it.

        Raises:
            UsageError: naming `grid`: the network cannot take clips of its length.
        """

    def with_pooling(self, pooling: Pooling) -> Encoder:
        """The encoder of the same network and weights with another pooling."""

    def description(self) -> dict[str, Any]:
        """What an output says of it, as JSON data.

        Keys are `encoder`, its name, `recipe`, and `checkpoint` with `source` and `sha256`.
        """

    def load(self, device: torch.device) -> LoadedEncoder:
        """The network with its weights on a device.

        Raises:
            CheckpointError: the weights cannot be read, or do not fit the network.
        """

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON data with the key `origin`; `vidfeat.encoders.encoder_from_json` reads it."""


def refuse_options(origin: str, options: dict[str, Any]) -> None:
    """Refuse arguments of `vidfeat.encoder` that an origin does not have, unless they ask for nothing.

    Raises:
        UsageError: naming the first.
    """
    for name, value in options.items():
        if value:
            raise UsageError(
                name, expected=f"none with {origin}:, whose models define it themselves", found=repr(value)
            )


def identity_of(recipe_digest: str, weights_sha256: str) -> str:
    """`Encoder.identity`, from two SHA-256 in hex digits."""
    return hashlib.sha256(f"{recipe_digest}:{weights_sha256}".encode()).hexdigest()
