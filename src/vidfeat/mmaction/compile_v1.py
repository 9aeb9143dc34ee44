"""The 1.x dialect: from a config's data to a `Recipe`.

As in 0.x only `model` and the test pipeline decide a feature; here the pipeline stands in `test_dataloader.dataset`,
and pixels are normalised by `model.data_preprocessor`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from vidfeat.mmaction.node import Node
from vidfeat.mmaction.pipeline import (
    DECODING,
    DECODING_CHECKS,
    LAYOUT,
    OUT_OF_BOUND,
    Dialect,
    accurate,
    compile_pipeline,
    dense_sample_frames,
    refuse_random,
)
from vidfeat.mmaction.recognizer import compile_model
from vidfeat.recipe import ModelSpec, Normalize, Recipe, Sampling, SpreadSampling, UniformSampling, WindowSampling

TRAINING_KEYS = frozenset(
    """
    auto_scale_lr cfg compile custom_hooks custom_imports default_hooks default_scope env_cfg experiment_name
    find_unused_parameters image_dataloader launcher load_from log_level log_processor model_wrapper_cfg optim_wrapper
    optimizer param_scheduler randomness resume test_cfg test_evaluator train_cfg train_dataloader val_cfg
    val_dataloader val_evaluator vis_backends visualizer work_dir
    """.split()
)
"""Top-level keys that decide how a model is trained, tested or shown, never what a feature is."""

UNUSED_VARIABLES = frozenset(
    """
    ann_file_test ann_file_train ann_file_val base_lr data_root data_root_test data_root_train data_root_val
    dataset_type file_client_args img_norm_cfg num_gpus num_samples_per_gpu preprocess_cfg split test_pipeline
    train_pipeline val_pipeline
    """.split()
)
"""Variables that public configs define by habit and do not always use."""

LOADER_KEYS = frozenset(
    """
    batch_sampler batch_size collate_fn drop_last multiprocessing_context num_batch_per_epoch num_workers
    persistent_workers pin_memory prefetch_factor sampler test_mode timeout worker_init_fn
    """.split()
)
"""Keys of `test_dataloader` that concern the loading of batches."""

DATASET_KEYS = frozenset(
    """
    _delete_ ann_file data_prefix data_root delimiter filename_tmpl filter_cfg indices lazy_init max_refetch metainfo
    multi_class num_classes serialize_data start_index test_mode with_offset
    """.split()
)
"""Keys of a dataset that describe the list of a benchmark; here the list comes from the caller."""

OTHER_RECOGNIZERS = {
    "MMRecognizer3D": "for poses together with RGB",
    "RecognizerAudio": "for audio",
    "RecognizerGCN": "for skeletons",
    "BMN": "for temporal localisation",
    "BSN": "for temporal localisation",
    "CLIPSimilarity": "for video retrieval",
    "DRN": "for video grounding",
    "FastRCNN": "for detection",
    "PEM": "for temporal localisation",
    "TCANet": "for temporal localisation",
    "TEM": "for temporal localisation",
}
"""Models of MMAction2 1.x that take another input than a video, or give another output than features."""


def compile_v1(config: dict[str, Any], *, file: str, variables: Collection[str] = ()) -> Recipe:
    """Compile a 1.x config.

    Args:
        config: the config's data, its bases merged and overrides applied.
        file: the config's path, for errors.
        variables: top-level names that other expressions of the config use; they are not options.

    Returns:
        The recipe: all views of the test pipeline, their mean.

    Raises:
        ConfigError: a key or value is missing, unknown or not supported; the message names the file and the key path.
    """
    root = Node.of(config, file)
    model = root.dict("model")
    _refuse_other_recognizers(model)
    loader = root.dict("test_dataloader")
    root.ignore(TRAINING_KEYS | UNUSED_VARIABLES | set(variables))
    root.refuse_rest("model, test_dataloader and training-only keys")
    steps = _dataset(loader.dict("dataset"))
    if "pipeline" in loader.data:  # A public config (TSM, 16 segments) overrides its base one level too high.
        steps = loader.list_of_dicts("pipeline")
    loader.ignore(LOADER_KEYS)
    loader.refuse_rest("dataset and loader settings")
    preprocessor = model.dict("data_preprocessor") if model.value("data_preprocessor", None) is not None else None
    spec = _model(model)
    pipeline = compile_pipeline(steps, _DIALECT, spec, _normalize(preprocessor, LAYOUT[spec.dims]))
    return Recipe(pipeline.sampling, pipeline.transforms, pipeline.normalize, spec)


def _model(node: Node) -> ModelSpec:
    spec = compile_model(node)
    if spec.neck_joins_video and _fcn_test(node):
        return replace(spec, neck_joins_video=False)
    return spec


def _fcn_test(node: Node) -> bool:
    """Whether an image network's neck takes clip by clip, rather than all frames of a video for one clip."""
    if node.value("test_cfg", None) is None:
        return False
    return node.dict("test_cfg").flag("fcn_test", False)


