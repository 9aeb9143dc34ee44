"""Clips of a video: the same whether they come in one batch or in many, for one spec or for several."""

from __future__ import annotations

import dataclasses
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vidfeat.preprocessing.clips
from video.video_files import plain_linear_decode, write_video
from vidfeat.errors import VideoError
from vidfeat.preprocessing.clips import ClipBatch, PreprocessSpec, group_clips, read_clips, read_whole
from vidfeat.preprocessing.grid import ClipPlan
from vidfeat.preprocessing.sampling import DenseSampling, SegmentSampling, WindowSampling
from vidfeat.recipe import CenterCrop, ModelSpec, Normalize, Recipe, ResizeTo, ThreeCrop, TimeGrid
from vidfeat.video import VideoInfo, probe
from vidfeat.videos import VideoRef

TRANSFORMS = (ThreeCrop(width=48, height=48),)

PLANS: dict[str, TimeGrid] = {
    "one clip": SegmentSampling(clip_len=8, frame_interval=2),
    "segments": SegmentSampling(clip_len=3, num_clips=9),
    "twice": SegmentSampling(clip_len=1, num_clips=12, twice_sample=True),
    "dense": DenseSampling(clip_len=4, frame_interval=3, num_clips=5, num_sample_positions=3),
}


class Backbone:
    feature_size = 1


def spec_of(sampling: TimeGrid, segments: int = 1) -> PreprocessSpec:
    normalize = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return PreprocessSpec.of(Recipe(sampling, TRANSFORMS, normalize, ModelSpec(Backbone(), 2, segments)))


def ref(path: Path, segment: tuple[float, float] | None = None) -> VideoRef:
    return VideoRef(path.name, str(path), segment)


def batches_of(spec: PreprocessSpec, video: VideoRef, max_frames: int = 256) -> list[ClipBatch]:
    return [batch for _, batch in read_clips([spec], video, max_frames)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "video.mp4", frames=70)


@pytest.fixture(scope="module")
def video(path: Path) -> VideoRef:
    return ref(path)


@given(st.data())
@settings(max_examples=200)
def test_groups_are_the_plan_cut_as_late_as_possible(data: st.DataObject) -> None:
    clip_len, segments = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([1, 2, 3, 4]))
    step = math.lcm(segments, clip_len) // clip_len
    clips = step * data.draw(st.integers(1, 12))
    frames = data.draw(st.lists(st.integers(0, 20), min_size=clips * clip_len, max_size=clips * clip_len))
    plan = np.array(frames, np.int64).reshape(clips, clip_len)
    most = data.draw(st.integers(1, 30))

    groups = group_clips(plan, segments, most)

    assert np.array_equal(np.concatenate([plan[group] for group in groups]), plan)
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        length = group.stop - group.start
        assert length % step == 0
        assert length == step or len(np.unique(plan[group])) <= most
        if following is not None:
            assert len(np.unique(plan[group.start : group.stop + step])) > most


@pytest.mark.parametrize("max_frames", [1, 5, 12, 1000])
@pytest.mark.parametrize("name", PLANS)
def test_batches_together_are_the_whole(name: str, max_frames: int, video: VideoRef) -> None:
    spec = spec_of(PLANS[name])
    whole = read_whole(spec, video)
    batches = batches_of(spec, video, max_frames)
    assert (len(batches) == 1) == (len(whole.pixels) <= max_frames or len(whole.clips) == 1)
    assert [batch.first_clip for batch in batches] == list(
        np.cumsum([0] + [len(batch.clips) for batch in batches[:-1]])
    )
    assert np.array_equal(np.concatenate([batch.pixels[batch.clips] for batch in batches]), whole.pixels[whole.clips])
    assert np.array_equal(np.concatenate([batch.start_seconds for batch in batches]), whole.start_seconds)
    assert np.array_equal(np.concatenate([batch.end_seconds for batch in batches]), whole.end_seconds)
    plan = spec.sampling.plan(probe(video.path).timeline)
    assert np.array_equal(whole.start_seconds, plan.frame_index.min(axis=1) / 25)
    np.testing.assert_allclose(whole.end_seconds, (plan.frame_index.max(axis=1) + 1) / 25)


