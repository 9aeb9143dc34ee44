"""Weights into a model: everything that the model has, exactly, and heads left aside."""

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
    """What became of a checkpoint's tensors.

    Attributes:
        loaded: tensors now in the model.
        ignored_heads: tensors left aside because they belong to a head.
        heads: the prefixes of those, sorted, such as `("cls_head",)`.
    """

    loaded: int
    ignored_heads: int
    heads: tuple[str, ...]


@dataclass(frozen=True)
class _Mismatch:
    """Why weights and model do not fit, one line per name."""

    missing: list[str]
    unexpected: list[str]
    misfits: list[str]

    def __str__(self) -> str:
        lists = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape or kind": self.misfits,
        }
        return "; ".join(
            f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
            for what, names in lists.items()
            if names
        )


def load_into(
    model: nn.Module, state: dict[str, Tensor], *, source: str, computed: Collection[str] = ()
) -> MatchReport:
    """Copy weights into a model; all of them, or none and an error.

    Names are MMAction2's (`backbone.*`, `neck.*`). Each parameter and buffer of the model must be there, with the same
    shape, and nothing else under the model's own prefixes. Heads (`cls_head.*`, `*_head.*`) that the model does not
    have are left aside. `num_batches_tracked` may be missing, as in checkpoints of PyTorch before 0.4.1; it plays no
    part in inference. Values are converted to the model's dtype (float16 to float32, say) and must be finite in it.

    Args:
        model: the network, on any device.
        state: weight name -> tensor, from `load_state`.
        source: where the weights come from, for the error.
        computed: names of buffers that the model fills by itself, such as position codes made of sines; they may be
            missing, too.

    Raises:
        CheckpointError: names or shapes do not fit, all listed at once with a guess at the reason; or a value is
            infinite or not a number.
    """
    targets = model.state_dict()
    heads = _heads_beside(targets, state)
    weights = {name: tensor for name, tensor in state.items() if _top(name) not in heads}
    mismatch = _compare(targets, weights, computed)
    if mismatch.missing or mismatch.unexpected or mismatch.misfits:
        raise CheckpointError(
            source,
            expected=f"the {len(targets)} tensors of the model that the config describes",
            found=f"tensors that do not fit: {mismatch}",
            hint=_guess(targets, weights) + "Give the config and the checkpoint of the same model.",
        )
    _check_finite(targets, weights, source)
    model.load_state_dict(weights, strict=False)  # not strict only for what may be missing: the rest was compared
    return MatchReport(loaded=len(weights), ignored_heads=len(state) - len(weights), heads=heads)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _heads_beside(targets: Iterable[str], state: Iterable[str]) -> tuple[str, ...]:
    """The prefixes of `state` that are heads and not the model's own."""
    foreign = {_top(name) for name in state} - {_top(name) for name in targets}
    return tuple(sorted(prefix for prefix in foreign if re.fullmatch(r"(.+_)?head", prefix)))


def _compare(targets: dict[str, Tensor], weights: dict[str, Tensor], computed: Collection[str]) -> _Mismatch:
    absent = [name for name in targets if name not in weights and name not in computed]
    return _Mismatch(
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


def _check_finite(targets: dict[str, Tensor], weights: dict[str, Tensor], source: str) -> None:
    for name, weight in weights.items():
        converted = weight.to(targets[name].dtype)
        broken = converted.numel() - int(converted.isfinite().sum())
        if broken:
            raise CheckpointError(
                source,
                expected=f"finite numbers in {str(converted.dtype).removeprefix('torch.')}",
                found=f"{broken} of {converted.numel()} values of {name} that are infinite or not a number",
                hint="The training that made the file diverged, or the file is damaged.",
            )


# --- what the checkpoint seems to be ----------------------------------------------------------------------------------


def _guess(targets: dict[str, Tensor], weights: dict[str, Tensor]) -> str:
    """A sentence on the likely reason, with a space after it; empty where nothing stands out."""
    if not {_top(name) for name in weights} & {_top(name) for name in targets}:
        tops = ", ".join(sorted({_top(name) for name in weights})[:4]) or "nothing"
        return (
            f"Its names begin with {tops}, not with backbone: this is a bare image or video network, such as "
            "torchvision's, and not an MMAction2 recogniser. "
        )
    ours, theirs = _convolution_dims(targets), _convolution_dims(weights)
    if ours and theirs and ours != theirs:
        return f"The checkpoint is that of a {theirs}D network; the config describes a {ours}D one. "
    depths = _different_depths(targets, weights)
    return f"Another depth: {'; '.join(depths[:4])}. " if depths else ""


def _convolution_dims(weights: dict[str, Tensor]) -> int:
    """2 where the convolutions' weights are at most 4-D, 3 where some are 5-D; 0 where there are none."""
    most = max((tensor.ndim for tensor in weights.values()), default=0)
    return most - 2 if most in (4, 5) else 0


def _different_depths(targets: Iterable[str], weights: Iterable[str]) -> list[str]:
    """Where names are numbered, as `backbone.layer3.22.`: how many numbers each side has, where they differ."""
    ours, theirs = _numbered(targets), _numbered(weights)
    return [
        f"{group} has {len(theirs[group])} blocks in the checkpoint, {len(numbers)} in the model"
        for group, numbers in ours.items()
        if group in theirs and len(theirs[group]) != len(numbers)
    ]


def _numbered(names: Iterable[str]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for match in re.finditer(r"\.(\d+)(?=\.)", name):
            groups[name[: match.start()]].add(match.group(1))
    return groups
