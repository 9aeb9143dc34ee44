"""Encoders of a user's own `torch.nn.Module`.

encoder(network, clip=ClipSpec(16, 4), preprocess=(ResizeShortEdge(256), CenterCrop(224, 224), Normalize(...)))
encoder("module:my_package.networks:make", clip=..., preprocess=...)     # can be sent to other processes
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Union, get_args

from vidfeat.checkpoint import CheckpointFile, MatchReport
from vidfeat.encoders.libraries import frames_of_a_video
from vidfeat.encoders.protocol import ClipSpec, refuse_options
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.errors import CheckpointError, ConfigError, UsageError
from vidfeat.mmaction.feature_script import FeatureRequest
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.recipe import FrameTransform, ModelSpec, Normalize, Recipe, TimeGrid

if TYPE_CHECKING:
    from torch import nn

    from vidfeat.models import Recognizer

ORIGIN = "module"

Preprocess = Sequence[Union[FrameTransform, Normalize]]
"""Transforms of frames, in order, and at the end a `Normalize`."""


def compile_encoder(
    model: nn.Module | str,
    *,
    recipe: Recipe | None = None,
    clip: ClipSpec | None = None,
    preprocess: Preprocess | None = None,
    grid: TimeGrid | None = None,
    name: str = "",
    **options: Any,
) -> ModuleEncoder:
    """An encoder of a module.

    Args:
        model: the module, which is used as it is, in eval mode; or `package.module:function`, which makes it without
            arguments. It takes float32 `[N, 3, H, W]`, or `[N, 3, T, H, W]` for clips, and gives `[N, C]` or a token
            grid `[N, tokens, C]`, whose mean is the feature.
        recipe: everything else: grid, transforms, normalisation, pooling, and of its model `dims`. The others are then
            left out.
        clip: the frames that it sees together; of length 1 for networks of images.
        preprocess: transforms of frames and a `Normalize`.
        grid: which clips; four of a video where None, or 16 frames.
        name: its name in outputs; that of the class or function where empty.
        options: refused, apart from those at None.

    Raises:
        UsageError: an argument is missing or of another kind, or the module's output is neither of these.
    """
    from torch import nn

    asked = {key: value for key, value in options.items() if key != "progress" and value != FeatureRequest()}
    refuse_options(ORIGIN, asked)
    from vidfeat.models.module import ModuleConfig, OwnModule, make

    if not isinstance(model, nn.Module | str):
        raise UsageError("module", expected="a torch.nn.Module, or `package.module:function`", found=repr(model))
    module: nn.Module = make(model) if isinstance(model, str) else model
    label = model if isinstance(model, str) else type(model).__qualname__
    if recipe is None:
        recipe = _recipe(clip, preprocess, grid, ModuleConfig(label, 0))
    elif clip is not None or preprocess is not None or grid is not None:
        raise UsageError("recipe", expected="a recipe alone, or `clip` and `preprocess`", found="both")
    elif not isinstance(recipe, Recipe):
        raise UsageError("recipe", expected="a vidfeat.Recipe", found=repr(recipe))
    size = _feature_size(OwnModule(ModuleConfig(label, 0), module.eval()), recipe)
    spec = ModelSpec(ModuleConfig(label, size), recipe.model.dims, recipe.model.segments)
    weights = CheckpointFile(Path(), _sha256(module), f"{ORIGIN}:{label}")
    called = name or label.rpartition(":")[2].rpartition(".")[2].lower()  # of `package.module:function`, or a class
    return ModuleEncoder(replace(recipe, model=spec), weights, called, ORIGIN, module, isinstance(model, str))


def _recipe(clip: Any, preprocess: Any, grid: TimeGrid | None, config: Any) -> Recipe:
    if not isinstance(clip, ClipSpec) or clip.length < 1:
        raise UsageError(
            "clip",
            expected="the frames that the module sees, such as ClipSpec(16, 4)",
            found=repr(clip),
            hint="" if clip is not None else "`vidfeat.encoder` takes `clip` and `preprocess`, from Python.",
        )
    steps = tuple(preprocess) if isinstance(preprocess, list | tuple) else ()
    allowed = all(type(step) in get_args(FrameTransform) for step in steps[:-1])
    if not steps or not isinstance(steps[-1], Normalize) or not allowed:
        raise UsageError(
            "preprocess", expected="transforms of frames that end with a Normalize", found=repr(preprocess)
        )
    if clip.length == 1:
        return Recipe(grid or frames_of_a_video(), steps[:-1], steps[-1], ModelSpec(config, 2))
    clips = grid or SegmentSampling(clip.length, clip.interval or 1, 4)
    if clips.clip_len != clip.length:
        raise UsageError("grid", expected=f"clips of {clip.length} frames, as `clip` says", found=f"{clips}")
    return Recipe(clips, steps[:-1], steps[-1], ModelSpec(config, 3))


def _feature_size(network: nn.Module, recipe: Recipe) -> int:
    """The length of the vector, from one input of zeros."""
    import torch

    from vidfeat.inference.out_of_memory import first_line

    width, height = recipe.frame_size or (224, 224)
    dims = recipe.model.dims
    shape = (1, 3, height, width) if dims == 2 else (1, 3, recipe.sampling.clip_len, height, width)
    # as it was given; it is run in float32
    where = next((tensor for tensor in network.parameters() if tensor.is_floating_point()), torch.zeros(0))
    forward: Any = network
    try:
        with torch.inference_mode():
            return int(forward.forward_features(torch.zeros(shape, device=where.device, dtype=where.dtype)).shape[1])
    except UsageError:
        raise
    except Exception as error:  # of the user's module
        what = "images, of which `clip` says that it sees one" if dims == 2 else "clips"
        raise UsageError(
            "module",
            expected=f"a module that takes {what}: float32 {list(shape)}",
            found=first_line(error)[:200],
            hint="Give ClipSpec(1, None) for a network of images, and a length above 1 for one of clips.",
        ) from error


def _sha256(module: nn.Module) -> str:
    """Over names, number formats, shapes and bytes of everything in the module's state."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


