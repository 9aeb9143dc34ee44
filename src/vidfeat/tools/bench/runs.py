"""What one run of a row gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from vidfeat.inference.backends import Backend


@dataclass(frozen=True, eq=False)
class Run:
    """One run over all videos, as the process that did it reports.

    Attributes:
        features: float32 `[videos, C]`, in list order.
        model_videos_per_second: how many videos the network alone manages, as this row runs it, with the whole machine
            to itself.
        backend: what ran the network.
        compile_seconds: spent in `torch.compile` before the clock started; 0.0 where nothing was compiled.
        cosine: least cosine to eager fp32 in the first batch; None where there was nothing to check.
        said: lines about decisions, such as which backend was selected.
    """

    features: npt.NDArray[np.float32]
    model_videos_per_second: float
    backend: Backend = "eager"
    compile_seconds: float = 0.0
    cosine: float | None = None
    said: tuple[str, ...] = ()
