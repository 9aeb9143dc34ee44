"""Reading outputs, wherever they are."""

from __future__ import annotations

from pathlib import Path

from vidfeat.formats.sink import Sink
from vidfeat.store import stored
from vidfeat.store.parts import is_parts
from vidfeat.store.parts_reading import PartsFeatures
from vidfeat.store.stored import StoredFeatures


def load(out: Path | str | Sink) -> StoredFeatures:
    """Read whatever is at `out`: a finished output, a run that is under way or was interrupted, or another program's.

    Nothing is written, but that a commit of a killed process may be rolled back; no code from the files is run.

    Args:
        out: the path or URI that was the output of the run, or its sink.

    Raises:
        UsageError: there is nothing of that name, or its suffix is no output's.
        OutputError: it cannot be read at all.
    """
    return PartsFeatures(str(out)) if not isinstance(out, Sink) and is_parts(out) else stored.load(out)
