"""The number formats of a network. Apart from what computes in them, since this imports no torch."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
