"""The main path: one video in, one feature vector out.

    probe -> plan -> decode -> transform          the host half, `read_chunks`: uint8 crops, a run of clips at a time
    -> normalize -> network -> pool               the device half, `Extractor.begin`: one row

Single calls, the engine and the cluster all run these two functions; they differ only in who calls them when.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from vidfeat.checkpoint import CheckpointFile, MatchReport, find, load_into, load_state
from vidfeat.errors import DeviceError, UsageError, VideoError
from vidfeat.mmaction import FeatureRequest, compile_model
from vidfeat.models import Recognizer, build, channels_last, fold_norms
from vidfeat.pooling import pool_video, pool_views
from vidfeat.recipe import Recipe, WindowSampling
from vidfeat.transforms import normalize
from vidfeat.views import OnCorrupt, Views, ViewSpec, read_chunks

Precision = Literal["fp32"]

FRAMES_PER_BATCH = {"cpu": 8, "cuda": 256}
"""Frames that pass through the network at once, by device. On a CPU few are faster than many, since a layer's output
then still lies in the cache for the next. The number is fixed, not tuned per run: it decides the shape of every batch,
and with it the last bit of every feature."""


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one video.

    Attributes:
        array: float32 `[C]`, the mean over all clips and crops, or what else the recipe's `Pooling` says.
        frames: frames in the video.
        fps: frames per second, None where the file does not say.
        views: how many rows of the network, one per clip or frame and crop, it is made of.
        salvaged: whether the video is broken, and `frames` counts those that decode all the same.
        frames_declared: frames that a salvaged video's container announces; None where it does not, and for others.
    """

    array: npt.NDArray[np.float32]
    frames: int
    fps: float | None
    views: int
    salvaged: bool = False
    frames_declared: int | None = None


@dataclass(frozen=True)
class Setup:
    """What an extractor is made of, checked, before the weights are read into memory.

    Attributes:
        recipe: everything that decides a feature, apart from the weights.
        weights: the checkpoint's file and SHA-256.
        device: where the network will run.
        precision: its number format.
    """

    recipe: Recipe
    weights: CheckpointFile
    device: torch.device
    precision: Precision


def prepare(
    model: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
    progress: bool = False,
) -> Setup:
    """Compile the model's config, find or download its checkpoint, choose the device; arguments as for `Extractor`."""
    recipe, released = compile_model(model, cfg_options, request)
    chosen = choose_device(device)
    if precision != "fp32":
        raise UsageError("precision", expected="'fp32'", found=repr(precision))
    source = checkpoint or released
    if source is None:
        raise UsageError(
            os.fspath(model), expected="a checkpoint", found="none", do="Give a path or a URL with --checkpoint."
        )
    return Setup(recipe, find(os.fspath(source), progress=progress), chosen, "fp32")


