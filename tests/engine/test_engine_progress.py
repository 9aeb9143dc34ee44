"""The line about a run, where nobody sits at a terminal."""

from __future__ import annotations

import io

import numpy as np
import pytest

from vidfeat.engine import progress
from vidfeat.engine.progress import Progress
from vidfeat.features import VideoFeatures


def lines_of(count: int, *, already: int = 0) -> list[str]:
    stream = io.StringIO()
    with Progress(count, already=already, stream=stream) as shown:
        for number in range(count - already):
            shown.count(VideoFeatures(f"{number}.mp4", "tiny", np.zeros(3, np.float32)))
    return [line.split(",")[0] for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("every", "expected"), [(0.0, ["2/3 videos", "3/3 videos"]), (1000.0, ["3/3 videos"])], ids=["often", "rarely"]
)
def test_the_last_line_is_printed_once(every: float, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", every)
    assert lines_of(3, already=1) == expected
    assert lines_of(3, already=3) == []


class Closed(io.StringIO):
    """A terminal that is gone."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_does_not_end_the_work() -> None:
    with Progress(2, stream=Closed()) as shown:
        shown.note("a line")
        shown.count(VideoFeatures("0.mp4", "tiny", np.zeros(3, np.float32)))


def test_control_characters_are_escaped() -> None:
    stream = io.StringIO()
    with Progress(2, stream=stream) as shown:
        shown.note("a\x1b[2Jb")
    assert stream.getvalue() == "a\\x1b[2Jb\n"


def test_the_time_before_the_clock_is_started_is_no_part_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(3, stream=stream) as shown:
        now[0] += 50
        shown.start_clock()
        now[0] += 10
        shown.count(VideoFeatures("0.mp4", "tiny", np.zeros(3, np.float32)))
        shown.start_clock()  # a worker that starts later changes nothing
        now[0] += 10
        shown.count(VideoFeatures("1.mp4", "tiny", np.zeros(3, np.float32)))
    assert "2/3 videos, 0.10 videos/s, 00:10 left" in stream.getvalue()
