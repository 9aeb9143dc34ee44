"""What decides the values of a video's features, apart from the video."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkIdentity:
    """Features that were computed with another identity do not count as finished.

    Attributes:
        recipe_digest: `Recipe.digest`, 64 hex digits.
        checkpoint_sha256: SHA-256 of the checkpoint file, 64 hex digits.
        precision: the arithmetic of the network, such as `"fp32"` or `"bf16"`.
        decoder: what decodes the videos, `"pyav"` or `"nvdec"`. Manifests from before there was a choice lack it.
        dtype: number format of the output, `"float32"` or `"float16"`. Left out where it is float32.
        layout: the code that the output is for, as in `Job.layout`, since files and rows differ by it. Left out where
            it is none.
    """

    recipe_digest: str
    checkpoint_sha256: str
    precision: str
    decoder: str = "pyav"
    dtype: str = "float32"
    layout: str = ""

    def to_json(self) -> dict[str, str]:
        """The values under their own names; `dtype` and `layout` only where they are not as before."""
        usual = {"dtype": "float32", "layout": ""}
        return {name: value for name, value in dataclasses.asdict(self).items() if usual.get(name) != value}

    @classmethod
    def from_json(cls, data: Any) -> WorkIdentity:
        """The inverse of `to_json`; other keys are ignored.

        Raises:
            ValueError: one is absent that has no default, or is no string.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if isinstance(data, dict):
            data = {"decoder": cls.decoder, "dtype": cls.dtype, "layout": cls.layout, **data}
        if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in names):
            raise ValueError(f"an identity has the strings {', '.join(names)}")
        return cls(**{name: data[name] for name in names})


def describe_difference(there: WorkIdentity, now: WorkIdentity) -> str:
    """What differs between two identities, for people.

    Example: `"another checkpoint (ab12… there, cd34… now) and another precision (bf16 there, fp32 now)"`.
    """
    return " and ".join(
        f"another {name.removesuffix('_digest').removesuffix('_sha256')} ({_short(old)} there, {_short(new)} now)"
        for (name, old), new in zip(vars(there).items(), vars(now).values(), strict=True)
        if old != new
    )


def _short(value: str) -> str:
    return (value or "none") if len(value) <= 20 else f"{value[:8]}…"
