"""The host half of the main path: from a file to the pixels that a network needs of it.

Knows no model and does not import torch, so that the processes that decode start quickly and stay small.
"""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidfeat.errors import VideoError
from vidfeat.preprocessing.sampling import FrameIndex, plan_clips
from vidfeat.preprocessing.transforms import FrameTransformer, Image
from vidfeat.recipe import FrameTransform, ModelSpec, Recipe, Sampling, TenCrop, ThreeCrop, WindowSampling
from vidfeat.video import FrameCountError, Nvdec, VideoInfo, decode, probe, recount, salvage

OnCorrupt = Literal["fail", "salvage"]

FRAMES_PER_CHUNK = 256
"""Distinct frames of a video that are handed over at once. Few bound the memory, many let clips share frames."""


@dataclass(frozen=True)
class PreprocessSpec:
    """How a video becomes views: what the host half needs of a recipe. Unlike a recipe it holds nothing of a model, so
    that a process can unpickle it without importing torch.

    Attributes:
        sampling: which frames make which clip.
        transforms: what is done to each frame.
        segments: frames that the network looks at together, as in `ModelSpec`; they stay in one chunk.
        in_one_piece: whether the network looks at a whole video at once, as in `ModelSpec.neck_joins_video`.
        on_corrupt: what to do with a video that is truncated or corrupt: raise, or plan over the frames that decode.
        nvdec: decodes what it can; None leaves everything to PyAV.
    """

    sampling: Sampling
    transforms: tuple[FrameTransform, ...]
    segments: int = 1
    in_one_piece: bool = False
    on_corrupt: OnCorrupt = "fail"
    nvdec: Nvdec | None = None

    @classmethod
    def of(cls, recipe: Recipe, on_corrupt: OnCorrupt = "fail", nvdec: Nvdec | None = None) -> PreprocessSpec:
        """The host half's share of a recipe."""
        model = recipe.model
        return cls(recipe.sampling, recipe.transforms, model.segments, model.neck_joins_video, on_corrupt, nvdec)


@dataclass(frozen=True)
class ClipBatch:
    """What the network needs of one video, or of a run of its clips.

    Attributes:
        pixels: uint8 `[U, crops, H, W, 3]`, the U distinct frames that the clips are made of, transformed.
        clips: int64 `[clips, clip_len]`, values in `[0, U)`: which of those frames make which clip.
        first_clip: position of the first of these clips in the video's plan. 0 begins the video, or begins it anew:
            what came before is void.
        start_seconds, end_seconds: float64 `[clips]`.
    """

    pixels: npt.NDArray[np.uint8]
    clips: FrameIndex
    first_clip: int
    start_seconds: npt.NDArray[np.float64]
    end_seconds: npt.NDArray[np.float64]

    @property
    def crops(self) -> int:
        """Crops of every frame."""
        return self.pixels.shape[1]

    def samples(self, model: ModelSpec) -> list[Sample]:
        """The network's inputs, crop by crop and clip by clip, as the original orders them.

        Args:
            model: for 3 dimensions a unit is a clip; for 2, `segments` frames; everything where `neck_joins_video`.
        """
        if model.neck_joins_video:
            return [Sample([(crop, int(frame)) for crop in range(self.crops) for frame in self.clips.flat])]
        together = self.clips if model.dims == 3 else self.clips.reshape(-1, model.segments)
        return [Sample([(crop, int(frame)) for frame in frames]) for crop in range(self.crops) for frames in together]

    def gather(self, sample: Sample, into: npt.NDArray[np.uint8]) -> None:
        """Copy the pixels of a unit.

        Args:
            sample: one of `samples`.
            into: uint8 `[frames, H, W, 3]`, as many frames as the unit has.
        """
        for place, (crop, frame) in zip(into, sample.frames, strict=True):
            place[...] = self.pixels[frame, crop]


@dataclass(frozen=True)
class Sample:
    """What a network takes at once at the least: a clip, or the frames that an image network looks at together.

    Attributes:
        frames: crop and position in `ClipBatch.pixels` of each frame, in order.
    """

    frames: Sequence[tuple[int, int]]


