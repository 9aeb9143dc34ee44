"""A demonstration in one command: clips of things that move, a small network that knows motions, and its features."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).parent / "model" / "motion_i3d_r10.py"
"""The config of the embedded network, in MMAction2's format; its card lies beside it."""


def weights() -> Path:
    """The embedded network's checkpoint, beside its config."""
    (path,) = CONFIG.parent.glob("*.safetensors")
    return path
