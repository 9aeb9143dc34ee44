"""Render a few short clips: shapes that move in different ways. Usage: render_clips.py FOLDER [COUNT]"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, FRAMES, FPS = 320, 240, 90, 30
Point = tuple[float, float]


def slide(t: float) -> Point:
    """Left to right."""
    return 0.1 + 0.8 * t, 0.5


def bounce(t: float) -> Point:
    """On the floor, three times."""
    return 0.1 + 0.8 * t, 0.85 - 0.6 * abs(np.sin(3 * np.pi * t))


def circle(t: float) -> Point:
    """Twice around the middle."""
    return 0.5 + 0.3 * np.cos(4 * np.pi * t), 0.5 + 0.3 * np.sin(4 * np.pi * t)


MOTIONS: dict[str, Callable[[float], Point]] = {"slide": slide, "bounce": bounce, "circle": circle}


def render(path: Path, motion: Callable[[float], Point], seed: int) -> None:
    """Write one clip: a disc of a random colour that moves before a random, still background."""
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 160, (6, 8, 3), np.uint8)
    background = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    colour = [int(value) for value in random.integers(100, 256, 3)]
    radius = int(random.integers(15, 35))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 800_000
        for number in range(FRAMES):
            x, y = motion(number / FRAMES)
            image: npt.NDArray[np.uint8] = background.copy()
            cv2.circle(image, (int(x * WIDTH), int(y * HEIGHT)), radius, colour, thickness=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def main(folder: str, count: str = "6") -> None:
    """Render COUNT clips into a folder, one subfolder for each motion."""
    for number in range(int(count)):
        name, motion = list(MOTIONS.items())[number % len(MOTIONS)]
        render(Path(folder) / name / f"{number:03d}.mp4", motion, seed=number)
    print(f"{count} clips in {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
