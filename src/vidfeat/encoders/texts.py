"""Texts as vectors in the space of an encoder's features: the text towers of `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.checkpoint.hub import Repository, downloads, load_shards
from vidfeat.encoders.transformers import checked_network
from vidfeat.errors import ConfigError, UsageError, quote
from vidfeat.lazy_import import import_extra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TEXT_TOWERS = {
    "clip": "CLIPModel",
    "metaclip_2": "MetaClip2Model",
    "chinese_clip": "ChineseCLIPModel",
    "altclip": "AltCLIPModel",
    "aimv2": "Aimv2Model",
    "align": "AlignModel",
    "blip": "BlipForImageTextRetrieval",
    "groupvit": "GroupViTModel",
    "siglip": "SiglipModel",
    "siglip2": "Siglip2Model",
    "tipsv2": "Tipsv2Model",
    "xclip": "XCLIPModel",
}
"""The library's class, by `model_type`."""

_TRAINED_TOKENS = {"align": 64, "altclip": 77, "blip": 35, "chinese_clip": 52}
"""Of networks that have more positions than texts had tokens in training: how many these had."""

_TOKENIZER_FILES = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)


def embed_text(model: str, texts: Sequence[str], *, progress: bool = False) -> npt.NDArray[np.float32]:
    """Vectors of texts, to be compared with the features of the same model by their dot product or cosine.

    Features are not normalised, these vectors are: their L2 norm is 1. X-CLIP adds to a text what a video shows before
    it compares them; here texts are by themselves, as `get_text_features` gives them.

    Args:
        model: as `vidfeat.encoder` takes it: "hf:ORG/NAME", or a folder.
        texts: at least one. A text longer than the model's limit is cut.
        progress: whether downloads show progress bars on stderr.

    Returns:
        float32 `[texts, C]`, C the feature size of the model.

    Raises:
        UsageError: there is no text, the model is none of these, or the library is not installed.
        ConfigError: the model has no text tower, or its tokenizer cannot be made.
        CheckpointError: the repository or its weights cannot be had.
    """
    words = list(texts) if isinstance(texts, list | tuple) else []
    if not words or not all(isinstance(text, str) and text.strip() for text in words):
        raise UsageError("texts", expected="texts that are not empty", found=repr(texts)[:200])
    if not (model.startswith("hf:") or Path(model).is_dir()):
        raise UsageError("model", expected="hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:FOLDER", found=quote(model))
    import torch

    transformers = import_extra("transformers", "hf", "model", "the text towers")

    from vidfeat.models.transformers import quiet_library

    with downloads(progress=progress), quiet_library():
        repository = Repository.open(model.removeprefix("hf:"))
        values = repository.read_json("config.json") or {}
        architecture = values.get("model_type")
        if architecture not in TEXT_TOWERS or "vision_config" not in values:
            raise ConfigError(
                f"{repository.reference}: config.json: model_type",
                expected=f"a model with a text tower: {', '.join(TEXT_TOWERS)}",
                found=repr(architecture),
            )
        tokens = _tokens(repository, words, architecture, values)
        weights = repository.weights()
        config = transformers.AutoConfig.for_model(**values)
        network = checked_network(
            getattr(transformers, TEXT_TOWERS[architecture]), config, load_shards(weights), weights.source
        )
    with torch.inference_mode():
        vectors = _vectors(network, tokens, architecture)
        rows: npt.NDArray[np.float32] = (vectors / vectors.norm(dim=1, keepdim=True)).float().numpy()
    return rows


def _vectors(network: Any, tokens: Any, architecture: str) -> Any:
    if architecture != "blip":
        return network.get_text_features(**tokens).pooler_output
    hidden = network.text_encoder(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state
    return network.text_proj(hidden[:, 0])


def _tokens(repository: Repository, words: list[str], architecture: str, values: dict[str, Any]) -> Any:
    """The texts as the network takes them; SigLIP was trained on texts that are padded to the full length."""
    from tokenizers.normalizers import Lowercase
    from transformers import AutoTokenizer

    if architecture == "siglip2":  # as in training; the tokenizer that its repositories name keeps capitals
        words = [Lowercase().normalize_str(text) for text in words]
    filled_up = architecture in ("siglip", "siglip2")
    usual = 64 if filled_up else 77
    positions = int((values.get("text_config") or {}).get("max_position_embeddings", usual))
    found = [path for name in _TOKENIZER_FILES if (path := repository.find(name)) is not None]
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(found[0].parent), local_files_only=True)
        return tokenizer(
            words,
            padding="max_length" if filled_up else True,
            truncation=True,
            max_length=min(positions, _TRAINED_TOKENS.get(architecture, positions)),
            return_tensors="pt",
        )
    except Exception as error:  # of the library: whatever it refuses
        raise ConfigError(
            repository.reference,
            expected="a tokenizer of the transformers library",
            found=f"{type(error).__name__}: {str(error)[:200]}" if found else "no tokenizer.json",
        ) from error
