"""What a caller asks for by name: devices, a decoder; checked against this machine."""

from __future__ import annotations

from typing import get_args

import torch

from vidfeat.errors import DeviceError, UsageError
from vidfeat.inference.runner import FRAMES_PER_BATCH
from vidfeat.video.nvdec import Decoder, Nvdec


def choose_devices(names: str | torch.device) -> tuple[torch.device, ...]:
    """The devices that an argument names.

    Args:
        names: "auto" is every GPU, or the CPU where there is none; else "cpu", "cuda" or "cuda:1", or several with
            commas between them.

    Raises:
        DeviceError: there is no such device.
    """
    if names == "auto":
        return tuple(torch.device("cuda", index) for index in range(torch.cuda.device_count())) or (
            torch.device("cpu"),
        )
    return tuple(_device(name) for name in str(names).split(","))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in FRAMES_PER_BATCH:
        raise DeviceError("device", expected="auto, cpu, cuda or cuda:i, or several with commas", found=repr(name))
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise DeviceError(
            "device",
            expected=f"the CUDA device {name!r}",
            found=f"{count} CUDA device{'s' if count > 1 else ''}" if count else "no CUDA device",
            hint="Use `device=cpu`, or install a CUDA build of PyTorch and its driver.",
        )
    return device


def choose_decoder(name: str, device: torch.device) -> Nvdec | None:
    """The GPU decoder, on the network's GPU where it has one; None for "pyav".

    Raises:
        UsageError: `name` is no `Decoder`.
        DeviceError: this machine cannot decode so.
    """
    if name not in get_args(Decoder):
        raise UsageError("decoder", expected=" or ".join(get_args(Decoder)), found=repr(name))
    if name == "pyav":
        return None
    nvdec = Nvdec(str(device) if device.type == "cuda" else "cuda")
    nvdec.start()
    return nvdec
