"""Videos through a network of transformers: vidfeat, and the library's documented way, in one run.

The library's way is that of its documentation for video classification: PyAV decodes the video up to the last wanted
frame, the wanted ones become arrays, and one clip after the other, or a batch of frames, goes through the processor and
the network, with all cores. Both take the same clips of the same videos and give the same vectors; their cosine is
printed. With --fps a network of images gives a row for each frame at that rate; videos must have a constant rate then.
With --times each video is taken several times, so that loading the network and starting decode processes, which count
for vidfeat only, are a small part. The processor resizes with Pillow where torchvision is missing.

usage: python benchmarks/transformers_pipeline.py MODEL VIDEO ... [--fps F] [--times N] [--repeat K]
       [--precision fp32,bf16]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import torch

import vidfeat
from vidfeat.encoders import encoder

FRAMES_AT_ONCE = 16
"""Of a network of images, in the library's way."""


def library_way(model: str, encoder: Any) -> Any:
    """A function from a video to the mean of its clips' vectors, or all rows where the encoder has windows."""
    import transformers

    load: Any = transformers.AutoImageProcessor.from_pretrained
    processor = load(model.removeprefix("hf:"))
    network = encoder.load(torch.device("cpu")).network.model

    def decode(path: str) -> tuple[Any, dict[int, Any]]:
        with av.open(path) as container:
            stream = container.streams.video[0]
            index = encoder.grid.frame_index(stream.frames, float(stream.average_rate))
            wanted, frames = set(index.ravel().tolist()), {}
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    frames[number] = frame.to_ndarray(format="rgb24")
                if number == max(wanted):
                    break
        return index, frames

    def batches(index: Any) -> Iterator[Any]:
        if encoder.recipe.model.dims == 3:
            yield from index
        else:
            for first in range(0, index.size, FRAMES_AT_ONCE):
                yield index.ravel()[first : first + FRAMES_AT_ONCE]

    def extract(path: str) -> Any:
        index, frames = decode(path)
        rows = []
        for batch in batches(index):
            values = processor([frames[i] for i in batch], return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                rows.append(network.forward_features(values.transpose(1, 2) if values.dim() == 5 else values))
        return (torch.cat(rows) if encoder.grid.dense else torch.cat(rows).mean(0)).numpy()

    return extract


def processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    return sum(os.times()[:4])


def vidfeat_way(encoder: Any, videos: list[str], precision: Any) -> list[Any]:
    """The vectors, with loading the network and starting decode processes."""
    refs = [vidfeat.VideoRef(str(number), path) for number, path in enumerate(videos)]
    job = vidfeat.Job(videos=refs, encoders=encoder, precision=precision)
    rows = {one.key: np.asarray(one) for one in vidfeat.stream(job) if isinstance(one, vidfeat.VideoFeatures)}
    return [rows[ref.key] for ref in refs]


def main() -> None:
    """Measure in alternation, and print the least times of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--precision", default="fp32,bf16")
    given = parser.parse_args()
    compiled: Any = encoder(given.model)
    if given.fps is not None:
        compiled = compiled.with_grid(vidfeat.Windows(stride=1, window=1, fps=given.fps))
    videos = [os.path.abspath(path) for path in given.videos] * given.times  # noqa: PTH100
    library = library_way(given.model, compiled)
    ways: dict[str, Any] = {"transformers": lambda: [library(path) for path in videos]}
    for precision in given.precision.split(","):
        ways[precision] = lambda precision=precision: vidfeat_way(compiled, videos, precision)
    times: dict[str, list[tuple[float, float]]] = {}
    expected: list[Any] = []
    for _ in range(given.repeat):
        for name, way in ways.items():
            began, used = time.perf_counter(), processor_seconds()
            rows = way()
            times.setdefault(name, []).append((time.perf_counter() - began, processor_seconds() - used))
            expected = expected or rows
            pairs = [(a.ravel(), b.ravel()) for a, b in zip(rows, expected, strict=True)]
            least = min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs)
            print(f"{name}: {times[name][-1][0]:.2f} s, least cosine to the library's {least:.6f}")
    base = [min(one) for one in zip(*times["transformers"], strict=True)]
    for name, each in times.items():
        wall, cpu = (min(one) for one in zip(*each, strict=True))
        ratios = f"{base[0] / wall:.2f} times as fast, {base[1] / cpu:.2f} times as little processor time"
        print(f"{name:<13} {wall:7.2f} s, {cpu:7.2f} s of processors  {ratios}")


if __name__ == "__main__":
    main()
