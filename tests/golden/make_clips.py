"""Render the clips of the records: moving shapes, a drifting background, noise and a scene change.

usage: python tests/golden/make_clips.py

Needs NumPy and PyAV. The bytes of a clip depend on the version of x264: after rendering, make the records again.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CLIPS = Path(__file__).resolve().parent / "clips"

# name: width, height, frames, frames per second, constant rate factor
SIZES = {
    "landscape.mp4": (128, 96, 72, Fraction(25), 28),
    "portrait.mp4": (90, 122, 61, Fraction(30000, 1001), 30),
    "short.mp4": (112, 112, 11, Fraction(12), 28),
}


def picture(width, height, time, seed):
    """Frame uint8 `[height, width, 3]` at `time` in [0, 1]; what is shown changes altogether at 0.6."""
    scene = np.random.default_rng([seed, int(time > 0.6)])
    y, x = np.mgrid[:height, :width] / min(width, height)
    frequency = scene.uniform(2, 9, (3, 1, 1))
    drift = scene.uniform(-3, 3, (3, 1, 1))
    image = 110 + 50 * np.sin(frequency * (x + 0.6 * y + drift * time)) * np.cos(frequency * y)
    image = np.ascontiguousarray(image.transpose(1, 2, 0))
    for _ in range(5):
        place, speed = scene.uniform(0.1, 0.9, 2), scene.uniform(-0.6, 0.6, 2)
        size, colour = scene.uniform(0.06, 0.2), scene.uniform(0, 255, 3)
        across, down = x - (place[0] + speed[0] * time) % 1.2, y - (place[1] + speed[1] * time) % 1.2
        disc = across**2 + down**2 < size**2
        box = np.maximum(abs(across), abs(down)) < size
        image[disc if scene.random() < 0.5 else box] = colour
    noise = np.random.default_rng([seed, round(time * 1000)])
    corner = noise.uniform(0, 255, (height // 8, width // 8, 3)).repeat(2, 0).repeat(2, 1)
    image[: corner.shape[0], : corner.shape[1]] = corner
    return np.clip(image + noise.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def render(path, width, height, frames, fps, quality, seed):
    """Write an H.264 file with B-frames and several groups of pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(quality), "preset": "slow", "x264-params": "bframes=3:keyint=24:threads=1"}
        for number in range(frames):
            image = picture(width, height, number / frames, seed)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def main():
    CLIPS.mkdir(exist_ok=True)
    for seed, (name, size) in enumerate(SIZES.items()):
        render(CLIPS / name, *size, seed)
        print(name, (CLIPS / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