class Extractor:
    """A model ready to extract features.

    Args:
        model: path of an MMAction2 config, or the name of a released model.
        checkpoint: path or URL of its weights; a released model has its own.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1".
        precision: number format of the network; "fp32" is exact.
        cfg_options: overrides, dotted key to value, as `--cfg-options` takes them.
        request: other poolings, views or windows than the default, the mean over all views.
        threads: CPU cores to use; all that the process may use where None. Features do not depend on it.
        progress: whether a download shows a progress bar on stderr.

    Attributes:
        recipe: everything that decides a feature, apart from the weights.
        weights: the checkpoint's file and SHA-256.
        match: what was loaded from it.
        device: where the network runs.
        precision: its number format.

    Example:
        >>> features = Extractor("config.py", checkpoint="weights.pth").extract("clip.mp4")  # doctest: +SKIP
        >>> features.array.shape  # doctest: +SKIP
        (2048,)

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError: see `vidfeat.errors`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "fp32",
        cfg_options: Mapping[str, Any] | None = None,
        request: FeatureRequest | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        self._load(
            prepare(
                model,
                checkpoint=checkpoint,
                device=device,
                precision=precision,
                cfg_options=cfg_options,
                request=request,
                progress=progress,
            ),
            threads,
        )

    @classmethod
    def from_setup(cls, setup: Setup, threads: int | None = None) -> Extractor:
        """An extractor from what `prepare` found."""
        extractor = cls.__new__(cls)
        extractor._load(setup, threads)
        return extractor

    def _load(self, setup: Setup, threads: int | None) -> None:
        self.recipe, self.weights = setup.recipe, setup.weights
        self.device, self.precision = setup.device, setup.precision
        self.model, self.match = load_model(self.recipe, self.weights, self.device)
        self._lanes = open_lanes(self.device, threads)

    def extract(self, path: str | os.PathLike[str], *, on_corrupt: OnCorrupt = "fail") -> Features:
        """The features of one video.

        Args:
            path: a video file.
            on_corrupt: "salvage" takes the frames that decode of a truncated or corrupt video; see
                `Features.salvaged`.

        Raises:
            VideoError: the video cannot be turned into features; `stage` and `kind` say why.
        """
        computation = self.begin(where=str(path))
        for views in read_chunks(ViewSpec.of(self.recipe, on_corrupt), Path(path)):
            # The network works on one chunk while the next is read; a third would only take memory.
            computation.wait()
            computation.add(views)
        return computation.result()

    def compute(self, views: Views, *, where: str = "video") -> Features:
        """The device half of the main path: normalise, run the network, pool.

        Args:
            views: from `read_views`.
            where: the video's path, for errors.

        Raises:
            VideoError: the result is not finite.
        """
        computation = self.begin(where=where)
        computation.add(views)
        return computation.result()

    def begin(self, *, where: str = "video") -> Computation:
        """The device half of one video, before its views are there: `add` them to it as they come."""
        return Computation(self.recipe, where, self._submit)

    def _submit(self, views: Views) -> list[Future[torch.Tensor]]:
        batches = views.lazy_batches(self.recipe.model, FRAMES_PER_BATCH[self.device.type])
        return [self._lanes.submit(self._rows, batch) for batch in batches]

    @torch.inference_mode()
    def _rows(self, batch: Callable[[], npt.NDArray[np.uint8]]) -> torch.Tensor:
        """float32 `[views, C]` of one batch, on the host."""
        pixels = torch.from_numpy(batch()).to(self.device)
        inputs = normalize(pixels, self.recipe.normalize, self.recipe.model.dims)
        return pool_views(self.model.forward_features(inputs), self.recipe.pooling).cpu()


class Computation:
    """The features of one video, under way. Not for use by several threads.

    Args:
        recipe: what is computed.
        where: the video's path, for errors.
        submit: starts the network on some views; the futures give float32 `[N, C]` each, plus the axes that are kept,
            crop by crop.
    """

    def __init__(self, recipe: Recipe, where: str, submit: Callable[[Views], list[Future[torch.Tensor]]]) -> None:
        self._recipe = recipe
        self._where = where
        self._submit = submit
        self._chunks: list[_Rows] = []
        self._finish: Callable[..., Features] = Features

    def add(self, views: Views) -> list[Future[torch.Tensor]]:
        """Start the network on the next views, and return at once.

        Args:
            views: the next of the video in the order of its plan, or its first again: what was added before is then
                void, as when a video is read anew.

        Returns:
            What is done when the views are no longer needed.
        """
        if views.first_clip == 0:
            self.cancel()
        rows = self._submit(views)
        # A network that joins all views of a video into one row leaves no crops to put in order.
        self._chunks.append(_Rows(1 if self._recipe.model.neck_joins_video else views.crops, views.clips.shape, rows))
        self._finish = functools.partial(
            Features,
            frames=views.frames,
            fps=views.fps,
            salvaged=views.salvaged,
            frames_declared=views.frames_declared,
        )
        return rows

    @property
    def idle(self) -> bool:
        """Whether the network is done with everything that was added."""
        return all(future.done() for chunk in self._chunks for future in chunk.batches)

    def wait(self) -> None:
        """Return when the network is done with everything that was added."""
        wait([future for chunk in self._chunks for future in chunk.batches])

    def cancel(self) -> None:
        """Forget everything that was added; what has not begun will not."""
        for chunk in self._chunks:
            for future in chunk.batches:
                future.cancel()
        self._chunks.clear()

    def result(self) -> Features:
        """Wait, and pool all rows in the order of the plan, crop by crop, whichever was done first.

        Raises:
            VideoError: the result is not finite.
        """
        rows = torch.cat([chunk.result() for chunk in self._chunks], dim=1).flatten(0, 1)
        crops, clips = self._chunks[0].crops, (sum(chunk.clips[0] for chunk in self._chunks), self._chunks[0].clips[1])
        per_view = _frames_per_view(self._recipe, clips)
        if per_view is not None:
            # TSM's temporal pooling returns fewer rows than it takes frames.
            per_view = per_view * len(rows) // (crops * math.prod(clips))
        array = pool_video(rows, self._recipe.pooling, crops=crops, frames_per_view=per_view).numpy()
        if not np.isfinite(array).all():
            raise VideoError(
                self._where,
                stage="model",
                kind="corrupt",
                expected="finite features",
                found=f"{np.count_nonzero(~np.isfinite(array))} of {array.size} values infinite or not a number",
                do="Check that the checkpoint fits the config's normalisation.",
            )
        return self._finish(array, views=len(rows))


def _frames_per_view(recipe: Recipe, clips: tuple[int, int]) -> int | None:
    """How many rows of an image network make a view, as `Pooling` defines it; None where each row is a view already."""
    model = recipe.model
    if model.dims == 3 or model.neck is not None:
        return None
    if model.segments > 1:
        return model.segments
    return clips[1] if isinstance(recipe.sampling, WindowSampling) else math.prod(clips)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The network's output for one chunk, to come: of how many crops, and of how many clips of how many frames."""

    crops: int
    clips: tuple[int, ...]
    batches: list[Future[torch.Tensor]]

    def result(self) -> torch.Tensor:
        """float32 `[crops, N, C, ...]`, so that chunks can be joined along the clips."""
        rows = torch.cat([batch.result() for batch in self.batches])
        return rows.reshape(self.crops, -1, *rows.shape[1:])


