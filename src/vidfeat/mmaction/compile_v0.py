"""The 0.x dialect: from a config's data to a `Recipe`.

Only what decides a feature is compiled: `model` and `data.test`. Everything else is either on a short list of keys
that concern training, and ignored, or an error that names the key. A misspelt option therefore never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from vidfeat.mmaction.node import Node
from vidfeat.mmaction.pipeline import (
    DECODING,
    DECODING_CHECKS,
    OUT_OF_BOUND,
    Dialect,
    Pipeline,
    compile_pipeline,
    dense_sample_frames,
    refuse_random,
)
from vidfeat.mmaction.recognizer import compile_model
from vidfeat.models.tpn import TPNConfig
from vidfeat.models.tsm import TSMConfig
from vidfeat.recipe import (
    DenseSampling,
    ModelSpec,
    Pooling,
    Recipe,
    Sampling,
    SegmentSampling,
    TenCrop,
    ThreeCrop,
)

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
    spec = compile_model(model)
    pipeline = compile_pipeline(_dataset(test), _DIALECT, spec)
    pooling = Pooling(row_length=_row_length(spec, pipeline))
    return Recipe(pipeline.sampling, pipeline.transforms, pipeline.normalize, spec, pooling)


def _row_length(spec: ModelSpec, pipeline: Pipeline) -> int | None:
    """Length of 0.x's row where it is not the network's own; None where it is.

    0.x cuts all numbers that an image network gives for a video into as many rows as there are frames, or into one row
    with a neck. It reckons with one row per frame, and without time steps after a neck.
    """
    if spec.dims == 2 and isinstance(spec.neck, TPNConfig):
        steps = -(-_frames(pipeline) // spec.neck.temporal_scales[0])
        return spec.feature_size * steps if steps > 1 else None
    if isinstance(spec.backbone, TSMConfig) and spec.backbone.temporal_pool:
        return spec.feature_size // 2
    return None


def _frames(pipeline: Pipeline) -> int:
    """Frames that are sampled of a video, under all crops."""
    sampling = pipeline.sampling
    assert isinstance(sampling, SegmentSampling | DenseSampling), "0.x has no other"
    if isinstance(sampling, DenseSampling):
        clips = sampling.num_clips * sampling.num_sample_positions
    else:
        clips = sampling.num_clips * (2 if sampling.twice_sample else 1)
    crops = math.prod({ThreeCrop: 3, TenCrop: 10}.get(type(step), 1) for step in pipeline.transforms)
    return clips * sampling.clip_len * crops


def _dataset(node: Node) -> list[Node]:
    """The steps of the test pipeline."""
    node.choice("type", {"VideoDataset": None, "RawframeDataset": None})
    node.choice("modality", {"RGB": None}, default="RGB")
    steps = node.list_of_dicts("pipeline")
    node.ignore(DATASET_KEYS)
    node.refuse_rest("type, pipeline, modality and list settings")
    return steps


def _sample_frames(step: Node) -> SegmentSampling:
    refuse_random(step)
    # Concerns training only: where clips end when they are drawn at random.
    step.ignore({"keep_tail_frames"})
    return SegmentSampling(
        clip_len=step.positive("clip_len"),
        frame_interval=step.positive("frame_interval", 1),
        num_clips=step.positive("num_clips", 1),
        twice_sample=step.flag("twice_sample", False),
        out_of_bound=step.choice("out_of_bound_opt", OUT_OF_BOUND, default="loop"),
    )


_SAMPLINGS: dict[str, Callable[[Node], Sampling]] = {
    "SampleFrames": _sample_frames,
    "DenseSampleFrames": dense_sample_frames,
}

_DIALECT = Dialect(
    samplings=_SAMPLINGS,
    passive={
        **DECODING,
        "Collect": frozenset({"keys", "meta_keys", "meta_name", "nested"}),
        "ToTensor": frozenset({"keys"}),
    },
    checks=DECODING_CHECKS,
)
