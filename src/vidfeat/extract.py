"""The main path: one video in, one feature vector out.

    probe -> plan -> decode -> transform          the host half, `read_chunks`: uint8 crops, a run of clips at a time
    -> batch -> normalize -> network -> pool      the device half, `Extractor.begin`: one row

Single calls, the engine and the cluster all run these two functions; they differ only in who calls them when.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args

import numpy as np
import numpy.typing as npt
import torch

from vidfeat.checkpoint import CheckpointFile, MatchReport, find, load_into, load_state
from vidfeat.errors import DeviceError, UsageError, VideoError
from vidfeat.inference.batches import Batcher, Span
from vidfeat.inference.pooling import pool_video
from vidfeat.inference.runner import FRAMES_PER_BATCH, PRECISIONS, Agree, Kernels, Network, Precision
from vidfeat.mmaction import FeatureRequest, compile_model
from vidfeat.models import Recognizer, build, channels_last, fold_norms
from vidfeat.preprocessing.clips import OnCorrupt, PreprocessSpec, Views, read_chunks, units_per_video
from vidfeat.recipe import Recipe, WindowSampling
from vidfeat.video import Nvdec

DECODERS = ("pyav", "nvdec")
"""What may decode videos."""


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
        devices: where the network will run, once on each; one but for engines that take several.
        precision: its number format.
        nvdec: decodes the videos that it can; None where PyAV decodes all.
    """

    recipe: Recipe
    weights: CheckpointFile
    devices: tuple[torch.device, ...]
    precision: Precision
    nvdec: Nvdec | None = None

    @property
    def decoder(self) -> str:
        """Its name, one of `DECODERS`."""
        return "pyav" if self.nvdec is None else "nvdec"


def prepare(
    model: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    decoder: str = "pyav",
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
    progress: bool = False,
) -> Setup:
    """Compile the model's config, find or download its checkpoint, choose the device; arguments as for `Extractor`."""
    _require("model", model, (str, os.PathLike), "the name of a released model, or the path of a config")
    _require("checkpoint", checkpoint, (str, os.PathLike, type(None)), "a path or a URL")
    _require("cfg_options", cfg_options, (Mapping, type(None)), 'a dict, such as {"model.backbone.depth": 50}')
    _require("request", request, (FeatureRequest, type(None)), "a vidfeat.FeatureRequest")
    recipe, released = compile_model(model, cfg_options, request)
    chosen = choose_devices(device)
    if precision not in PRECISIONS:
        raise UsageError("precision", expected=" or ".join(PRECISIONS), found=repr(precision))
    nvdec = choose_decoder(decoder, chosen[0])
    source = checkpoint or released
    if source is None:
        raise UsageError(
            os.fspath(model), expected="a checkpoint", found="none", hint="Give a path or a URL with --checkpoint."
        )
    return Setup(recipe, find(os.fspath(source), progress=progress), chosen, precision, nvdec)


