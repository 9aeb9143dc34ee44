"""Errors for outputs that cannot be read, and for libraries of formats that are not there."""

from __future__ import annotations

import contextlib
import importlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidfeat.errors import OutputError, UsageError, shorten
from vidfeat.lazy_import import install_command


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


def import_extra(module: str, extra: str, out: Path) -> Any:
    """A library that a format needs.

    Args:
        module: its name.
        extra: that of vidfeat that has it.
        out: the output that needs it.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(
            str(out),
            expected=f"the package {package}, for this format",
            found="none",
            hint=f"Type: {install_command(extra)}",
        ) from error
