"""Names of a package whose modules are imported on first use, and the command that installs what is missing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from vidfeat.errors import UsageError


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A module-level `__getattr__` for a package (PEP 562).

    Args:
        package: the package's name.
        modules: public name to the module that defines it.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return get


def install_command(extra: str) -> str:
    """What to type to get an extra of vidfeat.

    It names the packages of the extra, so that it works wherever vidfeat was installed from: a checkout, an archive or
    an index.

    Args:
        extra: a key of `project.optional-dependencies` in pyproject.toml.
    """
    import shlex
    from importlib import metadata

    try:
        requirements = metadata.requires("vidfeat") or []
    except metadata.PackageNotFoundError:  # it is run from its source
        requirements = []
    parts = (requirement.partition(";") for requirement in requirements)
    found = [name.strip() for name, _, marker in parts if f"extra == '{extra}'" in marker.replace('"', "'")]
    return "pip install " + (" ".join(map(shlex.quote, found)) or shlex.quote(f".[{extra}]"))


def import_extra(module: str, extra: str, where: str | os.PathLike[str], purpose: str) -> Any:
    """A library that comes with an extra of vidfeat.

    Args:
        module: its name.
        extra: the extra that has it.
        where: the argument or the output that needs it, for the error.
        purpose: what it is for.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_package(module.partition(".")[0], extra, where, purpose) from error


def missing_package(package: str, extra: str, where: str | os.PathLike[str], purpose: str) -> UsageError:
    """The error of a package that is not installed; the arguments are those of `import_extra`."""
    return UsageError(
        str(where),
        expected=f"the package {package} for {purpose}",
        found="none",
        hint=f"Install it with: {install_command(extra)}",
    )
