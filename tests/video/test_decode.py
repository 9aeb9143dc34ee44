"""Frames of `decode` against a plain linear decode, to the bit."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_files import plain_linear_decode, write_video

from vidfeat.errors import UsageError, VideoError
from vidfeat.video import FrameCountError, count_frames, decode, probe, recount, with_exact_frames


def assert_equals_truth(path: Path, truth: list[np.ndarray]) -> None:
    info = with_exact_frames(probe(path))
    assert info.frames == len(truth)
    decoded = list(decode(path, range(info.frames), info))
    assert [index for index, _ in decoded] == list(range(len(truth)))
    for index, frame in decoded:
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert frame.shape == (info.height, info.width, 3)
        assert np.array_equal(frame, truth[index]), index


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


@settings(max_examples=40, deadline=None)
@given(wanted=st.lists(st.integers(0, 29)))
def test_each_wanted_frame_comes_once_and_in_order(clip: tuple[Path, list[np.ndarray]], wanted: list[int]) -> None:
    path, truth = clip
    decoded = list(decode(path, wanted, probe(path)))
    assert [index for index, _ in decoded] == sorted(set(wanted))
    assert all(np.array_equal(frame, truth[index]) for index, frame in decoded)


@pytest.mark.parametrize("wanted", [[1.5], np.array([0.0, 1.0]), ["3"]])
def test_an_index_that_is_no_whole_number_is_refused(clip: tuple[Path, list[np.ndarray]], wanted: list[int]) -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        decode(clip[0], wanted)


def test_indices_of_numpy_and_no_info(clip: tuple[Path, list[np.ndarray]]) -> None:
    path, truth = clip
    decoded = dict(decode(path, np.array([[29, 3], [3, 0]])))
    assert list(decoded) == [0, 3, 29]
    assert np.array_equal(decoded[29], truth[29])


def test_more_threads_give_the_same_frames(clip: tuple[Path, list[np.ndarray]]) -> None:
    path, truth = clip
    assert all(np.array_equal(frame, truth[index]) for index, frame in decode(path, range(30), threads=3))
    assert count_frames(path, threads=3) == 30


def test_frames_are_the_caller_s_own(clip: tuple[Path, list[np.ndarray]]) -> None:
    path, truth = clip
    for index, frame in decode(path, range(30)):
        assert np.array_equal(frame, truth[index])
        frame[:] = 0


def test_nothing_wanted_opens_nothing(tmp_path: Path) -> None:
    assert list(decode(tmp_path / "absent.mp4", [])) == []


def test_an_index_below_zero_is_refused_at_once(clip: tuple[Path, list[np.ndarray]]) -> None:
    with pytest.raises(UsageError, match="-1"):
        decode(clip[0], [3, -1])


def test_a_frame_past_the_end_is_an_error(clip: tuple[Path, list[np.ndarray]]) -> None:
    frames = decode(clip[0], [29, 30])
    assert next(frames)[0] == 29
    with pytest.raises(VideoError, match=r"frame 30.*30 frames") as caught:
        next(frames)
    assert (caught.value.stage, caught.value.kind) == ("decode", "truncated")


def test_a_left_generator_closes_its_file(clip: tuple[Path, list[np.ndarray]]) -> None:
    frames = decode(clip[0], range(30))
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    # A file left open would be a ResourceWarning, and warnings are errors here.


# --- rotation ---------------------------------------------------------------------------------------------------------


def rotate(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Overwrite the a, b, c, d of the display matrix in the track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "degrees", "turns"),
    [((1, 0, 0, 1), 0, 0), ((0, 1, -1, 0), 270, 3), ((-1, 0, 0, -1), 180, 2), ((0, -1, 1, 0), 90, 1)],
)
def test_frames_stand_upright(tmp_path: Path, matrix: tuple[int, int, int, int], degrees: int, turns: int) -> None:
    path = write_video(tmp_path / "a.mp4", frames=4)
    lying = plain_linear_decode(path)
    rotate(path, matrix)
    info = probe(path)
    assert info.rotation == degrees
    assert (info.width, info.height) == ((48, 64) if turns % 2 else (64, 48))
    for index, frame in decode(path, range(4), info):
        assert frame.flags.c_contiguous
        assert np.array_equal(frame, np.rot90(lying[index], turns))


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_upright_is_what_opencv_shows(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    path = write_video(tmp_path / "a.mp4", frames=1)
    rotate(path, matrix)
    shown = cv2.VideoCapture(str(path)).read()[1][..., ::-1]
    ((_, frame),) = decode(path, [0])
    assert frame.shape == shown.shape
    assert np.abs(frame.astype(int) - shown).mean() < 1


# --- broken streams ---------------------------------------------------------------------------------------------------


ALL_INTRA = {"x265-params": "log-level=none:keyint=1"}
DELIMITER = b"\x00\x00\x00\x03\x46\x01\x50"
"""An HEVC access unit delimiter and nothing else: a sound packet that gives no frame."""


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
    assert [index for index, _ in decode(path, [0, 10], info)] == [0, 10]  # before the gap nothing is amiss
    with pytest.raises(FrameCountError) as caught:
        list(decode(path, [0, 28], info))
    assert caught.value.stage == "decode"
    assert recount(info).frames == 29
    decoded = list(decode(path, range(29), recount(info)))
    assert all(np.array_equal(frame, truth[index]) for index, frame in decoded)
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
    path = write_video(tmp_path / "a.mp4", size=(128, 96), options={"x264-params": "keyint=30:bframes=0"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[12]
    assert position is not None
    data = bytearray(path.read_bytes())
    data[position + 40 : position + size - 8] = b"\xff" * (size - 48)
    path.write_bytes(data)
    info = probe(path)
    assert [index for index, _ in decode(path, [0, 11], info)] == [0, 11]  # what comes before it is sound
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
