from pathlib import Path

import cv2
import numpy as np
import pytest

from made_outputs import write_clip
from vidfeat.errors import VideoError
from vidfeat.tools.report import pictures
from vidfeat.tools.report.pictures import Wanted


def colours_of(taken: list[pictures.Picture]) -> np.ndarray:
    images = [cv2.imdecode(np.frombuffer(one.webp, np.uint8), cv2.IMREAD_COLOR) for one in taken]
    return np.array([image.mean(axis=(0, 1)) for image in images])


def size_of(picture: pictures.Picture) -> tuple[int, ...]:
    return cv2.imdecode(np.frombuffer(picture.webp, np.uint8), cv2.IMREAD_COLOR).shape[:2]


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".m2ts", ".mkv"])
def test_pictures_are_taken_evenly_over_the_time(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"a{suffix}", frames=40, seed=1)  # one group of pictures, and no index in a `.ts`
    taken = pictures.pictures_of(Wanted(clip, 4))
    assert [size_of(one) for one in taken] == [(64, 96)] * 4  # never enlarged
    colour = np.random.default_rng(1).integers(120, 256, 3)[::-1]
    np.testing.assert_allclose(colours_of(taken), [colour * (number + 0.5) / 4 for number in range(4)], atol=12)
    start = taken[0].seconds - 0.5
    np.testing.assert_allclose([one.seconds - start for one in taken], [0.5, 1.5, 2.5, 3.5], atol=0.11)
    assert len(pictures.pictures_of(Wanted(clip, 1))) == 1
    assert len(pictures.pictures_of(Wanted(write_clip(tmp_path / f"b{suffix}", frames=3), 6))) in (2, 3)


def test_each_row_has_a_picture_of_its_time(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=100, seed=1)
    spans = np.array([[0.0, 0.4], [5.0, 5.2], [9.0, 10.0], [2.0, 3.0]])
    taken = pictures.pictures_of(Wanted(clip, 8, spans))
    assert [one.seconds for one in taken] == pytest.approx([0.2, 5.1, 9.5, 2.5])
    joined = pictures.pictures_of(Wanted(clip, 2, np.array([[k, k + 1.0] for k in range(10)])))
    assert [one.seconds for one in joined] == pytest.approx([0.0, 7.5])  # the key frame, where a span is long


def test_large_and_upright(tmp_path: Path) -> None:
    (picture,) = pictures.pictures_of(Wanted(write_clip(tmp_path / "a.mp4", size=(640, 360)), 1))
    assert size_of(picture) == (81, 144)


def test_broken_files_have_no_pictures_and_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0" * 5000)
    for name, reason in (("a.mp4", "damaged or unknown data"), ("missing.mp4", "no file of that name")):
        with pytest.raises(VideoError, match=reason):
            pictures.pictures_of(Wanted(tmp_path / name, 3))
    ((key, error),) = pictures.take_pictures({7: Wanted(tmp_path / "a.mp4", 3)}, 1000)
    assert (key, type(error)) == (7, VideoError)


def test_real_files(shared: Path) -> None:
    upright = shared / "videos" / "edge" / "nasa_13013_rotated.mp4"
    plain = shared / "videos" / "edge" / "nasa_13013.mp4"
    turned, straight = (size_of(pictures.pictures_of(Wanted(path, 1))[0]) for path in (upright, plain))
    assert (straight[0] < straight[1]) != (turned[0] < turned[1])
    shifted = pictures.pictures_of(Wanted(shared / "videos" / "edge" / "test_non_zero_start.mp4", 4))
    assert all(one.seconds >= 8.3 for one in shifted)  # in the file's presentation time, as rows are


def test_the_budget_is_kept(tmp_path: Path) -> None:
    wanted = {number: Wanted(write_clip(tmp_path / f"{number}.mp4", seed=number, frames=5), 1) for number in range(6)}
    size = len(pictures.pictures_of(wanted[0])[0].webp)
    taken = dict(pictures.take_pictures(wanted, budget_bytes=2 * size + size // 2))
    assert list(taken) == [0, 1, 2]
    assert dict(pictures.take_pictures(wanted, budget_bytes=100 * size)).keys() == wanted.keys()


@pytest.mark.parametrize(
    ("videos", "over_time", "expected"),
    [
        (0, False, (6, 0)),
        (10, False, (6, 10)),
        (10, True, (48, 10)),
        (200, True, (33, 200)),
        (2000, False, (3, 2000)),
        (10_000, True, (1, 6666)),
    ],
)
def test_what_a_video_gets(videos: int, over_time: bool, expected: tuple[int, int]) -> None:
    assert pictures.pictures_per_video(videos, 12_000_000, over_time=over_time) == expected


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
