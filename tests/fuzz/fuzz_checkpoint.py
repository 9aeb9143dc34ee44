"""Fuzz target: checkpoints. Whatever a file holds, the answer is tensors or a `CheckpointError`, and no code runs."""

from __future__ import annotations

import io
import pickle
import random
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fuzzing
import numpy as np
import torch
from safetensors.torch import save as to_safetensors

from vidfeat.checkpoint import load_state

WEIGHTS = {
    "backbone.conv1.weight": torch.arange(24.0).reshape(2, 3, 4),
    "backbone.bn.num_batches_tracked": torch.tensor(7),
    "cls_head.fc.weight": torch.ones(3, 2, dtype=torch.float16),
}

NAMES = """
os system|posix system|builtins eval|builtins exec|builtins getattr|subprocess Popen|importlib import_module
torch._utils _rebuild_tensor_v2|torch._utils _rebuild_parameter|torch FloatStorage|torch LongStorage|torch.hub load
collections OrderedDict|numpy.core.multiarray scalar|numpy.core.multiarray _reconstruct|numpy dtype|numpy ndarray
_codecs encode|mmengine.logging.message_hub MessageHub|torch.serialization load|operator attrgetter|functools partial
torch load|io open
"""
GLOBALS = [f"c{name}\n".replace(" ", "\n").encode() for name in NAMES.strip().replace("\n", "|").split("|")]
OPCODES = [bytes([getattr(pickle, name)[0]]) for name in pickle.__all__ if len(name) > 2 and name.isupper()
           and isinstance(getattr(pickle, name), bytes)]  # fmt: skip
OPERANDS = [
    *(struct.pack("<i", number) for number in (0, 1, 2, 3, 255, -1, 2**31 - 1)),
    b"K\x00", b"K\x02", b"(", b"t", b")", b"}", b"]", b"R", b"b", b"Q", b"X\x03\x00\x00\x00cpu", b"\x8a\x01\x05",
    b"X\x0a\x00\x00\x00state_dict", b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x000", b"\x93", b"\x81", b"\x92",
]  # fmt: skip


class CheckpointTarget:
    """The checkpoint reader: `torch.save`'s two formats and safetensors, with and without extras beside the weights."""

    name = "checkpoint"
    suffix = ".pth"

    def prepare(self, folder: Path) -> None:
        """Nothing."""

    def seeds(self) -> list[bytes]:
        """One file of each format."""
        contents: list[Any] = [
            WEIGHTS,
            {"state_dict": OrderedDict(WEIGHTS), "meta": {"epoch": 3, "config": "model = 1", "time": "now"}},
            {"state_dict": WEIGHTS, "optimizer": {"lr": np.float64(0.1), "steps": np.arange(3)}},
        ]
        files = [_saved(content, zipped) for content in contents for zipped in (True, False)]
        return [*files, to_safetensors(WEIGHTS)]

    def mutate(self, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        """Anywhere in the file; for archives mostly inside a part, since a changed archive fails its checksums."""
        words = [*GLOBALS, *OPCODES, *OPERANDS]
        if data[:2] == b"PK" and rng.random() < 0.8:
            changed = _change_parts(rng, data, words)
            if changed is not None:
                return changed
        if rng.random() < 0.1:
            return b"\x80\x02" + b"".join(rng.choice(words) for _ in range(rng.randrange(30))) + b"."
        return fuzzing.change_bytes(rng, data, words, others)

    def read(self, path: Path) -> str:
        """Load, then read every element of every tensor: one that reaches beyond its memory would show."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = load_state(path)
        for name, tensor in state.items():
            if not isinstance(name, str) or type(tensor) is not torch.Tensor:
                raise fuzzing.Finding(f"{name!r} is a {type(tensor)}")
            if not tensor.is_quantized and tensor.layout is torch.strided and tensor.numel() < 10_000_000:
                tensor.clone()
        return f"{len(state)} tensors"


def _saved(content: Any, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def _change_parts(rng: random.Random, data: bytes, words: Sequence[bytes]) -> bytes | None:
    """The archive with one part changed and its checksums right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:  # an input that was changed before need not be an archive any more
        return None
    if not parts:
        return None
    pickles = [name for name in parts if name.endswith("data.pkl")]
    name = rng.choice(pickles) if pickles and rng.random() < 0.8 else rng.choice(list(parts))
    parts[name] = fuzzing.change_bytes(rng, parts[name], words, list(parts.values()))
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for part, content in parts.items():
            archive.writestr(part, content)
    return stream.getvalue()
