"""Words and their vectors, by which a page is searched: what `vidfeat embed-text` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vidfeat.errors import UsageError
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
    """Read `words` and `vectors` of an `.npz` archive or a `.json` object; or a vector for each name in it.

    Raises:
        UsageError: the file cannot be read, or is none of these. No code from it is run.
    """
    read = {".npz": _read_npz, ".json": _read_json}.get(path.suffix.lower())
    if read is None:
        raise UsageError(str(path), expected="a file that ends in .npz or .json", found=repr(path.suffix))
    try:
        found = read(path)
        if set(found) == {"words", "vectors"}:
            words, vectors = found["words"], found["vectors"]
        else:
            words, vectors = list(found), list(found.values())
        texts = tuple(map(str, words))
        with np.errstate(over="ignore"):  # infinite values are refused below
            array = np.asarray(vectors, np.float64).astype(np.float32)
    except OSError as error:
        raise UsageError(str(path), expected="a file of queries", found=error.strerror or str(error)) from error
    except (ValueError, TypeError, AttributeError, EOFError, BadZipFile, RecursionError, OverflowError) as error:
        raise _refused(path, str(error)) from error
    if array.ndim != 2 or len(array) != len(texts) or not array.size:
        raise _refused(path, f"{len(texts)} words and vectors of shape {list(array.shape)}")
    if not np.isfinite(array).all():
        raise _refused(path, "values that are not finite")
    if len(texts) > MOST:
        raise _refused(path, f"{len(texts)} queries", f"at most {MOST} queries")
    return Queries(texts, array)


def _refused(path: Path, found: str, expected: str = "words, and a vector of the same length for each") -> UsageError:
    return UsageError(str(path), expected=expected, found=found, hint="vidfeat embed-text writes such files.")


def _read_json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
