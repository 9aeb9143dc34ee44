"""What the origins of other libraries have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vidfeat.checkpoint import MatchReport, load_into, load_state
from vidfeat.errors import ConfigError
from vidfeat.mmaction.feature_script import FeatureRequest, apply_request
from vidfeat.preprocessing.sampling import SegmentSampling

if TYPE_CHECKING:
    from vidfeat.encoders.recipe_encoder import RecipeEncoder
    from vidfeat.models import Recognizer
    from vidfeat.recipe import Recipe

FRAMES_OF_A_VIDEO = 16
"""That an image network sees of a video, each in the middle of an equal part."""


def frames_of_a_video() -> SegmentSampling:
    """The grid of an image network."""
    return SegmentSampling(1, num_clips=FRAMES_OF_A_VIDEO)


def not_supported(where: str, expected: str, found: str, hint: str = "") -> ConfigError:
    """The error of a model, or an option of its preprocessing, that is not supported."""
    return ConfigError(where, expected=expected, found=found, hint=hint or "This option is not supported.")


def finish(recipe: Recipe, where: str, request: FeatureRequest | None) -> Recipe:
    """The recipe with what was requested, once its network was built without numbers.

    Raises:
        ConfigError: the library cannot build it, or it gives no vector.
    """
    try:
        if recipe.feature_size < 1:
            raise ValueError(f"a vector of {recipe.feature_size} numbers")
    except Exception as error:  # of the library: whatever it refuses
        raise not_supported(where, "a network that gives one vector", f"{type(error).__name__}: {error}") from error
    return recipe if request is None else apply_request(recipe, request)


def load_model_of(encoder: RecipeEncoder, heads: tuple[str, ...]) -> tuple[Recognizer, MatchReport]:
    """The network with its weights, without those of its classifier.

    Args:
        encoder: of a library.
        heads: the names of the layers that it lacks.

    Raises:
        CheckpointError: the weights cannot be read, or do not fit the network.
    """
    from vidfeat.models import build

    model = build(encoder.recipe.model)
    stored = load_state(encoder.weights)
    ignored = [name for name in stored if name.rpartition(".")[0] in heads]
    state = {f"backbone.network.{name}": tensor for name, tensor in stored.items() if name not in ignored}
    match = load_into(model, state, source=encoder.weights.source, computed=model.computed)
    return model, replace(match, ignored_heads=len(ignored), heads=tuple(sorted(heads)) if ignored else ())
