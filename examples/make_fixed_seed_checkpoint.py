"""Write the fixed-seed weights of `tiny_slowonly.py`, with the first digits of their SHA-256 in the file name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from vidfeat.mmaction import compile_file
from vidfeat.models import build

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Draw the weights and write the file."""
    generator = torch.Generator().manual_seed(20261122)
    model = build(compile_file(HERE / "tiny_slowonly.py").model)
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.BatchNorm3d):
            module.reset_parameters()
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    data = save(state, metadata={"note": "random weights with a fixed seed, for demonstration only"})
    path = HERE / f"tiny_slowonly_fixed_seed-{hashlib.sha256(data).hexdigest()[:8]}.safetensors"
    path.write_bytes(data)
    print(path.name, len(data), "bytes")


if __name__ == "__main__":
    main()
