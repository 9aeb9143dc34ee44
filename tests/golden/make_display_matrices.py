"""Writes display_matrices.json: what the ffmpeg program shows of a video with each display matrix.

Usage: make_display_matrices.py FFMPEG, the path of the program, any version from 5 on. When it decodes, it
turns and mirrors frames by itself (`-autorotate`), which PyAV does not. `write_video` makes the video here and in the
test.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 6, 4
ONE = 1 << 16
MATRICES = {
    "identity": (1, 0, 0, 1),
    "90 clockwise": (0, 1, -1, 0),
    "180": (-1, 0, 0, -1),
    "90 counterclockwise": (0, -1, 1, 0),
    "mirrored left to right": (-1, 0, 0, 1),
    "mirrored top to bottom": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transposed along the other diagonal": (0, -1, -1, 0),
    "twice as large": (2, 0, 0, 2),
    "half as large, and 90 clockwise": (0, 0.5, -0.5, 0),
    "wider than high, and 180": (-3, 0, 0, -1),
    "wider than high, and transposed": (0, 2, 1, 0),
    "sheared by a little": (1, 0.01, 0, 1),
}
"""a, b, c, d of the matrix in the track header."""


def write_video(path: Path, matrix: tuple[float, float, float, float]) -> None:
    """One uncompressed frame, of which no two pixels are alike."""
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        frame = av.VideoFrame.from_ndarray(picture(), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    a, b, c, d = (round(value * ONE) for value in matrix)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def picture() -> np.ndarray:
    """uint8 RGB `[HEIGHT, WIDTH, 3]`."""
    return (np.arange(HEIGHT * WIDTH * 3) * 3 + 5).astype(np.uint8).reshape(HEIGHT, WIDTH, 3)


def shown(ffmpeg: str, path: Path) -> dict[str, object]:
    """The first frame as the program shows it: PPM, which states its size."""
    command = [ffmpeg, "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    magic, size, depth, pixels = data.split(b"\n", 3)
    width, height = map(int, size.split())
    assert (magic, depth, len(pixels)) == (b"P6", b"255", 3 * width * height)
    return {"width": width, "height": height, "rgb": pixels.hex()}


def main(ffmpeg: str) -> None:
    """Write the file."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, matrix in MATRICES.items():
            path = Path(folder) / "a.mov"
            write_video(path, matrix)
            found[name] = {"matrix": matrix, **shown(ffmpeg, path)}
    Path(__file__).with_name("display_matrices.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
