"""The open files of a process: what a test leaves open is found by its name, whatever other threads close meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path


def open_files(of: int | None = None) -> Counter[str]:
    """What the open files of a process are: path, pipe or socket, and how often."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{of or os.getpid()}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            found[str(entry.readlink())] += 1
    return found


def opened_since(before: Counter[str]) -> list[str]:
    """Files of this process that were not open before."""
    return sorted((open_files() - before).elements())
