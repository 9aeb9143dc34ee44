"""What the decode pool delivers: any of its threads delivers an event, and the worker takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, Union

from vidfeat.errors import VideoError
from vidfeat.preprocessing.clips import ClipBatch
from vidfeat.video import VideoInfo


@dataclass(frozen=True)
class VideoPlanned:
    """It is known what a video is, and which frames are wanted of it. Clips of it that were delivered before are void.

    Attributes:
        index: the position of its task.
        info: the video.
    """

    index: int
    info: VideoInfo


@dataclass(frozen=True, eq=False)
class ChunkDecoded:
    """Some clips of a video for one encoder.

    Attributes:
        index: the position of the video's task.
        encoder: the position of the encoder.
        clips: the next ones of its plan.
        release: to be called once the pixels are no longer needed.
        cpu_seconds: processor time that the video has taken so far.
    """

    index: int
    encoder: int
    clips: ClipBatch
    release: Callable[[], None]
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class VideoDecoded:
    """All clips of a video have been delivered.

    Attributes:
        index: the position of its task.
        cpu_seconds: processor time that it took.
        fallback: why PyAV decoded it, or the rest of it, where NVDEC was asked to; else empty.
    """

    index: int
    cpu_seconds: float = field(default=0.0, compare=False)
    fallback: str = field(default="", compare=False)


@dataclass(frozen=True)
class VideoFailed:
    """A video cannot be decoded; clips of it that were delivered are void.

    Attributes:
        index: the position of its task.
        error: why.
        release: to be called once the failure is recorded.
    """

    index: int
    error: VideoError
    release: Callable[[], None]


@dataclass(frozen=True)
class PoolFailed:
    """No video can be decoded any more, by at least one of the supervisor threads."""

    error: Exception


Event: TypeAlias = Union[VideoPlanned, ChunkDecoded, VideoDecoded, VideoFailed, PoolFailed]
