"""The recipe: everything that decides a feature, as frozen data.

Configs are compiled into a `Recipe`; nothing after that sees a config. Two equal recipes with the same weights give
the same features, so the recipe's `digest`, with the checkpoint's SHA-256, is the identity of a run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Union, get_args

from vidfeat.errors import ConfigError, UsageError

RECIPE_SCHEMA = 1
"""Raised whenever the meaning of a recipe's fields changes, so that old digests no longer match."""

ADDED = {"omitted_at_default": True}
"""The metadata of a field that schema 1 did not have at first: at its default it is left out of the JSON, so that the
recipes that do not use it keep their digests."""


# --- which frames make which clip -------------------------------------------------------------------------------------


class TimeGrid(Protocol):
    """Which frames make which clip, and when; `vidfeat.preprocessing.grid` has the base class and the table."""

    @property
    def clip_len(self) -> int:
        """Frames of a clip."""

    @property
    def dense(self) -> bool:
        """Whether each clip is a window with rows of its own; else the clips together stand for the whole video."""

    @property
    def clips_per_row(self) -> int | None:
        """How many clips make a row of their own; None where the pooling of views decides."""

    def of_clip(self, length: int, interval: int | None, own: TimeGrid) -> TimeGrid:
        """The grid for an encoder that sees `length` frames, `interval` apart, and has a grid of its own."""

    def frame_index(self, frames: int, fps: float | None = None) -> Any:
        """int64 `[clips, clip_len]`: the frames of every clip of a video of `frames` frames."""

    def plan(self, timeline: Any, segment: Any = None) -> Any:
        """The `ClipPlan` of a video with a `Timeline`, or of its `VideoRef.cut`."""


# --- what is done to each frame ---------------------------------------------------------------------------------------

Interpolation = Literal[
    "bilinear",
    "nearest",
    "bilinear_float",
    "antialiased_bilinear",
    "antialiased_bicubic",
    "pillow_bilinear",
    "pillow_bicubic",
    "antialiased_bilinear_unrounded",
    "antialiased_bicubic_unrounded",
    "nearest_exact",
]
"""OpenCV's on uint8, and its bilinear one in floating point, rounded to uint8; or those of
`vidfeat.preprocessing.antialias`, rounded to uint8, or unrounded, float32; or PyTorch's nearest-exact."""


@dataclass(frozen=True)
class ResizeShortEdge:
    """Scale so that the short edge gets `short` pixels, the aspect ratio kept; the long edge is rounded."""

    short: int
    interpolation: Interpolation = "bilinear"
    rounding: Literal["half_up", "down"] = field(default="half_up", metadata=ADDED)


@dataclass(frozen=True)
class ResizeWithin:
    """Scale to the largest size, the aspect ratio kept, with long edge <= `long` and short edge <= `short` pixels."""

    long: int
    short: int
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True)
class ResizeBy:
    """Scale both edges by `factor`."""

    factor: float
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True)
class ResizeTo:
    """Scale to exactly `width` x `height` pixels, the aspect ratio not kept."""

    width: int
    height: int
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True)
class ResizeToPatches:
    """Scale to whole square patches of `patch_size` pixels, as many as possible but at most `max_patches`.

    Both edges are scaled by one factor, at most 100, and rounded up to whole patches: the aspect ratio is nearly kept.
    """

    patch_size: int
    max_patches: int
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True)
class CenterCrop:
    """One crop of `width` x `height` pixels from the middle.

    Attributes:
        width, height: of the crop, in pixels.
        rounding: of half the margin, where the margin is odd: "half_even" as torchvision rounds.
        smaller: whether a frame that is smaller than the crop is an error, or gets black margins.
    """

    width: int
    height: int
    rounding: Literal["down", "half_even"] = field(default="down", metadata=ADDED)
    smaller: Literal["error", "pad"] = field(default="error", metadata=ADDED)


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


FrameTransform = Union[
    ResizeShortEdge, ResizeWithin, ResizeBy, ResizeTo, ResizeToPatches, CenterCrop, ThreeCrop, TenCrop, Flip
]


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


class NeckConfig(Protocol):
    """The frozen dataclass of a network that joins the maps of several stages of a backbone."""

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""


