"""Rows over time, end to end: the frames that reach the encoder, their seconds, pooling, and what is done only once."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

import vidfeat
from video.video_files import filtered, numbers_in, write_numbered, write_video
from vidfeat import Encoder, Extractor, Job, Pooling, Segment, Segments, UsageError, VideoRef, Windows, load, run
from vidfeat.cli.main import main
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.execution import LocalExecutor, worker_for
from vidfeat.models.random_weights import write_random_weights
from vidfeat.models.resnet import ResNetConfig
from vidfeat.preprocessing import clips
from vidfeat.preprocessing.clips import PreprocessSpec, read_clips
from vidfeat.preprocessing.grid import PADDING
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import ModelSpec, Normalize, Recipe, ResizeTo, TenCrop
from vidfeat.video import probe

SECOND_RATES = {"23.976": Fraction(24000, 1001), "25": Fraction(25), "29.97": Fraction(30000, 1001), "60": Fraction(60)}


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Encoder:
    """Of clips: 8 frames, 4 apart."""
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> RecipeEncoder:
    """Of single frames."""
    model = ModelSpec(ResNetConfig(18, num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,)), dims=2)
    normalize = Normalize((120.0, 120.0, 120.0), (60.0, 60.0, 60.0))
    recipe = Recipe(SegmentSampling(clip_len=1, num_clips=3), (ResizeTo(48, 32),), normalize, model)
    weights = write_random_weights(model, tmp_path_factory.mktemp("weights") / "image.safetensors")
    compiled = vidfeat.encoder(recipe, checkpoint=weights)
    assert isinstance(compiled, RecipeEncoder)
    return compiled


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 frames at 25 a second."""
    return write_video(tmp_path_factory.mktemp("videos") / "a.mp4", frames=80, size=(96, 72))


def values_of(encoder: Encoder, video: Path | VideoRef) -> vidfeat.VideoFeatures:
    with Extractor(encoder, device="cpu") as extractor:
        return extractor.extract(video)


# --- times ------------------------------------------------------------------------------------------------------------


def times_of(rate: Fraction, kind: str) -> list[float]:
    """Of the frames of a video of 3 seconds."""
    constant = np.arange(int(3 * rate)) / float(rate)
    if kind == "variable":  # every 4th frame is missing, and a second lasts as long as two
        kept = np.delete(constant, np.s_[3::4])
        return (kept + np.maximum(kept - 1, 0)).tolist()
    return (constant + (1.48 if kind == "late" else 0)).tolist()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("kind", ["constant", "variable", "late"])
@pytest.mark.parametrize("rate", SECOND_RATES)
def test_frames_and_times_of_resampled_windows(rate: str, kind: str, suffix: str, tmp_path: Path) -> None:
    """The video shows the number of each frame; FFmpeg itself resamples the reference."""
    path = write_numbered(tmp_path / f"video{suffix}", times_of(SECOND_RATES[rate], kind))
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert stream.time_base is not None
        frames = list(filtered(container.decode(stream), stream.time_base, "fps", "25"))
    expected = numbers_in(np.stack([frame.to_ndarray(format="rgb24") for frame in frames]))
    first = frames[0].pts
    assert first is not None

    spec = PreprocessSpec(Windows(clip_len=16, window=16, stride=16, fps=25), ())
    batches = [batch for _, batch in read_clips([spec], VideoRef("video", str(path)))]
    shown = np.concatenate([numbers_in(batch.pixels[batch.clips][:, :, 0]) for batch in batches])
    start, end = (np.concatenate([getattr(b, name) for b in batches]) for name in ("start_seconds", "end_seconds"))

    whole = len(expected) // 16
    timeline = probe(path).timeline
    assert len(shown) == whole >= 4
    np.testing.assert_array_equal(shown, expected[: 16 * whole].reshape(whole, 16))
    np.testing.assert_allclose(start, (first + 16 * np.arange(len(start))) / 25)
    half = 0.5 / 25 + 1e-6
    for row in range(len(shown)):
        first_frame, last_frame = shown[row, 0], shown[row, -1]
        assert timeline.pts_seconds[first_frame] <= start[row] + half
        assert timeline.end_seconds[first_frame] >= start[row] - half
        assert timeline.pts_seconds[last_frame] <= end[row] + half - 1 / 25
        assert timeline.end_seconds[last_frame] >= end[row] - half - 1 / 25


