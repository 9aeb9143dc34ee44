"""What comes of a video: features, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from vidfeat.errors import VideoError
from vidfeat.video import VideoInfo

Values: TypeAlias = npt.NDArray[np.float32]
Dtype = Literal["float32", "float16"]
"""The number format of an output."""

Seconds: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """The features of one video. `np.asarray` of it is `values`.

    Attributes:
        key: the video's name in outputs.
        encoder: the name of the encoder.
        values: float32 `[C]`, or `[T, C]` with a row per window or view; plus the axes that a pooling keeps. float16
            where they were read from an output of that `dtype`.
        start_seconds, end_seconds: float64 `[T]`, the half-open range of presentation time that each row is made of;
            None where a row stands for the whole video.
        info: what is known of the video; None where an output does not say it.
    """

    key: str
    encoder: str
    values: Values = field(repr=False)
    start_seconds: Seconds | None = field(default=None, repr=False)
    end_seconds: Seconds | None = field(default=None, repr=False)
    info: VideoInfo | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """`values`, as NumPy asks for it."""
        if copy is False and dtype is not None and np.dtype(dtype) != self.values.dtype:
            raise ValueError(f"values of type {self.values.dtype} cannot become {np.dtype(dtype)} without a copy")
        return np.array(self.values, dtype=dtype, copy=True if copy else None)


@dataclass(frozen=True)
class VideoFailure:
    """A video without features.

    Attributes:
        key: the video's name in outputs.
        encoder: the name of the encoder that gave none.
        error: why; its `stage` and `kind` say at which step and what was wrong.
    """

    key: str
    encoder: str
    error: VideoError


Outcome: TypeAlias = Union[VideoFeatures, VideoFailure]
