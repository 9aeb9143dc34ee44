"""How much memory a process and all below it hold. Linux only: elsewhere nothing is seen."""

from __future__ import annotations

import os
import time
from pathlib import Path

_PROC = Path("/proc")
_ALL_PAGES_EVERY_SECONDS = 5.0
_NEW_HIGH = 1.02


class MemoryMeter:
    """The most memory that a process tree was seen to hold.

    What counts is the proportional set size: memory that several processes share is shared out among them. Asking for
    it makes the system walk through all pages, tens of milliseconds for a gigabyte; asking all the time would slow down
    what is measured. So each look takes the resident sizes, which cost nothing, and asks only where their sum is 2 %
    above the highest before, and every 5 s in case less is shared by now.

    Args:
        pid: the process at the top.

    Attributes:
        peak_bytes: the most so far; 0 where nothing was seen.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._highest_resident = 0
        self._asked = 0.0
        self.peak_bytes = 0

    def look(self) -> None:
        """See how much there is now."""
        pids = process_tree(self._pid)
        resident = sum(map(resident_bytes, pids))
        now = time.monotonic()
        if resident <= _NEW_HIGH * self._highest_resident and now - self._asked < _ALL_PAGES_EVERY_SECONDS:
            return
        self._highest_resident = max(resident, self._highest_resident)
        self.peak_bytes = max(self.peak_bytes, sum(map(proportional_bytes, pids)))
        self._asked = now


def process_tree(pid: int) -> list[int]:
    """A process and all below it; none that has ended."""
    try:
        below = " ".join((task / "children").read_text() for task in (_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
    return [pid, *(found for child in below.split() for found in process_tree(int(child)))]


def resident_bytes(pid: int) -> int:
    """Bytes of a process in memory, shared ones in full; 0 once it ended."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Bytes of a process in memory, shared ones divided by the number of their holders; 0 once it ended."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
