"""A recipe in words, for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

from vidfeat.models import build
from vidfeat.preprocessing.clips import PreprocessSpec
from vidfeat.preprocessing.sampling import (
    DenseSampling,
    Sampling,
    SegmentSampling,
    UniformSampling,
    WindowSampling,
)
from vidfeat.recipe import (
    CenterCrop,
    Flip,
    Pooling,
    Recipe,
    ResizeBy,
    ResizeShortEdge,
    ResizeTo,
    ResizeToPatches,
    ResizeWithin,
    TenCrop,
    ThreeCrop,
    TimeGrid,
)


def describe(recipe: Recipe) -> str:
    """What a recipe does to a video: a few aligned lines."""
    crops = PreprocessSpec.of(recipe).crops
    dims = recipe.model.dims
    layout = "[N, C, H, W], a row per frame" if dims == 2 else "[N, C, T, H, W], a row per clip"
    parameters = sum(parameter.numel() for parameter in build(recipe.model).parameters())
    order = "BGR" if recipe.normalize.to_bgr else "RGB"
    lines = {
        "frames": _sampling_in_words(recipe.sampling),
        "views": _views_in_words(recipe, crops),
        "transforms": ", ".join(_IN_WORDS[type(step)](step) for step in recipe.transforms) or "none",
        "normalize": f"{order}, mean {_numbers(recipe.normalize.mean)}, std {_numbers(recipe.normalize.std)}",
        "backbone": f"{_backbone_in_words(recipe.model.backbone)}, {parameters / 1e6:.1f} M parameters",
        "input": layout,
        "pooling": _pooling_in_words(recipe.pooling),
        "feature size": f"{recipe.feature_size} (float32)",
        "digest": recipe.digest,
    }
    return "\n".join(f"{name:<13} {text}" for name, text in lines.items())


def _views_in_words(recipe: Recipe, crops: int) -> str:
    grid = recipe.sampling
    frames = max(1, grid.clip_len) if recipe.model.dims == 2 else 1
    factors = f"{crops} crops" + (f" x {frames} frames" if frames > 1 else "")
    if grid.dense:  # the number of clips depends on the length of the video
        return f"{crops * frames} a window: {factors}"
    clips = len(grid.frame_index(1000))
    return f"{clips * crops * frames} a video: {clips} clips x {factors}"


def _pooling_in_words(pooling: Pooling) -> str:
    maps = f"{pooling.space} over space, {pooling.time} over time"
    if pooling.space == pooling.time:
        maps = f"{pooling.space} over space and time"
    views = {"per_clip": "a row per clip, the mean over its crops", "keep": "a row per view"}
    return f"{maps}, {views.get(pooling.views, f'{pooling.views} over views')}"


def _sampling_in_words(sampling: TimeGrid) -> str:
    if not isinstance(sampling, get_args(Sampling)):
        return repr(sampling)
    if isinstance(sampling, UniformSampling):
        return f"{sampling.num_clips} clips of {sampling.clip_len} frames, each spread over the whole video"
    clip = (
        "single frames"
        if sampling.clip_len == 1
        else f"clips of {sampling.clip_len} frames, {sampling.frame_interval} apart"
    )
    if isinstance(sampling, WindowSampling):
        return f"{clip}, one every {sampling.clip_interval} frames; at the ends the first and last frame are repeated"
    short = "frames start over" if sampling.out_of_bound == "loop" else "the last frame is repeated"
    if isinstance(sampling, DenseSampling):
        return (
            f"{clip}, {sampling.num_clips} within {sampling.sample_range} frames at {sampling.num_sample_positions} "
            f"positions; in short videos {short}"
        )
    twice = ", each taken twice" if sampling.twice_sample else ""
    if isinstance(sampling, SegmentSampling):
        return f"{clip}, one in each of {sampling.num_clips} equal segments{twice}; in short videos {short}"
    rate = f" at {sampling.target_fps:g} frames per second" if sampling.target_fps else ""
    return f"{clip}{rate}, {sampling.num_clips} spread from start to end{twice}; in short videos {short}"


_IN_WORDS: dict[type, Callable[[Any], str]] = {
    ResizeShortEdge: lambda t: f"short edge to {t.short} ({t.interpolation})",
    ResizeWithin: lambda t: f"resize within {t.long}x{t.short}, ratio kept ({t.interpolation})",
    ResizeBy: lambda t: f"resize by {t.factor} ({t.interpolation})",
    ResizeTo: lambda t: f"resize to {t.width}x{t.height} ({t.interpolation})",
    ResizeToPatches: lambda t: (
        f"resize to at most {t.max_patches} patches of {t.patch_size}x{t.patch_size}, ratio kept ({t.interpolation})"
    ),
    CenterCrop: lambda t: f"centre crop {t.width}x{t.height}",
    ThreeCrop: lambda t: f"three crops {t.width}x{t.height}",
    TenCrop: lambda t: f"ten crops {t.width}x{t.height}",
    Flip: lambda t: f"{t.direction} flip",
}


def _numbers(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"


def _backbone_in_words(config: Any) -> str:
    """The family, and every option that differs from its default; or the config's own words."""
    if "__str__" in vars(type(config)):
        return str(config)
    return " ".join([type(config).__name__.removesuffix("Config"), ", ".join(_changed(config))])


def _changed(config: Any) -> list[str]:
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value == default:
            continue
        if dataclasses.is_dataclass(value):
            words.append(f"{field.name} ({', '.join(_changed(value))})")
        else:
            words.append(f"{field.name} {value}")
    return words
