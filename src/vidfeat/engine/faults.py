"""What becomes of an exception that nobody foresaw: one video's failure, never the run's."""

from __future__ import annotations

import os

from vidfeat.errors import Kind, Stage, VideoError


def as_video_error(path: str | os.PathLike[str], stage: Stage, error: BaseException) -> VideoError:
    """The failure of one video that an exception amounts to.

    Args:
        path: the video.
        stage: what was being done to it.
        error: what was raised; a `VideoError` stays what it is.
    """
    if isinstance(error, VideoError):
        return error
    kind: Kind = "out_of_memory" if isinstance(error, MemoryError) or _is_opencv_out_of_memory(error) else "crashed"
    text = str(error)
    return VideoError(
        os.fspath(path),
        stage=stage,
        kind=kind,
        expected="a video that can be processed",
        found=f"{type(error).__name__}: {text}" if text else type(error).__name__,
        hint="If the video plays elsewhere, please report this.",
    )


def _is_opencv_out_of_memory(error: BaseException) -> bool:
    no_memory = -4  # OpenCV's error code; its exceptions are all of one class
    return type(error).__module__.startswith("cv2") and getattr(error, "code", None) == no_memory
