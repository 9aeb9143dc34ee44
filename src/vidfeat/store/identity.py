"""What makes two runs the same run: only then may one go on where the other stopped."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunIdentity:
    """Everything that decides the bytes of an output.

    Attributes:
        recipe_digest: `Recipe.digest`, 64 hex digits.
        checkpoint_sha256: SHA-256 of the checkpoint file, 64 hex digits.
        precision: the arithmetic of the network, such as `"fp32"` or `"bf16"`.
        list_digest: `vidfeat.store.list_digest` of the videos, 64 hex digits.
        decoder: what decodes the videos, `"pyav"` or `"nvdec"`. Runs of before there was a choice do not say it.
    """

    recipe_digest: str
    checkpoint_sha256: str
    precision: str
    list_digest: str
    decoder: str = "pyav"

    def to_json(self) -> dict[str, str]:
        """The values under their own names."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> RunIdentity:
        """The inverse of `to_json`; other keys are ignored.

        Raises:
            ValueError: if one is absent, other than the decoder, or is no string.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if isinstance(data, dict):
            data = {"decoder": cls.decoder, **data}
        if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in names):
            raise ValueError(f"an identity has the strings {', '.join(names)}")
        return cls(**{name: data[name] for name in names})


_MEANING = {
    "recipe_digest": "the recipe (config or options)",
    "checkpoint_sha256": "the checkpoint",
    "precision": "the precision",
    "list_digest": "the list of videos",
    "decoder": "the decoder",
}


def differences(there: RunIdentity, now: RunIdentity) -> list[str]:
    """One phrase per value that differs, for people; empty when the two runs are the same run.

    Example: `"the precision is 'bf16' there and 'fp32' now"`.
    """
    return [
        f"{meaning} is {_short(getattr(there, name))!r} there and {_short(getattr(now, name))!r} now"
        for name, meaning in _MEANING.items()
        if getattr(there, name) != getattr(now, name)
    ]


def _short(value: str) -> str:
    return value if len(value) <= 20 else f"{value[:12]}..."
