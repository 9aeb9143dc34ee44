"""Clips through a network of transformers: vidfeat, and the library's documented way, in one run.

The library's way is that of its documentation for video classification: PyAV decodes the video, the frames of one clip
after the other go through the processor and the network, with all cores. Both take the same clips of the same videos
and give the same vectors; their cosine is printed. The processor resizes with Pillow where torchvision is missing.

usage: python benchmarks/transformers_pipeline.py MODEL VIDEO ... [--repeat K] [--precision fp32,bf16]
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import av
import numpy as np
import torch

import vidfeat
from vidfeat.encoders import encoder


def library_way(model: str, encoder: Any, dtype: torch.dtype) -> Any:
    """A function from a video to the mean of its clips' vectors."""
    import transformers

    load: Any = transformers.AutoImageProcessor.from_pretrained
    processor = load(model.removeprefix("hf:"))
    network = encoder.load(torch.device("cpu")).network.model.to(dtype)

    def extract(path: str) -> Any:
        with av.open(path) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rows = []
        for clip in encoder.grid.frame_index(len(frames)):
            values = processor([frames[i] for i in clip], return_tensors="pt")["pixel_values"].to(dtype)
            clips = values.transpose(1, 2) if values.dim() == 5 else values
            with torch.inference_mode():
                rows.append(network.forward_features(clips).float())
        return torch.cat(rows).mean(0).numpy()

    return extract


def vidfeat_way(encoder: Any, videos: list[str], precision: Any) -> tuple[float, list[Any]]:
    """Seconds, with loading the network, and the vectors."""
    refs = [vidfeat.VideoRef(str(number), path) for number, path in enumerate(videos)]
    job = vidfeat.Job(videos=refs, encoders=encoder, precision=precision)
    began = time.perf_counter()
    rows = {one.key: np.asarray(one) for one in vidfeat.stream(job) if isinstance(one, vidfeat.VideoFeatures)}
    return time.perf_counter() - began, [rows[ref.key] for ref in refs]


def main() -> None:
    """Measure in alternation, and print the best time of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--precision", default="fp32,bf16")
    given = parser.parse_args()
    compiled = encoder(given.model)
    videos = [os.path.abspath(path) for path in given.videos]  # noqa: PTH100
    library = library_way(given.model, compiled, torch.float32)
    times: dict[str, list[float]] = {"transformers": []}
    for _ in range(given.repeat):
        began = time.perf_counter()
        expected = [library(path) for path in videos]
        times["transformers"].append(time.perf_counter() - began)
        for precision in given.precision.split(","):
            seconds, rows = vidfeat_way(compiled, videos, precision)
            times.setdefault(precision, []).append(seconds)
            pairs = zip(rows, expected, strict=True)
            least = min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs)
            print(f"{precision}: {seconds:.2f} s, least cosine to the library's {least:.6f}")
    base = min(times["transformers"])
    for name, each in times.items():
        print(f"{name:<13} {min(each):7.2f} s  {base / min(each):.2f} times as fast")


if __name__ == "__main__":
    main()
