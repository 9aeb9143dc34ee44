"""An encoder without a checkpoint, to measure with: the time that a network takes does not depend on its weights."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidfeat import Encoder, FeatureRequest


def random_encoder(
    model: str | os.PathLike[str],
    folder: Path,
    *,
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
) -> Encoder:
    """Compile a model with random weights, also a released one. Nothing is downloaded.

    Args:
        model, cfg_options, request: as for `vidfeat.encoder`.
        folder: where the weights are written, to stay there as long as the encoder is used.

    Raises:
        UsageError, ConfigError: as for `vidfeat.encoder`.
    """
    import vidfeat
    from vidfeat.encoders import compile_recipe
    from vidfeat.models.random_weights import write_random_weights

    recipe, _ = compile_recipe(model, cfg_options=cfg_options, request=request)
    path = Path(tempfile.mkdtemp(dir=folder)) / "random.safetensors"
    return vidfeat.encoder(recipe, checkpoint=write_random_weights(recipe.model, path))
