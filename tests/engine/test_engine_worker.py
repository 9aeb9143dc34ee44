"""The worker: the same bits however many processes decode, and one outcome for every video."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from video.video_files import cut, write_video
from vidfeat import Extractor, VideoFailure, VideoFeatures, VideoRef, encoder
from vidfeat.encoders import Encoder
from vidfeat.engine.decode_pool import PoolOptions, Task, TaskStream
from vidfeat.engine.worker import Worker, WorkerOptions, in_order_of_work
from vidfeat.errors import ConfigError, VideoError
from vidfeat.inference.computation import VideoComputation
from vidfeat.mmaction import compile_file
from vidfeat.models.random_weights import write_random_weights
from vidfeat.preprocessing.clips import ClipBatch
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.recipe import Pooling

OPTIONS = WorkerOptions((torch.device("cpu"),), "fp32", "eager", None, 2, PoolOptions(2))


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Encoder:
    return tiny_with(repository)


def tiny_with(repository: Path, **options: Any) -> Encoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint, cfg_options=options)


@pytest.fixture(scope="module")
def windows(repository: Path) -> Encoder:
    """36 clips of 8 frames: more than one chunk of a long video."""
    sampling = {"data.test.pipeline.1.num_clips": 36, "data.test.pipeline.1.frame_interval": 1}
    return tiny_with(repository, **sampling, **{"data.test.pipeline.4.crop_size": 32})


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A long video first, and short ones."""
    folder = tmp_path_factory.mktemp("videos")
    long = write_video(folder / "long.mp4", frames=300, size=(96, 72))
    return [long, *(write_video(folder / f"{n}.mp4", frames=20 + n, size=(96, 72)) for n in range(3))]


def tasks_of(paths: Sequence[Path], encoders: tuple[int, ...] = (0,)) -> list[Task]:
    return [Task(VideoRef(f"{number}-{path.name}", str(path)), encoders) for number, path in enumerate(paths)]


def outcomes_of(
    encoders: Encoder | list[Encoder],
    paths: Sequence[Path],
    options: WorkerOptions = OPTIONS,
    **pool: Any,
) -> list[Any]:
    """The outcomes in the order of the videos, of the first encoder, then of the second."""
    encoders = encoders if isinstance(encoders, list) else [encoders]
    tasks = tasks_of(paths, tuple(range(len(encoders))))
    options = dataclasses.replace(options, pool=dataclasses.replace(options.pool, **pool))
    with Worker(encoders, options) as worker:
        found = {(one.outcome.key, one.encoder): one.outcome for one in worker.run(tasks)}
    return [found[task.video.key, number] for number in range(len(encoders)) for task in tasks]


def bits(outcomes: Sequence[Any]) -> list[bytes]:
    assert all(isinstance(outcome, VideoFeatures) for outcome in outcomes), outcomes
    return [outcome.values.tobytes() for outcome in outcomes]


@pytest.fixture(scope="module")
def alone(windows: Encoder, videos: list[Path]) -> list[bytes]:
    """The features of every video, each computed by a call of its own."""
    with Extractor(windows) as extractor:
        return [extractor.extract(path).values.tobytes() for path in videos]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_features_do_not_depend_on_the_number_of_processes(
    processes: int, windows: Encoder, videos: list[Path], alone: list[bytes]
) -> None:
    assert bits(outcomes_of(windows, videos, processes=processes, budget_bytes=1 << 20)) == alone


def test_a_worker_serves_one_run_after_the_other(windows: Encoder, videos: list[Path], alone: list[bytes]) -> None:
    with Worker([windows], OPTIONS) as worker:
        for _ in range(2):
            found = {one.outcome.key: one.outcome for one in worker.run(tasks_of(videos))}
            assert bits([found[task.video.key] for task in tasks_of(videos)]) == alone
        with pytest.raises(TypeError, match="stays in its process"):
            __import__("pickle").dumps(worker)


def test_tasks_come_during_a_run(windows: Encoder, videos: list[Path], alone: list[bytes]) -> None:
    first, second, *rest = tasks_of(videos)
    tasks = TaskStream([first])
    with Worker([windows], OPTIONS) as worker:
        run = worker.run(tasks)
        found = [next(run)]
        assert found[0].outcome.key == first.video.key  # though it is less than a batch, and more may come
        tasks.add([second])
        found.append(next(run))
        tasks.add(rest)
        tasks.close()
        found += run
    assert [one.outcome.key for one in found[:2]] == [first.video.key, second.video.key]
    by_key = {one.outcome.key: one.outcome for one in found}
    assert bits([by_key[task.video.key] for task in tasks_of(videos)]) == alone
    with pytest.raises(RuntimeError, match="closed"):
        tasks.add([first])


