"""An encoder that runs a `Recipe`, whatever that was compiled from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.checkpoint import CheckpointFile, load_into, load_state
from vidfeat.checkpoint import find as find_file
from vidfeat.encoders.protocol import ClipSpec, LoadedEncoder, identity_of
from vidfeat.errors import CheckpointError, ConfigError, UsageError
from vidfeat.mmaction.feature_script import own_pooling
from vidfeat.preprocessing.clips import PreprocessSpec, samples_per_video
from vidfeat.recipe import Pooling, Recipe, TimeGrid

if TYPE_CHECKING:
    import torch

    from vidfeat.checkpoint import MatchReport
    from vidfeat.encoders.protocol import Encoder
    from vidfeat.models import Recognizer


@dataclass(frozen=True)
class RecipeEncoder:
    """An `Encoder` that runs a recipe.

    Attributes:
        recipe: everything that decides a feature, apart from the weights.
        weights: the checkpoint's file and SHA-256.
        name: its name in outputs.
        origin: the origin that loads its weights.
    """

    recipe: Recipe
    weights: CheckpointFile
    name: str
    origin: str

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.name} of {self.origin}: {self.feature_size} numbers, "
            f"recipe {self.recipe_digest[:12]}, weights {self.weights.source}>"
        )

    @property
    def identity(self) -> str:
        """See `Encoder.identity`."""
        return identity_of(self.recipe_digest, self.weights.sha256)

    @property
    def recipe_digest(self) -> str:
        """See `Recipe.digest`."""
        return self.recipe.digest

    @property
    def grid(self) -> TimeGrid:
        """The recipe's sampling."""
        return self.recipe.sampling

    @property
    def clip(self) -> ClipSpec:
        """The frames that the network sees together: a clip, or the segments that an image network looks across."""
        sampling, model = self.recipe.sampling, self.recipe.model
        length = sampling.clip_len if model.dims == 3 else model.segments
        within_clip = length > 1 and sampling.clip_len >= length
        return ClipSpec(length, getattr(sampling, "frame_interval", None) if within_clip else None)

    @property
    def preprocess(self) -> PreprocessSpec:
        """The recipe without its model."""
        return PreprocessSpec.of(self.recipe)

    @property
    def feature_size(self) -> int:
        """Length C of a feature vector, or of one of class scores."""
        return self.recipe.feature_size

    def with_grid(self, grid: TimeGrid) -> RecipeEncoder:
        """The same network and weights with clips of another grid.

        Raises:
            UsageError: naming `grid`: the network cannot take clips of its length.
        """
        grid = grid.of_clip(self.clip.length, self.clip.interval, self.grid)
        model, pooling = self.recipe.model, self.recipe.pooling
        if grid.dense:  # each window has its rows, and nothing spans the video
            model, pooling = replace(model, neck_joins_video=False), replace(pooling, row_length=None)
        recipe = replace(self.recipe, sampling=grid, model=model, pooling=pooling)
        if model.dims == 2:
            _require_whole_segments(recipe)
        elif grid.clip_len != self.grid.clip_len:
            _require_that_it_runs(recipe, self.grid.clip_len)
        return replace(self, recipe=recipe)

    def with_pooling(self, pooling: Pooling) -> RecipeEncoder:
        """The same network and weights with another pooling."""
        return replace(self, recipe=replace(self.recipe, pooling=own_pooling(self.recipe, pooling)))

    def description(self) -> dict[str, Any]:
        """See `Encoder.description`."""
        checkpoint = {"source": self.weights.source, "sha256": self.weights.sha256}
        return {"encoder": self.name, "recipe": self.recipe.to_json(), "checkpoint": checkpoint}

    def load(self, device: torch.device) -> LoadedEncoder:
        """Build the network, load its weights strictly, and make it ready for inference on a device.

        Raises:
            CheckpointError: the weights cannot be read, or do not fit the network.
        """
        from vidfeat.encoders import origin_module
        from vidfeat.inference.network import FeatureNetwork
        from vidfeat.models import channels_last, fold_norms

        model, match = getattr(origin_module(self.origin), "load_model", load_model)(self)
        fold_norms(model)
        channels_last(model)
        return LoadedEncoder(FeatureNetwork(model, self.recipe).to(device), match)

    def to_json(self) -> dict[str, Any]:
        """See `Encoder.to_json`."""
        return {"origin": self.origin, **self.description(), "path": str(self.weights.path)}


