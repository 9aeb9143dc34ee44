"""What a run needs of the place where its results are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vidfeat.features import Outcome, VideoFailure
from vidfeat.store.summary import Summary
from vidfeat.videos import VideoRef


class Store(Protocol):
    """Takes the features of videos as they come, and keeps them through crashes. `RunStore` and `PartsStore` are two.

    Attributes:
        notes: sentences for people about what was found at the output.
        linger_seconds: so long outcomes are to be collected before they are committed.
    """

    notes: tuple[str, ...]
    linger_seconds: float

    @property
    def out(self) -> str | Path:
        """The output."""

    @property
    def has_features(self) -> bool:
        """Whether any video of the list has features already."""

    def pending(self) -> Iterable[VideoRef]:
        """The videos that are not finished."""

    def pin_backend(self, proposal: str | None) -> str | None:
        """What runs the networks in all processes and sessions."""

    def commit(self, outcomes: Sequence[Outcome], session: Mapping[str, Any]) -> list[VideoFailure]:
        """Keep what came of some videos; returns the failures of those whose features cannot be kept."""

    def finalize(self) -> Summary | None:
        """Complete the output."""

    def __enter__(self) -> Store:
        """It."""

    def __exit__(self, *error: object) -> None:
        """Release all files."""
