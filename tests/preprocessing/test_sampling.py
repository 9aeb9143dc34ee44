"""Frame indices: against MMAction2's own, and the rules that hold for every video. Times: against the definition."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.mmaction.config import Node
from vidfeat.mmaction.pipeline import V0, V1
from vidfeat.preprocessing.sampling import (
    DenseSampling,
    SegmentSampling,
    SpreadSampling,
    UniformSampling,
    WindowSampling,
)
from vidfeat.recipe import TimeGrid
from vidfeat.video import Timeline

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "frame_index.json").read_text())
GOLDEN_V1 = json.loads(gzip.decompress((Path(__file__).parents[1] / "golden" / "frame_index_v1.json.gz").read_bytes()))


def test_indices_equal_mmaction2s() -> None:
    assert len(GOLDEN) == 180
    for case in GOLDEN:
        sampling = V0.samplings[case["step"]["type"]](Node.of(case["step"], "golden"))
        assert sampling.frame_index(case["frames"]).ravel().tolist() == case["frame_inds"], case


def test_indices_equal_mmaction2s_of_1x() -> None:
    assert len(GOLDEN_V1) == 610
    assert {case["step"]["type"] for case in GOLDEN_V1} == set(V1.samplings)
    for case in GOLDEN_V1:
        sampling = V1.samplings[case["step"]["type"]](Node.of(case["step"], "golden"))
        assert sampling.frame_index(case["frames"], case["fps"]).ravel().tolist() == case["frame_inds"], case


@st.composite
def segment_samplings(draw: st.DrawFn) -> SegmentSampling:
    return SegmentSampling(
        clip_len=draw(st.integers(1, 64)),
        frame_interval=draw(st.integers(1, 32)),
        num_clips=draw(st.integers(1, 30)),
        twice_sample=draw(st.booleans()),
        out_of_bound=draw(st.sampled_from(["loop", "repeat_last"])),
    )


@given(st.integers(1, 20_000), segment_samplings())
def test_segment_plans(frames: int, sampling: SegmentSampling) -> None:
    index = sampling.frame_index(frames)
    span = sampling.clip_len * sampling.frame_interval
    long_enough = frames >= span
    assert index.dtype == np.int64
    assert index.shape == (sampling.num_clips * (2 if sampling.twice_sample and long_enough else 1), sampling.clip_len)
    assert index.min() >= 0
    assert index.max() < frames
    if long_enough:
        # Whole clips: the frames of each are the interval apart, and the clips follow each other.
        steps = np.diff(index, axis=1)
        assert (steps[: sampling.num_clips] == sampling.frame_interval).all()
        # The unshifted starts have fractions, whose rounding can move a frame by one, in the original as here.
        assert (abs(steps - sampling.frame_interval) <= 1).all()
        assert (np.diff(index[: sampling.num_clips, 0]) >= 0).all()
    elif sampling.out_of_bound == "repeat_last":
        assert (np.diff(index, axis=1) >= 0).all()


@given(st.integers(1, 20_000), st.integers(1, 10), st.integers(1, 8), st.integers(8, 200), st.integers(1, 12))
def test_dense_plans(frames: int, clip_len: int, clips: int, sample_range: int, positions: int) -> None:
    index = DenseSampling(
        clip_len, num_clips=clips, sample_range=sample_range, num_sample_positions=positions
    ).frame_index(frames)
    assert index.shape == (clips * positions, clip_len)
    assert index.min() >= 0
    assert index.max() < frames


@given(
    st.integers(1, 20_000),
    st.builds(
        SpreadSampling,
        clip_len=st.integers(1, 64),
        frame_interval=st.integers(1, 32),
        num_clips=st.integers(1, 30),
        out_of_bound=st.sampled_from(["loop", "repeat_last"]),
        target_fps=st.none() | st.floats(1, 120),
    ),
    st.none() | st.floats(0.01, 1000),
)
def test_spread_plans(frames: int, sampling: SpreadSampling, fps: float | None) -> None:
    index = sampling.frame_index(frames, fps)
    assert index.dtype == np.int64
    assert index.shape == (sampling.num_clips, sampling.clip_len)
    assert index.min() >= 0
    assert index.max() < frames
    if sampling.target_fps is None and frames >= (sampling.clip_len - 1) * sampling.frame_interval + 1:
        assert (np.diff(index, axis=1) == sampling.frame_interval).all()
        if sampling.clip_len > 1 and sampling.num_clips > 1:
            assert index[0, 0] == 0
            assert index[-1, -1] == frames - 1


@given(st.integers(1, 20_000), st.integers(1, 64), st.integers(1, 20))
def test_uniform_plans_span_the_video(frames: int, clip_len: int, clips: int) -> None:
    index = UniformSampling(clip_len, clips).frame_index(frames)
    assert index.shape == (clips, clip_len)
    assert index.min() >= 0
    assert index.max() < frames
    assert (np.diff(index, axis=0) >= 0).all()
    assert (np.diff(index, axis=1) >= 0).all()


@given(st.integers(1, 20_000), st.integers(1, 64), st.integers(1, 500), st.integers(1, 32))
def test_windows_cover_the_video(frames: int, clip_len: int, every: int, interval: int) -> None:
    index = WindowSampling(clip_len, every, interval).frame_index(frames)
    assert index.shape == (max(1, len(range(every // 2, frames, every))), clip_len)
    assert index.min() >= 0
    assert index.max() < frames
    assert (np.diff(index[:, clip_len // 2]) == every).all()


def test_a_video_shorter_than_half_a_window_has_one_in_its_middle() -> None:
    assert WindowSampling(3, clip_interval=64, frame_interval=4).frame_index(10).tolist() == [[1, 5, 9]]


def test_a_video_has_frames() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SegmentSampling(1).plan(Timeline(np.zeros(0)))


# --- times ------------------------------------------------------------------------------------------------------------

GRIDS: st.SearchStrategy[TimeGrid] = st.one_of(
    segment_samplings(),
    st.builds(DenseSampling, st.integers(1, 8), num_clips=st.integers(1, 4), num_sample_positions=st.integers(1, 5)),
    st.builds(
        SpreadSampling,
        st.integers(1, 16),
        st.integers(1, 4),
        st.integers(1, 8),
        st.booleans(),
        st.sampled_from(["loop", "repeat_last"]),
        st.none() | st.floats(1, 60),
    ).filter(lambda grid: not grid.twice_sample or grid.num_clips > 1 or grid.clip_len == 1),  # refused by `pipeline`
    st.builds(UniformSampling, st.integers(1, 16), st.integers(1, 4)),
    st.builds(WindowSampling, st.integers(1, 16), st.integers(1, 16), st.integers(1, 4)),
)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    gaps = draw(st.lists(st.integers(1, 200), min_size=1, max_size=60))
    pts = draw(st.integers(-1000, 100_000)) + np.cumsum(gaps)
    return Timeline(pts / 1000, fps=draw(st.none() | st.floats(1, 120)))


@given(timelines(), GRIDS)
def test_a_clip_lasts_from_its_first_shown_frame_to_the_end_of_its_last(timeline: Timeline, grid: TimeGrid) -> None:
    clips = grid.plan(timeline)
    assert np.array_equal(clips.frame_index, grid.frame_index(len(timeline), timeline.fps))
    assert clips.start_seconds.shape == clips.end_seconds.shape == (len(clips),)
    assert clips.start_seconds.dtype == clips.end_seconds.dtype == np.float64
    ends = [*timeline.pts_seconds[1:], timeline.end_seconds[-1]]
    for frames, start, end in zip(clips.frame_index, clips.start_seconds, clips.end_seconds, strict=True):
        assert start == min(timeline.pts_seconds[frame] for frame in frames)
        assert end == max(ends[frame] for frame in frames)
    if len(timeline) > 1 or timeline.fps:
        assert (clips.start_seconds < clips.end_seconds).all()
    assert clips.start_seconds.min() >= timeline.pts_seconds[0]
    assert clips.end_seconds.max() <= timeline.end_seconds[-1]


@given(timelines(), st.integers(1, 16), st.integers(1, 16), st.integers(1, 4))
def test_windows_move_forward(timeline: Timeline, clip_len: int, every: int, interval: int) -> None:
    clips = WindowSampling(clip_len, every, interval).plan(timeline)
    assert (np.diff(clips.start_seconds) >= 0).all()
    assert (np.diff(clips.end_seconds) >= 0).all()
    if clip_len == 1 and every > 1:
        assert (clips.end_seconds[:-1] <= clips.start_seconds[1:]).all()


def test_every_frame_as_a_window_tiles_the_video() -> None:
    timeline = Timeline(np.array([3.0, 3.5, 5.0, 5.25]), fps=2.0)
    clips = WindowSampling(clip_len=1, clip_interval=1).plan(timeline)
    assert clips.start_seconds.tolist() == [3.0, 3.5, 5.0, 5.25]
    assert clips.end_seconds.tolist() == [3.5, 5.0, 5.25, 5.75]


@given(timelines(), GRIDS, st.data())
def test_a_segment_is_planned_on_its_frames_alone(timeline: Timeline, grid: TimeGrid, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(timeline) - 1))
    end = data.draw(st.integers(first + 1, len(timeline)))
    stop = timeline.pts_seconds[end] if end < len(timeline) else np.inf
    clips = grid.plan(timeline, (float(timeline.pts_seconds[first]), float(stop)))
    assert np.array_equal(clips.frame_index, first + grid.frame_index(end - first, timeline.fps))
    assert clips.start_seconds.min() >= timeline.pts_seconds[first]
    assert clips.end_seconds.max() <= (stop if end < len(timeline) else timeline.end_seconds[-1])


def test_a_timeline_has_frames() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SegmentSampling(1).plan(Timeline(np.array([0.0, 0.1])), (0.5, 0.9))
