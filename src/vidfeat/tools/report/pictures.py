"""Small pictures of the videos, as WebP, for as many as fit into the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from vidfeat.errors import VideoError
from vidfeat.tools.report.measure import Doubles
from vidfeat.videos.folders import VIDEO_SUFFIXES, is_video, path_is

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from vidfeat.video.source import OpenVideo

WIDTH, HEIGHT = 144, 108
"""The largest size of a picture, in pixels."""

_QUALITY = 50
_TYPICAL_BYTES = 1800
_MOST_PICTURES, _MOST_OVER_TIME = 6, 48
_MOST_DECODED = 300
_MOST_FROM_START = 3000
_LONG = 4.0
_THREADS = 2


@dataclass(frozen=True)
class Picture:
    """A picture of a video.

    Attributes:
        seconds: when its frame is shown, in the presentation time of the file; None where the file does not say it.
        webp: at most `WIDTH` x `HEIGHT`.
    """

    seconds: float | None
    webp: bytes


@dataclass(frozen=True)
class Wanted:
    """Which pictures of a video are taken.

    Attributes:
        path: the file.
        count: how many pictures, at most.
        spans: float64 `[N, 2]`, ranges of presentation time from the middles of which they are taken, in seconds; of
            more than `count`, neighbours are joined. None for equal parts of the video.
    """

    path: Path
    count: int
    spans: Doubles | None = None


def find_video(name: str, root: Path | None) -> Path | None:
    """The file of a video below `root`, or None. A name without a video's suffix is also tried with each suffix.

    Names come from files and are not trusted: only paths below `root` are tried. Links below it are followed.
    """
    if root is None or not name or "\0" in name:
        return None
    path = PurePosixPath(name)
    if path.is_absolute():
        absolute = PurePosixPath(root.absolute().as_posix())
        if not path.is_relative_to(absolute):
            return None
        path = path.relative_to(absolute)
    if ".." in path.parts:
        return None
    candidates = [root / path]
    if not is_video(Path(path)):
        candidates += [root / f"{path}{suffix}" for suffix in sorted(VIDEO_SUFFIXES)]
    return next((candidate for candidate in candidates if path_is(Path.is_file, candidate)), None)


def pictures_per_video(videos: int, budget_bytes: int, *, over_time: bool = False) -> tuple[int, int]:
    """Pictures per video, and how many videos have some, so that the pictures take about `budget_bytes`."""
    affordable = max(1, budget_bytes // _TYPICAL_BYTES)
    if videos > affordable:
        return 1, affordable
    return min(_MOST_OVER_TIME if over_time else _MOST_PICTURES, affordable // max(1, videos)), videos


def take_pictures(wanted: Mapping[int, Wanted], budget_bytes: int) -> Iterator[tuple[int, list[Picture] | VideoError]]:
    """The pictures of each video in order, with its key, until the budget is used up; or why there are none."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="pictures") as pool:
        waiting: list[tuple[int, Future[list[Picture] | VideoError]]] = []
        remaining = iter(wanted.items())
        used = 0
        while used <= budget_bytes:
            while len(waiting) < 2 * _THREADS and (item := next(remaining, None)) is not None:
                waiting.append((item[0], pool.submit(_pictures_or_error, item[1])))
            if not waiting:
                break
            key, future = waiting.pop(0)
            pictures = future.result()
            if not isinstance(pictures, VideoError):
                used += sum(len(picture.webp) for picture in pictures)
            yield key, pictures
        for _, future in waiting:
            future.cancel()


def _pictures_or_error(wanted: Wanted) -> list[Picture] | VideoError:
    try:
        return pictures_of(wanted)
    except VideoError as error:
        return error


def pictures_of(wanted: Wanted) -> list[Picture]:
    """The pictures of a video, in order of time.

    A picture need not be exact: where its span is long, or it is the only one, it is the key frame before the middle,
    which is quick to decode, if that is in the span; and few frames are decoded for each. Where FFmpeg finds nothing
    after a seek, as in short transport streams, which have no index, the video is decoded from its start.

    Raises:
        VideoError: no picture can be decoded.
    """
    best: list[Picture] = []
    for seeking in (True, False):
        try:
            found, complete = _decoded(wanted, seeking)
        except VideoError:
            if not seeking and not best:
                raise
            continue
        best = max(best, found, key=len)
        if complete:
            break
    if not best:
        raise VideoError(str(wanted.path), stage="decode", kind="corrupt", expected="frames", found="none")
    return best


def _decoded(wanted: Wanted, seeking: bool) -> tuple[list[Picture], bool]:
    """Pictures, and whether they are all; those before an error, which the run reports."""
    from vidfeat.video.source import open_video

    pictures: list[Picture] = []
    complete = True
    try:
        with open_video(wanted.path, "open") as video:
            spans = _spans(video, wanted)
            frames: Iterator[VideoFrame] = islice(video.container.decode(video.stream), _MOST_FROM_START)
            for start, end in spans:
                if seeking:
                    if np.isfinite(start) and video.stream.time_base:
                        video.container.seek(int((start + end) / 2 / video.stream.time_base), stream=video.stream)
                    frames = islice(video.container.decode(video.stream), _MOST_DECODED)
                frame = _next_frame(frames, start, end, alone=len(spans) == 1)
                complete &= frame is not None
                if frame is not None and (not pictures or frame.time != pictures[-1].seconds):
                    pictures.append(Picture(frame.time, _as_webp(frame)))
            return pictures, complete
    except VideoError:
        if not pictures:
            raise
        return pictures, False


def _spans(video: OpenVideo, wanted: Wanted) -> list[tuple[float, float]]:
    """Where the pictures are taken from, in seconds; one without an end where the length of the video is unknown."""
    if wanted.spans is not None:
        parts = np.array_split(wanted.spans, min(wanted.count, len(wanted.spans)))
        return [(float(part[:, 0].min()), float(part[:, 1].max())) for part in parts]
    time_base, duration = video.stream.time_base, video.stream.duration
    seconds = float(duration * time_base) if duration and time_base else (video.container.duration or 0) / 1_000_000
    if seconds <= 0 or not time_base:
        return [(-np.inf, np.inf)]
    first = float((video.stream.start_time or 0) * time_base)
    edges = np.linspace(first, first + seconds, wanted.count + 1).tolist()
    return list(pairwise(edges))


def _next_frame(frames: Iterator[VideoFrame], start: float, end: float, *, alone: bool) -> VideoFrame | None:
    """The first of `frames` if it will do, else the first in the second half of the span, or the last of all."""
    last = None
    for number, frame in enumerate(frames):
        last = frame
        if frame.time is None or frame.time >= (start + end) / 2:
            break
        if number == 0 and start <= frame.time and (alone or end - start >= _LONG):
            break
    return last


def _as_webp(frame: VideoFrame) -> bytes:
    import cv2

    from vidfeat.video.probe import to_upright, upright
    from vidfeat.video.source import check_frame_size

    check_frame_size(frame.width, frame.height, "picture", "open")
    turns, mirrored = to_upright(frame)
    width, height = (HEIGHT, WIDTH) if turns % 2 else (WIDTH, HEIGHT)
    scale = min(width / frame.width, height / frame.height, 1)
    small = frame.reformat(max(1, round(frame.width * scale)), max(1, round(frame.height * scale)), "bgr24")
    pixels = upright(small.to_ndarray(), turns, mirrored)
    written, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return data.tobytes() if written else b""
