"""What becomes of a video, as a run takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from vidfeat.errors import VideoError
from vidfeat.store.streams import Features
from vidfeat.videos import Entry


@dataclass(frozen=True, eq=False)
class Success:
    """A video with features.

    Attributes:
        entry: the video. If it was committed before, this replaces it.
        array: float32, finite, of shape `[C]`; with further axes where views, windows or positions are kept.
        frames: frames in the video; of a salvaged one, those that decode.
        fps: its average frames per second, None where unknown.
        seconds: its duration, None where unknown.
        salvaged: whether it is broken, and the features are of the frames that decode all the same.
        frames_declared: frames that a salvaged video's container announces, None where unknown.
    """

    entry: Entry
    array: Features
    frames: int
    fps: float | None
    seconds: float | None
    salvaged: bool = False
    frames_declared: int | None = None


@dataclass(frozen=True, eq=False)
class Failure:
    """A video without features, and why."""

    entry: Entry
    error: VideoError


Result = Union[Success, Failure]
