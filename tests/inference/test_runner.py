"""The network on its device: rows that depend on their sample alone, checked precisions, backends, little memory."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import vidfeat
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.errors import ConfigError, DeviceError
from vidfeat.inference import backends
from vidfeat.inference.backends import cosine
from vidfeat.inference.runner import Batch, InferenceRunner, initial_samples_per_batch

OPTIONS = {"data.test.pipeline.1.clip_len": 2, "data.test.pipeline.4.crop_size": 32}
CPU = torch.device("cpu")

Make = Callable[..., InferenceRunner]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")


def encoder(repository: Path, options: dict[str, object]) -> RecipeEncoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    config = repository / "examples" / "tiny_slowonly.py"
    compiled = vidfeat.encoder(config, checkpoint=checkpoint, cfg_options=OPTIONS | options)
    assert isinstance(compiled, RecipeEncoder)
    return compiled


@pytest.fixture(scope="module")
def make(repository: Path) -> Make:
    return lambda **how: InferenceRunner(encoder(repository, {}).load(CPU).network, CPU, **how)


def clips(count: int) -> npt.NDArray[np.uint8]:
    """Different clips of 2 frames."""
    return np.random.default_rng(0).integers(0, 256, (count, 2, 32, 32, 3), dtype=np.uint8)


def rows(runner: InferenceRunner, pixels: npt.NDArray[np.uint8], **how: int) -> torch.Tensor:
    batch = Batch(pixels)
    runner.submit(batch, **how)
    return batch.rows.result(timeout=120)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_depends_on_its_sample_alone(precision: str, make: Make) -> None:
    runs = make(precision=precision)
    assert runs.samples_per_batch == 4
    some = clips(8)
    first = rows(runs, some[:4])
    assert torch.equal(rows(runs, some[:4][::-1].copy()), first.flip(0))
    padded = some[:4].copy()
    padded[1:] = 0
    assert torch.equal(rows(runs, padded)[0], first[0])
    mixed = some[4:].copy()
    mixed[2] = some[0]
    assert torch.equal(rows(runs, mixed)[2], first[0])


@pytest.mark.parametrize(
    ("clip_len", "clips_per_video", "samples"), [(2, 4, 4), (2, 3, 3), (2, 10, 4), (1, 25, 5), (1, 7, 7), (16, 10, 1)]
)
def test_a_video_alone_fills_its_batches(clip_len: int, clips_per_video: int, samples: int, repository: Path) -> None:
    sampling = {"data.test.pipeline.1.clip_len": clip_len, "data.test.pipeline.1.num_clips": clips_per_video}
    assert initial_samples_per_batch(encoder(repository, sampling).recipe, CPU) == samples


def test_a_gpus_batch_is_large_whatever_a_video_has(repository: Path) -> None:
    assert initial_samples_per_batch(encoder(repository, {}).recipe, torch.device("cuda")) == 128


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_is_checked_and_close(precision: str, make: Make) -> None:
    exact, reduced = make(), make(precision=precision)
    some = clips(4)
    expected, found = rows(exact, some), rows(reduced, some)
    assert found.dtype == torch.float32
    assert not torch.equal(expected, found)
    least = min(cosine(a.double(), b.double()) for a, b in zip(expected, found, strict=True))
    assert least >= backends.MIN_COSINE
    assert reduced.numerics.cosine == pytest.approx(least, abs=1e-9)
    assert exact.numerics.cosine is None


def test_a_network_that_does_not_fit_the_format_is_refused(make: Make) -> None:
    runner = make(precision="fp16")
    next(runner.network.model.parameters()).mul_(1e5)  # activations past 65504, the largest number of fp16
    with pytest.raises(DeviceError, match=r"fp16 on cpu.*0\.9995.*nan"):
        rows(runner, clips(4))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_that_cannot_take_what_it_is_given_says_so_once_for_all(precision: str, make: Make) -> None:
    runner = make(precision=precision)
    runner.network.model.backbone.conv1 = torch.nn.Linear(7, 7)
    with pytest.raises(ConfigError, match=r"model: expected .* found 2 frames of 32x32, on which it fails with "):
        rows(runner, clips(4))


def test_what_fails_after_it_has_worked_is_not_the_networks_fault(make: Make) -> None:
    runner = make()
    rows(runner, clips(4))
    runner.network.model.backbone.conv1 = torch.nn.Linear(7, 7)
    with pytest.raises(RuntimeError, match="shapes"):
        rows(runner, clips(4))


def test_wrong_compiled_code_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a compiler gets a layer wrong: it gives other rows than plain PyTorch, without a word."""
    monkeypatch.setattr(backends, "compile_network", lambda network: lambda pixels: network(pixels).roll(1, dims=1))
    with pytest.raises(DeviceError, match="fp32 on cpu, compiled"):
        rows(make(backend="compiled"), clips(4))


@needs_compiler
def test_compiled_rows_are_close_and_repeat(make: Make) -> None:
    eager, compiled = make(), make(backend="compiled")
    some = clips(4)
    expected, found = rows(eager, some), rows(compiled, some)
    assert compiled.numerics.backend == "compiled"
    assert compiled.numerics.cosine == pytest.approx(1, abs=1e-6)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(rows(compiled, some[::-1].copy()), found.flip(0))


