"""`vidfeat demo`: rendered clips, a small network trained on motions, and its features."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).parent / "model" / "motion_i3d_r10.py"
"""The config of the included network, in MMAction2's format; its model card is README.md beside it."""


def weights() -> Path:
    """The checkpoint of the included network, beside its config."""
    (path,) = CONFIG.parent.glob("*.safetensors")
    return path
