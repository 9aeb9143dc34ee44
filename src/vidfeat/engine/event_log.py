"""What happens in a run as JSON Lines, for programs that watch it. docs/log.md has the fields of each event."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vidfeat.errors import UsageError, reason


class EventLog:
    """Events, appended to a file, a line each. A disk that is full later on does not end the run.

    Args:
        path: the file; its folder exists.
        rank: which process of the run writes.

    Raises:
        UsageError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], rank: int = 0) -> None:
        self._rank = rank
        try:
            self._file = Path(path).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115
        except OSError as error:
            found = f"{path}: {reason(error)}"
            raise UsageError("log_json", expected="a file that can be written", found=found) from error

    def write(self, event: str, **fields: Any) -> None:
        """One event, at this moment."""
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError, ValueError):
            self._file.write(json.dumps({"time": time, "rank": self._rank, "event": event, **fields}) + "\n")

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
