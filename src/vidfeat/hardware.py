"""The CPU: usable cores, name and instruction sets."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from functools import cache
from pathlib import Path


def usable_cores() -> Collection[int]:
    """The cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def cpu_name() -> str:
    """The CPU's model name, or its architecture where the system has no name for it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_vendor() -> str:
    """The CPU's vendor string, such as "AuthenticAMD"; "" if unknown."""
    return _cpuinfo("vendor_id")


@cache
def cpu_flags() -> frozenset[str]:
    """The CPU's features by their Linux names, such as "avx512_bf16"; empty if unknown."""
    return frozenset(_cpuinfo("flags").split())


@cache
def _cpuinfo(key: str) -> str:
    """The first value of `key` in /proc/cpuinfo; "" if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next(
        (value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key), ""
    )
