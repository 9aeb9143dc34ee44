"""Every video of a list looked at, in processes that can be killed: what it is, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from vidfeat.engine.decode_pool import ReaderOptions, Readers
from vidfeat.engine.events import Broken, ChunkDecoded, Event, Failed
from vidfeat.errors import VideoError
from vidfeat.recipe import Recipe
from vidfeat.store import Entry
from vidfeat.tools.estimate.workload import Workload, Workloads
from vidfeat.video import VideoInfo


@dataclass(frozen=True)
class Sound:
    """A video that opens.

    Attributes:
        entry: which one.
        info: what it is.
        work: what the recipe asks of it.
    """

    entry: Entry
    info: VideoInfo
    work: Workload


@dataclass(frozen=True)
class Unsound:
    """A video that would fail.

    Attributes:
        entry: which one.
        error: why.
    """

    entry: Entry
    error: VideoError


@dataclass(frozen=True)
class Survey:
    """All videos of a list, in its order: those that open and those that do not."""

    sound: tuple[Sound, ...]
    unsound: tuple[Unsound, ...]


def survey(
    entries: Sequence[Entry], recipe: Recipe, reading: ReaderOptions, settled: Callable[[], object] = lambda: None
) -> Survey:
    """Probe every video. Nothing but its first frame is decoded, so damage further in is not seen.

    Args:
        entries: the videos.
        recipe: what is to be done to them.
        reading: how many processes probe, and what they may use.
        settled: called after every video.

    Raises:
        VidfeatError: no process that reads videos can be started.
    """
    inbox: SimpleQueue[Event] = SimpleQueue()
    workloads = Workloads(recipe)
    found: list[Sound | Unsound] = []
    with Readers(None, [entry.path for entry in entries], inbox.put, reading):
        while len(found) < len(entries):
            found.append(_judged(inbox.get(), entries, workloads))
            settled()
    found.sort(key=lambda video: video.entry.index)
    return Survey(
        tuple(video for video in found if isinstance(video, Sound)),
        tuple(video for video in found if isinstance(video, Unsound)),
    )


def _judged(event: Event, entries: Sequence[Entry], workloads: Workloads) -> Sound | Unsound:
    if isinstance(event, Broken):
        raise event.error
    entry = entries[event.index]
    if isinstance(event, Failed):
        event.release()
        return Unsound(entry, event.error)
    if isinstance(event, ChunkDecoded) or event.info is None:
        raise TypeError(f"a reader that was given no PreprocessSpec only probes; {event = }")
    try:
        return Sound(entry, event.info, workloads.of(event.info))
    except VideoError as error:
        return Unsound(entry, error)
