"""The engine on one machine: the same bits however many processes read, and every video settled once."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from video.video_files import cut, write_video
from vidfeat import Extractor
from vidfeat.engine.decode_pool import ReaderOptions
from vidfeat.engine.local import Reading, in_order_of_work, run
from vidfeat.engine.progress import Progress
from vidfeat.errors import ConfigError, VideoError
from vidfeat.mmaction import compile_file
from vidfeat.models.random_weights import write_random_weights
from vidfeat.preprocessing.clips import OnCorrupt, PreprocessSpec
from vidfeat.store import Entry, RunIdentity, RunStore, list_digest

HEADER = {"recipe": {}, "checkpoint": {"source": "test"}, "device": "cpu", "numerics": {}, "versions": {}}


@pytest.fixture(scope="module")
def extractor(repository: Path) -> Extractor:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return Extractor(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)


@pytest.fixture(scope="module")
def windows(repository: Path) -> Extractor:
    """36 clips of 8 frames: more than one chunk of a long video."""
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    sampling = {"data.test.pipeline.1.num_clips": 36, "data.test.pipeline.1.frame_interval": 1}
    options = {**sampling, "data.test.pipeline.4.crop_size": 32}
    return Extractor(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint, cfg_options=options)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A long video first, and short ones."""
    folder = tmp_path_factory.mktemp("videos")
    long = write_video(folder / "long.mp4", frames=300, size=(96, 72))
    return [long, *(write_video(folder / f"{n}.mp4", frames=20 + n, size=(96, 72)) for n in range(3))]


def extract(
    extractors: Extractor | list[Extractor],
    paths: list[Path],
    out: Path,
    on_error: str = "skip",
    on_corrupt: OnCorrupt = "fail",
    **options: int,
) -> list[np.ndarray | None]:
    entries = [Entry(index, path.name, path) for index, path in enumerate(paths)]
    extractor = extractors if isinstance(extractors, Extractor) else extractors[0]
    identity = RunIdentity(extractor.recipe.digest, extractor.weights.sha256, "fp32", list_digest(entries))
    spec, reader_options = PreprocessSpec.of(extractor.recipe, on_corrupt), ReaderOptions(**{"processes": 2, **options})
    with RunStore.open(out, identity, entries) as store, Progress(len(entries), quiet=True) as progress:
        with Reading(spec, store.pending(), reader_options, in_order=on_error == "fail") as reading:
            run(extractors, reading, store, progress, on_error=on_error)  # type: ignore[arg-type]
        summary = store.finish(HEADER)
    assert summary is not None
    files = [out / f"{path.stem}.npy" for path in paths]
    return [np.load(file) if file.exists() else None for file in files]


@pytest.fixture(scope="module")
def alone(windows: Extractor, videos: list[Path]) -> list[bytes]:
    """The features of every video, each computed by a call of its own."""
    return [windows.extract(path).array.tobytes() for path in videos]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_features_do_not_depend_on_the_number_of_processes(
    processes: int, windows: Extractor, videos: list[Path], alone: list[bytes], tmp_path: Path
) -> None:
    rows = extract(windows, videos, tmp_path / "out", processes=processes, budget_bytes=1 << 20)
    assert [row is not None and row.tobytes() for row in rows] == alone


def test_a_video_that_turns_out_to_be_broken_begins_anew(windows: Extractor, tmp_path: Path) -> None:
    """Its first clips are with the network when a later frame does not decode; then all are taken of those that do."""
    path = write_video(tmp_path / "long.mp4", frames=300, size=(96, 72), options={"g": "1", "bf": "0"})
    with av.open(path) as container:
        packet = list(container.demux(video=0))[280]
    with path.open("r+b") as file:
        file.seek(packet.pos)
        file.write(bytes(packet.size))
    with pytest.raises(VideoError, match="decodes without errors"):
        windows.extract(path)
    alone = windows.extract(path, on_corrupt="salvage")
    assert alone.salvaged
    (row,) = extract(windows, [path], tmp_path / "out", on_corrupt="salvage")
    assert row is not None
    assert row.tobytes() == alone.array.tobytes()


