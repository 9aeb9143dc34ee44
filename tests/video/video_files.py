"""Small real video files for the tests, written with PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidfeat.video import Frame

RATE = 25


def picture(index: int, width: int, height: int) -> np.ndarray:
    """Frame `index` of a moving pattern with noise in it, so that no two frames are alike; uint8 RGB."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x * 3 + index * 5) % 256, (y * 4 + index * 3) % 256, (x + y + index * 7) % 256], axis=-1)
    return (image * 0.8 + rng.integers(0, 50, (height, width, 3))).astype(np.uint8)


def write_video(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 30,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    format: str | None = None,  # noqa: A002
    ticks: list[int] | None = None,
    audio: bool = False,
    context: dict[str, Any] | None = None,
) -> Path:
    """Encode `frames` pictures of `size` (width, height); `ticks` are their times in 1/25 s where they are uneven."""
    width, height = size
    with av.open(str(path), "w", format=format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for name, value in (context or {}).items():
            setattr(stream.codec_context, name, value)
        sound = container.add_stream("aac", rate=8000, layout="mono") if audio else None
        if sound is not None:
            mux_sound(container, sound)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24").reformat(format=pix_fmt)
            frame.pts = ticks[index] if ticks else index
            frame.time_base = Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def mux_sound(container: Any, stream: Any) -> None:
    """A second of noise."""
    rng = np.random.default_rng(0)
    for start in range(0, 8000, 1000):
        samples = rng.uniform(-0.2, 0.2, (1, 1000)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def pixels_of(frames: Iterable[Frame]) -> dict[int, np.ndarray]:
    """The pixels of decoded frames by their index."""
    return {frame.index: frame.pixels for frame in frames}


def plain_linear_decode(path: Path) -> list[np.ndarray]:
    """The reference of the tests: every frame, by the few lines that anybody would write."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        return [
            np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)) for frame in container.decode(stream)
        ]


def cut(source: Path, target: Path, share: float) -> Path:
    """A copy of the first `share` of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target
