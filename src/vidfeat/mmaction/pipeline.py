"""Test pipelines of both generations of configs, compiled into sampling, frame transforms and normalisation.

Every option of every step is read. Random ones are refused: the same video would give different features every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from vidfeat.errors import ConfigError
from vidfeat.mmaction.config import MAX_NUMBER, Node
from vidfeat.preprocessing.sampling import (
    DenseSampling,
    Sampling,
    SegmentSampling,
    SpreadSampling,
    UniformSampling,
    WindowSampling,
)
from vidfeat.recipe import (
    CenterCrop,
    Flip,
    FrameTransform,
    ModelSpec,
    Normalize,
    ResizeBy,
    ResizeShortEdge,
    ResizeTo,
    ResizeWithin,
    TenCrop,
    ThreeCrop,
)

MAX_CLIP_FRAMES, MAX_FRAMES = 1024, 100_000
"""Frames of a clip, and of all clips of a video, at most. Released models take 64, and some thousand."""

T = TypeVar("T")


@dataclass(frozen=True)
class Dialect:
    """The steps that one generation of configs has.

    Attributes:
        samplings: the steps that select frames.
        passive: steps that vidfeat always performs, each with its options that do not affect features.
        checks: for passive steps, the checks of their other options.
    """

    samplings: Mapping[str, Callable[[Node], Sampling]]
    passive: Mapping[str, frozenset[str]]
    checks: Mapping[str, Callable[[Node], None]]


@dataclass(frozen=True)
class Pipeline:
    """A compiled pipeline.

    Attributes:
        sampling: which frames form which clip.
        transforms: the frame transforms, in order.
        normalize: the conversion from uint8 to float32.
    """

    sampling: Sampling
    transforms: tuple[FrameTransform, ...]
    normalize: Normalize


def compile_pipeline(
    steps: list[Node], dialect: Dialect, model: ModelSpec, normalized_by_model: Normalize | None = None
) -> Pipeline:
    """Compile the steps of a test pipeline.

    Args:
        steps: the dicts of the pipeline; at least one.
        dialect: the generation of the config.
        model: the network, which determines the layout of its input and the multiple of frames that it takes.
        normalized_by_model: the normalisation of 1.x, where the model normalises and pipelines have no step for it.

    Raises:
        ConfigError: an unknown step or option, a random one, steps in an unsupported order, or frames that do not fit
            the network.
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
            _check_frames(step, sampling[-1], model.segments)
        elif name in _TRANSFORMS:
            transform = _TRANSFORMS[name](step)
            if normalize and not isinstance(transform, Flip):
                raise step.error("type", expected="resizing and cropping before Normalize", found=f"{name} after it")
            transforms += [transform] if transform is not None else []
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


def _sample_frames_v0(step: Node) -> SegmentSampling:
    return SegmentSampling(**_sample_frames(step))


def _sample_frames_v1(step: Node) -> SpreadSampling:
    target_fps = float(step.positive("target_fps")) if step.value("target_fps", None) is not None else None
    sampling = SpreadSampling(**_sample_frames(step), target_fps=target_fps)
    if sampling.twice_sample and sampling.num_clips == 1 and sampling.clip_len > 1:
        raise step.error(
            "twice_sample",
            expected="False for one clip of several frames",
            found="True, for which MMAction2 divides by zero",
            hint="Set num_clips=2 to have two clips.",
        )
    return sampling


def _sample_frames(step: Node) -> dict[str, Any]:
    """The options that `SampleFrames` has in both generations."""
    _refuse_random(step)
    step.ignore({"keep_tail_frames"})  # of random clips, in training
    return {
        "clip_len": step.positive("clip_len"),
        "frame_interval": step.positive("frame_interval", 1),
        "num_clips": step.positive("num_clips", 1),
        "twice_sample": step.flag("twice_sample", False),
        "out_of_bound": step.choice("out_of_bound_opt", _OUT_OF_BOUND, default="loop"),
    }


def _uniform_sample(step: Node) -> UniformSampling:
    _refuse_random(step)
    return UniformSampling(clip_len=step.positive("clip_len"), num_clips=step.positive("num_clips", 1))


def _untrimmed_sample_frames(step: Node) -> WindowSampling:
    return WindowSampling(
        clip_len=step.positive("clip_len", 1),
        clip_interval=step.positive("clip_interval", 16),
        frame_interval=step.positive("frame_interval", 1),
    )


def _dense_sample_frames(step: Node) -> DenseSampling:
    """`DenseSampleFrames`, the same in both generations."""
    _refuse_random(step)
    # MMAction2 accepts `twice_sample` here, and it has no effect.
    step.ignore({"keep_tail_frames", "twice_sample"})
    return DenseSampling(
        clip_len=step.positive("clip_len"),
        frame_interval=step.positive("frame_interval", 1),
        num_clips=step.positive("num_clips", 1),
        sample_range=step.positive("sample_range", 64),
        num_sample_positions=step.positive("num_sample_positions", 10),
        out_of_bound=step.choice("out_of_bound_opt", _OUT_OF_BOUND, default="loop"),
    )