@dataclass(frozen=True, repr=False)
class ModuleEncoder(RecipeEncoder):
    """An `Encoder` of a module.

    Attributes:
        module: the module.
        has_factory: whether other processes can make it.
    """

    module: Any = field(default=None, compare=False, repr=False)
    has_factory: bool = False

    def to_json(self) -> dict[str, Any]:
        """See `Encoder.to_json`.

        Raises:
            UsageError: the module was given as an object.
        """
        self._require_factory()
        return super().to_json()

    def __reduce__(self) -> tuple[Any, ...]:
        self._require_factory()
        return (_made_again, (self.recipe, self.weights, self.name))

    def _require_factory(self) -> None:
        if not self.has_factory:
            raise UsageError(
                "module",
                expected="a module that other processes can create, for a job that is saved or sent",
                found=f"an object of {self.weights.source.partition(':')[2]}, which stays in this process",
                hint="Give the encoder `module:package.module:function`, a function that makes the module.",
            )

    def __deepcopy__(self, memo: object) -> ModuleEncoder:
        return self


def _made_again(recipe: Recipe, weights: CheckpointFile, name: str) -> ModuleEncoder:
    """The encoder in another process.

    Raises:
        CheckpointError: the function makes another module there.
    """
    from vidfeat.models.module import make

    module = make(weights.source.partition(":")[2]).eval()
    found = _sha256(module)
    if found != weights.sha256:
        raise CheckpointError(
            weights.source,
            expected=f"weights of SHA-256 {weights.sha256}, as in the process that made the encoder",
            found=found,
            hint="Have the function load the weights instead of initialising them at random.",
        )
    return ModuleEncoder(recipe, weights, name, ORIGIN, module, True)


def compile_recipe(model: str, cfg_options: Mapping[str, Any] | None = None, request: Any = None) -> NoReturn:
    """A module has no recipe of its own.

    Raises:
        UsageError: always.
    """
    raise UsageError("model", expected="a model that defines its own preprocessing", found=f"module:{model}")


def from_json(data: dict[str, Any]) -> ModuleEncoder:
    """The encoder that its `to_json` made `data` of.

    Raises:
        ConfigError, UsageError, CheckpointError: the data is not that of a module, or another one is made here.
    """
    try:
        recipe, checkpoint = Recipe.from_json(data["recipe"]), data["checkpoint"]
        weights = CheckpointFile(Path(), checkpoint["sha256"], checkpoint["source"])
        return _made_again(recipe, weights, data["encoder"])
    except (KeyError, TypeError) as error:
        raise ConfigError("encoder", expected="the data of a module's encoder", found=repr(error)) from error


def load_model(encoder: RecipeEncoder) -> tuple[Recognizer, MatchReport]:
    """A copy of the module, which is changed for inference."""
    import copy

    from vidfeat.models.module import OwnModule

    assert isinstance(encoder, ModuleEncoder)
    config: Any = encoder.recipe.model.backbone
    module = copy.deepcopy(encoder.module).cpu().float().requires_grad_(False)
    model: Any = OwnModule(config, module).eval()
    return model, MatchReport(len(module.state_dict()), 0, ())
