"""Vision networks of Hugging Face's `transformers`, built by that library, as backbones.

A network is built from the text of its repository's `config.json`; parameter names below `backbone.network.` are the
library's. What it computes is one vector for each image or clip, chosen by `pooled`.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from vidfeat.models.attention import attention, in_tiles


@dataclass(frozen=True)
class TransformersConfig:
    """Configuration of a vision network of `transformers`.

    Attributes:
        architecture: the repository's `model_type`, such as "videomae".
        pooled: which vector of the network's output is the feature; see `NETWORKS`.
        feature_size: length C of a feature vector.
        config: JSON text of the repository's `config.json`, keys sorted, without what decides no feature.
        code: the repository or folder whose own Python code defines the network; None where the library does.
    """

    architecture: str
    pooled: str
    feature_size: int
    gives_vectors: ClassVar[bool] = True

    config: str
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.architecture} of transformers, {self.pooled}"


Features = Callable[[Any, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Network:
    """How one kind of network gives one vector.

    Attributes:
        class_name: the library's class.
        features: from the network and `[N, 3, H, W]`, or `[N, T, 3, H, W]` for clips, to `[N, C]`.
        dims: 2 for networks of images, 3 for networks of clips.
        unused: parts of the network that the vector does not need, by their names here and in files; they are dropped
            once weights are loaded.
    """

    class_name: str
    features: Features
    dims: Literal[2, 3] = 2
    unused: tuple[str, ...] = ()


def _pooler_output(output: Any) -> torch.Tensor:
    """The pooled output, `[N, C]` or `[N, C, 1, 1]`."""
    pooled = getattr(output, "pooler_output", None)
    if pooled is None:
        raise ValueError(f"{type(output).__name__} without a pooled output")
    rows: torch.Tensor = pooled.flatten(1)
    return rows


def _image_features(network: Any, images: torch.Tensor) -> torch.Tensor:
    return _pooler_output(network.get_image_features(images))


def _siglip2_pooled(network: Any, images: torch.Tensor) -> torch.Tensor:
    """All images of a batch have one size, so that none has patches to fill up, and there is nothing to mask."""
    size = network.config.patch_size
    rows, columns = images.shape[2] // size, images.shape[3] // size
    grid = images.reshape(len(images), 3, rows, size, columns, size)
    patches = grid.permute(0, 2, 4, 3, 5, 1).reshape(len(images), rows * columns, -1)
    # on the CPU, as the library reads its numbers
    return _pooler_output(network(patches, None, torch.tensor([[rows, columns]], device="cpu")))


def _vjepa2_tokens(network: Any, clips: torch.Tensor) -> torch.Tensor:
    tokens: torch.Tensor = network(clips, skip_predictor=True).last_hidden_state
    return tokens


_TEXT = ("text_model", "text_projection")

_NO_TEXT = {
    "num_hidden_layers": 0,
    "num_attention_heads": 1,
    "hidden_size": 8,
    "intermediate_size": 8,
    "vocab_size": 2,
    "max_position_embeddings": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
"""The text tower of a network whose text tower is dropped at once: the smallest that the library builds."""

NETWORKS: dict[tuple[str, str], Network] = {
    ("videomae", "fc_norm"): Network(
        "VideoMAEForVideoClassification",
        lambda n, x: n.fc_norm(n.videomae(x).last_hidden_state.mean(1)),
        3,
        ("classifier",),
    ),
    ("videomae", "mean"): Network("VideoMAEModel", lambda n, x: n(x).last_hidden_state.mean(1), 3),
    ("videomae", "first"): Network("VideoMAEModel", lambda n, x: n(x).last_hidden_state[:, 0], 3),
    ("vjepa2", "mean"): Network("VJEPA2Model", lambda n, x: _vjepa2_tokens(n, x).mean(1), 3, ("predictor",)),
    ("vjepa2", "attentive"): Network(
        "VJEPA2ForVideoClassification",
        lambda n, x: n.pooler(_vjepa2_tokens(n.vjepa2, x)),
        3,
        ("classifier", "vjepa2.predictor"),
    ),
    ("timesformer", "first"): Network("TimesformerModel", lambda n, x: n(x).last_hidden_state[:, 0], 3),
    ("vivit", "first"): Network(
        "VivitForVideoClassification", lambda n, x: n.vivit(x).last_hidden_state[:, 0], 3, ("classifier",)
    ),
    ("vivit", "pooler"): Network("VivitModel", lambda n, x: _pooler_output(n(x)), 3),
    ("xclip", "projection"): Network(
        "XCLIPModel",
        lambda n, x: _pooler_output(n.get_video_features(x)),
        3,
        (*_TEXT, "prompts_generator", "prompts_visual_layernorm"),
    ),
    ("aimv2", "projection"): Network("Aimv2Model", _image_features, 2, _TEXT),
    ("align", "pooler"): Network("AlignModel", _image_features, 2, _TEXT),
    ("altclip", "projection"): Network("AltCLIPModel", _image_features, 2, _TEXT),
    ("blip", "pooler"): Network(
        "BlipForConditionalGeneration", lambda n, x: _pooler_output(n.vision_model(x)), 2, ("text_decoder",)
    ),
    ("blip", "projection"): Network(
        "BlipForImageTextRetrieval",
        lambda n, x: n.vision_proj(n.vision_model(x).last_hidden_state[:, 0]),
        2,
        ("text_encoder", "text_proj", "itm_head"),
    ),
    ("chinese_clip", "projection"): Network("ChineseCLIPModel", _image_features, 2, _TEXT),
    ("clip", "projection"): Network("CLIPModel", _image_features, 2, _TEXT),
    ("clip_vision_model", "projection"): Network("CLIPVisionModelWithProjection", lambda n, x: n(x).image_embeds),
    ("groupvit", "projection"): Network("GroupViTModel", _image_features, 2, _TEXT),
    ("metaclip_2", "projection"): Network("MetaClip2Model", _image_features, 2, _TEXT),
    ("tipsv2", "pooler"): Network("Tipsv2Model", _image_features, 2, ("text_model", "text_encoder", "temperature")),
    ("vit", "first"): Network(
        "ViTForImageClassification", lambda n, x: n.vit(x).last_hidden_state[:, 0], 2, ("classifier",)
    ),
    ("data2vec-vision", "pooler"): Network(
        "Data2VecVisionForImageClassification", lambda n, x: _pooler_output(n.data2vec_vision(x)), 2, ("classifier",)
    ),
    ("deit", "first"): Network(
        "DeiTForImageClassification", lambda n, x: n.deit(x).last_hidden_state[:, 0], 2, ("classifier",)
    ),
    ("vit_msn", "first"): Network("ViTMSNModel", lambda n, x: n(x).last_hidden_state[:, 0]),
    ("ijepa", "mean"): Network("IJepaModel", lambda n, x: n(x).last_hidden_state.mean(1)),
    ("radio", "summary"): Network("RadioModel", lambda n, x: n(x).summary),
    ("siglip", "pooler"): Network("SiglipModel", _image_features, 2, ("text_model",)),
    ("siglip2", "pooler"): Network("Siglip2Model", lambda n, x: _siglip2_pooled(n.vision_model, x), 2, ("text_model",)),
    ("siglip2_vision_model", "pooler"): Network("Siglip2VisionModel", _siglip2_pooled),
}
"""By `architecture` and `pooled`. An architecture that is not here is built with `AutoModel`, and "pooler" is its
`pooler_output`.

