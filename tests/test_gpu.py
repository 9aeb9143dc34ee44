"""On a GPU, where there is one: rows as on the CPU, bits that repeat, memory that runs out, a run on several."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from video.video_files import write_video
from vidfeat import Extractor
from vidfeat.inference.backends import cosine
from vidfeat.inference.runner import Batch, Network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

OPTIONS = {"data.test.pipeline.1.clip_len": 2, "data.test.pipeline.4.crop_size": 32}
TF32 = 0.99999
"""Convolutions of fp32 round their inputs to 10 bits on a GPU, as they did under MMAction2."""

Make = Callable[..., Extractor]


@pytest.fixture(scope="module")
def make(repository: Path) -> Make:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    config = repository / "examples" / "tiny_slowonly.py"
    return lambda **how: Extractor(config, checkpoint=checkpoint, cfg_options=OPTIONS, **how)


def batch_of(network: Network, seed: int = 0) -> Batch:
    """A full batch of noise, where the network wants it."""
    batch = network.new_batch((2, 32, 32, 3))
    batch.pixels[...] = np.random.default_rng(seed).integers(0, 256, batch.pixels.shape, dtype=np.uint8)
    return batch


def rows(network: Network, batch: Batch) -> torch.Tensor:
    network.submit(batch)
    return batch.rows.result(timeout=300)


def least_cosine(found: torch.Tensor, expected: torch.Tensor) -> float:
    return min(cosine(a.double(), b.double()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("precision", "least"), [("fp32", TF32), ("bf16", 0.9995), ("fp16", 0.9995)])
def test_rows_are_those_of_the_cpu(precision: str, least: float, make: Make) -> None:
    network = make(device="cuda", precision=precision).network
    batch = batch_of(network)
    assert torch.from_numpy(batch.pixels).is_pinned()
    found = rows(network, batch)
    assert found.device.type == "cpu"
    some = batch.pixels[:4]
    assert least_cosine(found[:4], rows(make(device="cpu").network, Batch(some))) >= least
    assert network.numerics.cosine is not None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_depends_on_its_unit_alone(precision: str, make: Make) -> None:
    network = make(device="cuda", precision=precision).network
    batch = batch_of(network)
    first = rows(network, batch)
    assert torch.equal(rows(network, Batch(batch.pixels)), first)
    assert torch.equal(rows(network, Batch(batch.pixels[::-1].copy())), first.flip(0))
    mixed = batch_of(network, seed=1)
    mixed.pixels[3] = batch.pixels[0]
    assert torch.equal(rows(network, mixed)[3], first[0])
    assert torch.equal(rows(make(device="cuda", precision=precision).network, Batch(batch.pixels)), first)


def test_lanes_do_not_disturb_each_other(make: Make) -> None:
    """Each has a stream and memory of its own; a copy that is not waited for would show."""
    network = make(device="cuda").network
    batches = [batch_of(network, seed) for seed in range(4)]
    alone = [rows(network, Batch(batch.pixels)) for batch in batches]
    together = [Batch(batches[turn % 4].pixels) for turn in range(40)]
    for batch in together:
        network.submit(batch)
    for turn, batch in enumerate(together):
        assert torch.equal(batch.rows.result(timeout=300), alone[turn % 4]), turn


def test_compiled_kernels(make: Make) -> None:
    eager, compiled = make(device="cuda").network, make(device="cuda", compiled=True).network
    batch = batch_of(eager)
    assert least_cosine(rows(compiled, Batch(batch.pixels)), rows(eager, batch)) >= TF32
    assert compiled.numerics.kernels == "compiled"


LITTLE_MEMORY = """
import json, sys
import numpy as np, torch
from vidfeat import Extractor
from vidfeat.preprocessing.clips import Views

config, checkpoint = sys.argv[1:]
pixels = np.random.default_rng(0).integers(0, 256, (512, 1, 112, 112, 3), dtype=np.uint8)
views = Views(pixels, np.arange(512).reshape(64, 8), 512, 25.0)
options = {"data.test.pipeline.1.num_clips": 64}
new = lambda: Extractor(config, checkpoint=checkpoint, cfg_options=options, device="cuda")
first, second = new(), new()
expected = first.compute(views).array
needed = torch.cuda.max_memory_reserved()
torch.cuda.empty_cache()
held = torch.cuda.memory_reserved()
total = torch.cuda.get_device_properties(0).total_memory
torch.cuda.set_per_process_memory_fraction((held + 0.4 * (needed - held)) / total)
found = second.compute(views).array
distance = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
print(json.dumps([first.network.numerics.units_per_batch, second.network.numerics.units_per_batch, distance]))
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