def test_the_pixels_are_those_of_a_plain_decode(video: VideoRef) -> None:
    truth = plain_linear_decode(video.path)
    spec = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=70), (CenterCrop(64, 48),))
    at = 0
    for batch in batches_of(spec, video, 16):
        assert batch.pixels.shape[0] <= 16
        for frame in batch.pixels[batch.clips.ravel(), 0]:
            assert np.array_equal(frame, truth[at])
            at += 1
    assert at == 70


def test_a_group_of_segments_stays_together(video: VideoRef) -> None:
    spec = spec_of(SegmentSampling(clip_len=1, num_clips=12), segments=4)
    assert [len(batch.clips) for batch in batches_of(spec, video, 5)] == [4, 4, 4]


def test_a_video_in_one_piece_is_one_batch(video: VideoRef) -> None:
    spec = dataclasses.replace(spec_of(SegmentSampling(clip_len=1, num_clips=12)), in_one_piece=True)
    assert [len(batch.clips) for batch in batches_of(spec, video, 5)] == [12]


@pytest.mark.parametrize(("dims", "segments"), [(2, 1), (2, 4), (3, 1)])
def test_samples_go_crop_by_crop_and_clip_by_clip(dims: int, segments: int) -> None:
    pixels = np.arange(6 * 2, dtype=np.uint8).reshape(6, 2, 1, 1, 1).repeat(3, axis=4)
    batch = ClipBatch(pixels, np.array([[0, 1], [2, 3], [4, 5], [1, 0]]), 0, np.zeros(4), np.ones(4))
    model = ModelSpec(Backbone(), dims, segments)  # type: ignore[arg-type]
    samples = batch.samples(model)
    gathered = np.zeros((len(samples), len(samples[0]), 1, 1, 3), np.uint8)
    for sample, target in zip(samples, gathered, strict=True):
        batch.gather(sample, target)
    assert gathered[..., 0].ravel().tolist() == [
        2 * frame + crop for crop in range(2) for frame in (0, 1, 2, 3, 4, 5, 1, 0)
    ]
    assert gathered.shape[1] == (segments if dims == 2 else 2)


def test_specs_unpickle_without_torch() -> None:
    data = pickle.dumps(PreprocessSpec(WindowSampling(8, 4), TRANSFORMS))
    code = f"import pickle, sys; print(pickle.loads({data!r}).sampling.clip_len, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["8", "False"]


# --- several specs ----------------------------------------------------------------------------------------------------

SPECS = [
    *(PreprocessSpec(sampling, TRANSFORMS) for sampling in PLANS.values()),
    PreprocessSpec(WindowSampling(clip_len=4, clip_interval=3), (ResizeTo(20, 10),)),
    PreprocessSpec(SegmentSampling(clip_len=1, num_clips=3), ()),
    dataclasses.replace(spec_of(PLANS["segments"], segments=3), in_one_piece=True),
]


@pytest.mark.parametrize("max_frames", [1, 7, 256])
def test_several_specs_give_what_each_gives_alone(max_frames: int, video: VideoRef) -> None:
    found: list[list[ClipBatch]] = [[] for _ in SPECS]
    for position, batch in read_clips(SPECS, video, max_frames):
        found[position].append(batch)
    for spec, batches in zip(SPECS, found, strict=True):
        alone = batches_of(spec, video, max_frames)
        assert len(alone) == len(batches)
        for one, other in zip(alone, batches, strict=True):
            for field in dataclasses.fields(ClipBatch):
                assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_plans_are_announced_with_the_video_before_the_first_batch(video: VideoRef) -> None:
    announced: list[tuple[VideoInfo, Sequence[ClipPlan]]] = []
    reading = read_clips(SPECS, video, on_plan=lambda info, plans: announced.append((info, plans)))
    next(reading)
    ((info, plans),) = announced
    assert info == probe(video.path)
    for spec, plan in zip(SPECS, plans, strict=True):
        assert np.array_equal(plan.frame_index, spec.sampling.plan(info.timeline).frame_index)
    assert len(list(reading)) == len(SPECS) - 1
    assert len(announced) == 1


