"""What the tests of `vidfeat estimate` share: decode processes with faults in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine import faulty_worker
from vidfeat.engine.worker_handle import PREWARMED, prewarm


@pytest.fixture
def faulty_workers() -> Iterator[None]:
    """The next decode processes are `faulty_worker`s."""
    PREWARMED.close()
    prewarm(8, faulty_worker.command())
    yield
    PREWARMED.close()
