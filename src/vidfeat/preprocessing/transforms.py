"""From a decoded frame to its crops: with OpenCV on uint8, exactly as MMAction2 does, or as torchvision does.

On the device `vidfeat.inference.network` then makes floats of them. Crops are a quarter of the bytes, so they are
what is kept and moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from vidfeat.errors import VideoError
from vidfeat.preprocessing import antialias
from vidfeat.recipe import (
    CenterCrop,
    Flip,
    FrameTransform,
    ResizeBy,
    ResizeShortEdge,
    ResizeTo,
    ResizeToPatches,
    ResizeWithin,
    TenCrop,
    ThreeCrop,
)

Image = npt.NDArray[Any]
"""Array of shape `[height, width, 3]`, RGB, of `Recipe.pixel_dtype`."""

# Parallelism comes from decoding several videos at once; OpenCV's own threads would only compete with the model's.
cv2.setNumThreads(1)

Size = tuple[int, int]
"""Width and height, in pixels."""

_INTERPOLATION: dict[str, Callable[[Image, Size], Any]] = {
    "bilinear": lambda image, size: cv2.resize(image, size, interpolation=cv2.INTER_LINEAR),
    "nearest": lambda image, size: cv2.resize(image, size, interpolation=cv2.INTER_NEAREST),
    # torchvision's without antialiasing; rint rounds halves to even, as PyTorch does
    "bilinear_float": lambda image, size: np.rint(
        cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    ).astype(np.uint8),
    "antialiased_bilinear": lambda image, size: antialias.resize(image, *size, "bilinear"),
    "antialiased_bicubic": lambda image, size: antialias.resize(image, *size, "bicubic"),
    "pillow_bilinear": lambda image, size: antialias.resize(image, *size, "bilinear", pillow=True),
    "pillow_bicubic": lambda image, size: antialias.resize(image, *size, "bicubic", pillow=True),
    "antialiased_bilinear_unrounded": lambda image, size: antialias.resize_unrounded(image, *size, "bilinear"),
    "antialiased_bicubic_unrounded": lambda image, size: antialias.resize_unrounded(image, *size, "bicubic"),
    "nearest_exact": lambda image, size: image[_nearest(image.shape[0], size[1])][:, _nearest(image.shape[1], size[0])],
}


def _nearest(pixels: int, wanted: int) -> npt.NDArray[np.int64]:
    """Of each pixel of the result the one whose middle is nearest to its own, as PyTorch's nearest-exact rounds."""
    scale = np.float64(np.float32(pixels) / np.float32(wanted))
    # in float32, but for the product: processors add to it before they round
    places = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    return np.minimum((places + np.float32(0.5)).astype(np.int64), pixels - 1)


class CropDoesNotFitError(Exception):
    """A crop is larger than the frame; the caller knows which video that was."""


class FrameTransformer:
    """One RGB frame in, its crops out.

    Args:
        transforms: the steps, in order.
    """

    def __init__(self, transforms: tuple[FrameTransform, ...]) -> None:
        self._steps = [_step(transform) for transform in transforms]

    def __call__(self, frame: Image, *, where: str) -> Image:
        """All crops of a frame.

        Args:
            frame: uint8 `[H, W, 3]`.
            where: the video's path, for the error.

        Returns:
            `[crops, h, w, 3]`, C-contiguous: uint8, or float32 where a transform does not round.

        Raises:
            VideoError: a crop is larger than the (resized) frame.
        """
        images = [frame]
        try:
            for step in self._steps:
                images = step(images)
        except CropDoesNotFitError as error:
            raise VideoError(
                where,
                stage="sample",
                kind="too_small",
                expected=f"frames that the crop fits into ({error})",
                found=f"a frame of {frame.shape[1]}x{frame.shape[0]} pixels",
                hint="Put a Resize before the crop, or leave the video out.",
            ) from None
        return np.stack(images)


def _step(transform: FrameTransform) -> Callable[[list[Image]], list[Image]]:
    """The function, over all images so far, that carries out one transform."""
    make = _STEPS[type(transform)]
    apply = make(transform)
    return lambda images: [out for image in images for out in apply(image)]


Apply = Callable[[Image], list[Image]]


def _resize(transform: Any) -> Apply:
    size_of = _SIZES[type(transform)]
    interpolate = _INTERPOLATION[transform.interpolation]

    def apply(image: Image) -> list[Image]:
        height, width = image.shape[:2]
        size = size_of(transform, width, height)
        if size == (width, height):
            return [image]
        return [cast(Image, interpolate(image, size))]

    return apply


