"""Resizing with a filter that grows with the reduction, as Pillow, torchvision and `transformers` resize.

OpenCV's interpolation looks at two or four pixels however much smaller the target is. These libraries average all
pixels that a target pixel covers. The numbers are those of PyTorch's uint8 kernel, which torchvision calls on a CPU:
filter weights are rounded to 16-bit integers, the width is resized first, and pixels between the two passes are
uint8; or those of Pillow, which differ by the precision of its weights, 22 bits, at most one level of 255.
From version 13 on
Pillow resizes the height first where it shrinks more than the width, which is never so where the aspect ratio is kept.
`resize_unrounded` has the numbers of PyTorch's float32 kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

Filter = Literal["bilinear", "bicubic"]

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_OUTPUTS_TOGETHER = 16  # of a product of matrices: more would multiply with more zeros, fewer are slower
_EXACT_IN_FLOAT32 = 1 << 24  # below it, sums of integers are exact
_WEIGHT_LIMIT = 1 << 15
_MOST_BITS = 22


def resize(
    image: npt.NDArray[np.uint8], width: int, height: int, kind: Filter, *, pillow: bool = False
) -> npt.NDArray[np.uint8]:
    """Resize an image.

    Args:
        image: uint8 `[H, W, 3]`.
        width, height: of the result, in pixels.
        kind: the filter, of a radius of one or two target pixels, or of as many source pixels where it is enlarged.
            The cubic one has the coefficient -0.5.
        pillow: whether the numbers are those of Pillow; else they are those of PyTorch.

    Returns:
        uint8 `[height, width, 3]`.
    """
    if image.shape[1] != width:
        planes = [_along_rows(plane.T, width, kind, pillow).T for plane in cv2.split(image)]
        image = cast(npt.NDArray[np.uint8], cv2.merge([np.ascontiguousarray(plane) for plane in planes]))
    if image.shape[0] != height:
        rows = np.ascontiguousarray(image).reshape(image.shape[0], -1)
        image = _along_rows(rows, height, kind, pillow).reshape(height, -1, 3)
    return image


def resize_unrounded(image: npt.NDArray[Any], width: int, height: int, kind: Filter) -> npt.NDArray[np.float32]:
    """The same without rounding, for processors that resize floating-point pixels.

    Args:
        image: `[H, W, 3]`.
        width, height, kind: as for `resize`.

    Returns:
        float32 `[height, width, 3]`.
    """
    height_now, width_now = image.shape[:2]
    pixels: npt.NDArray[Any] = image.astype(np.float32)
    if height_now != height:
        rows = pixels.reshape(height_now, -1)
        pixels = _product(rows, _float_blocks(height_now, height, kind), height).reshape(height, -1, 3)
    if width_now != width:
        blocks = _float_blocks(width_now, width, kind)
        planes = [_product(np.ascontiguousarray(plane.T), blocks, width).T for plane in cv2.split(pixels)]
        pixels = cast(npt.NDArray[np.float32], cv2.merge([np.ascontiguousarray(plane) for plane in planes]))
    return pixels


def _along_rows(image: npt.NDArray[np.uint8], size: int, kind: Filter, pillow: bool) -> npt.NDArray[np.uint8]:
    """uint8 `[N, M]` to `[size, M]`: each result row is a weighted sum of a few rows."""
    blocks, bits, dtype = _blocks(len(image), size, kind, pillow)
    sums = _product(image.astype(dtype), blocks, size)
    sums += dtype(1 << (bits - 1))
    sums *= dtype(2.0**-bits)  # exact, as a power of two
    np.floor(sums, out=sums)
    return np.clip(sums, 0, 255, out=sums).astype(np.uint8)


def _product(values: npt.NDArray[Any], blocks: tuple[_Block, ...], size: int) -> npt.NDArray[Any]:
    """The weighted sums of rows, `[size, M]`, in the memory order of the rows."""
    sums = np.empty((size, values.shape[1]), values.dtype, order="C" if values.flags.c_contiguous else "F")
    for block in blocks:
        np.matmul(block.weights, values[block.sources], out=sums[block.targets])
    return sums


@dataclass(frozen=True, eq=False)
class _Block:
    """A few neighbouring result rows: `weights` `[targets, sources]`, integers where results are rounded."""

    targets: slice
    sources: slice
    weights: npt.NDArray[Any]


@lru_cache(maxsize=32)
def _blocks(source: int, target: int, kind: Filter, pillow: bool) -> tuple[tuple[_Block, ...], int, Any]:
    """The weights of a resize from `source` to `target` pixels, their bits, and a type in which sums are exact."""
    starts, weights = _weights(source, target, kind)
    most = max(float(row.max()) for row in weights)
    bits = next(
        bits
        for bits in range(_MOST_BITS if pillow else 0, _MOST_BITS + 1)
        if bits == _MOST_BITS or int(0.5 + most * (1 << bits + 1)) >= _WEIGHT_LIMIT
    )
    integers = [np.trunc(row * (1 << bits) + np.where(row < 0, -0.5, 0.5)) for row in weights]
    largest = max(float(np.abs(row).sum()) for row in integers) * 255 + (1 << bits)
    dtype = np.float32 if largest < _EXACT_IN_FLOAT32 else np.float64
    return _of_few_rows(starts, integers, dtype), bits, dtype


@lru_cache(maxsize=32)
def _float_blocks(source: int, target: int, kind: Filter) -> tuple[_Block, ...]:
    return _of_few_rows(*_weights(source, target, kind), np.float32)


def _of_few_rows(starts: list[int], weights: list[npt.NDArray[Any]], dtype: Any) -> tuple[_Block, ...]:
    target, blocks = len(weights), []
    for first in range(0, target, _OUTPUTS_TOGETHER):
        rows = range(first, min(first + _OUTPUTS_TOGETHER, target))
        begin, end = starts[rows[0]], max(starts[row] + len(weights[row]) for row in rows)
        matrix = np.zeros((len(rows), end - begin), dtype)
        for place, row in zip(matrix, rows, strict=True):
            place[starts[row] - begin :][: len(weights[row])] = weights[row]
        blocks.append(_Block(slice(rows[0], rows[-1] + 1), slice(begin, end), matrix))
    return tuple(blocks)


def _weights(source: int, target: int, kind: Filter) -> tuple[list[int], list[npt.NDArray[np.float64]]]:
    """First source pixel and float64 weights, with the sum 1, of each target pixel."""
    scale = source / target
    stretch = max(scale, 1.0)
    radius = _SUPPORT[kind] * stretch
    starts, weights = [], []
    for pixel in range(target):
        centre = scale * (pixel + 0.5)
        start = max(int(centre - radius + 0.5), 0)
        end = min(int(centre + radius + 0.5), source)
        distances = np.abs((np.arange(start, max(end, start + 1)) - centre + 0.5) / stretch)
        row = _FILTERS[kind](distances)
        starts.append(start)
        weights.append(row / math.fsum(row))
    return starts, weights


def _triangle(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(1.0 - x, 0.0)


def _cubic(x: npt.NDArray[np.float64], a: float = -0.5) -> npt.NDArray[np.float64]:
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic}
