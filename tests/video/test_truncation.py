"""Files that were cut off while they were copied, and files that only look so."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from video.video_files import cut, write_video
from vidfeat.errors import VideoError
from vidfeat.video import count_frames, probe
from vidfeat.video.truncation import find_truncation

FILES: dict[str, tuple[str, dict[str, str]]] = {
    "index_last.mp4": ("libx264", {}),
    "index_first.mp4": ("libx264", {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "a.mov": ("libx264", {}),
    "a.mkv": ("libx264", {}),
    "a.webm": ("libvpx", {}),
    "a.avi": ("mpeg4", {}),
    "a.wmv": ("wmv2", {}),
}


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {
        name: write_video(folder / name, codec, container_options=options, options={"g": "10"})
        for name, (codec, options) in FILES.items()
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", FILES)
def test_a_shorter_copy_is_truncated(whole_files: dict[str, Path], tmp_path: Path, name: str, share: float) -> None:
    path = cut(whole_files[name], tmp_path / name, share)
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert caught.value.kind == "truncated"
    assert str(path.stat().st_size) in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_lacks_nothing(whole_files: dict[str, Path], name: str) -> None:
    path = whole_files[name]
    with path.open("rb") as file:
        assert find_truncation(file, path.stat().st_size) == (None, "marked")
    assert count_frames(path) == 30


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("tail", [bytes(100), b"\xff" * 100, b"\r\n"])
def test_bytes_after_the_end_do_no_harm(whole_files: dict[str, Path], tmp_path: Path, name: str, tail: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(whole_files[name].read_bytes() + tail)
    assert probe(path).frames == 30
    assert count_frames(path) == 30


@pytest.mark.parametrize("packet_size", [3200, 700])
@pytest.mark.parametrize("length", [64, 400])
def test_zeros_in_the_middle_of_asf_lose_no_frame(tmp_path: Path, length: int, packet_size: int) -> None:
    """A block of zeros over the header of a payload loses what follows it in the packet."""
    options = {"packet_size": str(packet_size)}
    data = write_video(tmp_path / "whole.wmv", "wmv2", container_options=options, audio=True).read_bytes()
    path = tmp_path / "a.wmv"
    first = data.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 50  # the data object's first packet
    last = data.index(bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")) - length  # the index
    refused = 0
    for start in range(first, last, 31):
        path.write_bytes(data[:start] + bytes(length) + data[start + length :])
        try:
            assert probe(path).frames == 30, start
        except VideoError as error:
            assert error.kind == "truncated"  # noqa: PT017
            refused += 1
    assert refused > 10


def test_every_cut_of_an_mp4_is_noticed(whole_files: dict[str, Path], tmp_path: Path) -> None:
    data = whole_files["index_last.mp4"].read_bytes()
    path = tmp_path / "cut.mp4"
    for length in range(1, len(data), 97):
        path.write_bytes(data[:length])
        with path.open("rb") as file:
            missing = find_truncation(file, length).missing
        if length >= 48:  # the ftyp box and the header of the next
            assert missing is not None, length
        with pytest.raises(VideoError):
            probe(path)


def test_samples_beyond_the_end_are_truncated(whole_files: dict[str, Path], tmp_path: Path) -> None:
    """The index comes first and the media box says "to the end of the file": only the index knows."""
    data = bytearray(whole_files["index_first.mp4"].read_bytes())
    start = data.index(b"mdat") - 4
    data[start : start + 4] = bytes(4)
    path = tmp_path / "a.mp4"
    path.write_bytes(data[: start + (len(data) - start) // 2])
    with path.open("rb") as file:
        assert find_truncation(file, path.stat().st_size) == (None, "marked")
    with pytest.raises(VideoError, match="index") as caught:
        probe(path)
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize(("announced", "accepted"), [(20, True), (32, True), (500, False), (2**31, False)])
def test_a_header_may_announce_little_more_than_there_is(
    whole_files: dict[str, Path], tmp_path: Path, announced: int, accepted: bool
) -> None:
    """Writers round and estimate. What is far more than the complete index says is a part of another video."""
    data = bytearray(whole_files["a.avi"].read_bytes())
    for header, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):  # number of frames, length of the stream
        at = data.index(header) + offset
        assert struct.unpack_from("<I", data, at) == (30,)
        struct.pack_into("<I", data, at, announced)
    path = tmp_path / "a.avi"
    path.write_bytes(data)
    if accepted:
        assert (probe(path).frames, probe(path).length_verified) == (30, True)
        assert count_frames(path) == 30
    else:
        with pytest.raises(VideoError, match="its header says") as caught:
            probe(path)
        assert caught.value.kind == "truncated"


def test_unknown_lengths_of_a_live_recording_are_fine(whole_files: dict[str, Path], tmp_path: Path) -> None:
    live = write_video(tmp_path / "live.mkv", container_options={"live": "1"}, options={"g": "10"})
    assert probe(live).frames == 30
    whole = probe(live).bytes
    short = cut(live, tmp_path / "short.mkv", 1 - 20 / whole)
    with pytest.raises(VideoError) as caught:
        probe(short)
    assert caught.value.kind == "truncated"
