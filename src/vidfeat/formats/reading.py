"""Errors for outputs that cannot be read, and for libraries of formats that are not there."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from vidfeat.errors import OutputError, shorten


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever reading an output raises into an error that names it.

    Raises:
        OutputError: the path is no regular file, such as a pipe or a device, which has no end; the block raised
            something else than that.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OutputError(str(path), expected="an output that can be read", found="no regular file")
        yield
    except OutputError:
        raise
    except FileNotFoundError as error:
        raise OutputError(str(path), expected="an output that can be read", found="no such file") from error
    except Exception as error:  # readers of damaged bytes raise nearly anything
        found = shorten(f"{type(error).__name__}: {error}")
        raise OutputError(str(path), expected="an output that can be read", found=found) from error
