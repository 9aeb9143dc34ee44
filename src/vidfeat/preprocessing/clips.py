"""The preprocessing stage: from a video file to the pixels of its clips.

Independent of models and of torch, so that decode processes start quickly and stay small.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vidfeat.errors import VideoError
from vidfeat.preprocessing.grid import PADDING, ClipPlan, FrameIndex
from vidfeat.preprocessing.transforms import FrameTransformer, Image
from vidfeat.preprocessing.windows import Windows
from vidfeat.recipe import CenterCrop, FrameTransform, ModelSpec, Recipe, ResizeTo, TenCrop, ThreeCrop, TimeGrid
from vidfeat.video import Frame, FrameCountError, Nvdec, VideoInfo, decode, probe, recount, salvage
from vidfeat.video.info import OnCorrupt
from vidfeat.videos import Cut, VideoRef, has_rows, ranges_of

FRAMES_PER_CHUNK = 128
"""Distinct frames of a `ClipBatch`. A low number bounds the memory, a high one lets clips share frames."""


Sample: TypeAlias = Sequence[tuple[int, int]]
"""The smallest input of a network, a clip or the frames that an image network processes together: crop and position in
`ClipBatch.pixels` of each frame, in order."""


@dataclass(frozen=True)
class PreprocessSpec:
    """How a video becomes clips: what the preprocessing stage needs of an encoder. It can be unpickled without torch.

    Attributes:
        sampling: which frames make which clip.
        transforms: what is done to each frame.
        segments: frames that the network processes together, as in `ModelSpec`; they stay in one batch.
        in_one_piece: whether the network processes a whole video at once, as in `ModelSpec.neck_joins_video`.
        frames_once: whether each frame is a clip, whatever windows it is in, as in `Recipe.frames_once`.
    """

    sampling: TimeGrid
    transforms: tuple[FrameTransform, ...]
    segments: int = 1
    in_one_piece: bool = False
    frames_once: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> PreprocessSpec:
        """The part of a recipe that belongs to the preprocessing stage."""
        model = recipe.model
        return cls(recipe.sampling, recipe.transforms, model.segments, model.neck_joins_video, recipe.frames_once)

    def plan(self, info: VideoInfo, segment: Cut | None = None) -> ClipPlan:
        """The clips of a video, as they are delivered.

        Raises:
            VideoError: the video has more windows than can be.
        """
        try:
            plan = self.sampling.plan(info.timeline, segment)
        except ValueError as error:
            where, found = os.fspath(info.path), str(error)
            raise VideoError(where, stage="sample", kind="too_large", expected="a plan", found=found) from None
        return plan.frames(info.timeline) if self.frames_once else plan

    def windows(self, info: VideoInfo, segment: Cut | None = None) -> ClipPlan | None:
        """The rows whose frames are delivered one by one; None where clips are delivered."""
        if not self.frames_once:
            return None
        plan, per_row = self.sampling.plan(info.timeline, segment), self.sampling.clips_per_row or 1
        rows = len(plan) // per_row
        return ClipPlan(plan.frame_index.reshape(rows, -1), plan.start_seconds[::per_row], plan.end_seconds[::per_row])

    @property
    def crops(self) -> int:
        """Crops of every frame."""
        return math.prod(_CROPS.get(type(transform), 1) for transform in self.transforms)

    @property
    def frames_of_one_size(self) -> bool:
        """Whether frames are of one size in the end, whatever that of the video."""
        return any(isinstance(transform, _OF_ONE_SIZE) for transform in self.transforms)

    @property
    def clips_of_one_length(self) -> bool:
        """Whether a row is made of as many frames in every video."""
        grid = self.sampling
        return (
            not isinstance(grid, Windows) or grid.fps is not None or isinstance(grid.window, int) or grid.clip_len > 0
        )


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """The pixels of a run of a video's clips.

    Attributes:
        pixels: `[U, crops, H, W, 3]`, the U distinct frames that the clips are made of, transformed: uint8, or float32
            where a transform does not round.
        clips: int64 `[clips, clip_len]`, values in `[0, U)`: which of those frames make which clip.
        first_clip: position of the first of these clips in the video's plan. 0 begins the video, or begins it again:
            batches before it are void.
        start_seconds, end_seconds: float64 `[clips]`, the presentation time of each clip, as in `ClipPlan`.
    """

    pixels: npt.NDArray[Any]
    clips: FrameIndex
    first_clip: int
    start_seconds: npt.NDArray[np.float64]
    end_seconds: npt.NDArray[np.float64]

    @property
    def crops(self) -> int:
        """Crops of every frame."""
        return self.pixels.shape[1]

    def samples(self, model: ModelSpec) -> list[Sample]:
        """The network's inputs, crop by crop and clip by clip, in MMAction2's order.

        Args:
            model: for 3 dimensions a sample is a clip; for 2, `segments` frames; everything where `neck_joins_video`.
        """
        if model.neck_joins_video:
            return [[(crop, int(frame)) for crop in range(self.crops) for frame in self.clips.flat]]
        together = self.clips if model.dims == 3 else self.clips.reshape(-1, model.segments)
        return [[(crop, int(frame)) for frame in frames] for crop in range(self.crops) for frames in together]

    def gather(self, sample: Sample, into: npt.NDArray[Any]) -> None:
        """Copy the pixels of a sample.

        Args:
            sample: one of `samples`.
            into: `[frames, H, W, 3]`, as many frames as the sample has.
        """
        for target, (crop, frame) in zip(into, sample, strict=True):
            target[...] = self.pixels[frame, crop]


_CROPS: dict[type, int] = {ThreeCrop: 3, TenCrop: 10}
_OF_ONE_SIZE = (ResizeTo, CenterCrop, ThreeCrop, TenCrop)


def samples_per_video(recipe: Recipe) -> int | None:
    """Number of samples of every video; None where it depends on the video's length."""
    if recipe.model.neck_joins_video:
        return 1
    if recipe.sampling.dense:
        return None
    clips = recipe.sampling.frame_index(1)
    return PreprocessSpec.of(recipe).crops * (
        len(clips) if recipe.model.dims == 3 else clips.size // recipe.model.segments
    )


