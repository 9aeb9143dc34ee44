"""NVDEC in decode processes and in a worker; torchcodec's decoder for the CPU stands in for a GPU."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
import torch

from video.test_nvdec import needs_no_gpu, needs_torchcodec
from video.video_files import write_video
from vidfeat import VideoFeatures, VideoRef, encoder
from vidfeat.engine.decode_pool import DecodePool, PoolOptions, Task
from vidfeat.engine.decode_worker import Assignment
from vidfeat.engine.events import ChunkDecoded, Event, PoolFailed, VideoDecoded, VideoPlanned
from vidfeat.engine.worker import Worker, WorkerOptions
from vidfeat.errors import DeviceError
from vidfeat.preprocessing.clips import PreprocessSpec, read_whole
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.recipe import CenterCrop
from vidfeat.video import Nvdec

SPEC = PreprocessSpec(SegmentSampling(clip_len=2, num_clips=3), (CenterCrop(32, 32),))


def task_of(path: Path) -> Task:
    return Task(VideoRef(path.name, str(path)))


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    """One that NVDEC decodes, and one that it does not."""
    return [write_video(tmp_path / "a.mp4", size=(96, 72)), write_video(tmp_path / "b.avi", "mpeg4", size=(96, 72))]


@needs_no_gpu
def test_a_process_that_cannot_decode_ends_the_run(videos: list[Path]) -> None:
    inbox: SimpleQueue[Event] = SimpleQueue()
    with DecodePool(Assignment((SPEC,), Nvdec("cuda")), [task_of(videos[0])], inbox.put, PoolOptions(1)):
        event = inbox.get(timeout=60)
    assert isinstance(event, PoolFailed)
    assert isinstance(event.error, DeviceError)
    assert event.error.where == "`decoder=nvdec`"


@needs_torchcodec
def test_processes_decode_the_same_clips(videos: list[Path]) -> None:
    inbox: SimpleQueue[Event] = SimpleQueue()
    found: dict[int, np.ndarray] = {}
    fallbacks: dict[int, str] = {}
    tasks = [task_of(path) for path in videos]
    with DecodePool(Assignment((SPEC,), Nvdec("cpu")), tasks, inbox.put, PoolOptions(1)) as pool:
        assert pool.processes == 1
        while len(fallbacks) < 2:
            event = inbox.get(timeout=60)
            if isinstance(event, ChunkDecoded):
                found[event.index] = event.clips.pixels.copy()
                event.release()
            elif not isinstance(event, VideoPlanned):
                assert isinstance(event, VideoDecoded), event
                fallbacks[event.index] = event.fallback
    assert fallbacks[0] == ""
    assert "mpeg4" in fallbacks[1]
    for index, task in enumerate(tasks):
        assert np.array_equal(found[index], read_whole(SPEC, task.video).pixels)


@needs_torchcodec
def test_a_worker_says_how_many_videos_pyav_decoded(repository: Path, videos: list[Path]) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    tiny = encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    said: list[str] = []
    values: dict[Nvdec | None, list[bytes]] = {}
    for nvdec in (None, Nvdec("cpu")):
        options = WorkerOptions((torch.device("cpu"),), "fp32", "eager", nvdec, 1, PoolOptions(1))
        with Worker([tiny], options, say=said.append) as worker:
            outcomes = [one.outcome for one in worker.run([task_of(path) for path in videos], in_order=True)]
        assert all(isinstance(outcome, VideoFeatures) for outcome in outcomes)
        values[nvdec] = [outcome.values.tobytes() for outcome in outcomes if isinstance(outcome, VideoFeatures)]
    alone, through_torchcodec = values.values()
    assert alone == through_torchcodec
    (line,) = [line for line in said if "PyAV" in line]
    assert line.startswith(f"PyAV decoded 1 of 2 videos in place of NVDEC; {videos[1]}, for one: mpeg4 in this file")
