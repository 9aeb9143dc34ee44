from pathlib import Path

import cv2
import numpy as np
import pytest

from made_outputs import write_clip
from vidfeat.tools.report import pictures


def test_frames_are_taken_evenly_over_the_time(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=40, seed=1)
    images = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in pictures.frames_of(clip, 4)]
    assert [image.shape for image in images] == [(64, 96, 3)] * 4  # never enlarged
    colour = np.random.default_rng(1).integers(120, 256, 3)[::-1]
    for number, image in enumerate(images):
        expected = colour * (number + 0.5) / 4
        np.testing.assert_allclose(image.mean(axis=(0, 1)), expected, atol=12)


def test_large_and_upright(tmp_path: Path) -> None:
    (jpeg,) = pictures.frames_of(write_clip(tmp_path / "a.mp4", size=(640, 360)), 1)
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (81, 144, 3)


def test_broken_files_have_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0" * 5000)
    assert pictures.frames_of(tmp_path / "a.mp4", 3) == []
    assert pictures.frames_of(tmp_path / "missing.mp4", 3) == []


def test_real_files(shared: Path) -> None:
    upright = shared / "videos" / "edge" / "nasa_13013_rotated.mp4"
    plain = shared / "videos" / "edge" / "nasa_13013.mp4"
    turned, straight = (
        cv2.imdecode(np.frombuffer(pictures.frames_of(path, 1)[0], np.uint8), cv2.IMREAD_COLOR).shape[:2]
        for path in (upright, plain)
    )
    assert (straight[0] < straight[1]) != (turned[0] < turned[1])


def test_the_budget_is_kept(tmp_path: Path) -> None:
    paths = {number: write_clip(tmp_path / f"{number}.mp4", seed=number, frames=5) for number in range(6)}
    size = len(pictures.frames_of(paths[0], 1)[0])
    taken = dict(pictures.take_pictures(paths, 1, budget_bytes=2 * size + size // 2))
    assert list(taken) == [0, 1, 2]
    assert dict(pictures.take_pictures(paths, 1, budget_bytes=100 * size)).keys() == paths.keys()


@pytest.mark.parametrize(
    ("videos", "expected"), [(0, (6, 0)), (10, (6, 10)), (1000, (3, 1000)), (3000, (1, 3000)), (10_000, (1, 3000))]
)
def test_what_a_video_gets(videos: int, expected: tuple[int, int]) -> None:
    assert pictures.frames_per_video(videos, 12_000_000) == expected


def test_only_what_lies_below_the_root_is_found(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for name in ("a/x.mp4", "b c.webm"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    assert pictures.find_video("a/x.mp4", root) == root / "a/x.mp4"
    assert pictures.find_video("a/x", root) == root / "a/x.mp4"
    assert pictures.find_video("b c", root) == root / "b c.webm"
    assert pictures.find_video(f"{root}/a/x.mp4", root) == root / "a/x.mp4"
    for name in ("../secret.mp4", "a/../../secret.mp4", f"{tmp_path}/secret.mp4", "", "\0", "a", "n" * 5000, "\udc80"):
        assert pictures.find_video(name, root) is None
    assert pictures.find_video("a/x.mp4", None) is None
