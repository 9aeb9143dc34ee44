"""On a GPU, where there is one: rows as on the CPU, bits that repeat, memory that runs out, a run on several."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from video.video_files import write_video
from vidfeat.encoders import encoder
from vidfeat.inference.backends import cosine
from vidfeat.inference.runner import Batch, InferenceRunner

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

OPTIONS = {"data.test.pipeline.1.clip_len": 2, "data.test.pipeline.4.crop_size": 32}
TF32 = 0.99999
"""Convolutions of fp32 round their inputs to 10 bits on a GPU, as they did under MMAction2."""

Make = Callable[..., InferenceRunner]
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def make(repository: Path) -> Make:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    config = repository / "examples" / "tiny_slowonly.py"
    tiny = encoder(config, checkpoint=checkpoint, cfg_options=OPTIONS)

    def make_runner(device: str = "cuda", **how: Any) -> InferenceRunner:
        return InferenceRunner(tiny.load(torch.device(device)).network, torch.device(device), **how)

    return make_runner


def pixels_of(runner: InferenceRunner, seed: int = 0) -> Pixels:
    """A full batch of noise, in the memory that the runner gives."""
    pixels = runner.new_batch((2, 32, 32, 3)).pixels
    pixels[...] = np.random.default_rng(seed).integers(0, 256, pixels.shape, dtype=np.uint8)
    return pixels


def rows(runner: InferenceRunner, pixels: Pixels) -> torch.Tensor:
    batch = Batch(pixels)
    runner.submit(batch)
    return batch.rows.result(timeout=300)


def least_cosine(found: torch.Tensor, expected: torch.Tensor) -> float:
    return min(cosine(a.double(), b.double()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("precision", "least"), [("fp32", TF32), ("bf16", 0.9995), ("fp16", 0.9995)])
def test_rows_are_those_of_the_cpu(precision: str, least: float, make: Make) -> None:
    runner = make(precision=precision)
    pixels = pixels_of(runner)
    assert torch.from_numpy(pixels).is_pinned()
    found = rows(runner, pixels)
    assert found.device.type == "cpu"
    assert least_cosine(found[:4], rows(make("cpu"), pixels[:4])) >= least
    assert runner.numerics.cosine is not None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_depends_on_its_sample_alone(precision: str, make: Make) -> None:
    runner = make(precision=precision)
    pixels = pixels_of(runner)
    first = rows(runner, pixels)
    assert torch.equal(rows(runner, pixels), first)
    assert torch.equal(rows(runner, pixels[::-1].copy()), first.flip(0))
    mixed = pixels_of(runner, seed=1)
    mixed[3] = pixels[0]
    assert torch.equal(rows(runner, mixed)[3], first[0])
    assert torch.equal(rows(make(precision=precision), pixels), first)


def test_streams_do_not_disturb_each_other(make: Make) -> None:
    """Each has a stream and memory of its own; a copy that is not waited for would show."""
    runner = make()
    noise = [pixels_of(runner, seed) for seed in range(4)]
    alone = [rows(runner, pixels) for pixels in noise]
    together = [Batch(noise[turn % 4]) for turn in range(40)]
    for batch in together:
        runner.submit(batch)
    for turn, batch in enumerate(together):
        assert torch.equal(batch.rows.result(timeout=300), alone[turn % 4]), turn


def test_compiled_rows(make: Make) -> None:
    eager, compiled = make(), make(backend="compiled")
    pixels = pixels_of(eager)
    assert least_cosine(rows(compiled, pixels), rows(eager, pixels)) >= TF32
    assert compiled.numerics.backend == "compiled"


LITTLE_MEMORY = """
import json, sys
import numpy as np, torch
from vidfeat.encoders import encoder
from vidfeat.inference.computation import Batcher, VideoComputation
from vidfeat.inference.runner import InferenceRunner
from vidfeat.preprocessing.clips import ClipBatch

config, checkpoint = sys.argv[1:]
pixels = np.random.default_rng(0).integers(0, 256, (512, 1, 112, 112, 3), dtype=np.uint8)
clips = ClipBatch(
    pixels=pixels,
    clips=np.arange(512).reshape(64, 8),
    first_clip=0,
    start_seconds=np.arange(64.0),
    end_seconds=np.arange(64.0) + 1,
)
options = {"data.test.pipeline.1.num_clips": 64}
tiny, gpu = encoder(config, checkpoint=checkpoint, cfg_options=options), torch.device("cuda")

def compute(runner):
    computation = VideoComputation(Batcher(runner), key="video", encoder="tiny")
    computation.add(clips)
    return computation.result().values

first, second = (InferenceRunner(tiny.load(gpu).network, gpu) for _ in range(2))
expected = compute(first)
needed = torch.cuda.max_memory_reserved()
torch.cuda.empty_cache()
held = torch.cuda.memory_reserved()
total = torch.cuda.get_device_properties(0).total_memory
torch.cuda.set_per_process_memory_fraction((held + 0.4 * (needed - held)) / total)
found = compute(second)
distance = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
print(json.dumps([first.numerics.samples_per_batch, second.numerics.samples_per_batch, distance]))
"""


def test_out_of_memory_on_the_device_steps_down_and_goes_on(repository: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    command = [sys.executable, "-c", LITTLE_MEMORY, repository / "examples" / "tiny_slowonly.py", checkpoint]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    before, after, distance = json.loads(done.stdout.splitlines()[-1])
    assert len(before) == 1 < len(after)
    assert after[0] == before[0] > after[-1]
    assert distance < 1e-3


def test_a_list_is_the_same_on_one_gpu_on_two_and_on_the_cpu(repository: Path, tmp_path: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    (tmp_path / "videos").mkdir()
    for number in range(12):
        write_video(tmp_path / "videos" / f"{number}.mp4", frames=20 + 5 * number, size=(96, 72))

    def extract(devices: str) -> list[npt.NDArray[np.float32]]:
        out = tmp_path / f"{devices.replace(':', '')}.pkl"
        config = repository / "examples" / "tiny_slowonly.py"
        flags = ["--checkpoint", checkpoint, "--device", devices, "-o", out, "-q"]
        command = [sys.executable, "-m", "vidfeat", "extract", config, tmp_path / "videos", *flags]
        subprocess.run(list(map(str, command)), check=True, timeout=300, env=os.environ)
        features: list[npt.NDArray[np.float32]] = pickle.loads(out.read_bytes())
        return features

    on_cpu, on_one = extract("cpu"), extract("cuda:0")
    for mine, theirs in zip(on_one, on_cpu, strict=True):
        assert cosine(torch.from_numpy(mine).double(), torch.from_numpy(theirs).double()) >= TF32
    if torch.cuda.device_count() > 1:
        on_two = extract("cuda:0,cuda:1")
        assert [row.tobytes() for row in on_two] == [row.tobytes() for row in on_one]
