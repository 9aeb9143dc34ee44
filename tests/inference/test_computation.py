"""The features of one video: rows in the order of its plan, with their times, in little memory."""

from __future__ import annotations

import dataclasses
import gc
import math
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import vidfeat
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.errors import VideoError
from vidfeat.features import VideoFeatures
from vidfeat.inference.computation import _BLOCK_BYTES, MAX_OPEN_BATCHES, Batcher, VideoComputation, _times_of_rows
from vidfeat.inference.runner import Batch, InferenceRunner
from vidfeat.preprocessing.clips import ClipBatch
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.recipe import Pooling

CPU = torch.device("cpu")
OPTIONS = {"data.test.pipeline.1.clip_len": 2, "data.test.pipeline.4.crop_size": 32}


@pytest.fixture(scope="module")
def encoder(repository: Path) -> RecipeEncoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    config = repository / "examples" / "tiny_slowonly.py"
    windows = WindowSampling(clip_len=2, clip_interval=2)
    compiled = vidfeat.encoder(config, checkpoint=checkpoint, cfg_options=OPTIONS)
    assert isinstance(compiled, RecipeEncoder)
    return compiled.with_grid(windows)


@pytest.fixture
def make(encoder: RecipeEncoder) -> Callable[..., InferenceRunner]:
    def make_runner(pooling: Pooling | None = None, **how: object) -> InferenceRunner:
        with_pooling = encoder if pooling is None else encoder.with_pooling(pooling)
        return InferenceRunner(with_pooling.load(CPU).network, CPU, **how)  # type: ignore[arg-type]

    return make_runner


def chunks_of(count: int, clips: int = 8, crops: int = 1, seed: int = 0) -> Iterator[ClipBatch]:
    """The clips of a video, some at a time: different clips of 2 frames, half a second each."""
    random = np.random.default_rng(seed)
    for number in range(count):
        start = (number * clips + np.arange(clips)) / 2
        yield ClipBatch(
            pixels=random.integers(0, 256, (2 * clips, crops, 32, 32, 3), dtype=np.uint8),
            clips=np.arange(2 * clips).reshape(clips, 2),
            first_clip=number * clips,
            start_seconds=start,
            end_seconds=start + 0.5,
        )


def compute(runner: InferenceRunner, chunks: Iterator[ClipBatch], batcher: Batcher | None = None) -> VideoFeatures:
    computation = VideoComputation(batcher or Batcher(runner), key="video", encoder="tiny")
    for chunk in chunks:
        computation.add(chunk)
    return computation.result()


def one_by_one(runner: InferenceRunner, chunk: ClipBatch) -> torch.Tensor:
    """The rows of a chunk by the network itself, `[crops, clips, C]`."""
    with torch.inference_mode():
        crops = range(chunk.crops)
        return torch.stack([runner.network(torch.from_numpy(chunk.pixels[chunk.clips][:, :, crop])) for crop in crops])


