"""Rendered videos to measure with: of the size, length and kind of file that Kinetics' clips have."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, FPS, SECONDS = 340, 256, 30, 10
"""Of a rendered clip: Kinetics' videos, cut to 10 s and scaled to a short edge of 256 as most copies of it are."""

_DRIFT = (2.3, 0.9)
"""Pixels a frame that the background moves."""

_DISCS = 12


def render_clips(folder: Path, count: int) -> list[Path]:
    """Write `count` different clips, H.264 with FFmpeg's own defaults, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        _encode(path, seed=number)
    return paths


def loop(clip: Path, times: int, target: Path) -> Path:
    """Write a video that is a clip over and over. Its packets are copied, as encoding an hour takes an hour."""
    import av

    with av.open(str(clip)) as source, av.open(str(target), "w") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        assert stream.time_base is not None  # a file that `render_clips` wrote has one
        ticks = round(stream.frames / (FPS * stream.time_base))
        for repetition in range(times):
            source.seek(0)
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None:  # the empty one at the end
                    continue
                packet.pts, packet.dts = packet.pts + repetition * ticks, packet.dts + repetition * ticks
                packet.stream = copy
                sink.mux(packet)
    return target


def _encode(path: Path, seed: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in _scene(seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _scene(seed: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Discs that move before a drifting texture with a little noise: frames uint8 `[HEIGHT, WIDTH, 3]`.

    Still or smooth pictures would be decoded faster than what cameras see.
    """
    import cv2

    rng = np.random.default_rng(seed)
    background = _texture(rng, HEIGHT + 64, WIDTH + 64)
    places, speeds = rng.uniform(0, (WIDTH, HEIGHT), (_DISCS, 2)), rng.normal(0, 3, (_DISCS, 2))
    radii, colours = rng.integers(8, 40, _DISCS), rng.integers(0, 256, (_DISCS, 3))
    grain = rng.normal(0, 3, (8, HEIGHT, WIDTH, 1))
    for number in range(FPS * SECONDS):
        x, y = (round(32 + 31 * np.sin(number * speed / 32)) for speed in _DRIFT)
        image = background[y : y + HEIGHT, x : x + WIDTH].copy()
        for place, speed, radius, colour in zip(places, speeds, radii, colours, strict=True):
            centre = (place + number * speed) % (WIDTH, HEIGHT)
            cv2.circle(image, (int(centre[0]), int(centre[1])), int(radius), [int(c) for c in colour], thickness=-1)
        yield np.clip(image + grain[number % len(grain)], 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Noise with detail at every scale, as in nature: uint8 `[height, width, 3]`."""
    import cv2

    image = np.full((height, width, 3), 128.0)
    for cells in (4, 8, 16, 32, 64, 128):
        coarse = rng.normal(0, 90 / cells**0.5, (cells, cells, 3))
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)