- fc_norm: the mean of all tokens through the norm that VideoMAE's classifier holds.
- mean: the mean of all tokens. first: the first token, which is what the classifiers of these networks read.
- attentive: V-JEPA 2's attentive pooler. pooler: the library's pooled output.
- projection: the vector in the space that texts share. summary: RADIO's class tokens, one after the other.
"""

ANY = Network("AutoModel", lambda n, x: _pooler_output(n(pixel_values=x)))


def network_of(config: TransformersConfig) -> Network:
    """How a configuration's network gives one vector."""
    return NETWORKS.get((config.architecture, config.pooled), ANY)


class TransformersNetwork(nn.Module):
    """A network of the library with `forward_features`.

    Args:
        config: which.

    Attributes:
        network: the library's module.
    """

    def __init__(self, config: TransformersConfig) -> None:
        super().__init__()
        self._how = network_of(config)
        # On the CPU even if the rest is built on the meta device: these networks compute tables when they are built.
        with torch.device("cpu"), quiet_library():
            from transformers.initialization import no_init_weights

            library_class, library_config = library_class_and_config(config)
            if self._how is ANY and config.code is None:
                _check_takes_pictures(library_config)
            with no_init_weights():
                network = (
                    library_class.from_config(library_config, trust_remote_code=config.code is not None)
                    if self._how is ANY
                    else library_class(library_config)
                )
        self.network: nn.Module = network
        self.adopt(network)

    def adopt(self, network: nn.Module) -> None:
        """Put another module, with weights, in the place of the network, without its unused parts."""
        for name in self._how.unused:
            parent, _, child = name.rpartition(".")
            if hasattr(network.get_submodule(parent), child):  # else it is a name that only files have
                delattr(network.get_submodule(parent), child)
        for module in network.modules():
            config: Any = getattr(module, "config", None)
            if getattr(config, "_attn_implementation", None) == "sdpa":
                config._attn_implementation = _own_attention()
        self.network = network.eval()

    def _apply(self, *how: Any, **options: Any) -> Any:
        super()._apply(*how, **options)  # type: ignore[no-untyped-call]
        self.network.train().eval()  # LeViT keeps biases of the former number format until then
        return self

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, 3, H, W]`, or `[N, 3, T, H, W]` for networks of clips, to `[N, C]`."""
        return self._how.features(self.network, x.transpose(1, 2) if x.dim() == 5 else x)


@functools.cache
def _own_attention() -> str:
    """The name by which the library knows `vidfeat.models.attention`, which is faster than its own in bf16 on a CPU."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def forward(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, **how: Any
    ) -> tuple[torch.Tensor, None]:
        causal = how.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        if mask is None and not causal and key.shape[1] == query.shape[1] and in_tiles(query):
            return attention(query, key, value, scale=how.get("scaling")).transpose(1, 2), None
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, **how)
        return found

    AttentionInterface.register("vidfeat", forward)
    return "vidfeat"


def library_class_and_config(config: TransformersConfig) -> tuple[Any, Any]:
    """The library's class for a network, and its configuration object.

    Raises:
        ImportError: the library is not installed.
        Exception: the library's error for a configuration that it refuses.
    """
    import transformers

    found = getattr(transformers, network_of(config).class_name)
    values = json.loads(config.config)
    if config.code is not None:
        folder, _, revision = config.code.partition("@")
        options = {"revision": revision, "code_revision": revision} if revision else {}
        return found, transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True, **options)
    if {"text_model", "text_encoder", "text_decoder"} & set(network_of(config).unused):
        values["text_config"] = _NO_TEXT
        if config.architecture == "tipsv2":  # whose towers must have one width
            values["text_config"] = _NO_TEXT | {"hidden_size": values["vision_config"]["hidden_size"]}
    return found, transformers.AutoConfig.for_model(**values)


def _check_takes_pictures(library_config: Any) -> None:
    """Before it is built: networks of other things may be large.

    Raises:
        ValueError: `AutoModel` has no network for the configuration, or one of something else than pictures.
    """
    import transformers

    mapping: Any = transformers.MODEL_MAPPING
    found = mapping.get(type(library_config), None)
    if found is None:
        raise ValueError("AutoModel has no such network")
    for library_class in found if isinstance(found, tuple) else (found,):
        if library_class.main_input_name != "pixel_values":
            raise ValueError(f"{library_class.__name__} takes {library_class.main_input_name}")


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """While the library works: no progress bars and no advice on stderr; what is wrong is raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
