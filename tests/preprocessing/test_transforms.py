"""Pixels: sizes and positions against arithmetic done by hand, normalisation against OpenCV's."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.errors import VideoError
from vidfeat.inference.network import Normalizer
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import (
    CenterCrop,
    Flip,
    Normalize,
    ResizeBy,
    ResizeShortEdge,
    ResizeTo,
    ResizeToPatches,
    ResizeWithin,
    TenCrop,
    ThreeCrop,
)


def numbered(height: int, width: int) -> np.ndarray:
    """A frame whose pixels say where they are: red the column, green the row."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.arange(width)
    frame[..., 1] = np.arange(height)[:, None]
    return frame


def corners(crops: np.ndarray) -> list[tuple[int, int]]:
    """(column, row) of each crop's first pixel."""
    return [(int(crop[0, 0, 0]), int(crop[0, 0, 1])) for crop in crops]


@pytest.mark.parametrize(
    ("transform", "size", "expected"),
    [
        (ResizeShortEdge(256), (340, 256), (340, 256)),
        (ResizeShortEdge(256), (320, 240), (341, 256)),
        (ResizeShortEdge(256), (1920, 1080), (455, 256)),
        (ResizeShortEdge(256), (240, 320), (256, 341)),
        (ResizeWithin(171, 128), (320, 240), (171, 128)),
        (ResizeWithin(171, 128), (640, 240), (171, 64)),
        (ResizeBy(0.5), (321, 240), (161, 120)),
        (ResizeTo(224, 112), (320, 240), (224, 112)),
        (ResizeToPatches(16, 256), (1920, 1080), (21 * 16, 12 * 16)),  # 22 x 12 would be 264 patches
        (ResizeToPatches(16, 256), (240, 320), (14 * 16, 18 * 16)),
        (ResizeToPatches(14, 256), (100, 100), (16 * 14, 16 * 14)),
        (ResizeToPatches(16, 4), (1000, 1), (4 * 16, 16)),
        (ResizeToPatches(16, 256), (1, 1), (7 * 16, 7 * 16)),  # 100 times as large
    ],
)
def test_sizes_and_pixels(transform: object, size: tuple[int, int], expected: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    (out,) = FrameTransformer((transform,))(frame, where="v")  # type: ignore[arg-type]
    assert (out.shape[1], out.shape[0]) == expected
    assert np.array_equal(out, cv2.resize(frame, expected, interpolation=cv2.INTER_LINEAR))


def test_center_crop() -> None:
    crops = FrameTransformer((CenterCrop(10, 6),))(numbered(21, 31), where="v")
    assert crops.shape == (1, 6, 10, 3)
    assert corners(crops) == [(10, 7)]


def test_three_crops_lie_left_right_middle() -> None:
    assert corners(FrameTransformer((ThreeCrop(20, 20),))(numbered(20, 31), where="v")) == [(0, 0), (10, 0), (5, 0)]
    assert corners(FrameTransformer((ThreeCrop(20, 20),))(numbered(31, 20), where="v")) == [(0, 0), (0, 10), (0, 5)]


def test_ten_crops_are_five_and_their_mirrors() -> None:
    crops = FrameTransformer((TenCrop(20, 10),))(numbered(21, 31), where="v")
    assert crops.shape == (10, 10, 20, 3)
    assert corners(crops[::2]) == [(0, 0), (8, 0), (0, 8), (8, 8), (4, 4)]
    assert np.array_equal(crops[1::2], crops[::2, :, ::-1])


def test_flips() -> None:
    frame = numbered(4, 5)
    assert np.array_equal(FrameTransformer((Flip("horizontal"),))(frame, where="v")[0], frame[:, ::-1])
    assert np.array_equal(FrameTransformer((Flip("vertical"),))(frame, where="v")[0], frame[::-1])


@pytest.mark.parametrize("crop", [CenterCrop(32, 8), ThreeCrop(32, 20), ThreeCrop(10, 10), TenCrop(8, 32)])
def test_a_crop_that_does_not_fit_is_the_videos_error(crop: object) -> None:
    with pytest.raises(VideoError, match=r"clip\.mp4.*frame of 30x20") as caught:
        FrameTransformer((crop,))(numbered(20, 30), where="clip.mp4")  # type: ignore[arg-type]
    assert caught.value.kind == "too_small"


@given(st.tuples(*[st.floats(0, 255)] * 3), st.tuples(*[st.floats(0.25, 255)] * 3), st.booleans(), st.integers(2, 3))
def test_normalize_is_opencvs(
    mean: tuple[float, float, float], std: tuple[float, float, float], to_bgr: bool, dims: int
) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    expected = []
    for crop in crops:
        image = crop.astype(np.float32)
        if to_bgr:
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)
        cv2.subtract(image, np.float64(np.float32(mean)).reshape(1, -1), image)
        cv2.multiply(image, 1 / np.float64(np.float32(std)).reshape(1, -1), image)
        expected.append(image)
    pixels = torch.from_numpy(crops if dims == 2 else crops[None])
    out = Normalizer(Normalize(mean, std, to_bgr), dims)(pixels).numpy()
    out = out.transpose(0, 2, 3, 1) if dims == 2 else out[0].transpose(1, 2, 3, 0)
    np.testing.assert_allclose(out, expected, rtol=3e-7, atol=1e-6)
