"""All fuzz targets by name."""

from __future__ import annotations

from collections.abc import Callable

from fuzz_checkpoint import CheckpointTarget
from fuzz_config import ConfigTarget
from fuzz_list import ListTarget, ParquetListTarget
from fuzz_outputs import OUTPUTS
from fuzzing import Target

TARGETS: dict[str, Callable[[], Target]] = {
    "config": ConfigTarget,
    "checkpoint": CheckpointTarget,
    "list": ListTarget,
    "parquet_list": ParquetListTarget,
    **OUTPUTS,
}
