"""Every real video of the shared folder against a plain linear decode, to the bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from video.video_files import pixels_of, plain_linear_decode
from vidfeat.errors import VideoError
from vidfeat.video import decode, probe, with_exact_frames

SHARED = Path(os.environ.get("VIDFEAT_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
VIDEOS = sorted(path for path in (SHARED / "videos").glob("*/*") if path.suffix != ".md")
INTACT = [path for path in VIDEOS if path.stem != "corrupted"]

pytestmark = pytest.mark.skipif(not VIDEOS, reason=f"no videos in {SHARED / 'videos'}; set VIDFEAT_SHARED")


@pytest.mark.parametrize("path", INTACT, ids=lambda path: path.name)
def test_frames_equal_a_plain_linear_decode(path: Path) -> None:
    info = with_exact_frames(probe(path))
    count = -1
    truth = plain_linear_decode(path)
    assert info.frames == len(truth)
    for count, frame in enumerate(decode(path, range(info.frames), info)):
        assert frame.index == count
        assert np.array_equal(frame.pixels, truth[count]), count
    assert count == len(truth) - 1
    last = info.frames - 1
    anywhere = np.random.default_rng(0).integers(0, info.frames, 5)
    for wanted in (np.linspace(0, last, 25).astype(int), [0], [last], anywhere):
        decoded = pixels_of(decode(path, wanted, info))
        assert list(decoded) == sorted(set(wanted))
        for index, frame in decoded.items():
            assert np.array_equal(frame, truth[index]), index


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("path", INTACT, ids=lambda path: path.name)
def test_a_shorter_copy_is_truncated(path: Path, share: float, tmp_path: Path) -> None:
    data = path.read_bytes()
    short = tmp_path / path.name
    short.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(VideoError) as caught:
        probe(short)
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("path", [path for path in VIDEOS if path.stem == "corrupted"], ids=lambda path: path.name)
def test_the_corrupted_file_fails(path: Path) -> None:
    info = probe(path)
    with pytest.raises(VideoError) as caught:
        list(decode(path, np.linspace(0, info.frames - 1, 25).astype(int), info))
    assert caught.value.kind in ("corrupt", "truncated")


@pytest.mark.parametrize(
    ("name", "frames", "size", "rotation"),
    [
        ("discard_first_keyframe.mp4", 25, (64, 64), 0),
        ("nasa_13013_rotated.mp4", 17, (270, 480), 90),
        ("video_90.mov", 3, (320, 568), 270),
        ("testsrc2_mpeg4.mp4", 1, (64, 64), 0),
    ],
)
def test_known_numbers(name: str, frames: int, size: tuple[int, int], rotation: int) -> None:
    info = with_exact_frames(probe(SHARED / "videos" / "edge" / name))
    assert (info.frames, (info.width, info.height), info.rotation) == (frames, size, rotation)
