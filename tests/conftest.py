"""What all tests share: where the reference data lies, the checkout, and the comparison with records."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference records and videos beside the checkout; tests that need it skip without it."""
    folder = Path(os.environ.get("VIDFEAT_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(f"no reference data at {folder} (set VIDFEAT_SHARED)")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests run in."""
    return REPOSITORY


@pytest.fixture(scope="session")
def fidelity() -> ModuleType:
    """`scripts/fidelity.py`, which compares vidfeat with a record, as a module."""
    spec = importlib.util.spec_from_file_location("fidelity", REPOSITORY / "scripts" / "fidelity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fidelity"] = module
    spec.loader.exec_module(module)
    return module