def test_a_run_that_is_left_closes_its_stream(windows: Encoder, videos: list[Path]) -> None:
    tasks = TaskStream(tasks_of(videos))
    with Worker([windows], OPTIONS) as worker:
        run = worker.run(tasks)
        next(run)
        run.close()
        assert tasks.closed
        assert list(worker.run(TaskStream(closed=True))) == []


def test_a_video_that_turns_out_to_be_broken_begins_again(windows: Encoder, tmp_path: Path) -> None:
    """Its first clips are with the network when a later frame does not decode; then all are taken of those that do."""
    path = write_video(tmp_path / "long.mp4", frames=300, size=(96, 72), options={"g": "1", "bf": "0"})
    with av.open(path) as container:
        packet = list(container.demux(video=0))[280]
    with path.open("r+b") as file:
        file.seek(packet.pos)
        file.write(b"\x01" * packet.size)
    with Extractor(windows) as extractor:
        with pytest.raises(VideoError, match="decodes without errors"):
            extractor.extract(path)
        alone = extractor.extract(path, on_corrupt="salvage")
    assert alone.info is not None
    assert alone.info.salvaged
    assert alone.info.frames < 300
    (row,) = outcomes_of(windows, [path], on_corrupt="salvage")
    assert bits([row]) == bits([alone])


def test_batches_across_videos_and_devices_change_nothing(videos: list[Path], repository: Path) -> None:
    options = {"data.test.pipeline.1.clip_len": 2, "data.test.pipeline.1.num_clips": 7}
    small = tiny_with(repository, **options)  # 7 clips of a video are a batch of 4 and three quarters of one
    with Extractor(small) as extractor:
        expected = [extractor.extract(path).values.tobytes() for path in videos]
    for devices in (1, 2, 3):
        several = dataclasses.replace(OPTIONS, devices=(torch.device("cpu"),) * devices)
        assert bits(outcomes_of(small, videos, several)) == expected


def test_several_encoders_share_the_decoding(
    windows: Encoder, tiny: Encoder, videos: list[Path], alone: list[bytes]
) -> None:
    both = outcomes_of([tiny, windows], videos)
    assert bits(both[len(videos) :]) == alone
    assert bits(both[: len(videos)]) == bits(outcomes_of(tiny, videos))
    assert [outcome.encoder for outcome in both] == [tiny.name] * len(videos) + [windows.name] * len(videos)


def test_tasks_name_the_encoders_that_are_wanted(windows: Encoder, tiny: Encoder, videos: list[Path]) -> None:
    tasks = [Task(VideoRef("a", str(videos[1])), (1,)), Task(VideoRef("b", str(videos[2])), (0, 1))]
    with Worker([tiny, windows], OPTIONS) as worker:
        found = [(one.outcome.key, one.encoder) for one in worker.run(tasks, in_order=True)]
    assert found == [("a", 1), ("b", 0), ("b", 1)]


def test_rows_have_times(tiny: Encoder, videos: list[Path]) -> None:
    """Windows of 8 frames at 25 frames per second, every 10 frames, the centre of the first at frame 5."""
    dense = tiny.with_grid(WindowSampling(8, 10)).with_pooling(Pooling(views="per_clip"))
    (found,) = outcomes_of(dense, videos[:1])
    assert len(found.values) == 30
    pts = found.info.timeline.pts_seconds
    first = np.maximum(5 + 10 * np.arange(30) - 4, 0)
    assert np.allclose(found.start_seconds, pts[first], atol=1e-9)
    assert np.allclose(found.end_seconds, pts[np.minimum(first + 7, 298)] + pts[1] - pts[0], atol=1e-6)
    (whole,) = outcomes_of(tiny, videos[:1])
    assert whole.start_seconds is None
    assert whole.values.ndim == 1


