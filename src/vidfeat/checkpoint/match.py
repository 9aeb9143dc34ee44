"""Load weights into a model: every tensor of the model has to match exactly; heads that it has not are ignored."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidfeat.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHOWN = 8


@dataclass(frozen=True)
class MatchReport:
    """The result of loading a checkpoint.

    Attributes:
        loaded: number of tensors that were loaded.
        ignored_heads: number of tensors that were ignored because they belong to a head.
        heads: the prefixes of those, sorted, such as `("cls_head",)`; letters, digits and `_` only.
    """

    loaded: int
    ignored_heads: int
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Mismatch:
    """Names of the tensors that do not match."""

    missing: list[str]
    unexpected: list[str]
    misfits: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misfits)

    def __str__(self) -> str:
        lists = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape or kind": self.misfits,
        }
        return "; ".join(f"{len(names)} {what}: {first_of(names)}" for what, names in lists.items() if names)


def first_of(names: list[str]) -> str:
    """The names as a message can hold them: the first few."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def load_into(
    model: nn.Module, state: dict[str, Tensor], *, source: str, computed: Collection[str] = ()
) -> MatchReport:
    """Copy weights into a model; on any mismatch, raise and change nothing.

    Names are MMAction2's (`backbone.*`, `neck.*`). Each parameter and buffer of the model must be present, with the
    same shape, and there must be no other tensors under the model's prefixes. Heads (`cls_head.*`, `*_head.*`) that the
    model does not have are ignored. `num_batches_tracked` may be missing, as in checkpoints of PyTorch before 0.4.1; it
    has no effect in inference. Values are converted to the model's dtype (such as float16 to float32) and must be
    finite in it.

    Args:
        model: the network, on any device.
        state: weight name -> tensor, from `load_state`.
        source: where the weights come from, for the error.
        computed: names of buffers that the model computes, such as sinusoidal position codes; they may be missing.

    Raises:
        CheckpointError: names or shapes do not match, and the message lists them and the probable reason; or a value is
            infinite or NaN.
    """
    targets = model.state_dict()
    heads = _heads_beside(targets, state)
    weights = {name: tensor for name, tensor in state.items() if _top(name) not in heads}
    mismatch = _compare(targets, weights, computed)
    if mismatch:
        hint = _guess(targets, weights) + "Give the config and the checkpoint of the same model."
        refuse_mismatch(mismatch, source, f"the {len(targets)} tensors of the model that the config describes", hint)
    check_finite(targets, weights, source)
    model.load_state_dict(
        weights, strict=False
    )  # not strict, for the names that may be missing; the others were compared
    return MatchReport(loaded=len(weights), ignored_heads=len(state) - len(weights), heads=heads)


def refuse_mismatch(mismatch: Mismatch, source: str, expected: str, hint: str) -> None:
    """Raise where a checkpoint and a model do not match.

    Raises:
        CheckpointError: naming the tensors.
    """
    if mismatch:
        raise CheckpointError(source, expected=expected, found=f"tensors that do not match: {mismatch}", hint=hint)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _heads_beside(targets: Iterable[str], state: Iterable[str]) -> tuple[str, ...]:
    """The prefixes of `state` that are heads and not the model's own. Of plain characters only: they are printed."""
    others = {_top(name) for name in state} - {_top(name) for name in targets}
    return tuple(sorted(prefix for prefix in others if re.fullmatch(r"([A-Za-z0-9_]+_)?head", prefix)))


def _compare(targets: dict[str, Tensor], weights: dict[str, Tensor], computed: Collection[str]) -> Mismatch:
    absent = [name for name in targets if name not in weights and name not in computed]
    return Mismatch(
        missing=[name for name in absent if not name.endswith("num_batches_tracked")],
        unexpected=[name for name in weights if name not in targets],
        misfits=[
            f"{name} ({_kind(weights[name])}, the model has {_kind(target)})"
            for name, target in targets.items()
            if name in weights and not _fits(weights[name], target)
        ],
    )


def _fits(weight: Tensor, target: Tensor) -> bool:
    same_kind = weight.dtype == target.dtype or (weight.is_floating_point() and target.is_floating_point())
    return same_kind and weight.shape == target.shape


def _kind(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).removeprefix('torch.')}"


def check_finite(targets: dict[str, Tensor], weights: dict[str, Tensor], source: str) -> None:
    """Refuse weights that are not finite in the model's number format.

    Raises:
        CheckpointError: naming the first.
    """
    for name, weight in weights.items():
        converted = weight.to(targets[name].dtype)
        broken = converted.numel() - int(converted.isfinite().sum())
        if broken:
            raise CheckpointError(
                source,
                expected=f"finite numbers in {str(converted.dtype).removeprefix('torch.')}",
                found=f"{broken} of {converted.numel()} values of {name} that are infinite or NaN",
                hint="The training that made the file diverged, or the file is damaged.",
            )


# --- the probable reason of a mismatch --------------------------------------------------------------------------------


def _guess(targets: dict[str, Tensor], weights: dict[str, Tensor]) -> str:
    """A sentence on the probable reason, with a space after it; empty if there is none."""
    head_here, head_there = (
        {name: tensor for name, tensor in names.items() if _top(name) == "cls_head"} for names in (targets, weights)
    )
    if head_here and not head_there:
        return "It holds the backbone only, without a head: it gives features, and no scores. "
    classes = [_classes(tensors) for tensors in (head_there, head_here)]
    if head_here and classes[0] != classes[1]:
        return f"The checkpoint has {classes[0]} classes, the config {classes[1]}. "
    if not {_top(name) for name in weights} & {_top(name) for name in targets}:
        tops = ", ".join(sorted({_top(name) for name in weights})[:4]) or "nothing"
        return (
            f"Its names begin with {tops}, not with backbone: this is a bare image or video network, such as "
            "torchvision's, and not an MMAction2 recogniser. "
        )
    in_model, in_file = _convolution_dims(targets), _convolution_dims(weights)
    if in_model and in_file and in_model != in_file:
        return f"The checkpoint is that of a {in_file}D network; the config describes a {in_model}D one. "
    depths = _different_depths(targets, weights)
    return f"Another depth: {'; '.join(depths[:4])}. " if depths else ""


def _classes(head: dict[str, Tensor]) -> int:
    """How many classes a head has: the length of its last bias; 0 where it has none."""
    return next((len(tensor) for name, tensor in reversed(head.items()) if name.endswith("bias")), 0)


def _convolution_dims(weights: dict[str, Tensor]) -> int:
    """2 if the convolutions' weights are at most 4-D, 3 if some are 5-D; 0 if there are none."""
    most = max((tensor.ndim for tensor in weights.values()), default=0)
    return most - 2 if most in (4, 5) else 0


def _different_depths(targets: Iterable[str], weights: Iterable[str]) -> list[str]:
    """Differences in the number of numbered parts, such as those of `backbone.layer3.22.`."""
    in_model, in_file = _numbered(targets), _numbered(weights)
    return [
        f"{group} has {len(in_file[group])} blocks in the checkpoint, {len(numbers)} in the model"
        for group, numbers in in_model.items()
        if group in in_file and len(in_file[group]) != len(numbers)
    ]


def _numbered(names: Iterable[str]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for match in re.finditer(r"\.(\d+)(?=\.)", name):
            groups[name[: match.start()]].add(match.group(1))
    return groups
