"""What all tests share: where the reference data lies, the checkout, and the comparison with records."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

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
def s3() -> Iterator[Any]:
    """A bucket `videos` on a real server, which this process and those that it starts find; as `s3fs.S3FileSystem`."""
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    from storage.s3_server import s3_server
    from vidfeat.storage import filesystem

    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        filesystem._filesystem.cache_clear()
        store = s3fs.S3FileSystem()
        store.mkdir("videos")
        yield store
        filesystem._filesystem.cache_clear()


@pytest.fixture
def faulty(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same bucket, which this process and those that it starts reach through a `storage.faulty_s3.FaultyS3`."""
    import s3fs

    from storage.faulty_s3 import faulty_s3
    from vidfeat.storage import filesystem

    def forget() -> None:
        s3fs.S3FileSystem.clear_instance_cache()
        filesystem._filesystem.cache_clear()

    with faulty_s3(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr(filesystem, "TIMEOUT_SECONDS", 1)
        monkeypatch.setattr(filesystem, "_FIRST_WAIT_SECONDS", 0.02)
        forget()
        yield proxy
        forget()


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
