"""Test pipelines: what the two dialects share, step by step.

A pipeline is sorted into sampling, frame transforms and normalisation. Every option of every step is read; random
ones are refused, since the same video would give another feature each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from vidfeat.errors import ConfigError
from vidfeat.mmaction.node import Node
from vidfeat.recipe import (
    CenterCrop,
    DenseSampling,
    Flip,
    FrameTransform,
    ModelSpec,
    Normalize,
    ResizeBy,
    ResizeShortEdge,
    ResizeTo,
    ResizeWithin,
    Sampling,
    SpreadSampling,
    TenCrop,
    ThreeCrop,
    WindowSampling,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Dialect:
    """What a generation of configs calls the steps that the other one does not have.

    Attributes:
        samplings: the steps that choose frames.
        passive: steps that every vidfeat run carries out anyway, each with its options that do not change a feature.
        checks: for passive steps, what their options must say.
    """

    samplings: Mapping[str, Callable[[Node], Sampling]]
    passive: Mapping[str, frozenset[str]]
    checks: Mapping[str, Callable[[Node], None]]


@dataclass(frozen=True)
class Pipeline:
    """A compiled pipeline.

    Attributes:
        sampling: which frames make which clip.
        transforms: what is done to each frame, in order.
        normalize: the step from uint8 to float32.
    """

    sampling: Sampling
    transforms: tuple[FrameTransform, ...]
    normalize: Normalize


def compile_pipeline(
    steps: list[Node], dialect: Dialect, model: ModelSpec, normalized_by_model: Normalize | None = None
) -> Pipeline:
    """Sort the steps into sampling, frame transforms and normalisation, each checked for its place.

    Args:
        steps: the dicts of the pipeline; at least one.
        dialect: the generation that they are written for.
        model: the network, which wants frames of some layout and number.
        normalized_by_model: in 1.x, where the model normalises and its pipelines have no step for it.

    Raises:
        ConfigError: an unknown step or option, a random one, one in a place where it would mean something else, or
            frames that do not fit the network.
    """
    sampling: list[Sampling] = []
    transforms: list[FrameTransform] = []
    normalize: list[Normalize] = []
    can_normalize = {} if normalized_by_model else {"Normalize": _normalize}
    for step in steps:
        name = step.text("type")
        if name in dialect.passive:
            step.ignore(dialect.passive[name])
            if name in dialect.checks:
                dialect.checks[name](step)
        elif name in dialect.samplings:
            sampling.append(dialect.samplings[name](step))
            _check_segments(step, sampling[-1], model.segments)
        elif name in _TRANSFORMS:
            made = _TRANSFORMS[name](step)
            if normalize and not isinstance(made, Flip):
                raise step.error("type", expected="resizing and cropping before Normalize", found=f"{name} after it")
            transforms += [made] if made is not None else []
        elif name in can_normalize:
            normalize.append(can_normalize[name](step))
        elif name == "FormatShape":
            _format_shape(step, model.dims)
        else:
            supported = {*dialect.samplings, *_TRANSFORMS, *dialect.passive, *can_normalize, "FormatShape"}
            raise step.error("type", expected=f"one of {', '.join(sorted(supported))}", found=f"{name!r}")
        step.refuse_rest(f"the options of {name}")
    return Pipeline(
        _only(sampling, " or ".join(dialect.samplings), steps),
        tuple(transforms),
        normalized_by_model or _only(normalize, "Normalize", steps),
    )


def _only(found: list[T], what: str, steps: list[Node]) -> T:
    if len(found) != 1:
        where = f"{steps[0].file}: {steps[0].parent_path}"
        raise ConfigError(where, expected=f"exactly one step {what}", found=f"{len(found)} of them")
    return found[0]


# --- sampling ---------------------------------------------------------------------------------------------------------


def dense_sample_frames(step: Node) -> DenseSampling:
    """`DenseSampleFrames`, the same in both generations."""
    refuse_random(step)
    # `twice_sample` is accepted by the original's constructor and has no effect there.
    step.ignore({"keep_tail_frames", "twice_sample"})
    return DenseSampling(
        clip_len=step.positive("clip_len"),
        frame_interval=step.positive("frame_interval", 1),
        num_clips=step.positive("num_clips", 1),
        sample_range=step.positive("sample_range", 64),
        num_sample_positions=step.positive("num_sample_positions", 10),
        out_of_bound=step.choice("out_of_bound_opt", OUT_OF_BOUND, default="loop"),
    )


def refuse_random(step: Node) -> None:
    """Sampling in training mode draws frames at random: the same video would give another feature each time."""
    for key, wanted, default in (("test_mode", True, False), ("temporal_jitter", False, False)):
        if step.flag(key, default) is not wanted:
            raise step.error(
                key,
                expected=f"{wanted}, since random frames give other features every time",
                found=f"{not wanted}",
                hint=f"Set {key}={wanted} in the test pipeline.",
            )
    # Deprecated there: the dataset's own key took over, and videos start at 0.
    step.ignore({"start_index"})


OUT_OF_BOUND: dict[str, Literal["loop", "repeat_last"]] = {"loop": "loop", "repeat_last": "repeat_last"}


def _check_segments(step: Node, sampling: Sampling, segments: int) -> None:
    """A network that looks across frames takes them in groups of so many."""
    frames = sampling.clip_len
    if not isinstance(sampling, WindowSampling):
        frames *= sampling.num_clips
    if isinstance(sampling, DenseSampling):
        frames *= sampling.num_sample_positions
    if isinstance(sampling, SpreadSampling) and sampling.twice_sample:  # That of 0.x takes short videos only once.
        frames *= 2
    if frames % segments:
        raise step.error(
            "clip_len" if isinstance(sampling, WindowSampling) else "num_clips",
            expected=f"a multiple of the backbone's {segments} segments",
            found=f"{frames} frames",
        )


# --- frame transforms -------------------------------------------------------------------------------------------------


def _resize(step: Node) -> FrameTransform:
    _refuse_lazy(step)
    interpolation = step.choice("interpolation", _INTERPOLATIONS, default="bilinear")
    keep_ratio = step.flag("keep_ratio", True)
    scale = step.value("scale")
    if isinstance(scale, float) and scale > 0 and keep_ratio:
        return ResizeBy(scale, interpolation)
    if not (isinstance(scale, list | tuple) and len(scale) == 2 and all(type(edge) is int for edge in scale)):
        raise step.error("scale", expected="(width, height) as two integers, or a positive factor", found=f"{scale!r}")
    first, second = scale
    if keep_ratio and min(scale) == -1 and max(scale) > 0:
        return ResizeShortEdge(max(scale), interpolation)
    if min(scale) <= 0:
        raise step.error("scale", expected="positive edges, or one -1 with keep_ratio", found=f"{scale!r}")
    if keep_ratio:
        return ResizeWithin(max(scale), min(scale), interpolation)
    return ResizeTo(first, second, interpolation)


def _flip(step: Node) -> Flip | None:
    _refuse_lazy(step)
    step.ignore({"flip_label_map", "left_kp", "right_kp", "left", "right"})
    direction = step.choice("direction", _DIRECTIONS, default="horizontal")
    ratio = step.value("flip_ratio", 0.5)
    if ratio not in (0, 1):
        raise step.error(
            "flip_ratio", expected="0 or 1, since a random flip gives other features every time", found=f"{ratio!r}"
        )
    return Flip(direction) if ratio == 1 else None


def _crop(make: Callable[[int, int], FrameTransform]) -> Callable[[Node], FrameTransform]:
    def compile_crop(step: Node) -> FrameTransform:
        _refuse_lazy(step)
        return make(*step.pair("crop_size"))

    return compile_crop


def _refuse_lazy(step: Node) -> None:
    if step.flag("lazy", False):
        raise step.error(
            "lazy", expected="False", found="True", hint="Lazy steps resize other pixels; remove the option."
        )


def _normalize(step: Node) -> Normalize:
    step.ignore({"adjust_magnitude"})  # Of optical flow only.
    return Normalize(mean=step.triple("mean"), std=step.triple("std"), to_bgr=step.flag("to_bgr", False))


def _format_shape(step: Node, dims: Literal[2, 3]) -> None:
    wanted = LAYOUT[dims]
    layout = step.text("input_format")
    if layout != wanted:
        raise step.error("input_format", expected=f"{wanted!r} for a Recognizer{dims}D", found=f"{layout!r}")
    step.ignore({"collapse"})


LAYOUT: dict[int, str] = {2: "NCHW", 3: "NCTHW"}
"""What a recognizer's inputs are called, by its dimensions."""

