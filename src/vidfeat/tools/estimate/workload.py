"""What a recipe asks of a video, in the units that time is predicted in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidfeat.preprocessing.clips import PreprocessSpec, require_frames
from vidfeat.preprocessing.grid import FrameIndex
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import Recipe
from vidfeat.video import VideoInfo
from vidfeat.videos import Cut

OPENING_PIXELS = 3_000_000
"""Opening and probing a video takes some 8 ms, in which so many pixels are decoded."""


@dataclass(frozen=True)
class Workload:
    """The work that one video is.

    Attributes:
        clips: clips of its plan; rows, where the grid has rows of their own.
        inputs: rows of the network's batches: a clip, or for image networks a frame, under one crop each.
        decoding_pixels: what decoding it is worth; see `decoding_pixels`.
        network_pixels: pixels that pass through the network.
    """

    clips: int
    inputs: int
    decoding_pixels: int
    network_pixels: int


class Workloads:
    """Measures videos by a recipe, without decoding them.

    Args:
        recipe: what is to be done to them.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._transform = FrameTransformer(recipe.transforms)
        self._shapes: dict[tuple[int, int], tuple[int, ...]] = {}

    def of(self, info: VideoInfo, segment: Cut | None = None) -> Workload:
        """The work that a video, or a segment of it, is.

        Raises:
            VideoError: its frames are too small for the recipe's crops, or none is in the segment.
        """
        if segment is not None:
            require_frames(info, segment)
        spec = PreprocessSpec.of(self._recipe)
        plan, windows = spec.plan(info, segment).frame_index, spec.windows(info, segment)
        crops, height, width = self._crops_of(info)
        return Workload(
            clips=len(plan) // (spec.sampling.clips_per_row or 1) if windows is None else len(windows),
            inputs=crops * (plan.size if self._recipe.model.dims == 2 else len(plan)),
            decoding_pixels=decoding_pixels(info, plan),
            network_pixels=crops * plan.size * height * width,
        )

    def _crops_of(self, info: VideoInfo) -> tuple[int, ...]:
        """Number, height and width of the crops of a frame: tried out on a black one, once for every size."""
        size = info.height, info.width
        if size not in self._shapes:
            self._shapes[size] = self._transform(np.zeros((*size, 3), np.uint8), where=info.path).shape[:3]
        return self._shapes[size]


def decoding_pixels(info: VideoInfo, plan: FrameIndex) -> int:
    """What decoding a video is worth, in decoded pixels.

    That is the pixels of all frames up to the last wanted one, which are decoded, those of the wanted ones, which are
    transformed, and `OPENING_PIXELS`.

    Frames that the decoder may leave out count as well: which they are is only known from the packets, and a sample of
    the videos shows how much it matters.

    Args:
        info: the video.
        plan: its plan, or the first clips of it.
    """
    decoded = int(plan.max()) + 1 if info.frames_exact else info.frames
    return OPENING_PIXELS + info.width * info.height * (decoded + len(np.unique(plan)))
