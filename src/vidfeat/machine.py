"""What this process may use of the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from pathlib import Path


def usable_cores() -> Collection[int]:
    """The cores that this process may use; on a shared machine fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def cpu_name() -> str:
    """What the CPU is sold as, where the system tells; else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