_INTERPOLATIONS: dict[str, Literal["bilinear", "nearest"]] = {"bilinear": "bilinear", "nearest": "nearest"}
_DIRECTIONS: dict[str, Literal["horizontal", "vertical"]] = {"horizontal": "horizontal", "vertical": "vertical"}

_TRANSFORMS: dict[str, Callable[[Node], FrameTransform | None]] = {
    "Resize": _resize,
    "CenterCrop": _crop(CenterCrop),
    "ThreeCrop": _crop(ThreeCrop),
    "TenCrop": _crop(TenCrop),
    "Flip": _flip,
}


# --- steps without effect ---------------------------------------------------------------------------------------------


def accurate(step: Node) -> None:
    """Decoding in a mode that returns the frames asked for, not neighbours of them."""
    step.choice("mode", {"accurate": None}, default="accurate")


DECODING: dict[str, frozenset[str]] = {
    "DecordInit": frozenset({"io_backend", "num_threads"}),
    "PyAVInit": frozenset({"io_backend"}),
    "OpenCVInit": frozenset({"io_backend", "num_threads"}),
    "DecordDecode": frozenset(),
    "PyAVDecode": frozenset({"multi_thread"}),
    "OpenCVDecode": frozenset(),
    # The input is videos: a config for extracted frames is read as one for the videos that they came from.
    "RawFrameDecode": frozenset({"decoding_backend", "io_backend"}),
}
"""Decoding steps that both generations have, each with its options that do not change a feature."""

DECODING_CHECKS: dict[str, Callable[[Node], None]] = {"DecordDecode": accurate, "PyAVDecode": accurate}