def read_whole(spec: PreprocessSpec, video: VideoRef, *, info: VideoInfo | None = None) -> ClipBatch:
    """All clips of a video in one batch, with all their frames in memory: `read_clips` without its bound.

    Raises:
        VideoError, DeviceError: as `read_clips` does.
    """
    *_, (_, batch) = read_clips([spec], video, sys.maxsize, info=info)
    return batch


def read_clips(
    specs: Sequence[PreprocessSpec],
    video: VideoRef,
    max_frames: int = FRAMES_PER_CHUNK,
    *,
    on_corrupt: OnCorrupt = "fail",
    nvdec: Nvdec | None = None,
    info: VideoInfo | None = None,
    on_info: Callable[[VideoInfo], object] = lambda info: None,
    on_plan: Callable[[VideoInfo, Sequence[ClipPlan]], object] = lambda info, plans: None,
) -> Iterator[tuple[int, ClipBatch]]:
    """Probe a video, plan its clips for one or several encoders, decode it once, and transform its frames.

    Args:
        specs: what to make of the video, at least one. Specs with equal transforms share the transformed frames.
        video: the video; with a `segment`, clips are made of its frames only.
        max_frames: distinct frames of a batch; more only where a single clip, or group of segments, has more.
        on_corrupt: what to do where it is truncated or corrupt: raise, or plan over the frames that decode.
        nvdec: decodes what it supports; None decodes all with PyAV.
        info: the result of `probe`; probed where None. Without its packets, all frames up to the last wanted are
            decoded.
        on_info: called with the result of the probe, before the video is decoded.
        on_plan: called with the video and a plan for each spec before the first batch, and again when the video is
            planned again: after its true number of frames is known, or for the frames that decode of a broken video.

    Yields:
        Position of a spec and some of its clips. For each spec the batches come in the order of its plan. The video
        is decoded once, from front to back, and a frame is kept until the last batch that needs it is made, so that
        memory is bounded for plans whose clips move forward. When the video is planned again, the clips of every spec
        begin again with `first_clip` 0, and those before are void.

    Raises:
        VideoError: the video cannot be read, has no frame in the segment, or is too small for a crop of one of the
            specs. Batches before it are void.
        DeviceError: see `Nvdec.decode`.
    """
    decode_frames = decode if nvdec is None else nvdec.decode
    clips_of = partial(_clips_of, specs, video.cut, max_frames, decode_frames, on_plan)
    try:
        info = info or probe(video.uri)
        on_info(info)
        try:
            yield from clips_of(info)
        except FrameCountError as error:  # the packets or an estimate gave a wrong number of frames, or wrong times
            yield from clips_of(recount(info, error.timeline))
    except VideoError as error:
        if on_corrupt == "fail" or error.kind not in ("truncated", "corrupt"):
            raise
        try:
            info = salvage(video.uri)
        except VideoError:
            raise error from None  # nothing decodes: the error of the whole file says more
        yield from clips_of(info)


def _clips_of(
    specs: Sequence[PreprocessSpec],
    segment: Cut | None,
    max_frames: int,
    decode_frames: Callable[..., Iterator[Frame]],
    on_plan: Callable[[VideoInfo, Sequence[ClipPlan]], object],
    info: VideoInfo,
) -> Iterator[tuple[int, ClipBatch]]:
    if segment is not None:
        require_frames(info, segment)
    plans = [spec.plan(info, segment) for spec in specs]
    on_plan(info, plans)
    builders = [_BatchBuilder(spec, clips, max_frames, info.path) for spec, clips in zip(specs, plans, strict=True)]
    transformers = {spec.transforms: FrameTransformer(spec.transforms) for spec in specs}
    transformer_of = [transformers[spec.transforms] for spec in specs]
    wanted = np.unique(np.concatenate([builder.wanted for builder in builders]))
    for frame in decode_frames(info.path, wanted, info, to_end=not info.frames_exact):
        transformed: dict[FrameTransformer, Image] = {}
        for position, builder in enumerate(builders):
            if builder.next_wanted != frame.index:
                continue
            transform = transformer_of[position]
            if transform not in transformed:
                transformed[transform] = transform(frame.pixels, where=info.path)
            yield from ((position, batch) for batch in builder.add(transformed[transform]))