def test_a_long_video_is_the_mean_over_all_its_clips(windows: Extractor, videos: list[Path]) -> None:
    from vidfeat.preprocessing.clips import read_views

    whole = windows.compute(read_views(windows.recipe, videos[0]))
    chunked = windows.extract(videos[0])
    assert (chunked.views, chunked.frames, chunked.fps) == (whole.views, whole.frames, whole.fps)
    assert np.allclose(chunked.array, whole.array, rtol=1e-6, atol=1e-7)


def test_batches_across_videos_and_devices_change_nothing(
    windows: Extractor, videos: list[Path], alone: list[bytes], repository: Path, tmp_path: Path
) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    config = repository / "examples" / "tiny_slowonly.py"
    options = {"data.test.pipeline.1.clip_len": 2, "data.test.pipeline.1.num_clips": 7}

    def small() -> Extractor:
        return Extractor(config, checkpoint=checkpoint, cfg_options=options)

    one = small()
    assert one.network.units == 4  # 7 clips of a video are a batch and three quarters of one
    expected = [one.extract(path).array.tobytes() for path in videos]
    for number, extractors in enumerate([[one], [one, small()], [one, small(), small()]]):
        rows = extract(extractors, videos, tmp_path / f"{number}")
        assert [row is not None and row.tobytes() for row in rows] == expected


def test_the_longest_are_first_but_for_the_head_of_a_very_long_list(tmp_path: Path) -> None:
    sizes = [3, 1, 2, 5, 4]
    entries = [Entry(index, f"{index}", tmp_path / f"{index}.mp4") for index in range(6)]
    for entry, size in zip(entries, sizes, strict=False):
        entry.path.write_bytes(b"x" * size)
    assert [entry.index for entry in in_order_of_work(entries)] == [1, 3, 4, 0, 2, 5]
    assert [entry.index for entry in in_order_of_work(entries[5:])] == [5]
    assert [entry.index for entry in in_order_of_work(entries, ordered=4)] == [0, 1, 3, 4, 2, 5]


def test_broken_videos_leave_the_others_alone(extractor: Extractor, videos: list[Path], tmp_path: Path) -> None:
    broken = cut(videos[1], tmp_path / "broken.mp4", 0.6)
    rows = extract(extractor, [broken, videos[2], tmp_path / "absent.mp4", videos[3]], tmp_path / "out")
    assert [row is None for row in rows] == [True, False, True, False]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_clips_that_the_network_cannot_take_end_the_run_and_fail_no_video(
    precision: str, videos: list[Path], repository: Path, tmp_path: Path
) -> None:
    config = tmp_path / "vit.py"
    config.write_text(
        (repository / "examples" / "tiny_slowonly.py").read_text()
        + "model = dict(type='Recognizer3D', backbone=dict(type='VisionTransformer', img_size=32, patch_size=16,"
        + " num_frames=4, embed_dims=24, depth=1, num_heads=2), test_cfg=dict(feature_extraction=True))"
    )
    recipe = compile_file(config)
    weights = write_random_weights(recipe.model, tmp_path / "vit.safetensors")
    out = tmp_path / "out"
    extractor = Extractor(config, checkpoint=weights, precision=precision)
    with pytest.raises(ConfigError, match=r"clips of 4 frames.*found clips of about 8"):
        extract(extractor, videos, out)
    assert not any(b"failed" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_fail_ends_with_the_first_failure_of_the_list(extractor: Extractor, videos: list[Path], tmp_path: Path) -> None:
    paths = [videos[0], Path(shutil.copy(videos[0], tmp_path / "second.mp4")), *(tmp_path / f"{n}" for n in range(20))]
    with pytest.raises(VideoError, match="/0: ") as caught:
        extract(extractor, paths, tmp_path / "out", on_error="fail")
    assert caught.value.kind == "missing"


def test_an_infinite_feature_is_the_videos_failure(repository: Path, videos: list[Path], tmp_path: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    own = Extractor(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    for parameter in own.model.parameters():
        parameter.fill_(float("nan"))
    assert extract(own, videos[1:3], tmp_path / "out") == [None, None]
