"""Formats without a total length: a cut inside a packet is found, and a complete file is never refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from video.video_files import write_video
from vidfeat.errors import VideoError
from vidfeat.video import probe
from vidfeat.video.truncation import find_truncation


def missing_from(data: bytes) -> str | None:
    return find_truncation(io.BytesIO(data), len(data)).missing


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("streams")
    write_video(folder / "a.ts", options={"bf": "2"}, audio=True)
    write_video(folder / "a.m2ts", options={"bf": "2"}, container_options={"mpegts_m2ts_mode": "1"}, format="mpegts")
    write_video(folder / "a.flv", "flv1")
    write_video(folder / "b.flv", options={"bf": "2"})
    write_video(folder / "a.mpg", "mpeg2video", options={"bf": "2"})
    write_video(folder / "vob.mpg", "mpeg2video", format="vob")
    write_video(folder / "mpeg1.mpg", "mpeg1video")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


NAMES = ["a.ts", "a.m2ts", "a.flv", "b.flv", "a.mpg", "vob.mpg", "mpeg1.mpg"]


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_file_lacks_nothing(name: str, whole: dict[str, bytes]) -> None:
    data = whole[name]
    assert missing_from(data) is None
    assert missing_from(data + data) is None
    assert missing_from(data + b"\x00" * 77) is None
    assert missing_from(data + b"trailing words, no packets") is None


@pytest.mark.parametrize("name", NAMES)
def test_most_cuts_show(name: str, whole: dict[str, bytes]) -> None:
    data = whole[name]
    cuts = range(len(data) // 4, len(data) - 20, 97)
    seen = sum(missing_from(data[:size]) is not None for size in cuts)
    assert seen > 0.9 * len(cuts)


def test_a_cut_between_packets_does_not_show(whole: dict[str, bytes]) -> None:
    data = whole["a.ts"]
    assert missing_from(data[: 188 * 20]) is None
    assert missing_from(data[: 188 * 20 + 1]) == "3761 bytes, of which the last 1 begin a packet of 188 bytes"


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_no_crash(name: str, whole: dict[str, bytes]) -> None:
    data = whole[name]
    for size in (1, 3, 4, 13, 14, 17, 187, 188, 400, 800):
        missing_from(data[:size])
    for at in range(0, 60):
        missing_from(data[:at] + b"\xff" + data[at + 1 :])
        missing_from(data[:at] + b"\x00" + data[at + 1 :])


@pytest.mark.parametrize("name", NAMES)
def test_the_video_is_truncated(name: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    data = whole[name]
    size = next(size for size in range(len(data) * 2 // 3, len(data)) if missing_from(data[:size]))
    (tmp_path / name).write_bytes(data[:size])
    with pytest.raises(VideoError) as caught:
        probe(tmp_path / name)
    assert caught.value.kind == "truncated"
