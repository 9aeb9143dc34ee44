"""Which errors of PyTorch and its libraries mean that memory ran out."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, on whatever device, or Python had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On the CPU PyTorch has no class of its own for it; oneDNN says no more than that it could not create something.
    text = str(error)
    signs = ("can't allocate memory", "out of memory", "could not create a memory")
    return isinstance(error, RuntimeError) and (
        any(sign in text for sign in signs) or text == "could not create a primitive"
    )


def first_line(error: BaseException) -> str:
    """The class and the first line of an error; PyTorch's go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
