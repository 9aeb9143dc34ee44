"""The switches of MMAction2's feature script (`tools/misc/clip_feature_extraction.py`), as changes to a recipe.

A compiled recipe takes all views of its config's test pipeline and their mean. The script of 1.x takes fewer views by
default, and has a mode for long videos; `apply_request` derives the recipes of both.

| the script's switch                | here                                                |
|------------------------------------|-----------------------------------------------------|
| none                               | `views="few"`                                       |
| `--multi-view`                     | `views="all"`, `Pooling(views="keep")`              |
| `--long-video-mode`, `--clip-interval`, `--frame-interval` | `views="few"`, `long_video=LongVideo(...)`, `Pooling(views="keep")` |
| `--spatial-type`, `--temporal-type`| `Pooling(space=..., time=...)`                      |
| `--dump-score`                     | `scores=True`; see `FeatureRequest`                 |
"""  # noqa: E501

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, cast

from vidfeat.errors import UsageError
from vidfeat.preprocessing.sampling import Sampling, SegmentSampling, SpreadSampling, UniformSampling, WindowSampling
from vidfeat.recipe import CenterCrop, FrameTransform, ModelSpec, Pooling, Recipe, TenCrop


@dataclass(frozen=True)
class LongVideo:
    """One row per window of a long video, instead of one vector.

    Attributes:
        clip_interval: distance between the centres of neighbouring windows, in frames.
        frame_interval: distance between the frames of a window; None for that of the config, where it has one.
    """

    clip_interval: int
    frame_interval: int | None = None


@dataclass(frozen=True)
class FeatureRequest:
    """What is wanted from a config beyond its own settings.

    Attributes:
        pooling: the reduction over space, time and views.
        views: all views of the test pipeline, or few, as the script of 1.x takes by default: one clip for clip
            networks, no `twice_sample`, the center crop in place of ten crops. Dense and uniform sampling and three
            crops are not changed.
        long_video: windows instead of clips.
        scores: class scores in place of features, as the model's own test has them: the config says by `average_clips`
            whether they are probabilities, and whether the views are averaged. The script's `--dump-score` averages
            what is before the softmax: that is `average_clips="score"` in the config.
    """

    pooling: Pooling = field(default_factory=Pooling)
    views: Literal["all", "few"] = "all"
    long_video: LongVideo | None = None
    scores: bool = False


def apply_request(recipe: Recipe, request: FeatureRequest) -> Recipe:
    """The recipe with the requested changes.

    Args:
        recipe: as compiled from a config.
        request: the changes.

    Raises:
        UsageError: windows are requested, and neither the request nor the config has the distance between their
            frames, or the network takes another number of frames; or scores, of a recipe without a head.
    """
    if request.scores and recipe.model.head is None:
        raise UsageError(
            "request.scores",
            expected="a model of MMAction2, whose checkpoint has the head that gives scores",
            found="a recipe of features",
        )
    sampling, transforms, model = cast("Sampling", recipe.sampling), recipe.transforms, recipe.model
    if request.views == "few":
        sampling = _fewer_clips(sampling, model)
        transforms = tuple(_one_crop(step) for step in transforms)
    if request.long_video is not None:
        sampling = _windows(sampling, model, request.long_video)
        model = replace(model, neck_joins_video=False)  # a neck takes each window by itself
    # A config's own layout of rows is kept as long as nothing else is requested.
    pooling = recipe.pooling if request == FeatureRequest() else own_pooling(recipe, request.pooling)
    return replace(recipe, sampling=sampling, transforms=transforms, model=model, pooling=pooling)


def own_pooling(recipe: Recipe, wanted: Pooling) -> Pooling:
    """The pooling that is wanted, in a recipe of scores with the recipe's own softmax.

    Raises:
        UsageError: another pooling over space or time than the one that the head is made for; or any, of a network of
            another library or of a user's own, which gives one vector.
    """
    model = recipe.model
    if getattr(model.backbone, "gives_vectors", False):
        what, axes = ("clip", ("space", "time")) if model.dims == 3 else ("frame", ("space",))
        for axis in axes:
            if (value := getattr(wanted, axis)) != "avg":
                expected = f"avg, as the network gives one vector for each {what}"
                raise UsageError(f"pooling.{axis}", expected=expected, found=value)
    if model.head is None:
        return wanted
    for name, value in (("space", wanted.space), ("time", wanted.time)):
        if value != "avg":
            raise UsageError(
                f"pooling.{name}", expected="avg, on which the head that gives scores is trained", found=value
            )
    views = recipe.pooling.views if wanted.views == "mean" else wanted.views
    return replace(recipe.pooling, views=views)


def _fewer_clips(sampling: Sampling, model: ModelSpec) -> Sampling:
    if not isinstance(sampling, SegmentSampling | SpreadSampling):
        return sampling
    # The clips of an image network are its frames: their number does not change.
    fewer = replace(sampling, twice_sample=False, num_clips=1 if model.dims == 3 else sampling.num_clips)
    if model.dims == 2 and fewer.num_clips * fewer.clip_len % model.segments:
        # The released 16-segment TSM takes its 16 frames from both samplings; the script fails there.
        return sampling
    return fewer


def _one_crop(step: FrameTransform) -> FrameTransform:
    return CenterCrop(step.width, step.height) if isinstance(step, TenCrop) else step


def _windows(sampling: Sampling, model: ModelSpec, wanted: LongVideo) -> WindowSampling:
    if isinstance(sampling, WindowSampling):  # the script does not change a config's own windows
        return sampling
    # An image network takes as many frames of a window as the config takes of a whole video.
    clip_len = sampling.clip_len if model.dims == 3 else sampling.clip_len * sampling.num_clips
    frame_interval = wanted.frame_interval
    if frame_interval is None and model.dims == 3 and not isinstance(sampling, UniformSampling):
        frame_interval = sampling.frame_interval
    if frame_interval is None:
        raise UsageError(
            "long_video.frame_interval",
            expected="the distance between the frames of a window, which the config does not have",
            found="none",
        )
    for name, value in (("clip_interval", wanted.clip_interval), ("frame_interval", frame_interval)):
        if value < 1:
            raise UsageError(f"long_video.{name}", expected="a number of frames above 0", found=f"{value}")
    if clip_len % model.segments:
        raise UsageError(
            "long_video",
            expected=f"windows of a multiple of the network's {model.segments} segments",
            found=f"{clip_len} frames",
        )
    return WindowSampling(clip_len, wanted.clip_interval, frame_interval)
