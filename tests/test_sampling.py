"""Frame indices: against MMAction2's own, and the rules that hold for every video."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.mmaction.compile_v0 import _SAMPLINGS
from vidfeat.mmaction.node import Node
from vidfeat.recipe import DenseSampling, SegmentSampling
from vidfeat.sampling import plan_clips

GOLDEN = json.loads((Path(__file__).parent / "golden" / "frame_index.json").read_text())


def test_indices_equal_mmaction2s() -> None:
    assert len(GOLDEN) == 180
    for case in GOLDEN:
        sampling = _SAMPLINGS[case["step"]["type"]](Node.of(case["step"], "golden"))
        assert plan_clips(case["frames"], sampling).ravel().tolist() == case["frame_inds"], case


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
        assert (np.diff(plan, axis=1) == sampling.frame_interval).all()
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


@pytest.mark.parametrize("frames", [0, -1])
def test_a_video_has_frames(frames: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan_clips(frames, SegmentSampling(1))
