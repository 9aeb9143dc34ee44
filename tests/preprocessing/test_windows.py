"""Windows in time: the frames of FFmpeg's filter `fps`, the rules of starts and tails, and the times of rows."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video.video_files import filtered
from vidfeat import UsageError, Windows
from vidfeat.preprocessing.grid import PADDING
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.recipe import part_from_json, part_to_json
from vidfeat.video import Timeline


def ffmpeg_fps(ticks: list[int], time_base: Fraction, last_ticks: int, fps: str) -> list[tuple[int, int]]:
    """What libavfilter's filter `fps` puts out: presentation time in frames of the new rate, and source frame."""
    frames = []
    for number, tick in enumerate(ticks):
        picture = np.zeros((4, 4), np.uint8)
        picture[0, :2] = number % 256, number // 256
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        frame.pts, frame.time_base = tick, time_base
        frame.duration = ticks[number + 1] - tick if number + 1 < len(ticks) else last_ticks
        frames.append(frame)
    found = []
    for frame in filtered(frames, time_base, "fps", fps):
        low, high = frame.to_ndarray()[0, :2].tolist()
        found.append((frame.pts, high * 256 + low))
    return found


RATES = ("25", "24000/1001", "30000/1001", "60", "15", "1", "0.5", "50")


@settings(max_examples=60)
@given(
    base=st.sampled_from([Fraction(1, 25), Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000)]),
    start=st.integers(0, 2000),
    steps=st.one_of(
        st.tuples(st.integers(1, 9), st.integers(1, 60)).map(lambda pair: [pair[0]] * pair[1]),
        st.lists(st.integers(1, 9), min_size=1, max_size=60),
    ),
    fps=st.sampled_from(RATES),
)
def test_resampling_is_that_of_ffmpegs_fps_filter(base: Fraction, start: int, steps: list[int], fps: str) -> None:
    """Constant and variable rate, any start, more frames and fewer."""
    scale = max(1, round(Fraction(1, 60) / base))  # steps of frames, and not of single ticks
    ticks = (start + np.cumsum([0, *steps[:-1]]) * scale).tolist()
    expected = ffmpeg_fps(ticks, base, steps[-1] * scale, fps)
    pts = np.array([float(tick * base) for tick in ticks])
    timeline = Timeline(pts, float(1 / (base * steps[-1] * scale)))
    rate = float(Fraction(fps))
    plan = Windows(stride=1, fps=rate).plan(timeline)
    if not expected:  # so short that all frames and the end belong to one frame; that one is the rule here
        assert plan.frame_index.tolist() == [[len(pts) - 1]]
        return
    assert plan.frame_index.ravel().tolist() == [source for _, source in expected]
    np.testing.assert_allclose(plan.start_seconds, [number / rate for number, _ in expected], rtol=0, atol=1e-9)
    np.testing.assert_allclose(plan.end_seconds, [(number + 1) / rate for number, _ in expected], rtol=0, atol=1e-9)


