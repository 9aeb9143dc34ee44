"""The recipe: everything that decides a feature, as frozen data.

Configs are compiled into a `Recipe`; nothing after that sees a config. Two equal recipes with the same weights give
the same features, so the recipe's `digest`, with the checkpoint's SHA-256, is the identity of a run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Union

RECIPE_SCHEMA = 1
"""Raised whenever the meaning of a recipe's fields changes, so that old digests no longer match."""


# --- which frames make which clip -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SegmentSampling:
    """`num_clips` clips spread evenly, each in the middle of its segment (MMAction2's `SampleFrames`, test mode).

    Attributes:
        clip_len: frames per clip.
        frame_interval: distance between neighbouring frames of a clip, in frames.
        num_clips: clips per video; doubled by `twice_sample`.
        twice_sample: also take the clips at the start of each segment.
        out_of_bound: what stands in for frames past the end of a short video: the video from its start again, or the
            clip's last frame that exists.
    """

    clip_len: int
    frame_interval: int = 1
    num_clips: int = 1
    twice_sample: bool = False
    out_of_bound: Literal["loop", "repeat_last"] = "loop"


@dataclass(frozen=True)
class DenseSampling:
    """`num_clips` clips inside `sample_range` frames, at `num_sample_positions` places (`DenseSampleFrames`).

    Attributes:
        clip_len, frame_interval, num_clips, out_of_bound: as in `SegmentSampling`; `num_clips` is per position.
        sample_range: length of the range, in frames.
        num_sample_positions: start positions of the range, spread evenly over the video.
    """

    clip_len: int
    frame_interval: int = 1
    num_clips: int = 1
    sample_range: int = 64
    num_sample_positions: int = 10
    out_of_bound: Literal["loop", "repeat_last"] = "loop"


Sampling = Union[SegmentSampling, DenseSampling]


# --- what is done to each frame ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResizeShortEdge:
    """Scale so that the short edge gets `short` pixels, the aspect ratio kept."""

    short: int
    interpolation: Literal["bilinear", "nearest"] = "bilinear"


@dataclass(frozen=True)
class ResizeWithin:
    """Scale to the largest size, the aspect ratio kept, with long edge <= `long` and short edge <= `short` pixels."""

    long: int
    short: int
    interpolation: Literal["bilinear", "nearest"] = "bilinear"


@dataclass(frozen=True)
class ResizeBy:
    """Scale both edges by `factor`."""

    factor: float
    interpolation: Literal["bilinear", "nearest"] = "bilinear"


@dataclass(frozen=True)
class ResizeTo:
    """Scale to exactly `width` x `height` pixels, the aspect ratio not kept."""

    width: int
    height: int
    interpolation: Literal["bilinear", "nearest"] = "bilinear"


@dataclass(frozen=True)
class CenterCrop:
    """One crop of `width` x `height` pixels from the middle."""

    width: int
    height: int


@dataclass(frozen=True)
class ThreeCrop:
    """Three crops along the longer side: left, right, middle, or top, bottom, middle."""

    width: int
    height: int


@dataclass(frozen=True)
class TenCrop:
    """The four corners and the middle, each followed by its mirror image."""

    width: int
    height: int


@dataclass(frozen=True)
class Flip:
    """Mirror every frame."""

    direction: Literal["horizontal", "vertical"] = "horizontal"


FrameTransform = Union[ResizeShortEdge, ResizeWithin, ResizeBy, ResizeTo, CenterCrop, ThreeCrop, TenCrop, Flip]


@dataclass(frozen=True)
class Normalize:
    """`(pixel - mean) / std` per channel, pixels in [0, 255]; channels are swapped first where `to_bgr` is set."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    to_bgr: bool = False


# --- the model and what becomes of its output -------------------------------------------------------------------------


class BackboneConfig(Protocol):
    """The frozen dataclass with which a model family is built; one per file in `vidfeat.models`."""

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""


@dataclass(frozen=True)
class ModelSpec:
    """Which network, and the shape of one of its inputs.

    Attributes:
        backbone: the config dataclass of a family in `vidfeat.models`.
        dims: 2 for image networks (input `[N, C, H, W]`, one row per frame), 3 for clip networks (input
            `[N, C, T, H, W]`, one row per clip).
        segments: for image networks that look across frames (TSM, TIN, TANet): how many neighbouring frames, of the
            same crop, belong together. Batches are made of whole groups of them.
    """

    backbone: BackboneConfig
    dims: Literal[2, 3]
    segments: int = 1

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.backbone.feature_size


@dataclass(frozen=True)
class Pooling:
    """How feature maps become one vector: over space (and time inside a clip), then over the views of a video."""

    space: Literal["avg"] = "avg"
    views: Literal["mean"] = "mean"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a feature, apart from the weights.

    Attributes:
        sampling: which frames make which clip.
        transforms: what is done to each frame, in order, on uint8 RGB.
        normalize: the step from uint8 to float32.
        model: the network.
        pooling: how its output becomes one row.
    """

    sampling: Sampling
    transforms: tuple[FrameTransform, ...]
    normalize: Normalize
    model: ModelSpec
    pooling: Pooling = Pooling()

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON data: each part a dict whose `type` is its class name."""
        return {"schema": RECIPE_SCHEMA, **_to_json(self)}

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON, as 64 hex digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {f.name: _to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value
