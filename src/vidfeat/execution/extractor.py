"""An encoder ready to extract features of single videos."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any, NoReturn, get_args

import torch

from vidfeat.encoders import Encoder, encoder
from vidfeat.engine.decode_pool import Task
from vidfeat.engine.worker import Worker
from vidfeat.errors import UsageError
from vidfeat.execution.workers import require_hardware, worker_options
from vidfeat.features import VideoFailure, VideoFeatures
from vidfeat.inference import Precision
from vidfeat.job import Job, encoders_of
from vidfeat.mmaction import FeatureRequest
from vidfeat.recipe import Recipe
from vidfeat.video.info import OnCorrupt
from vidfeat.video.nvdec import Decoder
from vidfeat.videos import VideoRef

_compile = encoder  # `Extractor` has an argument of that name


class Extractor:
    """An encoder ready to extract features of single videos.

    Args:
        encoder: from `vidfeat.encoder`; or what that takes: the name of a released model, the path of an MMAction2
            config, "hf:ORG/NAME", or a module.
        recipe: of a module: which frames it sees, and what is done to them.
        checkpoint, cfg_options, request: as for `vidfeat.encoder`, where that is called.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1", or a `torch.device`.
        precision: number format of the network: "fp32" is exact; "bf16" or "fp16" are faster, and checked against fp32
            on the first batch.
        decoder: "pyav" is exact; "nvdec" decodes on a GPU what it can, with colours rounded in another way.
        compiled: whether `torch.compile` makes the network faster first, which takes up to a minute.
        threads: CPU cores to use; all that the process may use where None. Features do not depend on it.
        timeout_seconds: as in `Job`.
        progress: whether a download shows a progress bar on stderr.

    Attributes:
        encoder: what is computed.

    Examples:
        >>> features = Extractor("config.py", checkpoint="weights.pth").extract("clip.mp4")  # doctest: +SKIP
        >>> features.values.shape  # doctest: +SKIP
        (2048,)

    Several threads may use one; their videos are done one after the other. Processes each make their own: it is not
    pickled, and where a process has computed features, the children that it then forks cannot.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError: see `vidfeat.errors`.
    """

    def __init__(
        self,
        encoder: Encoder | Recipe | str | os.PathLike[str] | torch.nn.Module,
        *,
        recipe: Recipe | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        request: FeatureRequest | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "fp32",
        decoder: Decoder = "pyav",
        compiled: bool = False,
        threads: int | None = None,
        timeout_seconds: float = 60.0,
        progress: bool = False,
    ) -> None:
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise UsageError("threads", expected="a whole number above 0, or None for all cores", found=repr(threads))
        require_hardware(str(device), decoder)
        if isinstance(encoder, torch.nn.Module):
            encoder = _compile(encoder, recipe=recipe)
        elif isinstance(encoder, Recipe | str | os.PathLike):
            encoder = _compile(
                encoder, checkpoint=checkpoint, cfg_options=cfg_options, request=request, progress=progress
            )
        elif any(argument is not None for argument in (checkpoint, cfg_options, request)):
            raise UsageError(
                "checkpoint",
                expected="no other argument with an `Encoder`, which has its weights and options",
                found="one",
            )
        job = Job(
            videos=(),
            encoders=encoder,
            precision=precision,
            device=str(device),
            decoder=decoder,
            compiled=compiled,
            timeout_seconds=timeout_seconds,
        )
        (self.encoder,) = encoders_of(job)
        self._worker = Worker((self.encoder,), worker_options(job, cores=threads, processes=1))
        weakref.finalize(self, self._worker.close)  # where nobody calls `close`
        _ = self._worker.runners  # weights that do not fit are an error here, and not at the first video

    def extract(self, path: str | os.PathLike[str] | VideoRef, *, on_corrupt: OnCorrupt = "fail") -> VideoFeatures:
        """The features of one video.

        Args:
            path: a video file.
            on_corrupt: "salvage" takes the frames that decode of a truncated or corrupt video; see
                `VideoInfo.salvaged`.

        Raises:
            VideoError: the video cannot be turned into features; `stage` and `kind` say why.
            DeviceError: the GPU decodes it wrongly; see `vidfeat.video.Nvdec.decode`.
            UsageError: `path` or `on_corrupt` is none; or this process was forked from one that had computed features.
        """
        if not isinstance(path, str | os.PathLike | VideoRef):
            raise UsageError("path", expected="the path of a video", found=f"{path!r}, of type {type(path).__name__}")
        if on_corrupt not in get_args(OnCorrupt):
            raise UsageError("on_corrupt", expected=" or ".join(get_args(OnCorrupt)), found=repr(on_corrupt))
        video = path if isinstance(path, VideoRef) else VideoRef(os.fspath(path), os.fspath(path))
        (computed,) = self._worker.run([Task(video)], on_corrupt=on_corrupt)
        if isinstance(computed.outcome, VideoFailure):
            raise computed.outcome.error
        return computed.outcome

    def close(self) -> None:
        """End its decode process. Extracting starts another one."""
        self._worker.close()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "Extractor",
            expected="an extractor that stays in its process",
            found="an attempt to copy or pickle one",
            hint="Make one in every process, with the same arguments; several threads may share one.",
        )
