"""Errors for outputs that cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vidfeat.errors import OutputError


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever reading an output raises into an error that names it.

    Raises:
        OutputError: the block raised something else than that.
    """
    try:
        yield
    except OutputError:
        raise
    except FileNotFoundError as error:
        raise OutputError(str(path), expected="an output that can be read", found="no such file") from error
    except Exception as error:  # readers of damaged bytes raise nearly anything
        raise OutputError(
            str(path), expected="an output that can be read", found=f"{type(error).__name__}: {error}"
        ) from error