class HeadConfig(Protocol):
    """The frozen dataclass of a classification head, which turns feature vectors into class scores."""

    @property
    def in_channels(self) -> int:
        """Length of the feature vectors that it takes."""

    @property
    def classes(self) -> int:
        """How many scores it gives."""


@dataclass(frozen=True)
class ModelSpec:
    """Which network, and the shape of one of its inputs.

    Attributes:
        backbone: the config dataclass of a family in `vidfeat.models`.
        dims: 2 for image networks (input `[N, C, H, W]`, one row per frame), 3 for clip networks (input
            `[N, C, T, H, W]`, one row per clip).
        segments: for image networks that look across frames (TSM, TIN, TANet): how many neighbouring frames, of the
            same crop, belong together. Batches are made of whole groups of them.
        neck: the config dataclass of a network between backbone and pooling; None where there is none.
        neck_joins_video: for image networks with a neck: it takes all frames of a video, of every clip and crop in
            the order of the plan, for one clip (as MMAction2 does, in 1.x without `fcn_test`). A batch is then all
            frames of one video, and one row comes out. Otherwise `segments` frames are a clip for the neck.
        head: the config dataclass of the classification head, where rows are class scores; None where they are
            features.
    """

    backbone: BackboneConfig
    dims: Literal[2, 3]
    segments: int = 1
    neck: NeckConfig | None = None
    neck_joins_video: bool = False
    head: HeadConfig | None = field(default=None, metadata=ADDED)

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector; of a vector of class scores, where there is a head."""
        if self.head is not None:
            return self.head.classes
        return self.backbone.feature_size if self.neck is None else self.neck.feature_size


_POOLINGS = {
    "space": ("mean", "max", "keep", "avg"),
    "time": ("mean", "max", "keep", "avg"),
    "views": ("mean", "max", "keep", "per_clip"),
}


@dataclass(frozen=True)
class Pooling:
    """How the feature maps of a video's views become its features.

    A view is one clip under one crop. For image networks, whose clips are single frames, it is all frames under one
    crop; with windows those of one window, in networks that look across frames one group of `segments`.

    Attributes:
        space: over height and width: the mean, the maximum, or all positions kept. "avg" is MMAction2's word for mean,
            and the one that recipes have.
        time: over the positions in time inside a view (its frames, for image networks), in the same way.
        views: the mean or the maximum over all views; one row per clip, the mean over its crops; or one row per view,
            crop by crop. Grids that have rows of their own (`Windows`, `Segments`) pool the views of each row, and
            "keep" gives them an axis after that of the rows: `[T, crops, C]`.
        row_length: for the two kinds of image networks whose features MMAction2 0.x lays out in its own way (TPN on
            TSM, and TSM with temporal pooling): after the pooling over space, all numbers of a video are cut into rows
            of this length, and those are averaged. None: rows are as the network gives them.
        softmax: for class scores, which are then probabilities: over the scores of each view, before the mean over
            views; or over those of each row, after it. None leaves scores as the head gives them.

    The default gives one row of shape `[C]`. What is kept adds axes: `[views or clips, C, T, H, W]` for clip
    networks, `[views or clips, T, C, H, W]` for image networks, as MMAction2 1.x orders them. Networks that return
    vectors have nothing to pool or keep in space and time.

    Raises:
        UsageError: a word is none of these.
    """

    space: Literal["avg", "mean", "max", "keep"] = "avg"
    time: Literal["avg", "mean", "max", "keep"] = "avg"
    views: Literal["mean", "max", "per_clip", "keep"] = "mean"
    row_length: int | None = None
    softmax: Literal["view", "row"] | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        for name, words in _POOLINGS.items():
            if getattr(self, name) not in words:
                raise UsageError(f"pooling.{name}", expected=" or ".join(words), found=repr(getattr(self, name)))
            if name != "views" and getattr(self, name) == "mean":
                object.__setattr__(self, name, "avg")  # the digests of recipes were made with this word


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

    sampling: TimeGrid
    transforms: tuple[FrameTransform, ...]
    normalize: Normalize
    model: ModelSpec
    pooling: Pooling = Pooling()

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector."""
        return self.pooling.row_length or self.model.feature_size

    @property
    def frames_once(self) -> bool:
        """Whether each frame passes through the network once, whatever number of windows it is in."""
        model = self.model
        return self.sampling.dense and model.dims == 2 and model.segments == 1 and model.neck is None

    @property
    def pixel_dtype(self) -> Literal["uint8", "float32"]:
        """Of transformed frames, whose values are from 0 to 255 in both, but for the overshoot of a cubic filter."""
        unrounded = (str(getattr(step, "interpolation", "")).endswith("_unrounded") for step in self.transforms)
        return "float32" if any(unrounded) else "uint8"

    @property
    def frames_are_alike(self) -> bool:
        """Whether every frame that the network sees has the same size, whatever the video's."""
        return self.frame_size is not None

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """Width and height of the frames that the network sees; None where the video decides."""
        fixed = [step for step in self.transforms if isinstance(step, ResizeTo | CenterCrop | ThreeCrop | TenCrop)]
        return (fixed[-1].width, fixed[-1].height) if fixed else None

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON data: each part a dict whose `type` is its class name."""
        return {"schema": RECIPE_SCHEMA, **part_to_json(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        """The recipe that `to_json` made `data` of.

        Raises:
            ConfigError: the data is of another schema, or has an unknown type or field.
        """
        # By name, since models import this module, and PyTorch.
        types = (*_TYPES, *_grids(), *importlib.import_module("vidfeat.models").CONFIGS)
        if data.get("schema") != RECIPE_SCHEMA:
            raise ConfigError("recipe.schema", expected=f"{RECIPE_SCHEMA}", found=repr(data.get("schema")))
        recipe = part_from_json({name: part for name, part in data.items() if name != "schema"}, "recipe", types)
        if not isinstance(recipe, cls):
            raise ConfigError("recipe.type", expected="Recipe", found=type(recipe).__name__)
        for name, kinds in {"sampling": _grids(), **_PARTS}.items():
            value = getattr(recipe, name)
            parts = value if name == "transforms" else (value,)
            if not isinstance(parts, tuple) or not all(isinstance(part, kinds) for part in parts):
                expected = ("a list of " if name == "transforms" else "") + " or ".join(k.__name__ for k in kinds)
                raise ConfigError(f"recipe.{name}", expected=expected, found=repr(value))
        return recipe

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON, as 64 hex digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


_TYPES: tuple[type, ...] = (Recipe, *get_args(FrameTransform), Normalize, ModelSpec, Pooling)
"""The dataclasses of a recipe, apart from grids and those of `vidfeat.models`."""

_PARTS: dict[str, tuple[type, ...]] = {
    "transforms": get_args(FrameTransform),
    "normalize": (Normalize,),
    "model": (ModelSpec,),
    "pooling": (Pooling,),
}
"""What may stand in each field of a recipe."""


def _grids() -> tuple[type, ...]:
    # By name, since they are made of what is above this module.
    found: tuple[type, ...] = importlib.import_module("vidfeat.preprocessing.grid").grid_types()
    return found


def part_to_json(value: Any) -> Any:
    """A part of a recipe, such as a sampling, as JSON data; None is null."""
    if dataclasses.is_dataclass(value):
        fields = {
            f.name: part_to_json(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (f.metadata == ADDED and getattr(value, f.name) == f.default)
        }
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [part_to_json(item) for item in value]
    return value


def part_from_json(value: Any, where: str = "part", types: tuple[type, ...] | None = None) -> Any:
    """The part that `part_to_json` made `value` of.

    Args:
        value: JSON data.
        where: its name, for errors.
        types: the classes that it may hold; all that are no network's where None.

    Raises:
        ConfigError: it has an unknown type or field.
    """
    types = types or (*_TYPES, *_grids())
    if isinstance(value, list):
        return tuple(part_from_json(item, f"{where}[{index}]", types) for index, item in enumerate(value))
    if not isinstance(value, dict):
        return value
    kind = next((kind for kind in types if kind.__name__ == value.get("type")), None)
    if kind is None:
        raise ConfigError(where, expected="a part of a recipe of a known `type`", found=f"type {value.get('type')!r}")
    fields = {name: part_from_json(item, f"{where}.{name}", types) for name, item in value.items() if name != "type"}
    try:
        return kind(**fields)
    except (
        TypeError,
        ValueError,
        UsageError,
    ) as error:  # a field that is unknown or missing, or a value that the class refuses
        raise ConfigError(where, expected=f"the fields of {kind.__name__}", found=str(error)) from None
