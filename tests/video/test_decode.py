"""Frames of `decode` against a plain linear decode, to the bit."""

from __future__ import annotations

import dataclasses
import gc
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import make_display_matrices
from video.video_files import pixels_of, plain_linear_decode, write_video
from vidfeat.errors import UsageError, VideoError
from vidfeat.video import FrameCountError, Timeline, VideoInfo, count_frames, decode, probe, recount, with_exact_frames
from vidfeat.video.packets import plan_feed

SHOWN: dict[str, dict[str, Any]] = json.loads(
    Path(make_display_matrices.__file__).with_name("display_matrices.json").read_text()
)


def assert_equals_truth(path: Path, truth: list[np.ndarray]) -> None:
    info = with_exact_frames(probe(path))
    assert info.frames == len(truth)
    decoded = list(decode(path, range(info.frames), info))
    assert [frame.index for frame in decoded] == list(range(len(truth)))
    for frame in decoded:
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.flags.c_contiguous
        assert frame.pixels.shape == (info.height, info.width, 3)
        assert np.array_equal(frame.pixels, truth[frame.index]), frame.index


@pytest.mark.parametrize(
    ("name", "codec", "size", "pix_fmt", "options"),
    [
        ("b.mp4", "libx264", (64, 48), "yuv420p", {"bf": "3", "b-pyramid": "normal", "g": "12"}),
        ("open_gop.mkv", "libx264", (64, 48), "yuv420p", {"bf": "3", "x264-params": "open-gop=1:keyint=8"}),
        ("interlaced.mp4", "libx264", (64, 64), "yuv420p", {"x264-params": "interlaced=1"}),
        ("odd.mp4", "libx264", (63, 47), "yuv444p", {}),
        ("422.mp4", "libx264", (64, 48), "yuv422p", {}),
        ("10bit.mp4", "libx264", (64, 48), "yuv420p10le", {}),
        ("full.mp4", "libx264", (64, 48), "yuvj420p", {}),
        ("hevc.mp4", "libx265", (64, 48), "yuv420p", {"x265-params": "log-level=none"}),
        ("odd.webm", "libvpx-vp9", (63, 47), "yuv420p", {"cpu-used": "5", "lag-in-frames": "16"}),
        ("vp8.webm", "libvpx", (64, 48), "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("b.avi", "mpeg4", (64, 48), "yuv420p", {"bf": "2"}),
        ("h264.avi", "libx264", (64, 48), "yuv420p", {"bf": "2"}),
        ("a.ts", "libx264", (64, 48), "yuv420p", {"bf": "2"}),
        ("a.flv", "libx264", (64, 48), "yuv420p", {}),
        ("a.mpg", "mpeg2video", (64, 48), "yuv420p", {"bf": "2"}),
        ("a.wmv", "wmv2", (64, 48), "yuv420p", {}),
        ("a.gif", "gif", (64, 48), "rgb8", {}),
        ("a.mov", "mjpeg", (64, 48), "yuvj422p", {}),
    ],
)
def test_frames_equal_a_plain_linear_decode(
    tmp_path: Path, name: str, codec: str, size: tuple[int, int], pix_fmt: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, codec, size=size, pix_fmt=pix_fmt, options=options)
    truth = plain_linear_decode(path)
    assert len(truth) == 30
    assert_equals_truth(path, truth)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_videos(tmp_path: Path, frames: int) -> None:
    path = write_video(tmp_path / "a.mp4", frames=frames)
    truth = plain_linear_decode(path)
    assert len(truth) == frames
    assert_equals_truth(path, truth)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    path = write_video(tmp_path_factory.mktemp("clip") / "a.mp4", options={"bf": "3", "g": "9"}, size=(32, 32))
    return path, plain_linear_decode(path)


@settings(max_examples=40)
@given(wanted=st.lists(st.integers(0, 29)))
def test_each_wanted_frame_comes_once_and_in_order(clip: tuple[Path, list[np.ndarray]], wanted: list[int]) -> None:
    path, truth = clip
    decoded = list(decode(path, wanted, probe(path)))
    assert [frame.index for frame in decoded] == sorted(set(wanted))
    assert all(np.array_equal(frame.pixels, truth[frame.index]) for frame in decoded)


@pytest.mark.parametrize("wanted", [[1.5], np.array([0.0, 1.0]), ["3"]])
def test_an_index_that_is_no_whole_number_is_refused(clip: tuple[Path, list[np.ndarray]], wanted: list[int]) -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        decode(clip[0], wanted)


def test_indices_of_numpy_and_no_info(clip: tuple[Path, list[np.ndarray]]) -> None:
    path, truth = clip
    decoded = pixels_of(decode(path, np.array([[29, 3], [3, 0]])))
    assert list(decoded) == [0, 3, 29]
    assert np.array_equal(decoded[29], truth[29])


def test_all_frames_are_decoded_and_counted(clip: tuple[Path, list[np.ndarray]]) -> None:
    path, truth = clip
    assert all(np.array_equal(frame, truth[index]) for index, frame in pixels_of(decode(path, range(30))).items())
    assert count_frames(path) == 30


def test_frames_are_the_caller_s_own(clip: tuple[Path, list[np.ndarray]]) -> None:
    path, truth = clip
    for frame in decode(path, range(30)):
        assert np.array_equal(frame.pixels, truth[frame.index])
        frame.pixels[:] = 0


def test_nothing_wanted_opens_nothing(tmp_path: Path) -> None:
    assert list(decode(tmp_path / "absent.mp4", [])) == []


def test_an_index_below_zero_is_refused_at_once(clip: tuple[Path, list[np.ndarray]]) -> None:
    with pytest.raises(UsageError, match="-1"):
        decode(clip[0], [3, -1])


def test_a_frame_past_the_end_is_an_error(clip: tuple[Path, list[np.ndarray]]) -> None:
    frames = decode(clip[0], [29, 30])
    assert next(frames).index == 29
    with pytest.raises(VideoError, match=r"frame 30.*30 frames") as caught:
        next(frames)
    assert (caught.value.stage, caught.value.kind) == ("decode", "truncated")


def test_a_left_generator_closes_its_file(clip: tuple[Path, list[np.ndarray]]) -> None:
    frames = decode(clip[0], range(30))
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    # A file left open would be a ResourceWarning, and warnings are errors here.


# --- rotation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SHOWN.values(), ids=SHOWN)
def test_frames_stand_as_ffmpeg_shows_them(tmp_path: Path, case: dict[str, Any]) -> None:
    """All eight ways to turn and mirror, and matrices with scale or a little shear."""
    path = tmp_path / "a.mov"
    make_display_matrices.write_video(path, case["matrix"])
    info = probe(path)
    assert (info.width, info.height) == (case["width"], case["height"])
    (frame,) = decode(path, [0], info)
    assert frame.pixels.flags.c_contiguous
    assert frame.pixels.shape == (case["height"], case["width"], 3)
    assert frame.pixels.tobytes().hex() == case["rgb"]
    lying = make_display_matrices.picture()
    assert np.array_equal(np.rot90(lying[:, ::-1] if info.mirrored else lying, info.rotation // 90), frame.pixels)


@pytest.mark.parametrize(
    ("matrix", "rotation", "mirrored"),
    [
        ((1, 0, 0, 1), 0, False), ((0, 1, -1, 0), 270, False), ((-1, 0, 0, -1), 180, False),
        ((0, -1, 1, 0), 90, False), ((-1, 0, 0, 1), 0, True), ((1, 0, 0, -1), 180, True), ((0, 1, 1, 0), 90, True),
        ((1, 0.5, -0.5, 1), 0, False), ((7, 3, -3, 7), 0, False), ((3, 7, -7, 3), 270, False),  # to the nearest
        ((0, 0, 0, 0), 0, False), ((1, 1, 1, 1), 0, False), ((0, 0, 1, 0), 0, False), ((-32768, 0, 0, 1), 0, True),
    ],
)  # fmt: skip
def test_what_a_display_matrix_says(
    tmp_path: Path, matrix: tuple[float, float, float, float], rotation: int, mirrored: bool
) -> None:
    path = tmp_path / "a.mov"
    make_display_matrices.write_video(path, matrix)
    info = probe(path)
    assert (info.rotation, info.mirrored) == (rotation, mirrored)
    assert VideoInfo.from_json(info.to_json()) == dataclasses.replace(info, packets=None)
    assert len(list(decode(path, [0], info))) == 1


def test_a_frame_that_was_looked_at_is_freed(tmp_path: Path) -> None:
    """Frames that stay in memory until cycles are collected are many, and each is large."""
    path = write_video(tmp_path / "a.mp4", frames=20)
    gc.collect()
    before = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    gc.disable()
    try:
        assert len(list(decode(path, range(20)))) == 20
        assert sum(type(thing) is av.VideoFrame for thing in gc.get_objects()) <= before + 1
    finally:
        gc.enable()


# --- decoding little --------------------------------------------------------------------------------------------------


def x264(parameters: str) -> dict[str, str]:
    return {"x264-params": f"scenecut=0:{parameters}"}


def x265(parameters: str) -> dict[str, str]:
    return {"x265-params": f"log-level=none:scenecut=0:{parameters}"}


STREAMS: dict[str, tuple[str, dict[str, str]]] = {
    "b_pyramid.mp4": ("libx264", x264("keyint=12:bframes=3:b-pyramid=normal")),
    "strict_pyramid.mkv": ("libx264", x264("keyint=24:bframes=7:b-pyramid=strict:b-adapt=0:ref=5")),
    "open_gop.mp4": ("libx264", x264("open-gop=1:keyint=12:bframes=3:b-adapt=0")),
    "intra_refresh.mp4": ("libx264", x264("intra-refresh=1:keyint=10:bframes=2")),
    "refs.mp4": ("libx264", x264("ref=16:bframes=5:keyint=48")),
    "gop_250.mkv": ("libx264", x264("keyint=250:bframes=3")),
    "weighted.mp4": ("libx264", x264("weightp=2:weightb=1:bframes=4:keyint=30")),
    "interlaced.mp4": ("libx264", x264("tff=1:bframes=3:keyint=20")),
    "slices.mp4": ("libx264", x264("slices=3:bframes=3:keyint=20")),
    "temporal_direct.mp4": ("libx264", x264("cabac=0:direct=temporal:bframes=3:b-adapt=0:keyint=20")),
    "repeated_headers.mp4": ("libx264", x264("repeat-headers=1:bframes=2:keyint=10")),
    "intra_only.mp4": ("libx264", x264("keyint=1")),
    "fragments.mp4": ("libx264", x264("keyint=12:bframes=2")),
    "hevc.mp4": ("libx265", x265("keyint=12:bframes=4:open-gop=0")),
    "hevc_open.mp4": ("libx265", x265("keyint=12:bframes=4:open-gop=1")),
    "hevc_layers.mkv": ("libx265", x265("keyint=24:bframes=4:open-gop=0:temporal-layers=3:b-adapt=0")),
    "hevc_radl.mp4": ("libx265", x265("keyint=16:bframes=4:open-gop=0:radl=2:b-adapt=0")),
    "vp9.webm": ("libvpx-vp9", {"cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1", "g": "12"}),
    "vp8.webm": ("libvpx", {"cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1", "g": "12"}),
    "av1.mp4": ("libsvtav1", {"preset": "12", "svtav1-params": "keyint=12:irefresh-type=2"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "mpeg4.mkv": ("mpeg4", {"bf": "2", "g": "12"}),
}
ALL_FED = {"vp8.webm", "mpeg4.avi", "mpeg4.mkv"}


@pytest.mark.parametrize("name", STREAMS)
def test_any_wanted_frames_equal_a_plain_linear_decode(tmp_path: Path, name: str) -> None:
    codec, options = STREAMS[name]
    fragments = {"movflags": "frag_keyframe+empty_moov"} if name.startswith("frag") else None
    path = write_video(tmp_path / name, codec, frames=60, options=options, container_options=fragments)
    truth = plain_linear_decode(path)
    info = with_exact_frames(probe(path))
    assert info.frames == len(truth) == 60
    assert (info.packets is None) == (name in ALL_FED)
    rng = np.random.default_rng(0)
    for wanted in ([0], [59], range(0, 60, 7), [30, 31], rng.integers(0, 60, 5), rng.integers(0, 60, 2), range(60)):
        decoded = pixels_of(decode(path, wanted, info))
        assert list(decoded) == sorted(set(wanted))
        assert all(np.array_equal(frame, truth[index]) for index, frame in decoded.items())


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    """Six groups of ten pictures, I P b P b P b P b P."""
    path = tmp_path_factory.mktemp("groups") / "a.mp4"
    write_video(path, frames=60, size=(128, 96), options=x264("keyint=10:bframes=1:b-adapt=0:weightp=0"))
    return path, plain_linear_decode(path)


@pytest.mark.parametrize(
    ("wanted", "fed"),
    [([0], 1), ([9], 6), ([8], 5), ([10], 2), ([59], 7), ([0, 59], 7), ([25], 6), ([2, 32], 4), ([21], 4)],
)
def test_how_little_is_decoded(groups: tuple[Path, list[np.ndarray]], wanted: list[int], fed: int) -> None:
    """The first packet, and of a group the pictures that are referred to, up to the wanted one."""
    info = probe(groups[0])
    assert info.packets is not None
    assert list(np.flatnonzero(info.packets.random_access)) == [0, 10, 20, 30, 40, 50]
    assert plan_feed(info.packets, wanted).fed.sum() == fed


def damage(source: Path, target: Path, index: int) -> Path:
    """A copy with most of one packet overwritten."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    position, size = packets[index].pos, packets[index].size
    assert position is not None
    data[position + 40 : position + size - 8] = b"\xff" * (size - 48)
    target.write_bytes(data)
    return target


def test_damage_where_nothing_is_decoded_is_not_seen(groups: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    source, truth = groups
    path = damage(source, tmp_path / "a.mp4", 21)  # the second picture of the third group
    info = probe(path)
    (frame,) = decode(path, [45], info)
    assert np.array_equal(frame.pixels, truth[45])
    for wanted in ([29], [25, 45], [3, 22]):
        with pytest.raises(VideoError) as caught:
            list(decode(path, wanted, info))
        assert caught.value.kind == "corrupt"


@pytest.mark.parametrize("change", ["pts", "depth", "size", "time"])
def test_any_mismatch_decodes_from_the_start(groups: tuple[Path, list[np.ndarray]], change: str) -> None:
    """A table that does not fit the file, as if the file had changed after the probe."""
    path, truth = groups
    info = probe(path)
    table = info.packets
    assert table is not None
    changed = {
        "pts": dataclasses.replace(table, pts=table.pts + (np.arange(60) > 33)),
        "depth": dataclasses.replace(table, pts=np.sort(table.pts)[::-1]),
        # Would give other pixels, if it were used.
        "size": dataclasses.replace(table, disposable=np.arange(60) % 10 == 1),
        "time": dataclasses.replace(table, disposable=np.arange(60) % 10 == 1),
    }[change]
    assert info.modified_ns is not None
    stamp = {"bytes": info.bytes + (change == "size"), "modified_ns": info.modified_ns + (change == "time")}
    info = dataclasses.replace(info, packets=changed, **stamp)
    decoded = pixels_of(decode(path, [5, 35, 59], info))
    assert list(decoded) == [5, 35, 59]
    assert all(np.array_equal(frame, truth[index]) for index, frame in decoded.items())


def test_what_only_the_first_packet_says_holds_for_later_groups(tmp_path: Path) -> None:
    """It names the encoder, and FFmpeg decodes the 4:4:4 of an x264 before build 151 in another way."""
    path = write_video(tmp_path / "a.mp4", frames=30, pix_fmt="yuv444p", options=x264("keyint=10:bframes=2:8x8dct=1"))
    new = plain_linear_decode(path)
    path.write_bytes(re.sub(rb"x264 - core \d{3}", b"x264 - core 120", path.read_bytes()))
    old = plain_linear_decode(path)
    assert not np.array_equal(old[29], new[29])
    (frame,) = decode(path, [29])
    assert np.array_equal(frame.pixels, old[29])


# --- counting on the way ----------------------------------------------------------------------------------------------


def test_a_plan_on_an_estimate_that_holds(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", "mpeg4", options={"bf": "2"})
    info = probe(path)
    assert (info.frames, info.frames_from) == (30, "estimate")
    truth = plain_linear_decode(path)
    decoded = pixels_of(decode(path, [3, 20], info, to_end=True))
    assert list(decoded) == [3, 20]
    assert all(np.array_equal(frame, truth[index]) for index, frame in decoded.items())


@pytest.mark.parametrize(("estimate", "taken"), [(29, [3, 20]), (31, [3, 20]), (7, [3, 20]), (99, [3])])
def test_an_estimate_that_is_wrong_is_an_error_at_the_end(tmp_path: Path, estimate: int, taken: list[int]) -> None:
    path = write_video(tmp_path / "a.avi", "mpeg4", options={"bf": "2"})
    info = dataclasses.replace(probe(path), frames=estimate, timeline=Timeline.of_rate(estimate, 25.0, 1.2))
    frames = decode(path, [3, 20 if estimate < 99 else 80], info, to_end=True)
    assert [next(frames).index for _ in taken] == taken
    with pytest.raises(FrameCountError, match="30 frames") as caught:
        next(frames)
    assert caught.value.timeline == Timeline.of_rate(30, 25.0, 1.2)
    again = recount(info, caught.value.timeline)
    assert (again.frames, again.frames_from, again.frames_exact) == (30, "decoding", True)
    assert again.timeline == recount(info).timeline == caught.value.timeline


def test_an_estimate_with_wrong_times_is_an_error_at_the_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", options={"bf": "2"})
    info = probe(path)
    assert info.frames_from == "estimate"
    late = dataclasses.replace(info.timeline, pts_seconds=info.timeline.pts_seconds + (np.arange(30) > 12) * 0.01)
    frames = decode(path, range(30), dataclasses.replace(info, timeline=late), to_end=True)
    assert [next(frames).index for _ in range(30)] == list(range(30))
    with pytest.raises(FrameCountError, match="frame 13 at") as caught:
        next(frames)
    assert caught.value.timeline == info.timeline


def test_damage_after_the_last_wanted_frame_is_seen_on_the_way_to_the_end(tmp_path: Path) -> None:
    source = write_video(tmp_path / "whole.avi", size=(128, 96), options=x264("bframes=0"))
    path = damage(source, tmp_path / "a.avi", 25)
    info = probe(path)
    assert info.frames_from == "estimate"
    assert list(pixels_of(decode(path, [0, 2], info))) == [0, 2]
    frames = decode(path, [0, 2], info, to_end=True)
    assert [next(frames).index, next(frames).index] == [0, 2]
    with pytest.raises(VideoError):
        next(frames)


# --- broken streams ---------------------------------------------------------------------------------------------------


ALL_INTRA = {"x265-params": "log-level=none:keyint=1"}
DELIMITER = b"\x00\x00\x00\x03\x46\x01\x50"
"""An HEVC access unit delimiter and nothing else: a valid packet that gives no frame."""


def replace_packet(source: Path, target: Path, index: int, data: bytes) -> None:
    """Copy a video with the data of one packet replaced."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = reading.streams.video[0]
        copy = writing.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in reading.demux(stream) if packet.size):
            sent = packet
            if number == index:
                sent = av.Packet(data)
                sent.pts, sent.dts, sent.duration = packet.pts, packet.dts, packet.duration
                sent.time_base = packet.time_base
            sent.stream = copy
            writing.mux(sent)


def test_a_packet_without_a_frame_is_noticed_and_counted(tmp_path: Path) -> None:
    """The container promises 30 frames, and only the decoder can know of the one that is none."""
    source = write_video(tmp_path / "whole.mp4", "libx265", options=ALL_INTRA)
    path = tmp_path / "a.mp4"
    replace_packet(source, path, 17, DELIMITER)
    truth = plain_linear_decode(path)
    info = probe(path)
    assert (info.frames, info.frames_from, len(truth)) == (30, "packets", 29)
    assert list(pixels_of(decode(path, [0, 10], info))) == [0, 10]  # before the gap everything is right
    with pytest.raises(FrameCountError) as caught:
        list(decode(path, [0, 28], info))
    assert caught.value.stage == "decode"
    assert recount(info).frames == 29
    decoded = pixels_of(decode(path, range(29), recount(info)))
    assert all(np.array_equal(frame, truth[index]) for index, frame in decoded.items())
    assert len(decoded) == 29


def test_a_packet_without_a_frame_at_the_end_is_noticed_where_it_matters(tmp_path: Path) -> None:
    source = write_video(tmp_path / "whole.mp4", "libx265", options=ALL_INTRA)
    path = tmp_path / "a.mp4"
    replace_packet(source, path, 29, DELIMITER)
    info = probe(path)
    with pytest.raises(FrameCountError, match="29 frames"):
        list(decode(path, [29], info))
    assert recount(info).frames == 29


def test_bits_that_the_decoder_reports_are_corrupt(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", size=(128, 96), options={"x264-params": "keyint=30:bframes=0:scenecut=0"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[12]
    assert position is not None
    data = bytearray(path.read_bytes())
    data[position + 40 : position + size - 8] = b"\xff" * (size - 48)
    path.write_bytes(data)
    info = probe(path)
    assert list(pixels_of(decode(path, [0, 11], info))) == [0, 11]  # what comes before it decodes
    with pytest.raises(VideoError) as caught:
        list(decode(path, [0, 20], info))
    assert (caught.value.stage, caught.value.kind) == ("decode", "corrupt")
    with pytest.raises(VideoError):
        count_frames(path)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_shrinks_after_the_probe(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", container_options={"movflags": "faststart"})
    info = probe(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(VideoError) as caught:
        list(decode(path, [29], info))
    assert caught.value.kind in ("corrupt", "truncated")