@pytest.mark.parametrize("kind", ["constant", "variable", "late"])
@pytest.mark.parametrize("length", [16, "0.5s"])
def test_frames_and_times_without_resampling(length: int | str, kind: str, tmp_path: Path) -> None:
    """Rows have the times of their first and last frame, to the last digit.

    Where a window in seconds has more frames than others, it is looked at in parts of equal time, and the last part
    need not begin with the last frame.
    """
    path = write_numbered(tmp_path / "video.mp4", times_of(Fraction(30000, 1001), kind))
    timeline = probe(path).timeline
    spec = PreprocessSpec(Windows(window=length, stride=length), ())
    batches = [batch for _, batch in read_clips([spec], VideoRef("video", str(path)))]
    shown = np.concatenate([numbers_in(batch.pixels[batch.clips][:, :, 0]) for batch in batches])
    start, end = (np.concatenate([getattr(b, name) for b in batches]) for name in ("start_seconds", "end_seconds"))
    np.testing.assert_array_equal(start, timeline.pts_seconds[shown[:, 0]])
    ends, parts = timeline.end_seconds[shown[:, -1]], shown.shape[1]
    if kind != "variable" or isinstance(length, int):
        np.testing.assert_array_equal(end, ends)
    else:
        assert np.isin(end, timeline.end_seconds).all()
        assert (ends <= end).all()
        assert (ends > start + (end - start) * (parts - 1) / parts - 1e-9).all()


def test_black_frames_fill_the_last_window(video: Path) -> None:
    spec = PreprocessSpec(Windows(clip_len=8, window=32, stride=32, tail="pad"), ())
    *_, (_, batch) = read_clips([spec], VideoRef("video", str(video)))
    pixels = batch.pixels[batch.clips][:, :, 0]
    assert pixels.shape[:2] == (3, 8)
    assert [bool(frame.any()) for frame in pixels[2]] == [True] * 4 + [False] * 4
    assert pixels[:2].reshape(16, -1).any(axis=1).all()


# --- once -------------------------------------------------------------------------------------------------------------


class Counting:
    """Counts the frames that pass through the real functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded: Counter[int] = Counter()
        self.transformed = 0
        decode, transform = clips.decode, FrameTransformer.__call__

        def counting_decode(*args: Any, **options: Any) -> Iterator[Any]:
            for frame in decode(*args, **options):
                self.decoded[frame.index] += 1
                yield frame

        def counting_transform(transformer: FrameTransformer, frame: Any, **options: Any) -> Any:
            self.transformed += 1
            return transform(transformer, frame, **options)

        monkeypatch.setattr(clips, "decode", counting_decode)
        monkeypatch.setattr(FrameTransformer, "__call__", counting_transform)


def test_no_frame_is_decoded_or_transformed_twice(tiny: Encoder, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 16 every 4 frames: each frame is in four of them; two encoders, and chunks of 20 frames."""
    counting = Counting(monkeypatch)
    spec = tiny.with_grid(Windows(window=16, stride=4)).preprocess
    batches = list(read_clips([spec, dataclasses.replace(spec, segments=2)], VideoRef("video", str(video)), 20))
    assert sum(len(batch.clips) for _, batch in batches) == 2 * 17
    assert set(counting.decoded.values()) == {1}
    assert counting.transformed == len(counting.decoded) == 40  # of a window every 2nd frame is looked at


