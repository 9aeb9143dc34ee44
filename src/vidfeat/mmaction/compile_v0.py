"""The 0.x dialect: from a config's data to a `Recipe`.

Only what decides a feature is compiled: `model` and `data.test`. Everything else is either on a short list of keys
that concern training, and ignored, or an error that names the key. A misspelt option therefore never passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal, TypeVar

from vidfeat.errors import ConfigError
from vidfeat.mmaction.backbones import compile_backbone
from vidfeat.mmaction.node import Node
from vidfeat.recipe import (
    CenterCrop,
    DenseSampling,
    Flip,
    FrameTransform,
    ModelSpec,
    Normalize,
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

T = TypeVar("T")

TRAINING_KEYS = frozenset(
    """
    checkpoint_config cudnn_benchmark custom_hooks custom_imports dist_params ema_cfg evaluation eval_config
    find_unused_parameters fp16 gpu_ids load_from log_config log_level lr_config module_hooks momentum_config
    mp_start_method multigrid omnisource opencv_num_threads optimizer optimizer_config output_config precise_bn
    resume_from runner seed total_epochs train_cfg test_cfg work_dir workflow
    """.split()
)
"""Top-level keys that decide how a model is trained or where its files lie, never what a feature is."""

UNUSED_VARIABLES = frozenset(
    """
    ann_file ann_file_test ann_file_train ann_file_val data_root data_root_test data_root_train data_root_val
    dataset_type img_norm_cfg split test_pipeline train_pipeline val_pipeline
    """.split()
)
"""Variables that public configs define by habit and do not always use."""

LOADER_KEYS = frozenset(
    """
    omni_videos_per_gpu test_dataloader train train_dataloader train_ratio val val_dataloader videos_per_gpu
    workers_per_gpu
    """.split()
)
"""Keys of `data` that concern loaders and the other two splits."""

DATASET_KEYS = frozenset(
    """
    ann_file data_prefix dynamic_length filename_tmpl multi_class num_classes power sample_by_class start_index
    tag_categories tag_category_nums test_mode with_offset
    """.split()
)
"""Keys of `data.test` that describe the list of a benchmark; here the list comes from the caller."""

TEST_CFG_KEYS = frozenset(["average_clips", "fcn_test", "feature_extraction", "flip", "max_testing_views", "num_segs"])
"""Keys of `model.test_cfg`: how scores are averaged, or how work is cut up; features do not depend on them."""


def compile_v0(config: dict[str, Any], *, file: str, variables: Collection[str] = ()) -> Recipe:
    """Compile a 0.x config.

    Args:
        config: the config's data, `_base_` files merged and overrides applied.
        file: the config's path, for errors.
        variables: top-level names that other expressions of the config use; they are not options.

    Returns:
        The recipe.

    Raises:
        ConfigError: a key or value is missing, unknown or not supported; the message names the file and the key path.
    """
    root = Node.of(config, file)
    model = root.dict("model")
    data = root.dict("data")
    root.ignore(TRAINING_KEYS | UNUSED_VARIABLES | set(variables))
    root.refuse_rest("model, data and training-only keys")
    test = data.dict("test")
    data.ignore(LOADER_KEYS)
    data.refuse_rest("test and loader settings")
    spec = _model(model)
    sampling, transforms, normalize = _pipeline(_dataset(test), spec)
    return Recipe(sampling=sampling, transforms=transforms, normalize=normalize, model=spec)


def _model(node: Node) -> ModelSpec:
    recognizers: dict[str, Literal[2, 3]] = {"Recognizer2D": 2, "Recognizer3D": 3}
    recognizer = node.choice("type", recognizers)
    neck = node.value("neck", None)
    if neck is not None:
        found = neck.get("type") if isinstance(neck, dict) else neck
        raise node.error("neck", expected="no neck", found=f"{found!r}", do="Models with necks are not supported yet.")
    # The head turns features into scores; features are taken before it.
    node.ignore({"cls_head", "train_cfg"})
    test_cfg = node.dict("test_cfg") if isinstance(node.value("test_cfg", None), dict) else None
    if test_cfg is not None:
        test_cfg.ignore(TEST_CFG_KEYS)
        test_cfg.refuse_rest("settings of score averaging")
    backbone = compile_backbone(node.dict("backbone"), dims=recognizer)
    node.refuse_rest("type, backbone, neck, cls_head, train_cfg and test_cfg")
    return ModelSpec(backbone=backbone, dims=recognizer)


def _dataset(node: Node) -> list[Node]:
    """The steps of the test pipeline."""
    node.choice("type", {"VideoDataset": None, "RawframeDataset": None})
    node.choice("modality", {"RGB": None}, default="RGB")
    steps = node.list_of_dicts("pipeline")
    node.ignore(DATASET_KEYS)
    node.refuse_rest("type, pipeline, modality and list settings")
    return steps


def _pipeline(steps: list[Node], spec: ModelSpec) -> tuple[Sampling, tuple[FrameTransform, ...], Normalize]:
    """Sort the steps into sampling, frame transforms and normalisation, each checked for its place."""
    sampling: list[Sampling] = []
    transforms: list[FrameTransform] = []
    normalize: list[Normalize] = []
    for step in steps:
        name = step.text("type")
        if name in _IGNORED_STEPS:
            step.ignore(_IGNORED_STEPS[name])
            _IGNORED_CHECKS.get(name, _no_check)(step)
        elif name in _SAMPLINGS:
            sampling.append(_SAMPLINGS[name](step))
        elif name in _TRANSFORMS:
            made = _TRANSFORMS[name](step)
            if normalize and not isinstance(made, Flip):
                raise step.error("type", expected="resizing and cropping before Normalize", found=f"{name} after it")
            transforms += [made] if made is not None else []
        elif name == "Normalize":
            normalize.append(_normalize(step))
        elif name == "FormatShape":
            _format_shape(step, spec)
        else:
            supported = sorted({*_SAMPLINGS, *_TRANSFORMS, *_IGNORED_STEPS, "Normalize", "FormatShape"})
            raise step.error("type", expected=f"one of {', '.join(supported)}", found=f"{name!r}")
        step.refuse_rest(f"the options of {name}")
    where = steps[0].parent_path if steps else "data.test.pipeline"
    file = steps[0].file if steps else ""
    return (
        _only(sampling, "SampleFrames or DenseSampleFrames", file, where),
        tuple(transforms),
        _only(normalize, "Normalize", file, where),
    )


def _only(found: list[T], what: str, file: str, where: str) -> T:
    if len(found) != 1:
        raise ConfigError(f"{file}: {where}", expected=f"exactly one step {what}", found=f"{len(found)} of them")
    return found[0]


def _sample_frames(step: Node) -> SegmentSampling:
    _refuse_random(step)
    # Concerns training only: where clips end when they are drawn at random.
    step.ignore({"keep_tail_frames"})
    return SegmentSampling(
        clip_len=step.positive("clip_len"),
        frame_interval=step.positive("frame_interval", 1),
        num_clips=step.positive("num_clips", 1),
        twice_sample=step.flag("twice_sample", False),
        out_of_bound=step.choice("out_of_bound_opt", _OUT_OF_BOUND, default="loop"),
    )


def _dense_sample_frames(step: Node) -> DenseSampling:
    _refuse_random(step)
    # `twice_sample` is accepted by the original's constructor and has no effect there.
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
    """Sampling in training mode draws frames at random: the same video would give another feature each time."""
    for key, wanted, default in (("test_mode", True, False), ("temporal_jitter", False, False)):
        if step.flag(key, default) is not wanted:
            raise step.error(
                key,
                expected=f"{wanted}, since random frames give other features every time",
                found=f"{not wanted}",
                do=f"Set {key}={wanted} in the test pipeline.",
            )
    # Deprecated there: the dataset's own key took over, and videos start at 0.
    step.ignore({"start_index"})


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
            "lazy", expected="False", found="True", do="Lazy steps resize other pixels; remove the option."
        )


def _normalize(step: Node) -> Normalize:
    step.ignore({"adjust_magnitude"})  # Of optical flow only.
    return Normalize(mean=step.triple("mean"), std=step.triple("std"), to_bgr=step.flag("to_bgr", False))


def _format_shape(step: Node, spec: ModelSpec) -> None:
    wanted = {2: "NCHW", 3: "NCTHW"}[spec.dims]
    layout = step.text("input_format")
    if layout != wanted:
        raise step.error("input_format", expected=f"{wanted!r} for a Recognizer{spec.dims}D", found=f"{layout!r}")
    step.ignore({"collapse"})


def _no_check(step: Node) -> None:
    """Nothing to check."""


def _accurate(step: Node) -> None:
    step.choice("mode", {"accurate": None}, default="accurate")


_INTERPOLATIONS: dict[str, Literal["bilinear", "nearest"]] = {"bilinear": "bilinear", "nearest": "nearest"}
_DIRECTIONS: dict[str, Literal["horizontal", "vertical"]] = {"horizontal": "horizontal", "vertical": "vertical"}
_OUT_OF_BOUND: dict[str, Literal["loop", "repeat_last"]] = {"loop": "loop", "repeat_last": "repeat_last"}

_IGNORED_STEPS: dict[str, frozenset[str]] = {
    "DecordInit": frozenset({"io_backend", "num_threads"}),
    "PyAVInit": frozenset({"io_backend"}),
    "OpenCVInit": frozenset({"io_backend", "num_threads"}),
    "DecordDecode": frozenset(),
    "PyAVDecode": frozenset({"multi_thread"}),
    "OpenCVDecode": frozenset(),
    # The input is videos: a config for extracted frames is read as one for the videos that they came from.
    "RawFrameDecode": frozenset({"decoding_backend", "io_backend"}),
    "Collect": frozenset({"keys", "meta_keys", "meta_name", "nested"}),
    "ToTensor": frozenset({"keys"}),
}
"""Steps that every vidfeat run carries out anyway, each with the options that do not change a feature."""

_IGNORED_CHECKS: dict[str, Callable[[Node], None]] = {"DecordDecode": _accurate, "PyAVDecode": _accurate}

_SAMPLINGS: dict[str, Callable[[Node], Sampling]] = {
    "SampleFrames": _sample_frames,
    "DenseSampleFrames": _dense_sample_frames,
}

_TRANSFORMS: dict[str, Callable[[Node], FrameTransform | None]] = {
    "Resize": _resize,
    "CenterCrop": _crop(CenterCrop),
    "ThreeCrop": _crop(ThreeCrop),
    "TenCrop": _crop(TenCrop),
    "Flip": _flip,
}
