"""From clips to features: batches across videos, the network on its device, and pooling. Itself imports no torch.

computation     the features of one video, and the batches that its clips go into
runner          runs a network: batches in, rows out
network         normalisation, model and pooling of views
backends        eager or compiled, selected on the first batch and checked
pooling, window_rows  over views; over the frames of windows
devices, out_of_memory, stopwatch  what a caller names; when memory ran out; where the time goes
"""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
"""The number format of a network."""