def test_rows_are_those_of_the_network_in_the_order_of_the_plan(make: Callable[..., InferenceRunner]) -> None:
    runner = make(Pooling(views="keep"))
    expected = torch.cat([one_by_one(runner, chunk) for chunk in chunks_of(3, crops=3)], dim=1)
    found = compute(runner, chunks_of(3, crops=3))
    assert (found.key, found.encoder, found.values.shape) == ("video", "tiny", (72, 32))
    np.testing.assert_allclose(found.values, expected.flatten(0, 1).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.start_seconds, np.tile(np.arange(24) / 2, 3))
    np.testing.assert_array_equal(found.end_seconds, np.tile(np.arange(24) / 2 + 0.5, 3))
    per_clip = compute(make(Pooling(views="per_clip")), chunks_of(3, crops=3))
    np.testing.assert_allclose(per_clip.values, expected.mean(0).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(per_clip.start_seconds, np.arange(24) / 2)


def test_a_mean_over_all_views_has_no_times(make: Callable[..., InferenceRunner]) -> None:
    runner = make()
    expected = torch.cat([one_by_one(runner, chunk) for chunk in chunks_of(3)], dim=1).mean((0, 1))
    found = compute(runner, chunks_of(3))
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert (found.start_seconds, found.end_seconds, found.info) == (None, None, None)


def test_what_came_before_a_first_clip_is_void(make: Callable[..., InferenceRunner]) -> None:
    runner = make(Pooling(views="keep"))
    again = compute(runner, (chunk for seed in (1, 0) for chunk in chunks_of(3, seed=seed)))
    assert again.values.tobytes() == compute(runner, chunks_of(3)).values.tobytes()


@pytest.mark.parametrize(
    ("clips", "rows", "expected"),
    [
        (4, 4, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        (4, 2, [(0, 2), (2, 4)]),
        (4, 1, [(0, 4)]),
        (2, 4, [(0, 1), (0, 1), (1, 2), (1, 2)]),
        (2, 3, [(0, 1), (0, 2), (1, 2)]),
    ],
)
def test_times_of_rows(clips: int, rows: int, expected: list[tuple[float, float]]) -> None:
    start = np.arange(float(clips))
    found = _times_of_rows(start, start + 1, 2 * rows, crops=2)
    assert list(zip(*(side.tolist() for side in found), strict=True)) == expected * 2


# --- memory -----------------------------------------------------------------------------------------------------------


class CountedPixels:
    """How many batches of a runner have their pixels in memory."""

    def __init__(self, runner: InferenceRunner, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: list[weakref.ref[np.ndarray]] = []
        self.most = 0
        new_batch = runner.new_batch

        def counted(shape: tuple[int, ...]) -> Batch:
            batch = new_batch(shape)
            self.alive = [*(pixels for pixels in self.alive if pixels() is not None), weakref.ref(batch.pixels)]
            self.most = max(self.most, len(self.alive))
            return batch

        monkeypatch.setattr(runner, "new_batch", counted)


def test_pixels_are_released_while_the_video_goes_on(
    make: Callable[..., InferenceRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 batches of one video, of which only those in flight and the open one have pixels."""
    runner = make(Pooling(views="keep"), threads=2)
    pixels = CountedPixels(runner, monkeypatch)
    batcher = Batcher(runner)
    computation = VideoComputation(batcher, key="video", encoder="tiny")
    for chunk in chunks_of(100):
        computation.add(chunk)
    batcher.flush()
    assert runner.samples_per_batch == 4
    assert pixels.most <= 2 * runner.slots + 1
    assert computation.result().values.shape == (800, 32)
    gc.collect()
    assert [left for left in pixels.alive if left() is not None] == []


def test_shapes_that_change_keep_a_bounded_number_of_batches(
    make: Callable[..., InferenceRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make(Pooling(views="keep"), threads=1)
    pixels = CountedPixels(runner, monkeypatch)
    batcher = Batcher(runner)
    for number in range(60):
        size = 24 + 4 * (number % 6)
        (chunk,) = chunks_of(1, clips=1)
        computation = VideoComputation(batcher, key="video", encoder="tiny")
        computation.add(dataclasses.replace(chunk, pixels=chunk.pixels[:, :, :size, :size]))
    batcher.flush()
    assert pixels.most <= 2 * runner.slots + MAX_OPEN_BATCHES


def test_rows_take_their_bytes_and_no_more(make: Callable[..., InferenceRunner]) -> None:
    """A slice of a shared batch does not keep the rows of others, and rows of many chunks share a block."""
    runner = make(Pooling(views="keep"))
    batcher = Batcher(runner)
    computations = [VideoComputation(batcher, key=f"{number}", encoder="tiny") for number in range(3)]
    for chunks in zip(*(chunks_of(5, clips=3, seed=seed) for seed in range(3)), strict=True):
        for computation, chunk in zip(computations, chunks, strict=True):
            computation.add(chunk)
    batcher.flush()
    for seed, computation in enumerate(computations):
        shared = computation.result().values
        assert computation.nbytes == 15 * 32 * 4
        (block,) = computation._computed._blocks
        assert block.untyped_storage().nbytes() == _BLOCK_BYTES
        assert not computation._pending
        alone = compute(runner, chunks_of(5, clips=3, seed=seed))
        assert shared.tobytes() == alone.values.tobytes()


@pytest.mark.parametrize("rows_in_block", [1, 2, 5, 15, 100])
def test_rows_and_times_do_not_depend_on_the_blocks(
    rows_in_block: int, make: Callable[..., InferenceRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make(Pooling(views="keep"))
    expected = compute(runner, chunks_of(5, clips=3, crops=3))
    monkeypatch.setattr(f"{VideoComputation.__module__}._BLOCK_BYTES", rows_in_block * 3 * 32 * 4)
    found = compute(runner, chunks_of(5, clips=3, crops=3))
    assert found.values.tobytes() == expected.values.tobytes()
    assert found.start_seconds is not None
    assert found.start_seconds.tolist() == [*np.arange(15) / 2] * 3


# --- failures, threads, processes -------------------------------------------------------------------------------------


def test_features_that_are_not_finite_are_the_videos_failure(make: Callable[..., InferenceRunner]) -> None:
    runner = make()
    list(runner.network.model.parameters())[-1].fill_(math.inf)
    computation = VideoComputation(Batcher(runner), key="video", encoder="tiny", where="dir/video.mp4")
    computation.add(next(chunks_of(1)))
    with pytest.raises(VideoError, match=r"dir/video\.mp4: expected finite features; found 32 of 32 values") as caught:
        computation.result()
    assert (caught.value.stage, caught.value.kind) == ("model", "corrupt")


def test_an_error_of_a_batch_is_that_of_its_videos(make: Callable[..., InferenceRunner]) -> None:
    runner = make()
    compute(runner, chunks_of(1))
    runner.network.model.backbone.conv1 = torch.nn.Linear(7, 7)
    computation = VideoComputation(Batcher(runner), key="video", encoder="tiny")
    futures = computation.add(next(chunks_of(1)))
    assert all(isinstance(future.exception(timeout=60), RuntimeError) for future in futures)
    assert computation.idle
    assert computation.nbytes == 0
    with pytest.raises(RuntimeError, match="shapes"):
        computation.result()


def test_threads_may_share_runners(make: Callable[..., InferenceRunner]) -> None:
    runners = make(), make(precision="bf16", threads=1)
    expected = [compute(runner, chunks_of(3)).values for runner in runners]
    assert not np.array_equal(*expected)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: compute(runners[number % 2], chunks_of(3)).values, range(12)))
    for number, values in enumerate(found):
        np.testing.assert_array_equal(values, expected[number % 2])


def test_a_runner_that_nobody_needs_is_gone(make: Callable[..., InferenceRunner]) -> None:
    networks = []
    for _ in range(2):
        runner = make()
        compute(runner, chunks_of(1))
        networks.append(weakref.ref(runner.network))
        del runner
    gc.collect()
    assert [network() for network in networks] == [None, None]


FORKING = """
import os, signal, sys
import numpy as np, torch
from vidfeat import UsageError
from vidfeat.encoders import encoder
from vidfeat.inference.computation import Batcher, VideoComputation
from vidfeat.inference.runner import InferenceRunner
from vidfeat.preprocessing.clips import ClipBatch

model, checkpoint, before, made = sys.argv[1:]
cpu = torch.device("cpu")
new = lambda: InferenceRunner(encoder(model, checkpoint=checkpoint).load(cpu).network, cpu)

def compute(runner):
    computation = VideoComputation(Batcher(runner), key="video", encoder="tiny")
    pixels, seconds = np.zeros((8, 1, 112, 112, 3), np.uint8), np.zeros(1)
    clips = np.arange(8)[None]
    batch = ClipBatch(pixels=pixels, clips=clips, first_clip=0, start_seconds=seconds, end_seconds=seconds)
    computation.add(batch)
    return str(computation.result().values.shape)

runner = new()
if before == "computed":
    compute(runner)
if not (child := os.fork()):
    signal.alarm(60)  # rather than wait for ever
    try:
        found = compute(runner if made == "inherited" else new())
    except UsageError as error:
        found = str(error)
    print(found, flush=True)
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize(
    ("before", "made", "words"),
    [
        ("idle", "inherited", "(32,)"),
        ("computed", "inherited", "which has computed features already. Start it with"),
        ("computed", "new", "which has computed features already. Start it with"),
    ],
)
def test_a_forked_process_computes_or_says_why_not(before: str, made: str, words: str, repository: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    config = repository / "examples" / "tiny_slowonly.py"
    command = [sys.executable, "-W", "ignore", "-c", FORKING, config, checkpoint, before, made]
    done = subprocess.run(
        [os.fspath(part) for part in command], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