@pytest.mark.parametrize(("tail", "placement"), [("drop", "start"), ("clamp", "centre"), ("pad", "centre")])
def test_image_networks_see_each_frame_once(
    tail: Any, placement: Any, image: RecipeEncoder, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of overlapping windows are the means of the rows of their frames."""
    grid = Windows(window=16, stride=4, tail=tail, placement=placement)
    seen: list[int] = []
    with worker_for(Job(videos=str(video), encoders=image.with_grid(grid), device="cpu")) as worker:
        ((runner,),) = worker.runners
        submit = runner.submit
        monkeypatch.setattr(
            runner,
            "submit",
            lambda batch, **how: (seen.append(int(batch.pixels.any(axis=(1, 2, 3, 4)).sum())), submit(batch, **how))[1],
        )
        job = Job(videos=str(video), encoders=image, grid=grid, device="cpu")
        (windows,) = vidfeat.stream(job, executor=LocalExecutor(worker))
    assert isinstance(windows, vidfeat.VideoFeatures)
    assert sum(seen) == 80
    frames = values_of(image.with_grid(Windows(stride=1)), video)
    assert frames.values.shape == (80, 64)
    index = grid.of_clip(1, None).frame_index(80, 25.0)
    rows = np.concatenate([frames.values, black_row(image, video)])  # the last one, for PADDING
    assert (PADDING in index) == (tail == "pad")
    np.testing.assert_allclose(windows.values, rows[index].mean(axis=1), rtol=1e-4, atol=1e-5)
    if tail != "pad":
        return
    loudest = values_of(image.with_grid(grid).with_pooling(Pooling(time="max")), video)
    np.testing.assert_allclose(loudest.values, rows[index].max(axis=1), rtol=1e-4, atol=1e-5)
    kept = values_of(image.with_grid(grid).with_pooling(Pooling(time="keep")), video)
    np.testing.assert_allclose(kept.values, rows[index], rtol=1e-4, atol=1e-5)


def black_row(encoder: RecipeEncoder, video: Path) -> np.ndarray:
    """float32 `[1, C]`."""
    network = encoder.load(torch.device("cpu")).network
    with torch.inference_mode():
        return network(torch.zeros(1, 1, 32, 48, 3, dtype=torch.uint8)).numpy()


# --- several encoders, segments, pooling ------------------------------------------------------------------------------


def test_several_encoders_have_the_same_rows(tiny: Encoder, image: Encoder, video: Path, tmp_path: Path) -> None:
    job = Job(
        videos=str(video),
        encoders=[tiny, image],
        grid=Windows(stride="0.4s", window="0.8s", fps=20),
        out=tmp_path / "f-{encoder}.npz",
        device="cpu",
    )
    assert Job.from_json(job.to_json()) == job
    run(job, quiet=True)
    clips_, frames = (load(tmp_path / f"f-{encoder.name}.npz")["a.mp4"] for encoder in (tiny, image))
    assert clips_.values.shape == (7, 32)
    assert frames.values.shape == (7, 64)
    np.testing.assert_allclose(clips_.start_seconds, 0.4 * np.arange(7))  # type: ignore[arg-type]
    np.testing.assert_array_equal(clips_.start_seconds, frames.start_seconds)  # type: ignore[arg-type]
    np.testing.assert_array_equal(clips_.end_seconds, frames.end_seconds)  # type: ignore[arg-type]
    alone = values_of(tiny.with_grid(Windows(stride="0.4s", window="0.8s", fps=20)), video)
    assert alone.values.tobytes() == clips_.values.tobytes()


def test_encoders_with_different_clips_need_a_window(tiny: Encoder, image: Encoder, video: Path) -> None:
    with pytest.raises(UsageError, match=r"grid\.window: expected the length of a window.* 1, 32 frames"):
        Job(videos=str(video), encoders=[tiny, image], grid=Windows(stride=4), device="cpu")


def test_a_row_of_a_segment_is_that_of_the_segment_alone(tiny: Encoder, image: Encoder, video: Path) -> None:
    parts = [(0.0, 1.0), (0.5, 2.6), (0.81, 0.83), (3.0, 9.0)]
    ref = VideoRef("a", str(video), segments=tuple(Segment(*part) for part in parts))
    for encoder in (tiny, image):
        rows = values_of(encoder.with_grid(Segments()), ref)
        assert len(rows.values) == 4
        assert rows.start_seconds is not None
        assert rows.end_seconds is not None
        np.testing.assert_allclose(rows.start_seconds, [0.0, 0.52, 0.8, 3.0])
        np.testing.assert_allclose(rows.end_seconds, [1.0, 2.6, 0.84, 3.2])
        parts[2] = (0.8, 0.84)  # no frame begins in it: the one that is shown
        with Extractor(encoder, device="cpu") as extractor:
            alone = [extractor.extract(VideoRef("a", str(video), segment=part)).values for part in parts]
        np.testing.assert_allclose(rows.values, alone, rtol=1e-4, atol=1e-5)


def test_segments_and_their_grid_belong_together(tiny: Encoder, video: Path) -> None:
    ref = VideoRef("a", str(video), segments=(Segment(0, 1, "x"),))
    job = Job(videos=ref, encoders=tiny, grid=Segments(), device="cpu")
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert job.refs() == Job(videos=ref, encoders=tiny.with_grid(Segments()), device="cpu").refs() == (ref,)
    for videos, grid in ((ref, None), (ref, Windows(stride=4)), (str(video), Segments())):
        with pytest.raises(UsageError, match="grid: expected `Segments` for videos with `segments`"):
            Job(videos=videos, encoders=tiny, grid=grid, device="cpu").refs()
    with pytest.raises(UsageError, match="an encoder that takes a video as a whole"):
        tiny.with_grid(Windows(stride=4)).with_grid(Segments())


@pytest.mark.parametrize("encoder", ["tiny", "image"])
def test_views_of_rows(encoder: str, request: pytest.FixtureRequest, video: Path) -> None:
    """`[T, 10, C]`, crops in the order of `TenCrop`; and their mean and maximum."""
    own: RecipeEncoder = request.getfixturevalue(encoder)
    own = dataclasses.replace(own, recipe=dataclasses.replace(own.recipe, transforms=(TenCrop(32, 32),)))
    own = own.with_grid(Windows(stride=16, window=16))  # type: ignore[assignment]
    kept = values_of(own.with_pooling(Pooling(views="keep")), video)
    size = own.feature_size
    assert kept.values.shape == (5, 10, size)
    assert kept.start_seconds is not None
    np.testing.assert_allclose(kept.start_seconds, 0.64 * np.arange(5))
    crops = FrameTransformer((TenCrop(32, 32),))
    spec = own.preprocess
    frames = own.with_grid(Windows(stride=1)).recipe.sampling if encoder == "image" else spec.sampling
    plain = dataclasses.replace(spec, transforms=(), frames_once=False, sampling=spec.sampling)
    batch = clips.read_whole(plain, VideoRef("a", str(video)))
    network = own.load(torch.device("cpu")).network
    assert frames is not None
    for crop in (0, 1, 7):
        pixels = np.stack([crops(frame[0], where="")[crop] for frame in batch.pixels])[batch.clips]
        with torch.inference_mode():
            rows = network(torch.from_numpy(np.ascontiguousarray(pixels)))
        expected = rows.reshape(5, -1, size).mean(1).numpy()
        np.testing.assert_allclose(kept.values[:, crop], expected, rtol=1e-4, atol=1e-5)
    for word, pooled in (("mean", kept.values.mean(axis=1)), ("max", kept.values.max(axis=1))):
        found = values_of(own.with_pooling(Pooling(views=word)), video)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.values, pooled, rtol=1e-4, atol=1e-5)


def test_the_maximum_over_views_of_a_whole_video(image: Encoder, video: Path) -> None:
    kept = values_of(image.with_pooling(Pooling(time="keep", views="keep")), video)
    assert kept.values.shape == (1, 3, 64)
    found = values_of(image.with_pooling(Pooling(time="max", views="max")), video)
    np.testing.assert_allclose(found.values, kept.values.max(axis=(0, 1)), rtol=1e-5, atol=1e-6)


# --- the command line -------------------------------------------------------------------------------------------------


def command(repository: Path, *words: object, name: str = "extract") -> list[str]:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    given = [name, repository / "examples" / "tiny_slowonly.py", "--checkpoint", checkpoint, "--device", "cpu", *words]
    return [str(word) for word in given]


def test_dense_rows_of_two_models(repository: Path, video: Path, tmp_path: Path) -> None:
    config = tmp_path / "other.py"
    config.write_text((repository / "examples" / "tiny_slowonly.py").read_text())
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    out = tmp_path / "f-{encoder}.h5"
    words = ["--stride", "0.5s", "--window", "1s", "--fps", "30000/1001", "--grid", "centre", "--tail", "clamp", "-q"]
    assert main(command(repository, video, "-o", out, "--model", f"{config}={checkpoint}", *words)) == 0
    first, second = (load(tmp_path / f"f-{name}.h5") for name in ("tiny_slowonly", "other"))
    assert first["a.mp4"].values.tobytes() == second["a.mp4"].values.tobytes()
    assert first.header["recipe"]["sampling"] == {
        **{"type": "Windows", "clip_len": 8, "stride": "0.5s", "window": "1s", "fps": 30000 / 1001},
        **{"placement": "centre", "tail": "clamp"},
    }
    assert len(first["a.mp4"].values) == 6
    assert vidfeat.verify(tmp_path / "f-other.h5") == []


def test_models_may_all_be_options(repository: Path, video: Path, tmp_path: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    config = repository / "examples" / "tiny_slowonly.py"
    words = ["extract", "--model", f"{config}={checkpoint}", str(video), "-o", str(tmp_path / "x.npz"), "-q"]
    assert main([*words, "--stride", "16"]) == 0
    assert load(tmp_path / "x.npz")["a.mp4"].values.shape == (4, 32)


def test_segments_of_a_table(repository: Path, video: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("label,Video,start,end\nfall,a,1.0,2.0\n,a,0,0.5\n")
    out = tmp_path / "rows.npz"
    assert main(command(repository, video, "-o", out, "--segments", table, "-q")) == 0
    stored = load(out)
    assert stored["a.mp4"].values.shape == (2, 32)
    assert stored["a.mp4"].start_seconds is not None
    assert stored["a.mp4"].start_seconds.tolist() == [0.0, 1.0]
    assert stored.line("a.mp4")["segment"] == [(0.0, 0.5, None), (1.0, 2.0, "fall")]
    assert main(command(repository, video, "-o", out, "--segments", table, "-q")) == 0
    table.write_text("a.mp4,0,0.7\n")
    assert main(command(repository, "-o", out, "--segments", table, "--video-root", video.parent, "-q")) == 0
    assert load(out)["a.mp4"].values.shape == (1, 32)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a,0,1\na,5,6\n", "table.csv:2: expected a start before its end, inside the video, which lasts from 0.000"),
        ("a,0,1\n\na,2,2\n", "table.csv:3: expected a start before the end; found 2 to 2"),
        ("video,start,end\na,nan,1\n", "table.csv:2: expected a number of seconds; found 'nan'"),
        ("a,0,1\na,inf,1\n", "table.csv:2: expected a number of seconds; found 'inf'"),
        ("a,0\n", "table.csv:1: expected video,start,end or video,start,end,label; found a,0"),
        ("b,0,1\n", "table.csv:1: expected one of the 1 videos; found 'b', which is none of them"),
        ("", "table.csv: expected at least one line video,start,end; found none"),
        ("a,0,1\na,\0,1\n", "table.csv"),
    ],
)
def test_tables_that_are_wrong(
    lines: str, message: str, repository: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "rows.npz"
    table.write_text(lines)
    assert main(command(repository, video, "-o", out, "--segments", table)) == 2
    (reported,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in reported
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stride", "0"], "--stride: expected frames, from 1 to 1,000,000"),
        (["--stride", "2m"], "--stride: expected frames"),
        (["--stride", "4", "--window", "0s"], "--window: expected frames"),
        (["--stride", "4", "--fps", "fast"], "expected frames per second, as 25"),
        (["--stride", "4", "--fps", "1e9"], "--fps: expected frames per second, from 0.001 to 1000"),
        (["--fps", "25"], "--fps: expected --stride as well"),
        (["--tail", "pad"], "--tail: expected --stride as well"),
        (["--stride", "4", "--segments", "x.csv"], "--segments: expected only one of the options that define rows"),
        (
            ["--stride", "4", "--long-video-mode", "--clip-interval", "4"],
            "expected only one of the options that define rows",
        ),
    ],
)
@pytest.mark.parametrize("name", ["extract", "estimate"])
def test_flags_that_are_wrong(
    words: Sequence[str], message: str, name: str, repository: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(repository, video, "-o", os.devnull + ".npz", *words, name=name)) == 2
    assert message in capsys.readouterr().err


def test_the_estimate_counts_rows(repository: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--stride", "4", "--window", "16", "--views", "keep", "--json", "-q"]
    assert main(command(repository, video, *words, name="estimate")) == 0
    assert json.loads(capsys.readouterr().out)["output"]["rows"] == 17