LENGTHS = st.one_of(st.integers(1, 40), st.floats(0.01, 3).map(lambda seconds: f"{seconds:.3f}s"))
GRIDS = st.builds(
    Windows,
    clip_len=st.integers(0, 20),
    stride=LENGTHS,
    window=LENGTHS,
    fps=st.sampled_from([None, None, 25, 23.976, 3.0]),
    placement=st.sampled_from(["start", "centre"]),
    tail=st.sampled_from(["drop", "pad", "clamp"]),
)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Of constant or variable rate, from any start on."""
    gaps = draw(
        st.one_of(
            st.tuples(st.sampled_from([1001 / 24000, 0.04, 1001 / 30000, 1 / 60]), st.integers(1, 150)).map(
                lambda pair: [pair[0]] * pair[1]
            ),
            st.lists(st.floats(0.005, 0.5), min_size=1, max_size=80),
        )
    )
    pts = draw(st.sampled_from([0.0, 1.48, -0.08, 1000.0])) + np.cumsum([0, *gaps[:-1]])
    return Timeline(pts, len(gaps) / sum(gaps))


@settings(max_examples=300)
@given(timelines(), GRIDS)
def test_rules_that_hold_for_every_video(timeline: Timeline, grid: Windows) -> None:
    plan = grid.plan(timeline)
    index, start, end = plan.frame_index, plan.start_seconds, plan.end_seconds
    assert len(index) == len(start) == len(end) >= 1
    assert index.dtype == np.int64
    assert index.shape[1] == (grid.clip_len or index.shape[1])
    assert index.max() < len(timeline)
    assert (index >= 0).all() or (grid.tail == "pad" and index.min() == PADDING)
    assert (np.diff(start) >= 0).all()
    assert (start < end).all()
    # Every frame is shown in its row, apart from half a frame of a new rate.
    slack = 1e-9 if grid.fps is None else 0.5 / grid.fps + 1e-6
    known = np.where(index == PADDING, np.nan, index)
    begins = np.where(index == PADDING, np.nan, timeline.pts_seconds[index])
    ends = np.where(index == PADDING, np.nan, timeline.end_seconds[index])
    assert not (begins > end[:, None] + slack).any()
    assert not (ends < start[:, None] - slack).any()
    # Frames go forward inside a row.
    if grid.tail != "pad":
        assert (np.diff(known, axis=1) >= 0).all()


@settings(max_examples=200)
@given(timelines(), GRIDS, st.integers(0, 20))
def test_rows_do_not_depend_on_how_many_frames_an_encoder_looks_at(
    timeline: Timeline, grid: Windows, clip_len: int
) -> None:
    plan, other = grid.plan(timeline), dataclasses.replace(grid, clip_len=clip_len).plan(timeline)
    np.testing.assert_array_equal(plan.start_seconds, other.start_seconds)
    np.testing.assert_array_equal(plan.end_seconds, other.end_seconds)


@given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 40))
def test_windows_in_frames(frames: int, window: int, stride: int) -> None:
    """The numbers of the papers: `(N - W) // S + 1` whole windows, window k from frame k * S on."""
    timeline = Timeline.of_rate(frames, 25.0)
    grid = Windows(window=window, stride=stride)
    plan = grid.plan(timeline)
    if frames < window:
        assert plan.frame_index.tolist() == [np.minimum(np.arange(window), frames - 1).tolist()]
    else:
        assert len(plan) == (frames - window) // stride + 1
        np.testing.assert_array_equal(
            plan.frame_index, np.arange(len(plan))[:, None] * stride + np.arange(window)[None, :]
        )
        np.testing.assert_allclose(plan.start_seconds, np.arange(len(plan)) * stride / 25)
        np.testing.assert_allclose(plan.end_seconds, plan.start_seconds + window / 25)
    for tail, fill in (("clamp", frames - 1), ("pad", PADDING)):
        filled = dataclasses.replace(grid, tail=tail).frame_index(frames, 25.0)
        every = np.arange(-(-frames // stride))[:, None] * stride + np.arange(window)[None, :]
        np.testing.assert_array_equal(filled, np.where(every < frames, every, fill))


@given(st.integers(1, 3000), st.integers(1, 16), st.integers(1, 8), st.integers(1, 60))
def test_centred_windows_are_those_of_mmaction2(frames: int, half: int, interval: int, stride: int) -> None:
    """Against `WindowSampling`, which is tested against MMAction2's own numbers."""
    clip_len = 2 * half
    ours = Windows(clip_len=clip_len, window=clip_len * interval, stride=stride, placement="centre", tail="clamp")
    theirs = WindowSampling(clip_len, stride, interval)
    np.testing.assert_array_equal(ours.frame_index(frames), theirs.frame_index(frames))


