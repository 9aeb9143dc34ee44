"""From a config, or the name of a released model, to a `Recipe`.

Only what determines features is compiled: `model` and the test pipeline, which is in `data.test` in 0.x and in
`test_dataloader.dataset` in 1.x. Every other key is either on a list of keys that do not affect features, and ignored,
or an error that names it. A misspelt option is therefore always an error.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Literal

from vidfeat.errors import ConfigError
from vidfeat.mmaction.backbones import compile_backbone, map_channels, segments_of
from vidfeat.mmaction.config import Node, read_config
from vidfeat.mmaction.feature_script import FeatureRequest, apply_request
from vidfeat.mmaction.heads import compile_head
from vidfeat.mmaction.necks import compile_neck
from vidfeat.mmaction.pipeline import LAYOUT, V0, V1, Pipeline, compile_pipeline, deviation
from vidfeat.models.tpn import TPNConfig
from vidfeat.models.tsm import TSMConfig
from vidfeat.preprocessing.clips import PreprocessSpec, samples_per_video
from vidfeat.preprocessing.sampling import DenseSampling, SegmentSampling
from vidfeat.recipe import ModelSpec, Normalize, Pooling, Recipe


def compile_file(
    path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None, request: FeatureRequest | None = None
) -> Recipe:
    """Read a config file and compile it.

    Args:
        path: the config.
        overrides: dotted key to value, as `--cfg-options` gives them.
        request: changes to views and pooling; None means all views and their mean.

    Raises:
        ConfigError: the file cannot be read, or has something that is not supported.
        UsageError: the request does not fit the config.
    """
    config = read_config(os.fspath(path), overrides)
    scores = request is not None and request.scores
    recipe = compile_config(config.data, file=os.fspath(path), variables=config.variables, scores=scores)
    return recipe if request is None else apply_request(recipe, request)


def compile_recipe(
    model: str | os.PathLike[str],
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
) -> tuple[Recipe, str | None]:
    """Compile a config file, or the config of a released model.

    Args:
        model: a path, or a name such as `tsn_r50_320p_1x1x3_100e_kinetics400_rgb`; see `vidfeat models`.
        cfg_options: overrides, as for `compile_file`.
        request: as there.

    Returns:
        The recipe, and the URL of the released checkpoint; None for a config file.

    Raises:
        UsageError: there is no released model of that name; the message names the nearest ones.
        ConfigError: as for `compile_file`.
    """
    name = os.fspath(model)
    if not is_name(name):
        return compile_file(name, cfg_options, request), None
    from vidfeat.mmaction.zoo import find_model  # it imports this module

    entry = find_model(name)
    recipe = entry.recipe(cfg_options, scores=request is not None and request.scores)
    return (recipe if request is None else apply_request(recipe, request)), entry.checkpoint


def is_name(model: str) -> bool:
    """Whether a model is given by name: a name has no folders and no config suffix."""
    suffix = PurePath(model).suffix.lower()
    return "/" not in model and "\\" not in model and suffix not in (".py", ".json", ".yaml", ".yml")


def compile_config(
    config: dict[str, Any], *, file: str, variables: Collection[str] = (), scores: bool = False
) -> Recipe:
    """Compile a config of either generation: 1.x has `test_dataloader`, 0.x has `data.test`.

    Args:
        config: the config's data, bases merged and overrides applied.
        file: the config's path, for errors.
        variables: top-level names that other expressions of the config use; they are not options.
        scores: whether the recipe is that of class scores, with the model's head, in place of features.

    Returns:
        The recipe of all views of the test pipeline.

    Raises:
        ConfigError: a key or value is missing, unknown or not supported; the message names the file and the key path.
    """
    root = Node.of(config, file)
    if "test_dataloader" in config:
        return _compile_v1(root, variables, scores)
    if "data" in config:
        return _compile_v0(root, variables, scores)
    raise ConfigError(
        f"{file}: config",
        expected="a key `test_dataloader` (MMAction2 1.x) or `data` (0.x), with the test pipeline",
        found="neither",
        hint="Give a config for testing; those of skeleton, detection or localisation models are not supported.",
    )


# --- the network ------------------------------------------------------------------------------------------------------

_TEST_CFG_KEYS = frozenset("average_clips fcn_test feature_extraction flip max_testing_views num_segs".split())
"""Keys of `model.test_cfg`: how scores are averaged and how work is divided; they do not affect features."""


def _network(node: Node) -> ModelSpec:
    """The network of the dict `model`. Keys of one generation only have been read before."""
    # RecognizerOmni also takes images in training; it takes clips as Recognizer3D does.
    recognizers: dict[str, Literal[2, 3]] = {"Recognizer2D": 2, "Recognizer3D": 3, "RecognizerOmni": 3}
    dims = node.choice("type", recognizers)
    # The head converts features into scores; features are taken before it. See `_with_head`.
    node.ignore({"cls_head", "train_cfg"})
    test_cfg = node.dict("test_cfg") if isinstance(node.value("test_cfg", None), dict) else None
    if test_cfg is not None:
        test_cfg.ignore(_TEST_CFG_KEYS)
        test_cfg.refuse_rest("settings of score averaging")
    backbone = compile_backbone(node.dict("backbone"), dims)
    channels = map_channels(backbone)
    neck = compile_neck(node.dict("neck"), channels) if node.value("neck", None) is not None else None
    if neck is None and dims == 2 and len(channels) > 1:
        raise node.dict("backbone").error(
            "out_indices", expected="one output, without a neck", found=f"{len(channels)} of them"
        )
    node.refuse_rest("type, backbone, neck, cls_head, train_cfg and test_cfg")
    return ModelSpec(backbone, dims, segments_of(backbone), neck, neck_joins_video=neck is not None and dims == 2)


def _with_head(spec: ModelSpec, model: Node) -> tuple[ModelSpec, bool]:
    """The network with its head, as it is tested, and whether the head joins all views before the softmax."""
    if spec.neck_joins_video and _fcn_test(model):
        spec = replace(spec, neck_joins_video=False)
    if model.value("test_cfg", None) is not None and model.dict("test_cfg").flag("flip", False):
        raise model.dict("test_cfg").error("flip", expected="False", found="True: scores of mirrored frames")
    head = compile_head(model, spec)
    return replace(spec, head=head.config, segments=max(head.segments, spec.segments)), head.joins_views


def _score_pooling(recipe: Recipe, average_clips: Any, where: Node, joins_views: bool) -> Recipe:
    """The recipe with what becomes of the scores of several views, as `average_clips` says."""
    if average_clips not in ("prob", "score", None):
        raise where.error("average_clips", expected="'prob', 'score' or None", found=f"{average_clips!r}")
    one_row = joins_views or average_clips is not None or samples_per_video(recipe) == 1
    softmax: Literal["view", "row"] = "row" if joins_views else "view"
    return replace(
        recipe,
        pooling=Pooling(views="mean" if one_row else "keep", softmax=softmax if average_clips == "prob" else None),
    )


def _dataset(node: Node, list_keys: Collection[str]) -> list[Node]:
    """The steps of the test pipeline."""
    kind = node.text("type")
    if kind not in ("VideoDataset", "RawframeDataset"):
        raise node.error("type", expected="VideoDataset or RawframeDataset: RGB videos, or their frames", found=kind)
    node.choice("modality", {"RGB": None}, default="RGB")
    steps = node.list_of_dicts("pipeline")
    node.ignore(list_keys)
    node.refuse_rest("type, pipeline, modality and list settings")
    return steps


# --- MMAction2 0.x ----------------------------------------------------------------------------------------------------

_TRAINING_KEYS_V0 = frozenset(
    """
    checkpoint_config cudnn_benchmark custom_hooks custom_imports dist_params ema_cfg evaluation eval_config
    find_unused_parameters fp16 gpu_ids load_from log_config log_level lr_config module_hooks momentum_config
    mp_start_method multigrid omnisource opencv_num_threads optimizer optimizer_config output_config precise_bn
    resume_from runner seed total_epochs train_cfg test_cfg work_dir workflow
    """.split()
)
"""Top-level keys about training and files, which do not affect features."""

_UNUSED_VARIABLES_V0 = frozenset(
    """
    ann_file ann_file_test ann_file_train ann_file_val data_root data_root_test data_root_train data_root_val
    dataset_type img_norm_cfg split test_pipeline train_pipeline val_pipeline
    """.split()
)
"""Variables that public configs often define and do not always use."""

_LOADER_KEYS_V0 = frozenset(
    """
    omni_videos_per_gpu test_dataloader train train_dataloader train_ratio val val_dataloader videos_per_gpu
    workers_per_gpu
    """.split()
)
"""Keys of `data` about loaders and the other two splits."""

_LIST_KEYS_V0 = frozenset(
    """
    ann_file data_prefix dynamic_length filename_tmpl multi_class num_classes power sample_by_class start_index
    tag_categories tag_category_nums test_mode with_offset
    """.split()
)
"""Keys of `data.test` about the video list of a benchmark; the caller gives the videos here."""


def _compile_v0(root: Node, variables: Collection[str], scores: bool) -> Recipe:
    model = root.dict("model")
    data = root.dict("data")
    root.ignore(_TRAINING_KEYS_V0 | _UNUSED_VARIABLES_V0 | set(variables))
    root.refuse_rest("model, data and training-only keys")
    test = data.dict("test")
    data.ignore(_LOADER_KEYS_V0)
    data.refuse_rest("test and loader settings")
    spec, joins_views = _network(model), False
    if scores:
        spec, joins_views = _with_head(spec, model)
    pipeline = compile_pipeline(_dataset(test, _LIST_KEYS_V0), V0, spec)
    recipe = Recipe(pipeline.sampling, pipeline.transforms, pipeline.normalize, spec)
    if not scores:
        return replace(recipe, pooling=Pooling(row_length=_row_length(spec, pipeline)))
    # Configs of before 2021 have the settings of testing beside the model.
    test_cfg = (model if model.value("test_cfg", None) is not None else root).dict("test_cfg")
    return _score_pooling(recipe, test_cfg.value("average_clips"), test_cfg, joins_views)


def _row_length(spec: ModelSpec, pipeline: Pipeline) -> int | None:
    """Length of 0.x's row where it is not the network's own; None where it is.

    0.x divides all numbers that an image network gives for a video into as many rows as there are frames, or into one
    row with a neck. It assumes one row per frame, and no time steps after a neck.
    """
    if spec.dims == 2 and isinstance(spec.neck, TPNConfig):
        steps = -(-_frames(pipeline) // spec.neck.temporal_scales[0])
        return spec.feature_size * steps if steps > 1 else None
    if isinstance(spec.backbone, TSMConfig) and spec.backbone.temporal_pool:
        return spec.feature_size // 2
    return None


def _frames(pipeline: Pipeline) -> int:
    """Frames that are sampled from a video, over all crops."""
    sampling = pipeline.sampling
    assert isinstance(sampling, SegmentSampling | DenseSampling), "0.x has no other"
    if isinstance(sampling, DenseSampling):
        clips = sampling.num_clips * sampling.num_sample_positions
    else:
        clips = sampling.num_clips * (2 if sampling.twice_sample else 1)
    return clips * sampling.clip_len * PreprocessSpec(sampling, pipeline.transforms).crops


# --- MMAction2 1.x ----------------------------------------------------------------------------------------------------

_TRAINING_KEYS_V1 = frozenset(
    """
    auto_scale_lr cfg compile custom_hooks custom_imports default_hooks default_scope env_cfg experiment_name
    find_unused_parameters image_dataloader launcher load_from log_level log_processor model_wrapper_cfg optim_wrapper
    optimizer param_scheduler randomness resume test_cfg test_evaluator train_cfg train_dataloader val_cfg
    val_dataloader val_evaluator vis_backends visualizer work_dir
    """.split()
)
"""Top-level keys about training, testing and logging, which do not affect features."""

_UNUSED_VARIABLES_V1 = frozenset(
    """
    ann_file_test ann_file_train ann_file_val base_lr data_root data_root_test data_root_train data_root_val
    dataset_type file_client_args img_norm_cfg num_gpus num_samples_per_gpu preprocess_cfg split test_pipeline
    train_pipeline val_pipeline
    """.split()
)
"""Variables that public configs often define and do not always use."""

_LOADER_KEYS_V1 = frozenset(
    """
    batch_sampler batch_size collate_fn drop_last multiprocessing_context num_batch_per_epoch num_workers
    persistent_workers pin_memory prefetch_factor sampler test_mode timeout worker_init_fn
    """.split()
)
"""Keys of `test_dataloader` about the loading of batches."""

_LIST_KEYS_V1 = frozenset(
    """
    _delete_ ann_file data_prefix data_root delimiter filename_tmpl filter_cfg indices lazy_init max_refetch metainfo
    multi_class num_classes serialize_data start_index test_mode with_offset
    """.split()
)
"""Keys of a dataset about the video list of a benchmark; the caller gives the videos here."""

_OTHER_MODELS = {
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
"""Models of MMAction2 1.x whose input is not an RGB video, or whose output is not features."""


def _compile_v1(root: Node, variables: Collection[str], scores: bool) -> Recipe:
    model = root.dict("model")
    kind = model.value("type", None)
    if isinstance(kind, str) and kind in _OTHER_MODELS:
        found = f"{kind}, {_OTHER_MODELS[kind]}"
        raise model.error("type", expected="Recognizer2D or Recognizer3D, for RGB videos", found=found)
    loader = root.dict("test_dataloader")
    root.ignore(_TRAINING_KEYS_V1 | _UNUSED_VARIABLES_V1 | set(variables))
    root.refuse_rest("model, test_dataloader and training-only keys")
    steps = _dataset_v1(loader.dict("dataset"))
    if "pipeline" in loader.data:  # a public config (TSM, 16 segments) overrides its base one level too high
        steps = loader.list_of_dicts("pipeline")
    loader.ignore(_LOADER_KEYS_V1)
    loader.refuse_rest("dataset and loader settings")
    preprocessor = model.dict("data_preprocessor") if model.value("data_preprocessor", None) is not None else None
    spec, joins_views = _network(model), False
    if spec.neck_joins_video and _fcn_test(model):
        spec = replace(spec, neck_joins_video=False)
    if scores:
        spec, joins_views = _with_head(spec, model)
    pipeline = compile_pipeline(steps, V1, spec, _preprocessing(preprocessor, LAYOUT[spec.dims]))
    recipe = Recipe(pipeline.sampling, pipeline.transforms, pipeline.normalize, spec)
    if not scores:
        return recipe
    head = model.dict("cls_head")
    return _score_pooling(recipe, head.value("average_clips", None), head, joins_views)


def _fcn_test(model: Node) -> bool:
    """Whether an image network's neck takes the clips one by one, rather than all frames of a video as one clip."""
    if model.value("test_cfg", None) is None:
        return False
    return model.dict("test_cfg").flag("fcn_test", False)


