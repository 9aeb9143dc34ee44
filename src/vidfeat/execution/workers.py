"""How a worker computes a job on this machine."""

from __future__ import annotations

import platform
from collections.abc import Callable

import torch

from vidfeat.encoders import Encoder
from vidfeat.engine.decode_pool import PoolOptions, processes_for
from vidfeat.engine.launch import Share
from vidfeat.engine.worker import Worker, WorkerOptions
from vidfeat.inference.backends import Backend
from vidfeat.inference.devices import choose_decoder, choose_devices
from vidfeat.job import Job, encoders_of
from vidfeat.store import WorkIdentity
from vidfeat.video.nvdec import Decoder


def require_hardware(device: str = "auto", decoder: Decoder = "pyav") -> None:
    """See that this machine has what a job asks for, before anything is downloaded for it.

    Args:
        device, decoder: as in `Job`.

    Raises:
        DeviceError, UsageError: it has not.
    """
    choose_decoder(decoder, choose_devices(device)[0])


def identity_of(encoder: Encoder, job: Job) -> WorkIdentity:
    """What the features of a job's encoder depend on, beside the videos."""
    return WorkIdentity(
        encoder.recipe_digest, encoder.weights.sha256, job.precision, job.decoder, job.dtype, job.layout or ""
    )


def versions() -> dict[str, str]:
    """The versions of what computes features."""
    import av
    import cv2
    import numpy as np

    from vidfeat import __version__

    return {
        "vidfeat": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "numpy": np.__version__,
        "cv2": cv2.__version__,
    }


def worker_for(
    job: Job,
    *,
    say: Callable[[str], object] = lambda line: None,
    videos_ahead: int | None = None,
    cores: int | None = None,
) -> Worker:
    """A worker for jobs with the encoders and options of this one. `LocalExecutor` takes it; closing it is up to you.

    Args:
        job: which.
        say, videos_ahead: as for `Worker`.
        cores: as for `worker_options`.

    Raises:
        DeviceError: the machine lacks what the job asks for.
    """
    return Worker(encoders_of(job), worker_options(job, cores=cores), say=say, videos_ahead=videos_ahead)


def worker_options(
    job: Job, share: Share | None = None, *, cores: int | None = None, processes: int | None = None
) -> WorkerOptions:
    """How a worker computes a job on this machine.

    Args:
        job: which.
        share: the part of it that this process has; all of it where None.
        cores, processes: in place of those that follow from the machine and the job.

    Raises:
        DeviceError: the machine lacks what the job asks for.
    """
    share = share or Share()
    devices = choose_devices(_device_of(job.device, share))
    cores = cores or share.cores
    pool = PoolOptions(
        processes or job.decode_processes or processes_for(cores, devices[0].type),
        timeout_seconds=job.timeout_seconds,
        on_corrupt=job.on_corrupt,
    )
    return WorkerOptions(devices, job.precision, backend_of(job), choose_decoder(job.decoder, devices[0]), cores, pool)


def _device_of(name: str, share: Share) -> str:
    """The device of this process: the processes of one machine share its GPUs out among them."""
    if name != "auto" or share.local_size == 1:
        return name
    gpus = torch.cuda.device_count()
    return f"cuda:{share.local_rank % gpus}" if gpus else "cpu"


def backend_of(job: Job) -> Backend | None:
    return None if job.compiled is None else "compiled" if job.compiled else "eager"