# --- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANS)
def test_a_segment_is_read_as_if_the_video_consisted_of_it(name: str, path: Path) -> None:
    """Frames 20 to 39 are shown in it: a frame belongs to it where it begins."""
    batch = read_whole(PreprocessSpec(PLANS[name], ()), ref(path, (0.79, 1.6)))
    truth = plain_linear_decode(path)
    expected = PLANS[name].plan(dataclasses.replace(probe(path).timeline, pts_seconds=np.arange(20) / 25)).frame_index
    assert np.array_equal(batch.pixels[batch.clips][:, :, 0], np.array(truth)[expected + 20])
    np.testing.assert_allclose(batch.start_seconds, (expected.min(axis=1) + 20) / 25)
    np.testing.assert_allclose(batch.end_seconds, (expected.max(axis=1) + 21) / 25)


@pytest.mark.parametrize("segment", [(2.8, 9.0), (-3.0, 0.0), (0.41, 0.43), (1.0, 1.0), (2.0, 1.0)])
def test_a_segment_without_a_frame_is_the_videos_error(segment: tuple[float, float], path: Path) -> None:
    with pytest.raises(VideoError, match=r"shown from 0\.000 s to 2\.800 s") as caught:
        read_whole(SPECS[0], ref(path, segment))
    assert (caught.value.stage, caught.value.kind, caught.value.where) == ("sample", "outside", str(path))


# --- videos that are not what they say --------------------------------------------------------------------------------


def test_frames_that_change_their_size_between_chunks_are_an_error(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{size[0]}.h264", frames=4, size=size, format="h264") for size in ((64, 48), (96, 64))
    ]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    spec = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=8), ())
    with pytest.raises(VideoError, match="64x48, then 96x64") as caught:
        batches_of(spec, ref(joined), 4)
    assert caught.value.kind == "corrupt"


def test_a_file_with_fewer_frames_than_packets_begins_again(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "whole.mp4", "libx265", frames=30, options={"x265-params": "keyint=1:log-level=none"}
    )
    holes = tmp_path / "holes.mp4"
    with av.open(str(source)) as reading, av.open(str(holes), "w") as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for number, packet in enumerate(reading.demux(reading.streams.video[0])):
            if packet.dts is None:
                continue
            sent = av.Packet(bytes.fromhex("00000003460150")) if number == 20 else av.Packet(bytes(packet))
            sent.pts, sent.dts, sent.time_base, sent.stream = packet.pts, packet.dts, packet.time_base, stream
            sent.is_keyframe = packet.is_keyframe
            writing.mux(sent)
    probed: list[int] = []
    planned: list[int] = []
    frames: list[int] = []
    specs = [PreprocessSpec(SegmentSampling(clip_len=1, num_clips=clips), (CenterCrop(32, 32),)) for clips in (30, 15)]

    batches: list[tuple[int, ClipBatch]] = []
    for item in read_clips(
        specs,
        ref(holes),
        8,
        on_info=lambda info: probed.append(info.frames),
        on_plan=lambda info, plans: planned.append(info.frames),
    ):
        batches.append(item)
        frames.append(planned[-1])

    assert probed == [30]
    assert planned == [30, 29]
    for position, clips in enumerate((30, 15)):
        own = [(batch, count) for (at, batch), count in zip(batches, frames, strict=True) if at == position]
        assert [batch.first_clip for batch, _ in own].count(0) == 2
        begins_again = len(own) - 1 - [batch.first_clip for batch, _ in reversed(own)].index(0)
        assert {count for _, count in own[:begins_again]} == {30}
        assert {count for _, count in own[begins_again:]} == {29}
        assert sum(len(batch.clips) for batch, _ in own[begins_again:]) == clips
        times = np.concatenate([batch.start_seconds for batch, _ in own[begins_again:]])
        assert set(np.round(times * 25)) <= set(range(30)) - {20}  # the packet that gives no frame


def test_the_bound_of_a_batch_is_fixed() -> None:
    """It decides the shape of batches, and with it the last bit of features: a change needs a note in the changelog."""
    assert vidfeat.preprocessing.clips.FRAMES_PER_CHUNK == 128