def open_lanes(device: torch.device, threads: int | None) -> ThreadPoolExecutor:
    """Threads that run the network, one batch each, on one core each.

    One batch on all cores would be the other way. But convolutions split their sums by the number of threads, and the
    last bits of a feature would depend on how many cores a machine, or a process of several, happens to have.
    A GPU is fed by one thread.
    """
    count = 1 if device.type == "cuda" else threads or len(usable_cores())
    return ThreadPoolExecutor(count, thread_name_prefix="lane", initializer=torch.set_num_threads, initargs=(1,))


def usable_cores() -> Collection[int]:
    """The cores that this process may use; on a shared machine fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def choose_device(name: str) -> torch.device:
    """The device that a `--device` value names.

    Raises:
        DeviceError: there is none, or the value names none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in FRAMES_PER_BATCH:
        raise DeviceError("--device", expected="auto, cpu, cuda or cuda:i", found=repr(name))
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise DeviceError(
            "--device",
            expected=f"a CUDA device for {name!r}",
            found=f"{count} of them",
            do="Use --device cpu, or install a CUDA build of PyTorch and its driver.",
        )
    return device


def load_model(recipe: Recipe, weights: CheckpointFile, device: torch.device) -> tuple[Recognizer, MatchReport]:
    """Build the network, load its weights strictly, and make it ready for inference on a device."""
    model = build(recipe.model)
    match = load_into(model, load_state(weights), source=weights.source, computed=model.computed)
    fold_norms(model)
    channels_last(model)
    return model.to(device), match
