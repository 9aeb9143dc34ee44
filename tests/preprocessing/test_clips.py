"""Chunks of a video: nothing but the bound on memory tells them from the whole."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vidfeat.preprocessing.clips
from video.video_files import plain_linear_decode, write_video
from vidfeat.errors import VideoError
from vidfeat.preprocessing.clips import PreprocessSpec, Views, group_clips, read_chunks, read_views
from vidfeat.recipe import CenterCrop, DenseSampling, ModelSpec, Normalize, Recipe, Sampling, SegmentSampling, ThreeCrop

TRANSFORMS = (ThreeCrop(width=48, height=48),)

PLANS: dict[str, Sampling] = {
    "one clip": SegmentSampling(clip_len=8, frame_interval=2),
    "segments": SegmentSampling(clip_len=3, num_clips=9),
    "twice": SegmentSampling(clip_len=1, num_clips=12, twice_sample=True),
    "dense": DenseSampling(clip_len=4, frame_interval=3, num_clips=5, num_sample_positions=3),
}


class Backbone:
    feature_size = 1


def recipe(sampling: Sampling, segments: int = 1) -> Recipe:
    normalize = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Recipe(sampling, TRANSFORMS, normalize, ModelSpec(Backbone(), 2, segments))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "video.mp4", frames=70)


@given(st.data())
@settings(deadline=None, max_examples=200)
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
def test_chunks_together_are_the_whole(name: str, max_frames: int, video: Path) -> None:
    whole = read_views(recipe(PLANS[name]), video)
    chunks = list(read_chunks(PreprocessSpec.of(recipe(PLANS[name])), video, max_frames))
    assert (len(chunks) == 1) == (len(whole.pixels) <= max_frames or len(whole.clips) == 1)
    assert [chunk.first_clip for chunk in chunks] == list(np.cumsum([0] + [len(chunk.clips) for chunk in chunks[:-1]]))
    assert np.array_equal(np.concatenate([chunk.pixels[chunk.clips] for chunk in chunks]), whole.pixels[whole.clips])


def test_the_pixels_are_those_of_a_plain_decode(video: Path) -> None:
    truth = plain_linear_decode(video)
    spec = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=70), (CenterCrop(64, 48),))
    at = 0
    for chunk in read_chunks(spec, video, 16):
        assert chunk.pixels.shape[0] <= 16
        for frame in chunk.pixels[chunk.clips.ravel(), 0]:
            assert np.array_equal(frame, truth[at])
            at += 1
    assert at == 70


def test_a_group_of_segments_is_not_parted(video: Path) -> None:
    spec = PreprocessSpec.of(recipe(SegmentSampling(clip_len=1, num_clips=12), segments=4))
    assert [len(chunk.clips) for chunk in read_chunks(spec, video, 5)] == [4, 4, 4]


@pytest.mark.parametrize(("dims", "segments"), [(2, 1), (2, 4), (3, 1)])
def test_units_go_crop_by_crop_and_clip_by_clip(dims: int, segments: int) -> None:
    pixels = np.arange(6 * 2, dtype=np.uint8).reshape(6, 2, 1, 1, 1).repeat(3, axis=4)
    views = Views(pixels, np.array([[0, 1], [2, 3], [4, 5], [1, 0]]), 6, None)
    model = ModelSpec(Backbone(), dims, segments)  # type: ignore[arg-type]
    units = views.units(model)
    gathered = np.zeros((len(units), len(units[0].frames), 1, 1, 3), np.uint8)
    for unit, place in zip(units, gathered, strict=True):
        views.gather(unit, place)
    assert gathered[..., 0].ravel().tolist() == [
        2 * frame + crop for crop in range(2) for frame in (0, 1, 2, 3, 4, 5, 1, 0)
    ]
    assert gathered.shape[1] == (segments if dims == 2 else 2)


def test_frames_that_change_their_size_between_chunks_are_an_error(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{size[0]}.h264", frames=4, size=size, format="h264") for size in ((64, 48), (96, 64))
    ]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    spec = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=8), ())
    with pytest.raises(VideoError, match="64x48, then 96x64") as caught:
        list(read_chunks(spec, joined, 4))
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
    spec = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=30), (CenterCrop(32, 32),))

    chunks = list(read_chunks(spec, holes, 8, on_info=lambda info: probed.append(info.frames)))

    assert probed == [30]
    assert [chunk.first_clip for chunk in chunks].count(0) == 2
    begins_again = len(chunks) - 1 - [chunk.first_clip for chunk in reversed(chunks)].index(0)
    assert {chunk.frames for chunk in chunks[:begins_again]} == {30}
    assert {chunk.frames for chunk in chunks[begins_again:]} == {29}
    assert sum(len(chunk.clips) for chunk in chunks[begins_again:]) == 30
    assert read_views(recipe(spec.sampling), holes).frames == 29


def test_the_bound_of_a_chunk_is_fixed() -> None:
    """It decides the shape of batches, and with it the last bit of features: a change needs a note in the changelog."""
    assert vidfeat.preprocessing.clips.FRAMES_PER_CHUNK == 256