def _scaled(width: int, height: int, factor: float) -> Size:
    # Rounded half up, as the original rounds; Python's own `round` would go to even.
    return int(width * factor + 0.5), int(height * factor + 0.5)


def _short_edge(transform: ResizeShortEdge, width: int, height: int) -> Size:
    if transform.rounding == "half_up":
        return _scaled(width, height, transform.short / min(width, height))
    # In integers, as other results could be one pixel less.
    long = transform.short * max(width, height) // min(width, height)
    return (transform.short, long) if width <= height else (long, transform.short)


def _within(transform: ResizeWithin, width: int, height: int) -> Size:
    factor = min(transform.long / max(width, height), transform.short / min(width, height))
    return _scaled(width, height, factor)


def _whole_patches(transform: ResizeToPatches, width: int, height: int) -> Size:
    """The factor is searched for as SigLIP 2's processor does: up to 100, to 1e-5 below the largest."""

    def patches(pixels: int, factor: float) -> int:
        return max(1, math.ceil(pixels * factor / transform.patch_size))

    low, high = 1e-5 / 10, 100.0
    while high - low >= 1e-5:
        factor = (low + high) / 2
        if patches(width, factor) * patches(height, factor) <= transform.max_patches:
            low = factor
        else:
            high = factor
    return patches(width, low) * transform.patch_size, patches(height, low) * transform.patch_size


_SIZES: dict[type, Callable[[Any, int, int], Size]] = {
    ResizeShortEdge: _short_edge,
    ResizeWithin: _within,
    ResizeBy: lambda t, w, h: _scaled(w, h, t.factor),
    ResizeTo: lambda t, w, h: (t.width, t.height),
    ResizeToPatches: _whole_patches,
}


Corners = Callable[[int, int], list[tuple[int, int]]]
"""From the margins of a crop to the left and right of it together, and above and below, to the left upper corners."""


def _crops_at(transform: CenterCrop | ThreeCrop | TenCrop, corners: Corners) -> Apply:
    width, height = transform.width, transform.height

    def apply(image: Image) -> list[Image]:
        across, down = image.shape[1] - width, image.shape[0] - height
        if min(across, down) < 0:
            raise CropDoesNotFitError(f"crop {width}x{height} of a frame of {image.shape[1]}x{image.shape[0]}")
        return [image[top : top + height, left : left + width] for left, top in corners(across, down)]

    return apply


def _center_crop(transform: CenterCrop) -> Apply:
    half = _HALF[transform.rounding]
    crop = _crops_at(transform, lambda across, down: [(half(across), half(down))])
    if transform.smaller != "pad":
        return crop
    return lambda image: crop(_padded(image, transform.width, transform.height))


_HALF: dict[str, Callable[[int], int]] = {"down": lambda margin: margin // 2, "half_even": lambda m: round(m / 2)}


def _padded(image: Image, width: int, height: int) -> Image:
    """Black margins on all sides, of which the right and the lower one get the odd pixel."""
    missing = [max(0, height - image.shape[0]), max(0, width - image.shape[1]), 0]
    return np.pad(image, [(pixels // 2, pixels - pixels // 2) for pixels in missing])


def _three_crop(transform: ThreeCrop) -> Apply:
    width, height = transform.width, transform.height

    def corners(across: int, down: int) -> list[tuple[int, int]]:
        if down == 0:
            return [(0, 0), (2 * (across // 2), 0), (across // 2, 0)]
        if across == 0:
            return [(0, 0), (0, 2 * (down // 2)), (0, down // 2)]
        found = f"{width + across}x{height + down}"
        raise CropDoesNotFitError(f"ThreeCrop {width}x{height} needs one edge of the frame to match; it is {found}")

    return _crops_at(transform, corners)


def _ten_crop(transform: TenCrop) -> Apply:
    def corners(across: int, down: int) -> list[tuple[int, int]]:
        # Steps of a quarter: the far corners lie at 4 steps, which is up to 3 pixels short of the edge.
        x, y = across // 4, down // 4
        return [(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)]

    crop = _crops_at(transform, corners)
    return lambda image: [out for plain in crop(image) for out in (plain, plain[:, ::-1])]


def _flip(transform: Flip) -> Apply:
    axis = 1 if transform.direction == "horizontal" else 0
    return lambda image: [np.flip(image, axis)]


_STEPS: dict[type, Callable[[Any], Apply]] = {
    ResizeShortEdge: _resize,
    ResizeWithin: _resize,
    ResizeBy: _resize,
    ResizeTo: _resize,
    ResizeToPatches: _resize,
    CenterCrop: _center_crop,
    ThreeCrop: _three_crop,
    TenCrop: _ten_crop,
    Flip: _flip,
}
