"""The line about a run, where nobody sits at a terminal."""

from __future__ import annotations

import io

import pytest

from vidfeat.engine import progress
from vidfeat.engine.progress import Progress


def lines_of(count: int, *, already: int = 0) -> list[str]:
    stream = io.StringIO()
    with Progress(count, already=already, stream=stream) as told:
        for _ in range(count - already):
            told.done()
    return [line.split(",")[0] for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("every", "expected"), [(0.0, ["2/3 videos", "3/3 videos"]), (1000.0, ["3/3 videos"])], ids=["often", "rarely"]
)
def test_the_last_line_is_told_once(every: float, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", every)
    assert lines_of(3, already=1) == expected
    assert lines_of(3, already=3) == []
