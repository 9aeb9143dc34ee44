"""Small pictures of the videos, as JPEG, for as many as fit into the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vidfeat.errors import VideoError
from vidfeat.videos import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from vidfeat.video.source import OpenVideo

WIDTH, HEIGHT = 144, 108
"""The largest size of a picture, in pixels."""

_QUALITY = 60
_TYPICAL_BYTES = 4000
_MOST_FRAMES = 6
_MOST_DECODED = 300
_THREADS = 2


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
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        candidates += [root / f"{path}{suffix}" for suffix in sorted(VIDEO_SUFFIXES)]
    return next((candidate for candidate in candidates if _is_file(candidate)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # such as a name that is too long, or one that no file can have
        return False


def frames_per_video(videos: int, budget_bytes: int) -> tuple[int, int]:
    """Frames per video, and how many videos have some, so that the pictures take about `budget_bytes`."""
    affordable = max(1, budget_bytes // _TYPICAL_BYTES)
    if videos > affordable:
        return 1, affordable
    return min(_MOST_FRAMES, affordable // max(1, videos)), videos


def take_pictures(paths: Mapping[int, Path], frames: int, budget_bytes: int) -> Iterator[tuple[int, list[bytes]]]:
    """The pictures of each video in order, with its key, until the budget is used up; a broken video has none."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pictures")
    with pool:
        waiting: list[tuple[int, Future[list[bytes]]]] = []
        remaining = iter(paths.items())
        used = 0
        while used <= budget_bytes:
            while len(waiting) < 2 * _THREADS and (item := next(remaining, None)) is not None:
                waiting.append((item[0], pool.submit(frames_of, item[1], frames)))
            if not waiting:
                break
            key, future = waiting.pop(0)
            pictures = future.result()
            used += sum(map(len, pictures))
            yield key, pictures
        for _, future in waiting:
            future.cancel()


def frames_of(path: Path, count: int) -> list[bytes]:
    """Up to `count` frames of a video, evenly over its time, as JPEG of at most `WIDTH` x `HEIGHT`.

    A single frame is the last key frame before the middle, which is quick to decode. Several frames are taken near
    their times, with a bound on the frames that are decoded for each: pictures need not be exact. Empty for a file that
    cannot be read.
    """
    from vidfeat.video.source import open_video

    pictures: list[bytes] = []
    try:
        with open_video(path, "open") as video:
            video.stream.codec_context.thread_count = 1
            for time in _times(video, count):
                if time is not None:
                    video.container.seek(time, stream=video.stream)
                frame = _frame_at(video, time if count > 1 else None)
                if frame is not None:
                    pictures.append(_as_jpeg(frame))
    except VideoError:
        return pictures  # those before the error, which the run reports
    return pictures


def _times(video: OpenVideo, count: int) -> list[int | None]:
    """The middles of `count` equal parts of the video, in its time base; [None] where its length is unknown."""
    duration = video.stream.duration
    if duration is None and video.container.duration is not None and video.stream.time_base:
        duration = int(video.container.duration / 1_000_000 / video.stream.time_base)
    if not duration or duration < 0:
        return [None]
    start = video.stream.start_time or 0
    return [start + int(duration * (number + 0.5) / count) for number in range(count)]


def _frame_at(video: OpenVideo, time: int | None) -> VideoFrame | None:
    """The next frame that is shown at `time` or later, or the last of `_MOST_DECODED` frames."""
    last = None
    for number, frame in enumerate(video.container.decode(video.stream), start=1):
        last = frame
        if time is None or frame.pts is None or frame.pts >= time or number >= _MOST_DECODED:
            break
    return last


def _as_jpeg(frame: VideoFrame) -> bytes:
    import cv2

    from vidfeat.video.probe import to_upright, upright
    from vidfeat.video.source import check_frame_size

    check_frame_size(frame.width, frame.height, "picture", "open")
    turns, mirrored = to_upright(frame)
    width, height = (HEIGHT, WIDTH) if turns % 2 else (WIDTH, HEIGHT)
    scale = min(width / frame.width, height / frame.height, 1)
    small = frame.reformat(max(1, round(frame.width * scale)), max(1, round(frame.height * scale)), "bgr24")
    pixels = upright(small.to_ndarray(), turns, mirrored)
    written, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes() if written else b""
