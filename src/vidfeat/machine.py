"""What this process may use of the machine."""

from __future__ import annotations

import os
from collections.abc import Collection


def usable_cores() -> Collection[int]:
    """The cores that this process may use; on a shared machine fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)
