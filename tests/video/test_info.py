"""Timelines: the rule for times that are missing or fall back, and the JSON that carries them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from vidfeat.video import Timeline, VideoInfo
from vidfeat.video.info import FrameClock, _class_of

PTS = st.none() | st.integers(-1000, 1000) | st.integers(-(2**62), 2**62)
RATES = st.none() | st.floats(0.01, 1000)


@given(st.lists(PTS), st.sampled_from([None, Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 10**9)]), RATES)
def test_times_rise_whatever_the_stream_says(
    pts: list[int | None], time_base: Fraction | None, fps: float | None
) -> None:
    clock = FrameClock(time_base, fps)
    times = [clock(value) for value in pts]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, unique=True))
def test_times_of_rising_pts_are_exact(pts: list[int]) -> None:
    pts.sort()
    base = Fraction(1001, 30000)
    clock = FrameClock(base, 25.0)
    times = [clock(value) for value in pts]
    assert times == [float(value * base) for value in pts]
    assert FrameClock(base, 25.0).of_sorted(np.array(pts)).tolist() == times


@given(st.lists(st.integers(-20, 20), min_size=1))
def test_sorted_pts_with_repetitions_follow_the_same_rule(pts: list[int]) -> None:
    pts.sort()
    clock = FrameClock(Fraction(1, 10), 10.0)
    times = FrameClock(Fraction(1, 10), 10.0).of_sorted(np.array(pts))
    assert times.tolist() == [clock(value) for value in pts]


def test_without_presentation_times_a_frame_has_its_number_over_the_rate() -> None:
    none, untrusted = FrameClock(Fraction(1, 90000), 30.0), FrameClock(None, 30.0)
    expected = [index / 30.0 for index in range(100)]
    assert [none(None) for _ in range(100)] == expected
    assert [untrusted(7 * index % 5) for index in range(100)] == expected
    unknown_rate = FrameClock(Fraction(1, 90000), None)
    assert [unknown_rate(None) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_times_that_are_missing_repeated_or_fall_back_follow_the_last_good_one() -> None:
    clock = FrameClock(Fraction(1, 100), 20.0)
    pts = [100, 105, None, 105, 90, 121, 126]
    assert [clock(value) for value in pts] == [1.0, 1.05, 1.1, 1.05 + 2 / 20, 1.05 + 3 / 20, 1.21, 1.26]


def test_ends_are_the_next_starts() -> None:
    uneven = Timeline(np.array([0.5, 0.6, 0.9]), fps=10.0)
    assert uneven.end_seconds.tolist() == [0.6, 0.9, 1.0]
    assert dataclasses.replace(uneven, fps=None).end_seconds.tolist() == pytest.approx([0.6, 0.9, 1.1])
    assert Timeline(np.array([0.5])).end_seconds.tolist() == [0.5]


@given(st.lists(st.floats(0, 10), unique=True), st.floats(-1, 11), st.floats(-1, 11))
def test_frames_within_a_segment(times: list[float], start: float, end: float) -> None:
    times.sort()
    frames = Timeline(np.array(times)).within(start, end)
    assert list(frames) == [index for index, time in enumerate(times) if start <= time < end]


def test_json_keeps_every_bit() -> None:
    times = np.array([0.1, 1 / 3, math.pi, 1e9 + 0.04])
    timeline = Timeline(times, fps=29.97, duration_seconds=None)
    info = VideoInfo("a.mp4", 9, "mov", "h264", "yuv420p", 64, 48, 90, 29.97, 0.1, None, 4, "salvage", timeline, 5, 7)
    again = VideoInfo.from_json(json.loads(json.dumps(info.to_json())))
    assert again == info
    assert again.timeline.pts_seconds.tobytes() == times.tobytes()
    assert again.stamp == (9, 5)
    assert again != dataclasses.replace(info, timeline=Timeline(times + 1e-9, 29.97))


def test_aliases_of_classes_are_resolved() -> None:
    """NumPy 2.5 has `NDArray` as one, on Python 3.12 and later."""
    scalar = TypeVar("scalar", bound=np.generic)
    array = TypeAliasType("array", np.ndarray[Any, np.dtype[scalar]], type_params=(scalar,))
    for hint in (array[np.float64], TypeAliasType("times", array[np.float64]), npt.NDArray[np.float64], np.ndarray):
        assert _class_of(hint) is np.ndarray
    assert _class_of(int) is int
