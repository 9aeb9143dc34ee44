"""Small real video files for the tests, written with PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
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


# --- videos that show the numbers of their frames ---------------------------------------------------------------------

BITS, BLOCK = 12, 16


def write_numbered(path: Path, seconds: Sequence[float]) -> Path:
    """A video whose frame i is shown from `seconds[i]` on, and has the bits of i as white and black blocks."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = BITS * BLOCK, 2 * BLOCK, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        for number, second in enumerate(seconds):
            bits = np.array([255 * (number >> bit & 1) for bit in range(BITS)], np.uint8)
            image = np.repeat(np.repeat(bits[None, :, None], BLOCK, axis=1), 3, axis=2)
            frame = av.VideoFrame.from_ndarray(np.repeat(image, 2 * BLOCK, axis=0), format="rgb24")
            frame.pts, frame.time_base = round(second * 90000), Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers_in(pixels: np.ndarray) -> np.ndarray:
    """The numbers that frames show: int64 `[N]` of uint8 `[N, H, W, 3]`."""
    blocks = pixels.reshape(*pixels.shape[:-3], pixels.shape[-3], BITS, -1).mean(axis=(-3, -1))
    return ((blocks > 127) << np.arange(BITS)).sum(axis=-1)


def filtered(frames: Iterable[av.VideoFrame], time_base: Fraction, name: str, options: str) -> Iterator[av.VideoFrame]:
    """Frames through a filter of libavfilter."""
    graph, source = av.filter.Graph(), None
    for frame in frames:
        if source is None:
            size = {"width": frame.width, "height": frame.height}
            source = graph.add_buffer(**size, format=frame.format.name, time_base=time_base)
            made, sink = graph.add(name, options), graph.add("buffersink")
            source.link_to(made)
            made.link_to(sink)
            graph.configure()
        source.push(frame)
        yield from _pulled(sink)
    assert source is not None
    source.push(None)
    yield from _pulled(sink)


def _pulled(sink: Any) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
