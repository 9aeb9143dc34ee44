"""A stand-in for a process of a run: commits arbitrary features, slowly enough to be killed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat.errors import VideoError
from vidfeat.features import VideoFailure, VideoFeatures
from vidfeat.formats import open_sink
from vidfeat.store import RunStore, WorkIdentity
from vidfeat.video.info import Timeline, VideoInfo
from vidfeat.videos import VideoRef

DESCRIPTION = {"recipe": {"schema": 1}, "checkpoint": {"source": "model.pth"}, "encoder": "test"}
SESSION = {"device": "cpu", "versions": {"vidfeat": "0", "python": "3"}}


def identity_of(precision: str = "fp32", checkpoint: str = "b" * 64) -> WorkIdentity:
    recipe = hashlib.sha256(json.dumps(DESCRIPTION["recipe"], separators=(",", ":")).encode()).hexdigest()
    return WorkIdentity(recipe, checkpoint, precision)


def videos_of(count: int, folder: Path | None = None) -> list[VideoRef]:
    """Videos; with a folder, files of different sizes and times."""
    videos = [VideoRef(f"folder {i % 3}/clip {i}.mp4", str((folder or Path()) / f"clip {i}.mp4")) for i in range(count)]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, video in enumerate(videos):
            if not video.path.exists():
                video.path.write_bytes(bytes(number))
                os.utime(video.path, ns=(0, 10**18 + number))
    return videos


def number_of(video: VideoRef) -> int:
    return int(video.path.stem.split()[1])


def values_of(number: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(size, dtype=np.float32)


def info_of(video: VideoRef) -> VideoInfo:
    frames = 4 + number_of(video) % 10
    try:
        status = video.path.stat()
        size, modified_ns = status.st_size, status.st_mtime_ns
    except OSError:
        size, modified_ns = 0, None
    return VideoInfo(
        video.uri, size, "mov", "h264", "yuv420p", 64, 48, 0, 25.0, 0.0, 10.0, frames, "packets",
        Timeline.of_rate(frames, 25.0), modified_ns=modified_ns,
    )  # fmt: skip


def features_of(video: VideoRef, values: np.ndarray | None = None) -> VideoFeatures:
    return VideoFeatures(
        video.key, "test", values_of(number_of(video)) if values is None else values, info=info_of(video)
    )


def failure_of(video: VideoRef) -> VideoFailure:
    error = VideoError(video.uri, stage="decode", kind="corrupt", expected="frames", found="none")
    return VideoFailure(video.key, "test", error)


def begin(
    out: Path | str, videos: Sequence[VideoRef], identity: WorkIdentity | None = None, **options: Any
) -> RunStore:
    return RunStore.open(open_sink(out), identity or identity_of(), videos, description=DESCRIPTION, **options)


def commit(store: RunStore, video: VideoRef, *, fails: bool = False) -> None:
    store.commit([failure_of(video) if fails else features_of(video)], SESSION)


def compute(store: RunStore, *, fails: Collection[int] = ()) -> list[int]:
    """Commit everything that is pending, one by one; returns the numbers of the videos."""
    pending = store.pending()
    for video in pending:
        commit(store, video, fails=number_of(video) in fails)
    return [number_of(video) for video in pending]


def run(out: Path | str, videos: Sequence[VideoRef], *, fails: Collection[int] = (), **options: Any) -> Any:
    """A whole run of one process; returns its summary."""
    with begin(out, videos, **options) as store:
        compute(store, fails=fails)
        return store.finalize(timeout=5.0, poll=0.01)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def die_before(out: str, count: int) -> None:
    """Make this process vanish before it changes a folder for the `count`-th time."""
    changes = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
    seen = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in changes and str(args[0]).startswith(str(Path(out).parent)):
            if seen == count:
                os._exit(77)
            seen += 1

    sys.addaudithook(watch)


def main(out: str, count: str, place: str, log: str, options: str) -> None:
    settings = {
        "rank": 0,
        "world_size": 1,
        "pause": 0.0,
        "fails": [],
        "timeout": 60.0,
        "group": 1,
        **json.loads(options),
    }
    videos = videos_of(int(count), Path(place))
    if "die_before" in settings:
        die_before(out, settings["die_before"])
    with (
        begin(out, videos, rank=settings["rank"], world_size=settings["world_size"]) as store,
        Path(log).open("a", buffering=1) as journal,
    ):
        print("open", flush=True)
        pending = store.pending()
        for start in range(0, len(pending), settings["group"]):
            group = pending[start : start + settings["group"]]
            time.sleep(settings["pause"])
            fails = settings["fails"]
            store.commit([failure_of(v) if number_of(v) in fails else features_of(v) for v in group], SESSION)
            journal.writelines(f"{number_of(video)}\n" for video in group)
        store.finalize(timeout=settings["timeout"], poll=0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
