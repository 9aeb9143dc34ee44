"""What the readers of videos tell: any of their threads delivers an event, and the one that computes takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Union

from vidfeat.errors import VideoError
from vidfeat.preprocessing.clips import Views
from vidfeat.video import VideoInfo


@dataclass(frozen=True, eq=False)
class ChunkDecoded:
    """Some views of a video.

    Attributes:
        index: the video's position in the list.
        views: its next views; with `first_clip` 0 those that came before are void.
        release: to be called once the pixels are no longer needed.
        cpu_seconds: processor time that the video has taken so far.
    """

    index: int
    views: Views
    release: Callable[[], None]
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Complete:
    """All views of a video have been handed on.

    Attributes:
        index: the video's position in the list.
        cpu_seconds: processor time that it took.
        info: what the video is, where that is all that was asked for.
        doubt: why PyAV decoded it, or the rest of it, where NVDEC was asked to; else empty.
    """

    index: int
    cpu_seconds: float = field(default=0.0, compare=False)
    info: VideoInfo | None = None
    doubt: str = field(default="", compare=False)


@dataclass(frozen=True)
class Failed:
    """Video `index` cannot be read; what was handed on of it is void.

    Attributes:
        index: the video's position in the list.
        error: why.
        release: to be called once that is taken note of.
    """

    index: int
    error: VideoError
    release: Callable[[], None]


@dataclass(frozen=True)
class Broken:
    """No video can be read any more, by at least one of the keepers."""

    error: Exception


Event = Union[ChunkDecoded, Complete, Failed, Broken]
