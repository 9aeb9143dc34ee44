"""The CPU: usable cores, name and instruction sets."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Collection
from functools import cache
from pathlib import Path

from vidfeat.errors import UsageError


def usable_cores() -> Collection[int]:
    """The cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def limit_cores(count: int) -> None:
    """Have this process and all that it starts use so many of the usable cores at most, neighbours where possible.

    Which ones depends on the number of the process, so that several vidfeats do not all choose the same.

    Raises:
        UsageError: the system, such as macOS, cannot bind processes to cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("--cores", expected="a system that binds processes to cores", found=platform.system())
    cores = sorted(usable_cores())
    if count < len(cores):
        start = os.getpid() % (len(cores) // count) * count
        os.sched_setaffinity(0, cores[start : start + count])


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


def memory_bytes() -> int:
    """Memory that this process may use: that of the machine, or of the control group (container, job) it is in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _control_groups():
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(path.read_text()))
    return min(limits)


def _control_groups() -> list[Path]:
    """Where Linux states the memory limits of this process's control group and of those above it."""
    root, files = Path("/sys/fs/cgroup"), [Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    with contextlib.suppress(OSError):
        own = Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()
        group = root / (own[0] if own else "")
        files += [folder / "memory.max" for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return files