def samples_per_video(recipe: Recipe) -> int | None:
    """How many units every video has; None where that depends on its length."""
    if recipe.model.neck_joins_video:
        return 1
    if isinstance(recipe.sampling, WindowSampling):
        return None
    clips = plan_clips(1, recipe.sampling)
    crops = math.prod(_CROPS.get(type(transform), 1) for transform in recipe.transforms)
    return crops * (len(clips) if recipe.model.dims == 3 else clips.size // recipe.model.segments)


_CROPS: dict[type, int] = {ThreeCrop: 3, TenCrop: 10}


def read_views(
    recipe: Recipe, path: str | os.PathLike[str], *, on_corrupt: OnCorrupt = "fail", info: VideoInfo | None = None
) -> ClipBatch:
    """All views of a video in one piece, with all their frames in memory: `read_clips` without its bound.

    Args:
        recipe: what to sample and how to transform it.
        path: the video.
        on_corrupt: as in `PreprocessSpec`.
        info: as for `read_clips`.

    Raises:
        VideoError: as `read_clips` does.
    """
    *_, views = read_clips(PreprocessSpec.of(recipe, on_corrupt), path, max_frames=sys.maxsize, info=info)
    return views


def read_clips(
    spec: PreprocessSpec,
    path: str | os.PathLike[str],
    max_frames: int = FRAMES_PER_CHUNK,
    *,
    info: VideoInfo | None = None,
    on_info: Callable[[VideoInfo], object] = lambda info: None,
) -> Iterator[ClipBatch]:
    """The host half of the main path: probe, plan, decode, transform. Touches no model and no device.

    Args:
        spec: what to sample and how to transform it.
        path: the video.
        max_frames: distinct frames of a chunk; more only where a single clip, or group of segments, has more.
        info: what `probe` said; probed where None. Without its packets, all frames up to the last wanted are decoded.
        on_info: called with what the probe finds, before the long work begins.

    Yields:
        The clips in the order of the plan, in runs. The video is decoded once and from front to back: a frame is kept
        from when it is decoded until the last chunk that needs it, so that memory is bounded for plans whose clips
        move forward. Should the file turn out to hold another number of frames than it says, the clips begin again with
        `first_clip` 0, and those before are void.

    Raises:
        VideoError: the video cannot be read, or a crop does not fit into its frames. Chunks before it are void.
        DeviceError: see `Nvdec.decode`.
    """
    try:
        yield from _read_sound(spec, info or probe(path), max_frames, on_info)
    except VideoError as error:
        if spec.on_corrupt == "fail" or error.kind not in ("truncated", "corrupt"):
            raise
        try:
            info = salvage(path)
        except VideoError:
            raise error from None  # nothing decodes: what is wrong with the whole file says more
        yield from _chunks_of(spec, info, max_frames)


def _read_sound(
    spec: PreprocessSpec, info: VideoInfo, max_frames: int, on_info: Callable[[VideoInfo], object]
) -> Iterator[ClipBatch]:
    on_info(info)
    try:
        yield from _chunks_of(spec, info, max_frames)
    except FrameCountError as error:
        # The container promised a frame per packet and did not keep it, or the estimate was wrong: plan again.
        yield from _chunks_of(spec, recount(info, error.frames), max_frames)


def _chunks_of(spec: PreprocessSpec, info: VideoInfo, max_frames: int) -> Iterator[ClipBatch]:
    plan = plan_clips(info.frames, spec.sampling, info.fps)
    groups = group_clips(plan, spec.segments, sys.maxsize if spec.in_one_piece else max_frames)
    waiting = deque(groups)
    last_group = {int(frame): group for group in groups for frame in plan[group].flat}
    transform = FrameTransformer(spec.transforms)
    kept: dict[int, Image] = {}
    shape: tuple[int, ...] = ()
    frames = decode if spec.nvdec is None else spec.nvdec.decode
    for index, frame in frames(info.path, np.unique(plan), info, to_end=not info.frames_exact):
        kept[index] = transform(frame, where=info.path)
        shape = shape or kept[index].shape
        _require_shape(info.path, kept[index], shape)
        while waiting and plan[waiting[0]].max() <= index:
            group = waiting.popleft()
            yield _gather(kept, plan, group, info)
            kept = {number: crops for number, crops in kept.items() if last_group[number].start > group.start}


def group_clips(plan: FrameIndex, segments: int, max_frames: int) -> list[slice]:
    """Cut a plan into runs of clips with a bounded number of distinct frames.

    Args:
        plan: int64 `[clips, clip_len]`.
        segments: frames that belong together, across neighbouring clips; no cut parts them.
        max_frames: bound on the distinct frames of a run, unless the least possible run has more.

    Returns:
        Slices of the plan's rows, in order, none empty, together the whole plan. Each is as long as it can be.
    """
    step = segments // math.gcd(segments, plan.shape[1])
    cuts, distinct = [0], set[int]()
    for start in range(0, len(plan), step):
        frames = set(plan[start : start + step].flat)
        if distinct and len(distinct) + len(frames - distinct) > max_frames:
            cuts.append(start)
            distinct = set()
        distinct |= frames
    return [slice(start, end) for start, end in zip(cuts, [*cuts[1:], len(plan)], strict=True)]


def _gather(kept: dict[int, Image], plan: FrameIndex, group: slice, info: VideoInfo) -> ClipBatch:
    wanted, clips = np.unique(plan[group], return_inverse=True)
    return ClipBatch(
        np.stack([kept[index] for index in wanted]),
        clips.reshape(plan[group].shape),
        group.start,
        plan[group].min(1) / (info.fps or 1.0),
        (plan[group].max(1) + 1) / (info.fps or 1.0),
    )


def _require_shape(path: str, crops: Image, shape: tuple[int, ...]) -> None:
    if crops.shape == shape:
        return
    sizes = [f"{width}x{height}" for _, height, width, _ in (shape, crops.shape)]
    raise VideoError(
        path,
        stage="decode",
        kind="corrupt",
        expected="frames of one size",
        found=f"{sizes[0]}, then {sizes[1]}",
        hint="Re-encode the video, or use a config that crops.",
    )
