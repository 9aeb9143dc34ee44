"""A recipe in words, for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from vidfeat.models import build
from vidfeat.recipe import (
    CenterCrop,
    DenseSampling,
    Flip,
    Recipe,
    ResizeBy,
    ResizeShortEdge,
    ResizeTo,
    ResizeWithin,
    Sampling,
    SegmentSampling,
    TenCrop,
    ThreeCrop,
)
from vidfeat.transforms import FrameTransformer


def describe(recipe: Recipe) -> str:
    """What a recipe does to a video: a few aligned lines."""
    clips = _clips(recipe.sampling)
    crops = FrameTransformer(recipe.transforms).crops
    dims = recipe.model.dims
    views = clips * crops * (recipe.sampling.clip_len if dims == 2 else 1)
    layout = "[N, C, H, W], a row per frame" if dims == 2 else "[N, C, T, H, W], a row per clip"
    parameters = sum(parameter.numel() for parameter in build(recipe.model).parameters())
    order = "BGR" if recipe.normalize.to_bgr else "RGB"
    lines = {
        "frames": _sampling_in_words(recipe.sampling),
        "views": f"{views} a video: {clips} clips x {crops} crops"
        + (f" x {recipe.sampling.clip_len} frames" if dims == 2 and recipe.sampling.clip_len > 1 else ""),
        "transforms": ", ".join(_IN_WORDS[type(step)](step) for step in recipe.transforms) or "none",
        "normalize": f"{order}, mean {_numbers(recipe.normalize.mean)}, std {_numbers(recipe.normalize.std)}",
        "backbone": f"{_backbone_in_words(recipe.model.backbone)}, {parameters / 1e6:.1f} M parameters",
        "input": layout,
        "pooling": f"{recipe.pooling.space} over space and time, {recipe.pooling.views} over views",
        "feature size": f"{recipe.model.feature_size} (float32)",
        "digest": recipe.digest,
    }
    return "\n".join(f"{name:<13} {text}" for name, text in lines.items())


def _clips(sampling: Sampling) -> int:
    if isinstance(sampling, DenseSampling):
        return sampling.num_clips * sampling.num_sample_positions
    return sampling.num_clips * (2 if sampling.twice_sample else 1)


def _sampling_in_words(sampling: Sampling) -> str:
    clip = (
        "single frames"
        if sampling.clip_len == 1
        else f"clips of {sampling.clip_len} frames, {sampling.frame_interval} apart"
    )
    short = "frames start over" if sampling.out_of_bound == "loop" else "the last frame is repeated"
    if isinstance(sampling, SegmentSampling):
        twice = ", each taken twice" if sampling.twice_sample else ""
        return f"{clip}, one in each of {sampling.num_clips} equal segments{twice}; in short videos {short}"
    return (
        f"{clip}, {sampling.num_clips} within {sampling.sample_range} frames at {sampling.num_sample_positions} "
        f"positions; in short videos {short}"
    )


_IN_WORDS: dict[type, Callable[[Any], str]] = {
    ResizeShortEdge: lambda t: f"short edge to {t.short} ({t.interpolation})",
    ResizeWithin: lambda t: f"resize within {t.long}x{t.short}, ratio kept ({t.interpolation})",
    ResizeBy: lambda t: f"resize by {t.factor} ({t.interpolation})",
    ResizeTo: lambda t: f"resize to {t.width}x{t.height} ({t.interpolation})",
    CenterCrop: lambda t: f"centre crop {t.width}x{t.height}",
    ThreeCrop: lambda t: f"three crops {t.width}x{t.height}",
    TenCrop: lambda t: f"ten crops {t.width}x{t.height}",
    Flip: lambda t: f"{t.direction} flip",
}


def _numbers(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"


def _backbone_in_words(config: Any) -> str:
    """The family, and every option that differs from its default."""
    changed = [
        f"{field.name} {getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default and field.name != "non_local_block"
    ]
    return " ".join([type(config).__name__.removesuffix("Config"), ", ".join(changed)])