class Extractor:
    """A model ready to extract features.

    Args:
        model: path of an MMAction2 config, or the name of a released model.
        checkpoint: path or URL of its weights; a released model has its own.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1", or a `torch.device`. Of several, as the
            engine takes them, the first.
        precision: number format of the network: "fp32" is exact; "bf16" or "fp16" are faster, and checked against fp32
            on the first batch.
        decoder: "pyav" is exact; "nvdec" decodes on a GPU what it can, with colours rounded in another way. See
            `vidfeat.video.Nvdec`.
        compiled: whether `torch.compile` makes the network faster first, which takes up to a minute.
        cfg_options: overrides, dotted key to value, as `--cfg-options` takes them.
        request: other poolings, views or windows than the default, the mean over all views: a
            `vidfeat.FeatureRequest`.
        threads: CPU cores to use; all that the process may use where None. Features do not depend on it.
        progress: whether a download shows a progress bar on stderr.

    Attributes:
        recipe: everything that decides a feature, apart from the weights.
        weights: the checkpoint's file and SHA-256.
        match: what was loaded from it.
        device: where the network runs.
        precision: its number format.
        nvdec: decodes the videos that it can; None where PyAV decodes all.
        model: the network itself; once the first batch is computed, its layers may have been packed for the processor.
        network: runs it.

    Example:
        >>> features = Extractor("config.py", checkpoint="weights.pth").extract("clip.mp4")  # doctest: +SKIP
        >>> features.array.shape  # doctest: +SKIP
        (2048,)

    Several threads may use one. Processes each make their own: it is not pickled, and where a process has computed
    features, the children that it then forks cannot.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError: see `vidfeat.errors`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        precision: str = "fp32",
        decoder: str = "pyav",
        cfg_options: Mapping[str, Any] | None = None,
        compiled: bool = False,
        request: FeatureRequest | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise UsageError("threads", expected="a whole number above 0, or None for all cores", found=repr(threads))
        setup = prepare(
            model,
            checkpoint=checkpoint,
            device=device,
            precision=precision,
            decoder=decoder,
            cfg_options=cfg_options,
            request=request,
            progress=progress,
        )
        self._load(setup, setup.devices[0], threads=threads, kernels="compiled" if compiled else "eager")

    @classmethod
    def from_setup(
        cls,
        setup: Setup,
        device: torch.device | None = None,
        *,
        threads: int | None = None,
        kernels: Kernels | None = "eager",
        agree: Agree = lambda proposal: proposal,
        say: Callable[[str], object] = lambda line: None,
    ) -> Extractor:
        """An extractor from what `prepare` found.

        Args:
            setup: from `prepare`.
            device: one of its devices, the first where None.
            threads: as for `Extractor`.
            kernels, agree, say: as for `vidfeat.inference.runner.Network`.
        """
        extractor = cls.__new__(cls)
        extractor._load(setup, device or setup.devices[0], threads=threads, kernels=kernels, agree=agree, say=say)
        return extractor

    def _load(self, setup: Setup, device: torch.device, **how: Any) -> None:
        self.recipe, self.weights = setup.recipe, setup.weights
        self.device, self.precision, self.nvdec = device, setup.precision, setup.nvdec
        self.model, self.match = load_model(self.recipe, self.weights, self.device)
        self.network = Network(self.model, self.recipe, self.device, self.precision, **how)

    def extract(self, path: str | os.PathLike[str], *, on_corrupt: OnCorrupt = "fail") -> Features:
        """The features of one video.

        Args:
            path: a video file.
            on_corrupt: "salvage" takes the frames that decode of a truncated or corrupt video; see
                `Features.salvaged`.

        Raises:
            VideoError: the video cannot be turned into features; `stage` and `kind` say why.
            DeviceError: the GPU decodes it wrongly; see `vidfeat.video.Nvdec.decode`.
            UsageError: `path` or `on_corrupt` is none; or as for `begin`.
        """
        _require("path", path, (str, os.PathLike), "the path of a video")
        if on_corrupt not in get_args(OnCorrupt):
            raise UsageError("on_corrupt", expected=" or ".join(get_args(OnCorrupt)), found=repr(on_corrupt))
        computation = self.begin(where=str(path))
        for views in read_chunks(PreprocessSpec.of(self.recipe, on_corrupt, self.nvdec), Path(path)):
            computation.add(views)
        return computation.result()

    def compute(self, views: Views, *, where: str = "video") -> Features:
        """The device half of the main path: batch, normalise, run the network, pool.

        Args:
            views: from `read_views`.
            where: the video's path, for errors.

        Raises:
            VideoError: the result is not finite.
        """
        computation = self.begin(where=where)
        computation.add(views)
        return computation.result()

    def begin(self, batcher: Batcher | None = None, *, where: str = "video") -> Computation:
        """The device half of one video, before its views are there: `add` them to it as they come.

        Args:
            batcher: from `batcher`, to fill batches together with other videos.
            where: the video's path, for errors.

        Raises:
            UsageError: this process was forked from one that had computed features.
        """
        _require_own_process()
        return Computation(self.recipe, batcher or self.batcher(), where)

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "Extractor",
            expected="an extractor that stays in its process",
            found="one to be copied or pickled",
            hint="Make one in every process, with the same arguments; several threads may share one.",
        )

    def batcher(self, videos: int = 0) -> Batcher:
        """Fills batches across videos.

        Args:
            videos: how many are to come, roughly; it decides whether compiling pays.
        """
        # Of videos whose length decides, nothing is known yet: a unit at least.
        return Batcher(self.network, self.recipe.model, videos * (units_per_video(self.recipe) or 1))


_computing_process: int | None = None
"""The process that computed features first: this one, or one that this one was forked from."""


def _require_own_process() -> None:
    global _computing_process
    _computing_process = _computing_process or os.getpid()
    if _computing_process == os.getpid():
        return
    # PyTorch's threads do not survive a fork, and it would wait for them for ever.
    raise UsageError(
        "Extractor",
        expected="a process that computes from its start",
        found=f"one forked from process {_computing_process}, which has computed features already",
        hint="Start it with multiprocessing.get_context('spawn'), or compute in forked processes only.",
    )


def _require(argument: str, value: object, types: tuple[type, ...], expected: str) -> None:
    if not isinstance(value, types):
        raise UsageError(argument, expected=expected, found=f"{value!r}, of type {type(value).__name__}")


class Computation:
    """The features of one video, under way. Not for use by several threads.

    Args:
        recipe: what is computed.
        batcher: takes the views to the network.
        where: the video's path, for errors.
    """

    def __init__(self, recipe: Recipe, batcher: Batcher, where: str) -> None:
        self._recipe = recipe
        self._where = where
        self._batcher = batcher
        self._chunks: list[_Rows] = []
        self._finish: Callable[..., Features] = Features

    def add(self, views: Views) -> list[Future[torch.Tensor]]:
        """Give the next views to the network, as soon as it has room for them; their pixels are copied.

        Args:
            views: the next of the video in the order of its plan, or its first again: what was added before is then
                void, as when a video is read anew.

        Returns:
            What is done when the network is done with them.

        Raises:
            VideoError: there is no memory even for the smallest batch.
            DeviceError: see `Network.submit`.
        """
        if views.first_clip == 0:
            self._chunks.clear()
        try:
            spans = self._batcher.add(views)
        except MemoryError as error:
            raise self._out_of_memory(error) from None
        # A network that joins all views of a video into one row leaves no crops to put in order.
        self._chunks.append(_Rows(1 if self._recipe.model.neck_joins_video else views.crops, views.clips.shape, spans))
        self._finish = functools.partial(
            Features,
            frames=views.frames,
            fps=views.fps,
            salvaged=views.salvaged,
            frames_declared=views.frames_declared,
        )
        return [span.batch.rows for span in spans]

    @property
    def idle(self) -> bool:
        """Whether the network is done with everything that was added."""
        return all(span.done for chunk in self._chunks for span in chunk.spans)

    def result(self) -> Features:
        """Wait, and pool all rows in the order of the plan, crop by crop, whichever was done first.

        What other videos have in a batch that this one waits for is computed with it.

        Raises:
            VideoError: the result is not finite, or there is no memory even for the smallest batch.
        """
        if not self.idle:
            self._batcher.flush()
        try:
            rows = torch.cat([chunk.result() for chunk in self._chunks], dim=1).flatten(0, 1)
        except MemoryError as error:
            raise self._out_of_memory(error) from None
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
                hint="Check that the checkpoint fits the config's normalisation.",
            )
        return self._finish(array, views=len(rows))

    def _out_of_memory(self, error: MemoryError) -> VideoError:
        return VideoError(
            self._where,
            stage="model",
            kind="out_of_memory",
            expected="memory for the network",
            found=f"none, {error}" if str(error) else "none",
            hint="Use a device with more memory, or a config with a smaller crop or shorter clips.",
        )


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
    spans: list[Span]

    def result(self) -> torch.Tensor:
        """float32 `[crops, N, C, ...]`, so that chunks can be joined along the clips."""
        rows = torch.cat([span.result() for span in self.spans])
        return rows.reshape(self.crops, -1, *rows.shape[1:])


def choose_devices(names: str | torch.device) -> tuple[torch.device, ...]:
    """The devices that a `--device` value names, with commas between them; "auto" is every GPU, or the CPU.

    Raises:
        DeviceError: there is no such device, or the value names none.
    """
    if names == "auto":
        return tuple(torch.device("cuda", index) for index in range(torch.cuda.device_count())) or (
            torch.device("cpu"),
        )
    return tuple(_device(name) for name in str(names).split(","))


def choose_decoder(name: str, device: torch.device) -> Nvdec | None:
    """What decodes on a GPU, on that of the network where it has one; None for "pyav".

    Raises:
        DeviceError: this machine cannot decode so.
    """
    if name not in DECODERS:
        raise UsageError("decoder", expected=" or ".join(DECODERS), found=repr(name))
    if name == "pyav":
        return None
    nvdec = Nvdec(str(device) if device.type == "cuda" else "cuda")
    nvdec.start()
    return nvdec


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in FRAMES_PER_BATCH:
        raise DeviceError("--device", expected="auto, cpu, cuda or cuda:i, or several with commas", found=repr(name))
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise DeviceError(
            "--device",
            expected=f"a CUDA device for {name!r}",
            found=f"{count} of them",
            hint="Use --device cpu, or install a CUDA build of PyTorch and its driver.",
        )
    return device


def load_model(recipe: Recipe, weights: CheckpointFile, device: torch.device) -> tuple[Recognizer, MatchReport]:
    """Build the network, load its weights strictly, and make it ready for inference on a device."""
    model = build(recipe.model)
    match = load_into(model, load_state(weights), source=weights.source, computed=model.computed)
    fold_norms(model)
    channels_last(model)
    return model.to(device), match
