"""Encoders of `transformers`: `hf:ORG/NAME[@REVISION]`, or a folder laid out like such a repository.

The network comes from `config.json`, the preprocessing from the processor's JSON, the weights from safetensors files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vidfeat.checkpoint.hub import Repository, downloads, load_shards
from vidfeat.checkpoint.match import MatchReport, Mismatch, check_finite, refuse_mismatch
from vidfeat.encoders.libraries import frames_of_a_video
from vidfeat.encoders.processors import Processing, compile_processor
from vidfeat.encoders.protocol import refuse_options
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.encoders.recipe_encoder import from_json as read_encoder
from vidfeat.errors import ConfigError
from vidfeat.lazy_import import import_extra
from vidfeat.mmaction.feature_script import FeatureRequest, apply_request
from vidfeat.preprocessing.sampling import SegmentSampling, UniformSampling
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import ModelSpec, Recipe, ResizeToPatches, TimeGrid

if TYPE_CHECKING:
    from vidfeat.models import Recognizer
    from vidfeat.models.transformers import TransformersConfig

ORIGIN = "hf"

CLIP_GRIDS: dict[str, tuple[str, int, int]] = {
    "videomae": ("num_frames", 16, 4),
    "vjepa2": ("frames_per_clip", 64, 4),
    "timesformer": ("num_frames", 8, 32),
    "vivit": ("num_frames", 32, 2),
}
"""Of each network of clips the field of its config with the length of a clip, the library's default of it, and the
distance between frames in the paper's evaluation. X-CLIP's 8 frames are spread over the whole video."""

CLIPS_OF_A_VIDEO = 4

_DECIDES_NOTHING = {
    "_attn_implementation",
    "_commit_hash",
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "finetuning_task",
    "id2label",
    "label2id",
    "problem_type",
    "text_config",
    "text_config_dict",
    "torch_dtype",
    "torchscript",
    "transformers_version",
}
"""Fields of `config.json` that decide no feature: names, labels, and the text tower, which is not built."""

_HEADS = {
    "classifier",
    "cls_classifier",
    "decoder",
    "distillation_classifier",
    "encoder_to_decoder",
    "head",
    "logit_bias",
    "logit_scale",
    "mask_token",
    "pooler",
    "predictor",
    "text_model",
    "text_projection",
    "visual_projection",
}
"""Parts of a checkpoint that a network without a head or a text tower does not take."""


def compile_encoder(
    model: str,
    *,
    request: FeatureRequest | None = None,
    progress: bool = False,
    trust_remote_code: bool = False,
    **options: Any,
) -> RecipeEncoder:
    """Compile a repository or a folder, and find its weights.

    Args:
        model: `ORG/NAME`, `ORG/NAME@REVISION` or a folder.
        request: as for MMAction2's models.
        progress: whether downloads show progress bars on stderr.
        trust_remote_code: whether Python code of the repository may define the network. It runs in this process.
        options: refused, apart from those at None.

    Raises:
        UsageError: an argument is of another kind.
        ConfigError: the network, or an option of its processor, is not supported.
        CheckpointError: the repository cannot be had, or has no weights as safetensors.
    """
    refuse_options(ORIGIN, options)
    import_extra("transformers", ORIGIN, "model", f"{ORIGIN}:{model}")
    with downloads(progress=progress):
        recipe, source = compile_recipe(model, request=request, trust_remote_code=trust_remote_code)
        repository = Repository.open(source.removeprefix("hf:"))
        return RecipeEncoder(recipe, repository.weights(), repository.short_name, ORIGIN)


def compile_recipe(
    model: str,
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
    *,
    trust_remote_code: bool = False,
) -> tuple[Recipe, str]:
    """The recipe of a repository and the repository at its revision; weights are not looked at.

    Raises:
        UsageError, ConfigError, CheckpointError: as `compile_encoder` does.
    """
    refuse_options(ORIGIN, {"cfg_options": cfg_options})
    import_extra("transformers", ORIGIN, "model", f"{ORIGIN}:{model}")
    from vidfeat.models.transformers import TransformersConfig, network_of

    repository = Repository.open(model)
    values = repository.read_json("config.json") or {}
    architecture = _architecture(values, repository, trust_remote_code)
    kept = {name: value for name, value in values.items() if name not in _DECIDES_NOTHING}
    code = repository.reference if trust_remote_code and "auto_map" in values else None
    config = TransformersConfig(architecture, _pooled(architecture, values), 0, json.dumps(kept, sort_keys=True), code)
    dims = network_of(config).dims
    processing = _processing(repository, dims)
    _check_patches(architecture, values, processing, repository)
    grid = _grid(architecture, values, dims)
    recipe = Recipe(grid, processing.transforms, processing.normalize, ModelSpec(config, dims))
    sized = replace(config, feature_size=_feature_size(config, recipe, repository))
    recipe = replace(recipe, model=replace(recipe.model, backbone=sized))
    return recipe if request is None else apply_request(recipe, request), f"hf:{repository.reference}"


def from_json(data: dict[str, Any]) -> RecipeEncoder:
    """The encoder that its `to_json` made `data` of.

    Raises:
        ConfigError: the data is not that of an encoder.
        CheckpointError: there are no such weights, or they are others.
    """
    return read_encoder(data, find=lambda source: Repository.open(source.removeprefix("hf:")).weights())


def load_model(encoder: RecipeEncoder) -> tuple[Recognizer, MatchReport]:
    """The network with its weights, loaded by the library, whose report on them is strict here.

    Raises:
        CheckpointError: weights cannot be read, are missing or unexpected, or are no finite numbers.
    """
    from vidfeat.models import build
    from vidfeat.models.transformers import TransformersNetwork, library_class_and_config, network_of, quiet_library

    weights = encoder.weights
    config: Any = encoder.recipe.model.backbone
    unused = network_of(config).unused
    stored = load_shards(weights)
    state = {name: tensor for name, tensor in stored.items() if not _part_of(name, unused)}
    model = build(encoder.recipe.model)
    backbone = model.backbone
    assert isinstance(backbone, TransformersNetwork)
    with quiet_library():
        library_config = library_class_and_config(config)[1]
        network = checked_network(type(backbone.network), library_config, state, weights.source, unused)
    backbone.adopt(network)
    others = [_part_of(name, unused) for name in stored if name not in state]
    others += [_part_of(name, _HEADS) for name in network.unexpected_heads]
    return model, MatchReport(len(stored) - len(others), len(others), tuple(sorted(set(others))))


def checked_network(
    library_class: Any, config: Any, state: Mapping[str, Any], source: str, unused: Iterable[str] = ()
) -> Any:
    """A network of the library with weights, in fp32 and in eval mode.

    Args:
        library_class, config: what to build.
        state: the weights, by the names of their files; the library knows its former names.
        source: where they are from, for errors.
        unused: parts whose weights may be missing.

    Returns:
        The network. Its `unexpected_heads` are names of weights that belong to heads it does not have.

    Raises:
        CheckpointError: weights are missing, unexpected, of another shape, or no finite numbers.
    """
    import torch

    network, report = library_class.from_pretrained(
        None,
        config=config,
        state_dict=dict(state),
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are in the report
    )
    unexpected, mismatched = sorted(report["unexpected_keys"]), sorted(report["mismatched_keys"])
    heads = [name for name in unexpected if _part_of(name, _HEADS)]
    refuse_mismatch(
        Mismatch(
            missing=sorted(name for name in report["missing_keys"] if not _part_of(name, unused)),
            unexpected=[name for name in unexpected if name not in heads],
            misfits=[f"{name} ({list(shape)}, the model has {list(own)})" for name, shape, own in mismatched],
        ),
        source,
        f"the weights of {library_class.__name__}, as its config describes it",
        "Give a repository whose weights belong to its config.json.",
    )
    # Of the parts that may be missing, those without weights hold whatever was in memory before.
    weights = {name: tensor for name, tensor in network.state_dict().items() if not _part_of(name, unused)}
    check_finite(weights, weights, source)
    network.unexpected_heads = heads
    return network.requires_grad_(False)


def _part_of(name: str, parts: Iterable[str]) -> str:
    """The last word of the part that a weight belongs to; empty where it belongs to none."""
    found = next((part for part in parts if name == part or name.startswith(f"{part}.")), "")
    return found.rpartition(".")[2]


def _architecture(values: Mapping[str, Any], repository: Repository, trusted: bool) -> str:
    """The `model_type`, which the library has, or the repository's own code."""
    from transformers import CONFIG_MAPPING

    found = values.get("model_type")
    if isinstance(found, str) and (found in CONFIG_MAPPING or (trusted and "auto_map" in values)):
        return found
    has_code = "auto_map" in values
    hint = "Pass `trust_remote_code=True` to run that code, if you trust its authors." if has_code else ""
    if "pretrained_cfg" in values:
        hint = f"A network of timm: use timm:{values.get('architecture')}."
    raise ConfigError(
        f"{repository.reference}: config.json: model_type",
        expected="an architecture of the transformers library",
        found=f"{found!r}, which is Python code of the repository" if has_code else repr(found),
        hint=hint,
    )


