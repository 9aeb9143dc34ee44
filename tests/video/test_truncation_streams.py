"""Formats without a length as a whole: a cut shows where it is inside a packet, and a sound file is never doubted."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from video_files import write_video
from vidfeat.video.extent import find_truncation

from vidfeat.errors import VideoError
from vidfeat.video import probe


def shortfall_of(data: bytes) -> str | None:
    return find_truncation(io.BytesIO(data), len(data))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
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
def test_a_sound_file_lacks_nothing(name: str, sound: dict[str, bytes]) -> None:
    data = sound[name]
    assert shortfall_of(data) is None
    assert shortfall_of(data + data) is None
    assert shortfall_of(data + b"\x00" * 77) is None
    assert shortfall_of(data + b"trailing words, no packets") is None


@pytest.mark.parametrize("name", NAMES)
def test_most_cuts_show(name: str, sound: dict[str, bytes]) -> None:
    data = sound[name]
    cuts = range(len(data) // 4, len(data) - 20, 97)
    seen = sum(shortfall_of(data[:size]) is not None for size in cuts)
    assert seen > 0.9 * len(cuts)


def test_a_cut_between_packets_does_not_show(sound: dict[str, bytes]) -> None:
    data = sound["a.ts"]
    assert shortfall_of(data[: 188 * 20]) is None
    assert shortfall_of(data[: 188 * 20 + 1]) == "3761 bytes, of which the last 1 begin a packet of 188 bytes"


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_no_crash(name: str, sound: dict[str, bytes]) -> None:
    data = sound[name]
    for size in (1, 3, 4, 13, 14, 17, 187, 188, 400, 800):
        shortfall_of(data[:size])
    for at in range(0, 60):
        shortfall_of(data[:at] + b"\xff" + data[at + 1 :])
        shortfall_of(data[:at] + b"\x00" + data[at + 1 :])


@pytest.mark.parametrize("name", NAMES)
def test_the_video_is_truncated(name: str, sound: dict[str, bytes], tmp_path: Path) -> None:
    data = sound[name]
    size = next(size for size in range(len(data) * 2 // 3, len(data)) if shortfall_of(data[:size]))
    (tmp_path / name).write_bytes(data[:size])
    with pytest.raises(VideoError) as caught:
        probe(tmp_path / name)
    assert caught.value.kind == "truncated"
