"""What decodes of broken videos, frame by frame against the intact video that they were made of."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from video.video_files import cut, pixels_of, plain_linear_decode, write_video
from vidfeat.errors import VideoError
from vidfeat.mmaction import compile_file
from vidfeat.preprocessing.clips import ClipBatch, PreprocessSpec, read_clips
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.video import VideoInfo, count_frames, decode, probe, salvage, with_exact_frames
from vidfeat.video.info import OnCorrupt
from vidfeat.videos import VideoRef

INTRA = {"x264-params": "keyint=1"}
FASTSTART = {"movflags": "faststart"}


def salvaged(path: Path) -> list[np.ndarray]:
    info = salvage(path)
    frames = [frame.pixels for frame in decode(path, range(info.frames), info)]
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
    frames = salvaged(path)
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
    intact = [index for index in range(30) if index not in (7, 8, 20)]
    assert info.timeline.pts_seconds.tolist() == [index / 25 for index in intact]
    assert all(np.array_equal(frame, truth[index]) for index, frame in zip(intact, salvaged(path), strict=True))


def test_any_of_the_salvaged_frames_can_be_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", options=INTRA)
    damage_packets(path, [0, 3, 29], b"\xff")
    info = salvage(path)
    frames = salvaged(path)
    chosen = pixels_of(decode(path, [25, 2, 2, 11], info))
    assert list(chosen) == [2, 11, 25]
    assert all(np.array_equal(frame, frames[index]) for index, frame in chosen.items())
    with pytest.raises(VideoError, match="a video of 27 frames"):
        list(decode(path, [27], info))


def test_a_damaged_picture_is_not_salvaged_in_part(tmp_path: Path) -> None:
    """What the decoder gives of a damaged JPEG is the upper part, and below it whatever the memory held."""
    path = write_video(tmp_path / "a.avi", "mjpeg", pix_fmt="yuvj420p")
    truth = plain_linear_decode(path)
    damage_packets(path, [5], b"\xff")
    with pytest.raises(VideoError):
        count_frames(path)
    frames = salvaged(path)
    assert all(any(np.array_equal(frame, true) for true in truth) for frame in frames)
    assert len(frames) == 29


def test_an_intact_video_loses_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", options={"bf": "2"}, audio=True)
    info = salvage(path)
    assert info.frames == 30
    assert all(
        np.array_equal(frame, true) for frame, true in zip(salvaged(path), plain_linear_decode(path), strict=True)
    )


@pytest.mark.parametrize("share", [0.001, 0.02])
def test_where_nothing_decodes_it_is_an_error(tmp_path: Path, share: float) -> None:
    path = cut(write_video(tmp_path / "a.mp4"), tmp_path / "b.mp4", share)
    with pytest.raises(VideoError) as caught:
        salvage(path)
    assert (caught.value.stage, caught.value.kind) == ("decode", "corrupt")


# --- in the main path -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec(repository: Path) -> PreprocessSpec:
    return PreprocessSpec.of(compile_file(repository / "examples" / "tiny_slowonly.py"))


def read(spec: PreprocessSpec, path: Path, on_corrupt: OnCorrupt) -> tuple[VideoInfo, ClipBatch]:
    """The only batch of a video, and the description that its plan is made of."""
    infos: list[VideoInfo] = []
    *_, (_, batch) = read_clips(
        [spec], VideoRef(path.name, str(path)), on_corrupt=on_corrupt, on_plan=lambda info, plans: infos.append(info)
    )
    return infos[-1], batch


def test_only_broken_videos_are_salvaged(tmp_path: Path, spec: PreprocessSpec) -> None:
    whole = write_video(tmp_path / "whole.mp4", size=(160, 128), options=INTRA, container_options=FASTSTART)
    info, _ = read(spec, whole, "salvage")
    assert (info.salvaged, info.frames, info.frames_declared) == (False, 30, None)
    path = cut(whole, tmp_path / "cut.mp4", 0.5)
    with pytest.raises(VideoError):
        read(spec, path, "fail")
    info, batch = read(spec, path, "salvage")
    assert (info.salvaged, info.frames_declared) == (True, 30)
    assert 10 < info.frames < 20
    assert batch.end_seconds.max() <= info.frames / 25
    assert isinstance(spec.sampling, SegmentSampling)
    assert batch.clips.shape == (spec.sampling.num_clips, spec.sampling.clip_len)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "empty"), (b"words\n" * 99, "corrupt"), (b"#EXTM3U\n#EXTINF:1,\na.ts\n", "blocked_format")],
)
def test_what_is_no_video_stays_what_it_is(tmp_path: Path, spec: PreprocessSpec, content: bytes, kind: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError) as caught:
        read(spec, path, "salvage")
    with pytest.raises(VideoError) as strict:
        read(spec, path, "fail")
    assert caught.value.kind == strict.value.kind == kind
    assert str(caught.value) == str(strict.value)


def test_the_error_of_a_file_without_its_index_is_the_truncation(tmp_path: Path, spec: PreprocessSpec) -> None:
    path = cut(write_video(tmp_path / "whole.mp4"), tmp_path / "a.mp4", 0.5)
    with pytest.raises(VideoError, match="box that starts at byte") as caught:
        read(spec, path, "salvage")
    assert caught.value.kind == "truncated"
