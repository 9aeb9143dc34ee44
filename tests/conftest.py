"""What all tests share: where the reference data lies, the checkout, and the comparison with records."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Have child processes begin as from a terminal."""
    # A shell has what it runs in the background ignore some signals, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    _give_up_realtime()
    # No test depends on how busy the machine is.
    hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
    hypothesis.settings.load_profile("untimed")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The processes of pytest-xdist share the cores: threads of PyTorch would spend them waiting for each other.
        torch.set_num_threads(1)


def _give_up_realtime() -> None:
    """Give up the right to real-time priority, here and in child processes.

    As root, SVT-AV1 gives real-time priority to its encoder threads. They wait actively: on few cores the threads that
    they wait for, and all other processes, then get no time.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    sys_nice, bounding_set_drop, version_3 = 23, 24, 0x20080522  # of linux/capability.h and linux/prctl.h
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(version_3, 0), (ctypes.c_uint32 * 6)()
    libc.prctl(bounding_set_drop, sys_nice, 0, 0, 0)
    if libc.capget(header, sets) == 0:
        for low_word in range(3):  # effective, permitted, inheritable
            sets[low_word] &= ~(1 << sys_nice)
        libc.capset(header, sets)


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
    from vidfeat import storage

    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        storage._filesystem.cache_clear()
        store = s3fs.S3FileSystem()
        store.mkdir("videos")
        yield store
        storage._filesystem.cache_clear()


@pytest.fixture
def faulty(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same bucket, which this process and those that it starts reach through a `storage.faulty_s3.FaultyS3`."""
    import s3fs

    from storage.faulty_s3 import faulty_s3
    from vidfeat import storage

    def forget() -> None:
        s3fs.S3FileSystem.clear_instance_cache()
        storage._filesystem.cache_clear()

    with faulty_s3(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr(storage, "TIMEOUT_SECONDS", 1)
        monkeypatch.setattr(storage, "_FIRST_WAIT_SECONDS", 0.02)
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