def _dataset_v1(node: Node) -> list[Node]:
    """The steps of the test pipeline; of several concatenated lists, which must have the same pipeline."""
    if node.text("type") != "ConcatDataset":
        return _dataset(node, _LIST_KEYS_V1)
    first, *others = [_dataset_v1(dataset) for dataset in node.list_of_dicts("datasets")]
    if any([step.data for step in steps] != [step.data for step in first] for steps in others):
        raise node.error("datasets", expected="datasets with one and the same pipeline", found="several pipelines")
    node.ignore({"_delete_", "lazy_init", "ignore_keys"})
    node.refuse_rest("type and datasets")
    return first


_UNCHANGED = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _preprocessing(node: Node | None, layout: str) -> Normalize:
    """The normalisation by `model.data_preprocessor`; without it, or without means, pixels stay in [0, 255]."""
    if node is None:
        return _UNCHANGED
    node.choice("type", {"ActionDataPreprocessor": None}, default="ActionDataPreprocessor")
    # Blending mixes training samples; pixels become float32 here in any case.
    node.ignore({"blending", "to_float32"})
    to_bgr = node.flag("to_rgb", False)  # it swaps channels, and frames are RGB already
    given = node.value("format_shape", "NCHW")
    if node.value("mean", None) is None:
        normalize = replace(_UNCHANGED, to_bgr=to_bgr)
        node.ignore({"std"})
    else:
        normalize = Normalize(node.triple("mean"), deviation(node, "std"), to_bgr)
    if given != layout and not (given == "MIX2d3d" and layout == LAYOUT[3]):  # "MIX2d3d" depends on the input
        raise node.error("format_shape", expected=f"{layout!r}, as in the pipeline", found=f"{given!r}")
    node.refuse_rest("type, mean, std, to_rgb and format_shape")
    return normalize