def test_a_segment_is_computed_as_a_video_of_its_own(tiny: Encoder, videos: list[Path]) -> None:
    dense = tiny.with_grid(WindowSampling(8, 8)).with_pooling(Pooling(views="per_clip"))
    task = Task(VideoRef("part", str(videos[0]), segment=(4.0, 6.0)))
    with Worker([dense], OPTIONS) as worker:
        (computed,) = worker.run([task])
    found = computed.outcome
    assert isinstance(found, VideoFeatures)
    assert found.start_seconds is not None
    assert found.end_seconds is not None
    assert found.start_seconds.min() >= 4.0 - 1e-9
    assert found.end_seconds.max() <= 6.0 + 1e-6
    assert 5 <= len(found.values) <= 7


def test_the_longest_are_first_but_for_the_head_of_a_very_long_list(tmp_path: Path) -> None:
    sizes = [3, 1, 2, 5, 4]
    tasks = [Task(VideoRef(f"{index}", str(tmp_path / f"{index}.mp4"))) for index in range(6)]
    for task, size in zip(tasks, sizes, strict=False):
        task.video.path.write_bytes(b"x" * size)

    def order(some: Sequence[Task], **ordered: int) -> list[int]:
        return [int(task.video.key) for task in in_order_of_work(some, **ordered)]

    assert order(tasks) == [1, 3, 4, 0, 2, 5]
    assert order(tasks[5:]) == [5]
    assert order(tasks, ordered=4) == [0, 1, 3, 4, 2, 5]


def test_broken_videos_leave_the_others_alone(tiny: Encoder, videos: list[Path], tmp_path: Path) -> None:
    broken = cut(videos[1], tmp_path / "broken.mp4", 0.6)
    rows = outcomes_of(tiny, [broken, videos[2], tmp_path / "absent.mp4", videos[3]])
    assert [isinstance(row, VideoFailure) for row in rows] == [True, False, True, False]
    assert [row.error.kind for row in rows[::2]] == ["truncated", "missing"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_clips_that_the_network_cannot_take_end_the_run_and_fail_no_video(
    precision: Any, videos: list[Path], repository: Path, tmp_path: Path
) -> None:
    config = tmp_path / "vit.py"
    config.write_text(
        (repository / "examples" / "tiny_slowonly.py").read_text()
        + "model = dict(type='Recognizer3D', backbone=dict(type='VisionTransformer', img_size=32, patch_size=16,"
        + " num_frames=4, embed_dims=24, depth=1, num_heads=2), test_cfg=dict(feature_extraction=True))"
    )
    weights = write_random_weights(compile_file(config).model, tmp_path / "vit.safetensors")
    wrong = encoder(config, checkpoint=weights)
    with pytest.raises(ConfigError, match=r"clips of 4 frames.*found clips of about 8"):
        outcomes_of(wrong, videos, dataclasses.replace(OPTIONS, precision=precision))


def test_in_order_the_outcomes_come_in_the_order_of_the_list(tiny: Encoder, videos: list[Path], tmp_path: Path) -> None:
    paths = [videos[0], Path(shutil.copy(videos[0], tmp_path / "second.mp4")), *(tmp_path / f"{n}" for n in range(20))]
    with Worker([tiny], OPTIONS) as worker:
        found = [one.outcome.key for one in worker.run(tasks_of(paths), in_order=True)]
    assert found == [task.video.key for task in tasks_of(paths)]


def test_an_infinite_feature_is_the_videos_failure(repository: Path, videos: list[Path], tmp_path: Path) -> None:
    import safetensors.torch

    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    state = safetensors.torch.load_file(checkpoint)
    for name, tensor in state.items():
        if name.endswith("conv.weight"):
            tensor.fill_(1e38)  # finite, and their sums are not
    safetensors.torch.save_file(state, tmp_path / "large.safetensors")
    broken = encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=tmp_path / "large.safetensors")
    rows = outcomes_of(broken, videos[1:3])
    assert [row.error.stage for row in rows] == ["model", "model"]


def test_pixels_are_freed_when_they_are_with_the_network(
    windows: Encoder, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a chunk may take long. Its pixels must not stay until then, beside those of the next chunks."""
    seen: list[weakref.ref[ClipBatch]] = []
    alive: list[int] = []
    add = VideoComputation.add

    def counted(computation: VideoComputation, clips: ClipBatch) -> Any:
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(clips))
        return add(computation, clips)

    monkeypatch.setattr(VideoComputation, "add", counted)
    gc.disable()
    try:
        (outcome,) = outcomes_of(windows, videos[:1], processes=1)
    finally:
        gc.enable()
    assert isinstance(outcome, VideoFeatures)
    assert alive == [0] * len(seen)
    assert len(seen) > 1