_POOLED = {
    "aimv2": "projection",
    "altclip": "projection",
    "chinese_clip": "projection",
    "clip": "projection",
    "groupvit": "projection",
    "ijepa": "mean",
    "metaclip_2": "projection",
    "radio": "summary",
    "timesformer": "first",
    "vit_msn": "first",
    "xclip": "projection",
}
"""Of architectures whose repositories all have the same vector, other than the pooled output."""


def _pooled(architecture: str, values: Mapping[str, Any]) -> str:
    """Which vector: the one that the classifier of the repository reads, where it has one."""
    classes = values.get("architectures") or []
    classifies = any("ForVideoClassification" in str(name) for name in classes)
    if architecture == "videomae":
        return ("fc_norm" if values.get("use_mean_pooling", True) else "first") if classifies else "mean"
    if architecture == "vjepa2":
        return "attentive" if classifies else "mean"
    if architecture == "vivit":
        return "first" if classifies else "pooler"
    if architecture in ("vit", "deit"):
        return "first" if any("ForImageClassification" in str(name) for name in classes) else "pooler"
    if architecture == "blip":
        return "projection" if "BlipForImageTextRetrieval" in classes else "pooler"
    if architecture == "clip_vision_model":
        return "projection" if "CLIPVisionModelWithProjection" in classes else "pooler"
    return _POOLED.get(architecture, "pooler")