@pytest.mark.parametrize("fps", [25.0, 24000 / 1001, 30000 / 1001, 60.0])
def test_windows_in_seconds_do_not_drift(fps: float) -> None:
    """After an hour, the bounds are still the frames nearest to whole multiples of 2 s."""
    plan = Windows(stride="2s", window="2s").plan(Timeline.of_rate(round(3600 * fps), fps))
    assert len(plan) == 1800
    assert np.abs(plan.start_seconds - 2.0 * np.arange(1800)).max() <= 0.5 / fps + 1e-9
    np.testing.assert_array_equal(plan.start_seconds[1:], plan.end_seconds[:-1])
    assert (np.diff(plan.frame_index, axis=1) >= 0).all()


def test_a_window_in_seconds_is_divided_by_time() -> None:
    """Half of the time lies in 10 frames and half in 2."""
    pts = np.concatenate([np.arange(10) * 0.1, [1.0, 1.5]])
    plan = Windows(stride="2s", window="2s", clip_len=4).plan(Timeline(pts, 6.0, 2.0))
    assert plan.frame_index.tolist() == [[0, 5, 10, 11]]
    by_number = Windows(stride=12, window=12, clip_len=4).plan(Timeline(pts, 6.0, 2.0))
    assert by_number.frame_index.tolist() == [[0, 3, 6, 9]]


def test_a_segment_is_planned_as_if_the_video_consisted_of_it() -> None:
    timeline = Timeline(5.0 + np.arange(100) / 25, 25.0)
    grid = Windows(stride=10, window=10)
    cut = grid.plan(timeline, (6.0, 8.0))
    alone = grid.plan(Timeline(6.0 + np.arange(50) / 25, 25.0))
    np.testing.assert_array_equal(cut.frame_index, alone.frame_index + 25)
    np.testing.assert_allclose(cut.start_seconds, alone.start_seconds)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"stride": 0}, "grid.stride"),
        ({"stride": "0s"}, "grid.stride"),
        ({"stride": "two seconds"}, "grid.stride"),
        ({"stride": 2.5}, "grid.stride"),
        ({"stride": True}, "grid.stride"),
        ({"stride": 4, "window": -1}, "grid.window"),
        ({"stride": 4, "window": "inf s"}, "grid.window"),
        ({"stride": 4, "fps": 0}, "grid.fps"),
        ({"stride": 4, "fps": float("nan")}, "grid.fps"),
        ({"stride": 4, "fps": "25"}, "grid.fps"),
        ({"stride": 4, "placement": "middle"}, "grid.placement"),
        ({"stride": 4, "tail": "loop"}, "grid.tail"),
    ],
)
def test_impossible_values(values: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        Windows(**values)  # type: ignore[arg-type]
    assert caught.value.where == named


def test_times_that_a_broken_file_makes_up_do_not_fill_the_memory() -> None:
    with pytest.raises(ValueError, match="windows of a video"):
        Windows(stride="1s").plan(Timeline(np.array([0.0, 1e12]), 25.0))


def test_a_plan_has_a_frame_of_the_video() -> None:
    """Of a video of one frame of unknown duration a window around its middle has none but black ones."""
    grid = Windows(stride="1s", window="2s", clip_len=4, placement="centre", tail="pad")
    assert grid.plan(Timeline(np.array([5.0]))).frame_index.tolist() == [[0, 0, 0, 0]]


def test_one_form_and_json() -> None:
    grid = Windows(stride="2.0 s", window="16", fps=25)
    assert (grid.stride, grid.window, grid.fps) == ("2s", 16, 25.0)
    assert part_from_json(part_to_json(grid)) == grid


@pytest.mark.parametrize(
    ("clip", "window", "expected"),
    [
        ((8, 8), None, (8, 64, 8)),
        ((8, 8), 16, (8, 16, 2)),
        ((1, None), None, (0, 1, None)),
        ((8, None), "2s", (8, "2s", None)),
    ],
)
def test_an_encoders_clip(clip: tuple, window: int | str | None, expected: tuple) -> None:
    grid = Windows(stride=4, window=window).of_clip(*clip)
    assert (grid.clip_len, grid.window, grid.frame_interval) == expected


def test_an_encoder_without_a_clip_of_its_own_needs_a_window() -> None:
    with pytest.raises(UsageError, match="looks at 8 frames"):
        Windows(stride=4).of_clip(8, None)