def _refuse_random(step: Node) -> None:
    """Refuse training mode, which draws frames at random: the same video would give different features every time."""
    for key, wanted, default in (("test_mode", True, False), ("temporal_jitter", False, False)):
        if step.flag(key, default) is not wanted:
            raise step.error(
                key,
                expected=f"{wanted}, since random frames give different features every time",
                found=f"{not wanted}",
                hint=f"Set {key}={wanted} in the test pipeline.",
            )
    # Deprecated in favour of the dataset's key; videos start at 0.
    step.ignore({"start_index"})


_OUT_OF_BOUND: dict[str, Literal["loop", "repeat_last"]] = {"loop": "loop", "repeat_last": "repeat_last"}


def _check_frames(step: Node, sampling: Sampling, segments: int) -> None:
    """Refuse more frames than any config has. A network that combines neighbours takes them in groups of `segments`."""
    frames = sampling.clip_len
    if not isinstance(sampling, WindowSampling):
        frames *= sampling.num_clips
    if isinstance(sampling, DenseSampling):
        frames *= sampling.num_sample_positions
    # SegmentSampling takes short videos only once.
    if isinstance(sampling, SpreadSampling) and sampling.twice_sample:
        frames *= 2
    for key, found, most in (("clip_len", sampling.clip_len, MAX_CLIP_FRAMES), ("num_clips", frames, MAX_FRAMES)):
        if found > most:
            raise step.error(key, expected=f"at most {most:,} frames", found=f"{found:,}")
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
            "flip_ratio", expected="0 or 1, since a random flip gives different features every time", found=f"{ratio!r}"
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
            "lazy", expected="False", found="True", hint="Lazy steps resize different pixels; remove the option."
        )


def _normalize(step: Node) -> Normalize:
    step.ignore({"adjust_magnitude"})  # of optical flow only
    return Normalize(mean=step.triple("mean"), std=deviation(step, "std"), to_bgr=step.flag("to_bgr", False))


def deviation(node: Node, key: str) -> tuple[float, float, float]:
    """Three numbers to divide by. A division by zero would not show: the network can make zeros of NaN."""
    found = node.triple(key)
    if min(map(abs, found)) < 1 / MAX_NUMBER:
        raise node.error(key, expected=f"numbers of at least {1 / MAX_NUMBER:g} in size", found=f"{found}")
    return found


def _format_shape(step: Node, dims: Literal[2, 3]) -> None:
    wanted = LAYOUT[dims]
    layout = step.text("input_format")
    if layout != wanted:
        raise step.error("input_format", expected=f"{wanted!r} for a Recognizer{dims}D", found=f"{layout!r}")
    step.ignore({"collapse"})


LAYOUT: dict[int, str] = {2: "NCHW", 3: "NCTHW"}
"""Dimensions of a recognizer to the name of its input layout."""

_INTERPOLATIONS: dict[str, Literal["bilinear", "nearest"]] = {"bilinear": "bilinear", "nearest": "nearest"}
_DIRECTIONS: dict[str, Literal["horizontal", "vertical"]] = {"horizontal": "horizontal", "vertical": "vertical"}

_TRANSFORMS: dict[str, Callable[[Node], FrameTransform | None]] = {
    "Resize": _resize,
    "CenterCrop": _crop(CenterCrop),
    "ThreeCrop": _crop(ThreeCrop),
    "TenCrop": _crop(TenCrop),
    "Flip": _flip,
}


# --- the two generations ----------------------------------------------------------------------------------------------


def _accurate(step: Node) -> None:
    """Require the decoding mode that returns the requested frames, not neighbours of them."""
    step.choice("mode", {"accurate": None}, default="accurate")


def _inputs_are_frames(step: Node) -> None:
    keys = step.value("collect_keys", None)
    if keys is not None:
        raise step.error("collect_keys", expected="no such key: the input is the frames", found=f"{keys!r}")


_DECODING: dict[str, frozenset[str]] = {
    "DecordInit": frozenset({"io_backend", "num_threads"}),
    "PyAVInit": frozenset({"io_backend"}),
    "OpenCVInit": frozenset({"io_backend", "num_threads"}),
    "DecordDecode": frozenset(),
    "PyAVDecode": frozenset({"multi_thread"}),
    "OpenCVDecode": frozenset(),
    # The input is videos: a config for extracted frames is read as one for the videos that they came from.
    "RawFrameDecode": frozenset({"decoding_backend", "io_backend"}),
}

V0 = Dialect(
    samplings={"SampleFrames": _sample_frames_v0, "DenseSampleFrames": _dense_sample_frames},
    passive={
        **_DECODING,
        "Collect": frozenset({"keys", "meta_keys", "meta_name", "nested"}),
        "ToTensor": frozenset({"keys"}),
    },
    checks={"DecordDecode": _accurate, "PyAVDecode": _accurate},
)
"""MMAction2 0.x."""

V1 = Dialect(
    samplings={
        "SampleFrames": _sample_frames_v1,
        "DenseSampleFrames": _dense_sample_frames,
        "UniformSample": _uniform_sample,
        "UntrimmedSampleFrames": _untrimmed_sample_frames,
    },
    passive={
        **_DECODING,
        "PIMSInit": frozenset({"io_backend"}),
        "PIMSDecode": frozenset(),
        "PackActionInputs": frozenset({"algorithm_keys", "meta_keys"}),
    },
    checks={
        "DecordDecode": _accurate,
        "PyAVDecode": _accurate,
        "PIMSInit": _accurate,
        "PackActionInputs": _inputs_are_frames,
    },
)
"""MMAction2 1.x."""
