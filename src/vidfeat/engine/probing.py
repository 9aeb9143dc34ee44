"""What is known of videos before they are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from vidfeat.engine.decode_pool import DecodePool, PoolOptions, Task, processes_for
from vidfeat.engine.events import Event, PoolFailed, VideoDecoded, VideoFailed, VideoPlanned
from vidfeat.errors import VideoError
from vidfeat.hardware import usable_cores
from vidfeat.video import VideoInfo
from vidfeat.videos import VideoRef


@dataclass(frozen=True)
class Probed:
    """What is known of a video before it is decoded.

    Attributes:
        video: which.
        info: what it is; None where it cannot be opened.
        error: why not; None where it can.
    """

    video: VideoRef
    info: VideoInfo | None = None
    error: VideoError | None = None


def probe_all(
    videos: Sequence[VideoRef], *, processes: int | None = None, timeout_seconds: float = 60.0
) -> Iterator[Probed]:
    """Probe videos in processes that can be killed. Nothing but first frames is decoded.

    Args:
        videos: which.
        processes: how many at once; one for each core where None.
        timeout_seconds: as in `Job`.

    Yields:
        One `Probed` for each video, as they are done.

    Raises:
        VidfeatError: no process can be started.
    """
    inbox: SimpleQueue[Event] = SimpleQueue()
    options = PoolOptions(processes or processes_for(len(usable_cores())), timeout_seconds=timeout_seconds)
    infos: dict[int, VideoInfo] = {}
    left = len(videos)
    with DecodePool(None, [Task(video, ()) for video in videos], inbox.put, options):
        while left:
            event = inbox.get()
            if isinstance(event, PoolFailed):
                raise event.error
            if isinstance(event, VideoPlanned):
                infos[event.index] = event.info
            elif isinstance(event, VideoFailed):
                event.release()
                left -= 1
                yield Probed(videos[event.index], error=event.error)
            elif isinstance(event, VideoDecoded):
                left -= 1
                yield Probed(videos[event.index], infos.pop(event.index))
