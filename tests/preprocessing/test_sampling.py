"""Frame indices: against MMAction2's own, and the rules that hold for every video."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.mmaction.config import Node
from vidfeat.mmaction.pipeline import V0, V1
from vidfeat.preprocessing.sampling import plan_clips
from vidfeat.recipe import DenseSampling, SegmentSampling, SpreadSampling, UniformSampling, WindowSampling

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "frame_index.json").read_text())
GOLDEN_V1 = json.loads(gzip.decompress((Path(__file__).parents[1] / "golden" / "frame_index_v1.json.gz").read_bytes()))


def test_indices_equal_mmaction2s() -> None:
    assert len(GOLDEN) == 180
    for case in GOLDEN:
        sampling = V0.samplings[case["step"]["type"]](Node.of(case["step"], "golden"))
        assert plan_clips(case["frames"], sampling).ravel().tolist() == case["frame_inds"], case


def test_indices_equal_mmaction2s_of_1x() -> None:
    assert len(GOLDEN_V1) == 610
    assert {case["step"]["type"] for case in GOLDEN_V1} == set(V1.samplings)
    for case in GOLDEN_V1:
        sampling = V1.samplings[case["step"]["type"]](Node.of(case["step"], "golden"))
        assert plan_clips(case["frames"], sampling, case["fps"]).ravel().tolist() == case["frame_inds"], case


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
    plan = plan_clips(frames, sampling)
    span = sampling.clip_len * sampling.frame_interval
    long_enough = frames >= span
    assert plan.dtype == np.int64
    assert plan.shape == (sampling.num_clips * (2 if sampling.twice_sample and long_enough else 1), sampling.clip_len)
    assert plan.min() >= 0
    assert plan.max() < frames
    if long_enough:
        # Whole clips: the frames of each are the interval apart, and the clips follow each other.
        steps = np.diff(plan, axis=1)
        assert (steps[: sampling.num_clips] == sampling.frame_interval).all()
        # The unshifted starts have fractions, whose rounding can move a frame by one, in the original as here.
        assert (abs(steps - sampling.frame_interval) <= 1).all()
        assert (np.diff(plan[: sampling.num_clips, 0]) >= 0).all()
    elif sampling.out_of_bound == "repeat_last":
        assert (np.diff(plan, axis=1) >= 0).all()


@given(st.integers(1, 20_000), st.integers(1, 10), st.integers(1, 8), st.integers(8, 200), st.integers(1, 12))
def test_dense_plans(frames: int, clip_len: int, clips: int, sample_range: int, positions: int) -> None:
    plan = plan_clips(
        frames,
        DenseSampling(clip_len, num_clips=clips, sample_range=sample_range, num_sample_positions=positions),
    )
    assert plan.shape == (clips * positions, clip_len)
    assert plan.min() >= 0
    assert plan.max() < frames


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
    plan = plan_clips(frames, sampling, fps)
    assert plan.dtype == np.int64
    assert plan.shape == (sampling.num_clips, sampling.clip_len)
    assert plan.min() >= 0
    assert plan.max() < frames
    if sampling.target_fps is None and frames >= (sampling.clip_len - 1) * sampling.frame_interval + 1:
        assert (np.diff(plan, axis=1) == sampling.frame_interval).all()
        if sampling.clip_len > 1 and sampling.num_clips > 1:
            assert plan[0, 0] == 0
            assert plan[-1, -1] == frames - 1


@given(st.integers(1, 20_000), st.integers(1, 64), st.integers(1, 20))
def test_uniform_plans_span_the_video(frames: int, clip_len: int, clips: int) -> None:
    plan = plan_clips(frames, UniformSampling(clip_len, clips))
    assert plan.shape == (clips, clip_len)
    assert plan.min() >= 0
    assert plan.max() < frames
    assert (np.diff(plan, axis=0) >= 0).all()
    assert (np.diff(plan, axis=1) >= 0).all()


@given(st.integers(1, 20_000), st.integers(1, 64), st.integers(1, 500), st.integers(1, 32))
def test_windows_cover_the_video(frames: int, clip_len: int, every: int, interval: int) -> None:
    plan = plan_clips(frames, WindowSampling(clip_len, every, interval))
    assert plan.shape == (max(1, len(range(every // 2, frames, every))), clip_len)
    assert plan.min() >= 0
    assert plan.max() < frames
    assert (np.diff(plan[:, clip_len // 2]) == every).all()


def test_a_video_shorter_than_half_a_window_has_one_in_its_middle() -> None:
    assert plan_clips(10, WindowSampling(3, clip_interval=64, frame_interval=4)).tolist() == [[1, 5, 9]]


@pytest.mark.parametrize("frames", [0, -1])
def test_a_video_has_frames(frames: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan_clips(frames, SegmentSampling(1))
