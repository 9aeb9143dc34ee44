"""Outputs for tests, written by the real store, and small videos for them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidfeat import VideoError, VideoFailure, VideoFeatures, VideoInfo, VideoRef
from vidfeat.formats import open_sink
from vidfeat.store import RunStore, WorkIdentity
from vidfeat.video import Timeline

DESCRIPTION = {
    "recipe": {"schema": 1, "type": "Recipe", "sampling": {"type": "WindowSampling", "clip_len": 8}},
    "checkpoint": {"source": "model.pth"},
    "encoder": "model",
}
SESSION = {"device": "cpu", "numerics": {}, "versions": {"vidfeat": "0", "python": "3"}}


def write_output(
    out: Path,
    names: Sequence[str],
    rows: Sequence[np.ndarray],
    *,
    fails: Collection[int] = (),
    message: str = "none",
    seconds: Sequence[np.ndarray | None] = (),
    labels: Sequence[Sequence[str | None]] = (),
    finish: bool = True,
) -> Path:
    """An output as a run leaves it; without `finish`, as a run that was interrupted.

    `seconds` are start and end of each row, `[T, 2]`, of each video; with `labels` of its rows, these are segments.
    """
    cuts = [
        None
        if times is None
        else tuple((float(start), float(end), label) for (start, end), label in zip(times, of, strict=True))
        for times, of in zip(seconds, labels, strict=False)
    ]
    videos = [VideoRef.with_cut(name, name, cut) for name, cut in zip_longest(names, cuts)]
    recipe = json.dumps(DESCRIPTION["recipe"], sort_keys=True, separators=(",", ":"))
    identity = WorkIdentity(hashlib.sha256(recipe.encode()).hexdigest(), "b" * 64, "fp32")
    with RunStore.open(open_sink(out), identity, videos, description=DESCRIPTION) as store:
        for number, (name, row) in enumerate(zip(names, rows, strict=False)):
            if number in fails:
                error = VideoError(name, stage="decode", kind="corrupt", expected="frames", found=message)
                store.commit([VideoFailure(name, "model", error)], SESSION)
            else:
                times = seconds[number] if number < len(seconds) else None
                start, end = (None, None) if times is None else np.asarray(times, np.float64).T
                features = VideoFeatures(name, "model", np.asarray(row, np.float32), start, end, info_of(name))
                store.commit([features], SESSION)
        if finish:
            store.finalize(timeout=5.0, poll=0.01)
    return out


def info_of(name: str) -> VideoInfo:
    """A video of 50 frames in 2 seconds."""
    stream: dict[str, Any] = {"codec": "h264", "pixel_format": "yuv420p", "width": 96, "height": 64, "rotation": 0}
    time: dict[str, Any] = {"fps": 25.0, "start_seconds": 0.0, "duration_seconds": 2.0, "frames": 50}
    timeline = Timeline.of_rate(50, 25.0)
    return VideoInfo(name, 1000, "mov", **stream, **time, frames_from="packets", timeline=timeline)


def clustered(count: int, size: int = 16, classes: int = 3) -> np.ndarray:
    """Vectors around `classes` centres far apart, in turn; float32 `[count, size]`."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((classes, size)) * 5
    noise = random.standard_normal((count, size)) * 0.3
    return (centres[np.arange(count) % classes] + noise).astype(np.float32)


def names_of(count: int, classes: int = 3) -> list[str]:
    return [f"class {index % classes}/clip {index}.mp4" for index in range(count)]


def write_clip(path: Path, *, frames: int = 20, seed: int = 0, size: tuple[int, int] = (96, 64)) -> Path:
    """A video that goes from black to a colour of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = np.random.default_rng(seed).integers(120, 256, 3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            picture = np.broadcast_to(colour * number // (frames - 1), (size[1], size[0], 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def data_of(page: Path) -> dict[str, Any]:
    """What the page holds for its program."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    return json.loads(text)
