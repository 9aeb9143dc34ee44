"""Words and their vectors, by which a page is searched: what `vidfeat embed-text` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat.errors import UsageError, reason
from vidfeat.tools.report.measure import Floats

MOST = 1000
"""Most queries of one page."""


@dataclass(frozen=True, eq=False)
class Queries:
    """Words, and their vectors in the space of the features.

    Attributes:
        words: Q texts.
        vectors: float32 `[Q, C]`.
    """

    words: tuple[str, ...]
    vectors: Floats


def read_queries(path: Path) -> Queries:
    """Read `words` and `vectors` of an `.npz` archive or of a `.json` object.

    Raises:
        UsageError: the file cannot be read, or has none. No code from it is run.
    """
    try:
        read = {".npz": _read_npz, ".json": _read_json}[path.suffix.lower()]
        found = read(path)
        words = tuple(map(str, found["words"]))
        with np.errstate(over="ignore"):  # infinite values are refused below
            vectors = np.asarray(found["vectors"], np.float64).astype(np.float32)
        if vectors.shape[:1] != (len(words),) or vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"{len(words)} words and vectors of shape {list(vectors.shape)}")
        if not np.isfinite(vectors).all():
            raise ValueError("values that are not finite")
        if len(words) > MOST:
            raise ValueError(f"{len(words)} words; a page takes {MOST}")
    except Exception as error:  # readers of damaged bytes raise nearly anything
        raise UsageError(
            str(path),
            expected="an .npz or .json file with `words`, and as many `vectors`",
            found=f"no {error}" if isinstance(error, KeyError) else reason(error),
            hint="vidfeat embed-text writes one.",
        ) from error
    return Queries(words, vectors)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in ("words", "vectors")}
