"""The host half of the main path: from a file to the pixels that a network needs of it.

Knows no model and does not import torch, so that the processes that decode start quickly and stay small.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfeat.errors import VideoError
from vidfeat.recipe import ModelSpec, Recipe
from vidfeat.sampling import FrameIndex, plan_clips
from vidfeat.transforms import FrameTransformer
from vidfeat.video import FrameCountError, VideoInfo, decode, probe, recount, with_exact_frames


@dataclass(frozen=True)
class Views:
    """All that the network needs of one video.

    Attributes:
        pixels: uint8 `[U, crops, H, W, 3]`, the U distinct frames that the clips are made of, transformed.
        clips: int64 `[clips, clip_len]`, values in `[0, U)`: which of those frames make which clip.
        frames: frames in the video.
        fps: frames per second, None where the file does not say.
    """

    pixels: npt.NDArray[np.uint8]
    clips: FrameIndex
    frames: int
    fps: float | None

    def batches(self, model: ModelSpec, frames_per_batch: int) -> Iterator[npt.NDArray[np.uint8]]:
        """The network's inputs, crop by crop and clip by clip, as the original orders them.

        Args:
            model: for 2 dimensions, `[N, H, W, 3]` with a frame per row and N a multiple of `segments`; for 3,
                `[N, T, H, W, 3]` with a clip per row.
            frames_per_batch: at least one clip or group of segments, and otherwise at most this many frames, are in a
                batch; all of them where `neck_joins_video`.
        """
        together = self.clips.reshape(-1, model.segments) if model.dims == 2 else self.clips
        in_order = [(crop, frames) for crop in range(self.pixels.shape[1]) for frames in together]
        per_batch = len(in_order) if model.neck_joins_video else max(1, frames_per_batch // together.shape[1])
        for start in range(0, len(in_order), per_batch):
            batch = np.stack([self.pixels[frames, crop] for crop, frames in in_order[start : start + per_batch]])
            yield batch.reshape(-1, *batch.shape[2:]) if model.dims == 2 else batch


def read_views(recipe: Recipe, path: str | os.PathLike[str]) -> Views:
    """The host half of the main path: probe, plan, decode, transform. Touches no model and no device.

    Args:
        recipe: what to sample and how to transform it.
        path: the video.

    Raises:
        VideoError: the video cannot be read, or a crop does not fit into its frames.
    """
    info = with_exact_frames(probe(path))
    try:
        return _views_of(recipe, info)
    except FrameCountError:
        # The container promised a frame per packet and did not keep it: count by decoding, and plan again.
        return _views_of(recipe, recount(info))


def _views_of(recipe: Recipe, info: VideoInfo) -> Views:
    plan = plan_clips(info.frames, recipe.sampling, info.fps)
    wanted, clips = np.unique(plan, return_inverse=True)
    transform = FrameTransformer(recipe.transforms)
    crops = [transform(frame, where=info.path) for _, frame in decode(info.path, wanted, info)]
    sizes = {crop.shape[1:3] for crop in crops}
    if len(sizes) > 1:
        raise VideoError(
            info.path,
            stage="decode",
            kind="corrupt",
            expected="frames of one size",
            found=f"{len(sizes)} sizes",
            do="Re-encode the video, or use a config that crops.",
        )
    return Views(np.stack(crops), clips.reshape(plan.shape), info.frames, info.fps)
