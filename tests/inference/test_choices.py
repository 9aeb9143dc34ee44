"""What a caller asks for by name: devices, decoders."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vidfeat.errors import DeviceError, UsageError
from vidfeat.inference.devices import choose_decoder, choose_devices

CPU = torch.device("cpu")
GPUS = torch.cuda.device_count()


def test_devices() -> None:
    assert choose_devices("cpu") == choose_devices(CPU) == (CPU,)
    assert choose_devices("cpu,cpu") == (CPU, CPU)
    assert choose_devices("auto") == (tuple(torch.device("cuda", index) for index in range(GPUS)) or (CPU,))


@pytest.mark.parametrize("name", ["mps", "gpu", "", None, "cpu,", "cuda:-1"])
def test_devices_that_are_none(name: Any) -> None:
    with pytest.raises(DeviceError, match=r"^device: expected auto, cpu, cuda or cuda:i, or several with commas"):
        choose_devices(name)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(
        DeviceError, match=f"^device: expected the CUDA device 'cuda:{GPUS}'; found {GPUS or 'no'} CUDA device"
    ):
        choose_devices(f"cuda:{GPUS}")


def test_decoder() -> None:
    assert choose_decoder("pyav", CPU) is None
    with pytest.raises(UsageError, match=r"^decoder: expected pyav or nvdec; found 'ffmpeg'"):
        choose_decoder("ffmpeg", CPU)
