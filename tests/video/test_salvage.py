"""What is saved of broken videos, frame by frame against the sound video that they were made of."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from video_files import cut, plain_linear_decode, write_video

from vidfeat.errors import VideoError
from vidfeat.mmaction import compile_file
from vidfeat.preprocessing.clips import read_views
from vidfeat.recipe import Recipe, SegmentSampling
from vidfeat.video import count_frames, decode, probe, salvage, with_exact_frames

INTRA = {"x264-params": "keyint=1"}
FASTSTART = {"movflags": "faststart"}


def saved(path: Path) -> list[np.ndarray]:
    info = salvage(path)
    frames = [frame for _, frame in decode(path, range(info.frames), info)]
    assert len(frames) == info.frames
    return frames


def damage_packets(path: Path, numbers: list[int], data: bytes) -> None:
    """Overwrite the middle of some packets with `data`, in place."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        position, size = packets[number]
        assert position is not None
        content[position + 4 : position + size] = data * (size - 4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "codec", "options", "container_options"),
    [
        ("a.mp4", "libx264", {"bf": "2", "g": "8"}, FASTSTART),
        ("a.mkv", "libx264", {"bf": "2", "g": "8"}, {}),
        ("a.avi", "mpeg4", {"bf": "2", "b": "2000000"}, {}),
        ("a.webm", "libvpx-vp9", {"cpu-used": "5", "lag-in-frames": "16"}, {}),
    ],
)
def test_of_a_truncated_video_the_frames_up_to_the_cut(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], container_options: dict[str, str]
) -> None:
    whole = write_video(tmp_path / name, codec, options=options, container_options=container_options)
    truth = plain_linear_decode(whole)
    path = cut(whole, tmp_path / f"cut_{name}", 0.6)
    with pytest.raises(VideoError) as caught:
        with_exact_frames(probe(path))
    assert caught.value.kind == "truncated"
    info = salvage(path)
    assert (info.frames_from, info.frames_exact, info.frames_declared) == ("salvage", True, 30)
    assert 8 < info.frames < 25
    frames = saved(path)
    equal = [any(np.array_equal(frame, true) for true in truth) for frame in frames]
    assert sum(equal) >= len(equal) - 3  # at the cut a frame may be shown whose end was concealed
    assert all(np.array_equal(frame, truth[index]) for index, frame in enumerate(frames[:8]))
    assert (info.width, info.height, info.bytes) == (64, 48, path.stat().st_size)


def test_of_a_damaged_video_the_frames_around_the_damage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", options=INTRA)
    truth = plain_linear_decode(path)
    damage_packets(path, [7, 8, 20], b"\xff")
    with pytest.raises(VideoError):
        count_frames(path)
    info = salvage(path)
    assert (info.frames, info.frames_declared) == (27, 30)
    sound = [index for index in range(30) if index not in (7, 8, 20)]
    assert all(np.array_equal(frame, truth[index]) for index, frame in zip(sound, saved(path), strict=True))


def test_any_of_the_saved_frames_can_be_had(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", options=INTRA)
    damage_packets(path, [0, 3, 29], b"\xff")
    info = salvage(path)
    frames = saved(path)
    chosen = dict(decode(path, [25, 2, 2, 11], info))
    assert list(chosen) == [2, 11, 25]
    assert all(np.array_equal(frame, frames[index]) for index, frame in chosen.items())
    with pytest.raises(VideoError, match="a video of 27 frames"):
        list(decode(path, [27], info))


def test_a_damaged_picture_is_not_saved_in_part(tmp_path: Path) -> None:
    """What the decoder gives of a damaged JPEG is the upper part, and below it whatever the memory held."""
    path = write_video(tmp_path / "a.avi", "mjpeg", pix_fmt="yuvj420p")
    truth = plain_linear_decode(path)
    damage_packets(path, [5], b"\xff")
    with pytest.raises(VideoError):
        count_frames(path)
    frames = saved(path)
    assert all(any(np.array_equal(frame, true) for true in truth) for frame in frames)
    assert len(frames) == 29


def test_a_sound_video_loses_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", options={"bf": "2"}, audio=True)
    info = salvage(path)
    assert info.frames == 30
    assert all(np.array_equal(frame, true) for frame, true in zip(saved(path), plain_linear_decode(path), strict=True))


@pytest.mark.parametrize("share", [0.001, 0.02])
def test_where_nothing_decodes_it_is_an_error(tmp_path: Path, share: float) -> None:
    path = cut(write_video(tmp_path / "a.mp4"), tmp_path / "b.mp4", share)
    with pytest.raises(VideoError) as caught:
        salvage(path)
    assert (caught.value.stage, caught.value.kind) == ("decode", "corrupt")


# --- in the main path -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(repository: Path) -> Recipe:
    return compile_file(repository / "examples" / "tiny_slowonly.py")


def test_only_broken_videos_are_salvaged(tmp_path: Path, recipe: Recipe) -> None:
    whole = write_video(tmp_path / "whole.mp4", size=(160, 128), options=INTRA, container_options=FASTSTART)
    views = read_views(recipe, whole, on_corrupt="salvage")
    assert (views.salvaged, views.frames, views.frames_declared) == (False, 30, None)
    path = cut(whole, tmp_path / "cut.mp4", 0.5)
    with pytest.raises(VideoError):
        read_views(recipe, path)
    views = read_views(recipe, path, on_corrupt="salvage")
    assert (views.salvaged, views.frames_declared) == (True, 30)
    assert 10 < views.frames < 20
    assert isinstance(recipe.sampling, SegmentSampling)
    assert views.clips.shape == (recipe.sampling.num_clips, recipe.sampling.clip_len)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "empty"), (b"words\n" * 99, "corrupt"), (b"#EXTM3U\n#EXTINF:1,\na.ts\n", "blocked_format")],
)
def test_what_is_no_video_stays_what_it_is(tmp_path: Path, recipe: Recipe, content: bytes, kind: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError) as caught:
        read_views(recipe, path, on_corrupt="salvage")
    with pytest.raises(VideoError) as strict:
        read_views(recipe, path)
    assert caught.value.kind == strict.value.kind == kind
    assert str(caught.value) == str(strict.value)


def test_of_a_file_without_its_index_the_cause_is_told(tmp_path: Path, recipe: Recipe) -> None:
    path = cut(write_video(tmp_path / "whole.mp4"), tmp_path / "a.mp4", 0.5)
    with pytest.raises(VideoError, match="box that starts at byte") as caught:
        read_views(recipe, path, on_corrupt="salvage")
    assert caught.value.kind == "truncated"