@needs_compiler
def test_what_is_faster_is_measured_where_the_list_is_long(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    asked: list[str | None] = []

    def pin(proposal: str | None) -> str | None:
        asked.append(proposal)
        return proposal

    def new() -> InferenceRunner:
        return make(backend=None, pin_backend=pin, say=said.append)

    short = new()
    rows(short, clips(4), samples_ahead=1000)
    assert (short.numerics.backend, said, asked) == ("eager", [], [None, "eager"])
    monkeypatch.setattr(backends, "COMPILE_PAYS_AFTER_SECONDS", 0.0)
    long = new()
    rows(long, clips(4), samples_ahead=1000)
    begun, line = said
    assert begun.startswith("compiling the network, which takes about 10 to 60 s and may save a tenth to a third of ")
    assert line.startswith("compiled: " if long.numerics.backend == "compiled" else "not compiled: ")
    assert "times as fast" in line
    assert asked[2:] == [None, long.numerics.backend]


@needs_compiler
def test_a_pinned_backend_is_used(make: Make) -> None:
    pinned = make(backend=None, pin_backend=lambda proposal: "compiled")
    rows(pinned, clips(4))
    assert pinned.numerics.backend == "compiled"


def test_what_no_slot_has_begun_can_be_cancelled(make: Make) -> None:
    runs = make(threads=1)
    rows(runs, clips(4))
    batches = [Batch(np.zeros((4, 2, 256, 256, 3), np.uint8)) for _ in range(2)]
    for batch in batches:
        runs.submit(batch)
    before = runs.busy.seconds
    while runs.busy.seconds == before:  # no slot has begun the first
        time.sleep(0.001)
    runs.cancel()
    assert batches[1].rows.cancelled()
    assert batches[0].rows.result(timeout=60).shape[0] == 4
    assert rows(runs, clips(4)).isfinite().all()
    assert runs.in_flight == 0


WITHOUT_COMPILER = """
import sys
import numpy as np, torch
from vidfeat.encoders import encoder
from vidfeat.errors import DeviceError
from vidfeat.inference import backends
from vidfeat.inference.runner import Batch, InferenceRunner

backends.COMPILE_PAYS_AFTER_SECONDS = 0.0
cpu = torch.device("cpu")
for wanted in (None, "compiled"):
    network = encoder(sys.argv[1], checkpoint=sys.argv[2]).load(cpu).network
    runs = InferenceRunner(network, cpu, backend=wanted, say=print)
    batch = Batch(np.zeros((1, 8, 112, 112, 3), np.uint8))
    try:
        runs.submit(batch, samples_ahead=1000)
        print(batch.rows.result().isfinite().all().item())
    except DeviceError as error:
        print(error)
"""


def test_without_a_compiler_a_long_list_is_computed_all_the_same(repository: Path, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    _, said, finite, begun, refused = _python(WITHOUT_COMPILER, repository, env=env).splitlines()
    assert begun == "compiling the network, which takes about 10 to 60 s as `compiled=True` asks for"
    assert said.startswith("not compiled: ")
    assert finite == "True"
    assert refused.startswith("backend: expected")
    assert "C++ compiler" in refused


LITTLE_MEMORY = """
import resource, sys
import numpy as np, torch
from vidfeat.encoders import encoder
from vidfeat.errors import VideoError
from vidfeat.inference import runner
from vidfeat.inference.computation import Batcher, VideoComputation
from vidfeat.preprocessing.clips import ClipBatch

config, checkpoint, rooms = sys.argv[1], sys.argv[2], sys.argv[3:]
runner.FRAMES_PER_BATCH["cpu"] = 512
pixels = np.random.default_rng(0).integers(0, 256, (512, 1, 112, 112, 3), dtype=np.uint8)
clips = ClipBatch(
    pixels=pixels,
    clips=np.arange(512).reshape(64, 8),
    first_clip=0,
    start_seconds=np.arange(64.0),
    end_seconds=np.arange(64.0) + 1,
)
options = {"data.test.pipeline.1.num_clips": 64}
tiny, cpu = encoder(config, checkpoint=checkpoint, cfg_options=options), torch.device("cpu")

def compute(runner):
    computation = VideoComputation(Batcher(runner), key="long.mp4", encoder="tiny")
    computation.add(clips)
    return computation.result().values

first, *others = (runner.InferenceRunner(tiny.load(cpu).network, cpu, threads=2) for _ in range(1 + len(rooms)))
expected = compute(first)
print(list(first.numerics.samples_per_batch))
for room, other in zip(rooms, others):
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    for _ in range(2):
        other.submit(runner.Batch(np.zeros((1, 8, 112, 112, 3), np.uint8)))  # its threads are there
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (int(room) << 20), -1))
    try:
        found = compute(other)
        distance = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        print(list(other.numerics.samples_per_batch), distance < 1e-5)
        break
    except VideoError as error:
        print(error.kind, error.where, error.stage)
"""


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space")


@linux
def test_out_of_memory_steps_down_and_goes_on(repository: Path) -> None:
    """The input of a batch alone takes 77 MB. What else needs memory differs, so the least room that does is found."""
    before, *_, after = _python(LITTLE_MEMORY, repository, 16, 24, 32, 48, 64, 72).splitlines()
    assert before == "[64]"
    sizes, same = after.rsplit(" ", 1)
    first, *smaller = json.loads(sizes)
    assert first == 64
    assert smaller
    assert all(0 < b < a for a, b in itertools.pairwise([first, *smaller]))
    assert same == "True"


@linux
def test_no_memory_at_all_is_the_videos_failure(repository: Path) -> None:
    assert _python(LITTLE_MEMORY, repository, 0).splitlines() == ["[64]", "out_of_memory long.mp4 model"]


def _python(script: str, repository: Path, *arguments: object, env: dict[str, str] | None = None) -> str:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    command = [sys.executable, "-c", script, repository / "examples" / "tiny_slowonly.py", checkpoint, *arguments]
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