def _refuse_other_recognizers(model: Node) -> None:
    kind = model.value("type", None)
    if isinstance(kind, str) and kind in OTHER_RECOGNIZERS:
        raise model.error(
            "type", expected="Recognizer2D or Recognizer3D, for RGB videos", found=f"{kind}, {OTHER_RECOGNIZERS[kind]}"
        )


def _normalize(node: Node | None, layout: str) -> Normalize:
    """What the model's preprocessor does to pixels; without means, or without one at all, they stay in [0, 255]."""
    if node is None:
        return _UNCHANGED
    node.choice("type", {"ActionDataPreprocessor": None}, default="ActionDataPreprocessor")
    # Blending mixes training samples; pixels become float32 here in any case.
    node.ignore({"blending", "to_float32"})
    to_bgr = node.flag("to_rgb", False)  # It swaps channels, and frames are RGB already.
    given = node.value("format_shape", "NCHW")
    if node.value("mean", None) is None:
        normalize = Normalize(_UNCHANGED.mean, _UNCHANGED.std, to_bgr)
        node.ignore({"std"})
    else:
        normalize = Normalize(node.triple("mean"), node.triple("std"), to_bgr)
    if given != layout and not (given == "MIX2d3d" and layout == LAYOUT[3]):  # "MIX2d3d" decides by the input.
        raise node.error("format_shape", expected=f"{layout!r}, as in the pipeline", found=f"{given!r}")
    node.refuse_rest("type, mean, std, to_rgb and format_shape")
    return normalize


def _dataset(node: Node) -> list[Node]:
    """The steps of the test pipeline."""
    kind = node.text("type")
    if kind == "ConcatDataset":
        return _concatenated(node)
    if kind not in ("VideoDataset", "RawframeDataset"):
        raise node.error("type", expected="VideoDataset or RawframeDataset: RGB videos, or their frames", found=kind)
    node.choice("modality", {"RGB": None}, default="RGB")
    steps = node.list_of_dicts("pipeline")
    node.ignore(DATASET_KEYS)
    node.refuse_rest("type, pipeline, modality and list settings")
    return steps


def _concatenated(node: Node) -> list[Node]:
    """The test pipeline of several lists, which must be one and the same."""
    first, *others = [_dataset(dataset) for dataset in node.list_of_dicts("datasets")]
    if any([step.data for step in steps] != [step.data for step in first] for steps in others):
        raise node.error("datasets", expected="datasets with one and the same pipeline", found="several pipelines")
    node.ignore({"_delete_", "lazy_init", "ignore_keys"})
    node.refuse_rest("type and datasets")
    return first


def _sample_frames(step: Node) -> SpreadSampling:
    refuse_random(step)
    # Concerns training only: where clips end when they are drawn at random.
    step.ignore({"keep_tail_frames"})
    sampling = SpreadSampling(
        clip_len=step.positive("clip_len"),
        frame_interval=step.positive("frame_interval", 1),
        num_clips=step.positive("num_clips", 1),
        twice_sample=step.flag("twice_sample", False),
        out_of_bound=step.choice("out_of_bound_opt", OUT_OF_BOUND, default="loop"),
        target_fps=float(step.positive("target_fps")) if step.value("target_fps", None) is not None else None,
    )
    if sampling.twice_sample and sampling.num_clips == 1 and sampling.clip_len > 1:
        raise step.error(
            "twice_sample",
            expected="False for one clip of several frames",
            found="True, for which the original divides by zero",
            hint="Set num_clips=2 to have two clips.",
        )
    return sampling


def _uniform_sample(step: Node) -> UniformSampling:
    refuse_random(step)
    return UniformSampling(clip_len=step.positive("clip_len"), num_clips=step.positive("num_clips", 1))


def _untrimmed_sample_frames(step: Node) -> WindowSampling:
    return WindowSampling(
        clip_len=step.positive("clip_len", 1),
        clip_interval=step.positive("clip_interval", 16),
        frame_interval=step.positive("frame_interval", 1),
    )


def _inputs_are_frames(step: Node) -> None:
    if step.value("collect_keys", None) is not None:
        raise step.error(
            "collect_keys", expected="no such key: the input is the frames", found=f"{step.value('collect_keys')!r}"
        )


_UNCHANGED = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

_SAMPLINGS: dict[str, Callable[[Node], Sampling]] = {
    "SampleFrames": _sample_frames,
    "DenseSampleFrames": dense_sample_frames,
    "UniformSample": _uniform_sample,
    "UntrimmedSampleFrames": _untrimmed_sample_frames,
}

_DIALECT = Dialect(
    samplings=_SAMPLINGS,
    passive={
        **DECODING,
        "PIMSInit": frozenset({"io_backend"}),
        "PIMSDecode": frozenset(),
        "PackActionInputs": frozenset({"algorithm_keys", "meta_keys"}),
    },
    checks={**DECODING_CHECKS, "PIMSInit": accurate, "PackActionInputs": _inputs_are_frames},
)