def _processing(repository: Repository, dims: int) -> Processing:
    """The repository's processor: that of videos for networks of clips, where it has one."""
    parts = ("video_processor", "image_processor") if dims == 3 else ("image_processor",)
    joint = repository.read_json("processor_config.json") or {}
    for part in parts:
        if isinstance(joint.get(part), dict):
            return compile_processor(joint[part], f"{repository.reference}: processor_config.json: {part}")
    names = ("video_preprocessor_config.json", "preprocessor_config.json")[3 - dims :]
    for name in names:
        data = repository.read_json(name)
        if data is not None:
            return compile_processor(data, f"{repository.reference}: {name}")
    raise ConfigError(
        repository.reference,
        expected=f"a processor: {' or '.join(names)}",
        found="none",
        hint="Copy the file from the repository that this model was trained from.",
    )


def _check_patches(
    architecture: str, values: Mapping[str, Any], processing: Processing, repository: Repository
) -> None:
    """Networks that take patches, and no pictures, need a processor that cuts pictures into the same patches."""
    own = None
    if architecture in ("siglip2", "siglip2_vision_model"):
        vision = values.get("vision_config")
        own = (vision if isinstance(vision, dict) else values).get("patch_size", 16)
    cut = next((step.patch_size for step in processing.transforms if isinstance(step, ResizeToPatches)), None)
    if cut != own:
        raise ConfigError(
            f"{repository.reference}: the processor",
            expected=f"one that {_patches(own)}, as {architecture} takes them",
            found=f"one that {_patches(cut)}",
            hint="Copy the file from the repository that this model was trained from.",
        )


def _patches(size: int | None) -> str:
    return "gives whole pictures" if size is None else f"cuts pictures into patches of {size}x{size} pixels"


def _grid(architecture: str, values: Mapping[str, Any], dims: int) -> TimeGrid:
    if dims == 2:
        return frames_of_a_video()
    if architecture == "xclip":
        vision = values.get("vision_config") or {}
        return UniformSampling(int(vision.get("num_frames", 8)))
    name, default, interval = CLIP_GRIDS[architecture]
    return SegmentSampling(int(values.get(name, default)), interval, CLIPS_OF_A_VIDEO)


def _feature_size(config: TransformersConfig, recipe: Recipe, repository: Repository) -> int:
    """The length of the vector, from the shapes of a forward pass on the meta device, without numbers."""
    import torch

    from vidfeat.inference.out_of_memory import first_line
    from vidfeat.models.transformers import TransformersNetwork

    frame = FrameTransformer(recipe.transforms)(np.zeros((224, 224, 3), np.uint8), where="a frame")[0]
    height, width, _ = frame.shape
    shape = (1, 3, height, width) if recipe.model.dims == 2 else (1, 3, recipe.sampling.clip_len, height, width)
    try:
        network = TransformersNetwork(config).to("meta")
        with torch.inference_mode():
            rows = network.forward_features(torch.empty(shape, device="meta"))
    except Exception as error:  # of the library: whatever it refuses
        raise ConfigError(
            f"{repository.reference}: config.json",
            expected="a vision network with a pooled output that takes what its processor gives",
            found=f"{config.architecture}, which fails with {first_line(error)[:200]}",
            hint="docs/encoders.md names the architectures.",
        ) from error
    return int(rows.shape[1])