def require_frames(info: VideoInfo, cut: Cut) -> None:
    """Refuse a segment in which a video shows no frame.

    Args:
        info: the video.
        cut: as in `VideoRef`.

    Raises:
        VideoError: it is one.
    """
    frames_in = info.timeline.shown if has_rows(cut) else info.timeline.within
    segment = next((segment for segment in ranges_of(cut) if not frames_in(*segment)), None)
    if segment is None:
        return
    first, end = info.timeline.pts_seconds[0], info.timeline.end_seconds[-1]
    raise VideoError(
        info.path,
        stage="sample",
        kind="outside",
        expected=f"a segment with frames of the video, which are shown from {first:.3f} s to {end:.3f} s",
        found=f"{segment[0]:.3f} s to {segment[1]:.3f} s",
        hint="Correct the segment; times are the file's presentation times.",
    )


class _BatchBuilder:
    """Collects the transformed frames of a plan and makes batches of them, each as soon as its frames are there.

    Attributes:
        wanted: int64 `[N]`, the frames of the plan, rising, each once. `add` takes them in this order.
    """

    def __init__(self, spec: PreprocessSpec, clips: ClipPlan, max_frames: int, path: str) -> None:
        index = clips.frame_index
        distinct, position = np.unique(index, return_inverse=True)
        self._black = int(distinct[0] == PADDING)  # how many of the distinct frames are black
        self.wanted = distinct[self._black :]
        self._plan = clips
        self._path = path
        self._position = position.reshape(index.shape).astype(np.int32)  # in `distinct`, of each frame of each clip
        self._groups = group_clips(index, spec.segments, sys.maxsize if spec.in_one_piece else max_frames)
        self._last_frame = [int(self._position[group].max()) for group in self._groups]
        self._last_group = np.zeros(len(distinct), np.int32)  # of each frame
        for number, group in enumerate(self._groups):
            self._last_group[self._position[group]] = number
        self._kept: dict[int, Image] = {}
        self._shape: tuple[int, ...] = ()
        self._added = self._black
        self._built = 0

    @property
    def next_wanted(self) -> int | None:
        """The frame that `add` takes next; None after the last."""
        number = self._added - self._black
        return int(self.wanted[number]) if number < len(self.wanted) else None

    def add(self, crops: Image) -> Iterator[ClipBatch]:
        """Take the crops of the next wanted frame, `[crops, H, W, 3]`; yields the batches that it completes.

        Raises:
            VideoError: frames of different sizes.
        """
        if not self._shape:
            self._shape = crops.shape
            if self._black:
                self._kept[0] = np.zeros_like(crops)
        _require_shape(self._path, crops, self._shape)
        self._kept[self._added] = crops
        added = self._added
        self._added += 1
        while self._built < len(self._groups) and self._last_frame[self._built] <= added:
            self._built += 1
            yield self._batch(self._built - 1)

    def _batch(self, number: int) -> ClipBatch:
        group = self._groups[number]
        positions = self._position[group]
        distinct, clips = np.unique(positions, return_inverse=True)
        pixels = np.empty((len(distinct), *self._shape), next(iter(self._kept.values())).dtype)
        for place, frame in zip(pixels, distinct.tolist(), strict=True):
            place[...] = self._kept[frame]
            if self._last_group[frame] == number:  # at once, or the pixels would be in memory twice
                del self._kept[frame]
        return ClipBatch(
            pixels,
            clips.reshape(positions.shape),
            group.start,
            self._plan.start_seconds[group],
            self._plan.end_seconds[group],
        )


def group_clips(frame_index: FrameIndex, segments: int, max_frames: int) -> list[slice]:
    """Cut a plan into runs of clips with a bounded number of distinct frames.

    Args:
        frame_index: int64 `[clips, clip_len]`.
        segments: frames that belong together, across neighbouring clips; they stay in one run.
        max_frames: bound on the distinct frames of a run, unless the shortest possible run has more.

    Returns:
        Slices of the plan's rows, in order, none empty, together the whole plan. Each is as long as possible.
    """
    step = segments // math.gcd(segments, frame_index.shape[1])
    cuts, distinct = [0], set[int]()
    for start in range(0, len(frame_index), step):
        frames = set(frame_index[start : start + step].ravel().tolist())
        if distinct and len(distinct) + len(frames - distinct) > max_frames:
            cuts.append(start)
            distinct = set()
        distinct |= frames
    return [slice(start, end) for start, end in zip(cuts, [*cuts[1:], len(frame_index)], strict=True)]


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
        hint="Encode the video again, or use a config that crops.",
    )