if TYPE_CHECKING:
    _is_an_encoder: type[Encoder] = RecipeEncoder


def load_model(encoder: RecipeEncoder) -> tuple[Recognizer, MatchReport]:
    """The network with its weights, which match it by name and shape.

    Raises:
        CheckpointError: the weights cannot be read, or do not fit the network.
    """
    from vidfeat.models import build

    model = build(encoder.recipe.model)
    state = load_state(encoder.weights)
    return model, load_into(model, state, source=encoder.weights.source, computed=model.computed)


def from_json(data: dict[str, Any], find: Callable[[str], CheckpointFile] | None = None) -> RecipeEncoder:
    """The encoder that `RecipeEncoder.to_json` made `data` of; its checkpoint is at its path, or from its source.

    Args:
        data: JSON data.
        find: finds a checkpoint by its source; None where it is a file, which is first looked for at its path.

    Raises:
        ConfigError: the data is not that of an encoder.
        CheckpointError: there is no such checkpoint, or it is another one.
    """
    fields = {"origin", "encoder", "recipe", "checkpoint", "path"}
    if data.keys() != fields or data["checkpoint"].keys() != {"source", "sha256"}:
        raise ConfigError("encoder", expected=f"the fields {', '.join(sorted(fields))}", found=f"{', '.join(data)}")
    recipe, checkpoint = Recipe.from_json(data["recipe"]), data["checkpoint"]
    here = find is None and Path(data["path"]).is_file()
    weights = (find or find_file)(data["path"] if here else checkpoint["source"])
    if weights.sha256 != checkpoint["sha256"]:
        expected = f"a checkpoint of SHA-256 {checkpoint['sha256']}"
        raise CheckpointError(str(weights.path), expected=expected, found=weights.sha256)
    return RecipeEncoder(recipe, replace(weights, source=checkpoint["source"]), data["encoder"], data["origin"])


# --- whether a network can take a grid's clips ------------------------------------------------------------------------


def _require_whole_segments(recipe: Recipe) -> None:
    """Refuse frames that are no whole groups of segments, for image networks that look across frames."""
    grid, segments = recipe.sampling, recipe.model.segments
    one_by_one = replace(recipe, transforms=(), model=replace(recipe.model, segments=1, neck_joins_video=False))
    frames = samples_per_video(one_by_one) or grid.clip_len * (grid.clips_per_row or 1)
    if frames % segments:
        raise UsageError(
            "grid",
            expected=f"clips of a multiple of the network's {segments} segments",
            found=f"{frames} frames in {grid}",
        )


def _require_that_it_runs(recipe: Recipe, own_length: int) -> None:
    """Refuse clips on which a clip network fails: its shapes are computed on the meta device, without numbers."""
    import torch

    from vidfeat.inference.network import FeatureNetwork
    from vidfeat.inference.out_of_memory import first_line
    from vidfeat.models import build

    width, height = recipe.frame_size or (224, 224)
    network = FeatureNetwork(build(recipe.model), recipe).to("meta")
    try:
        with torch.inference_mode():
            network(torch.empty(1, recipe.sampling.clip_len, height, width, 3, dtype=torch.uint8, device="meta"))
    except Exception as error:
        raise UsageError(
            "grid",
            expected=f"clips of a length that the network can take, such as its own {own_length}",
            found=f"{recipe.sampling.clip_len} frames, on which it fails with {first_line(error).rstrip('.')}",
        ) from error
