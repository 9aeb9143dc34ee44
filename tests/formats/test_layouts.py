"""Layouts: what real runs write is read back by readers made from the loaders' rules, and the times are the rows'."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vidfeat
from formats.layout_readers import READERS, number
from video.video_files import RATE, write_video
from vidfeat import Encoder, Job, Pooling, UsageError, VideoFeatures, load, run, stream, verify
from vidfeat.cli.main import main
from vidfeat.cli.options import LAYOUTS as NAMES_IN_HELP
from vidfeat.execution import LocalExecutor, worker_for
from vidfeat.formats import Unreadable
from vidfeat.formats.layouts import LAYOUTS
from vidfeat.formats.layouts.layout import Output
from vidfeat.formats.layouts.row_grid import RowGrid
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.preprocessing.windows import Windows
from vidfeat.recipe import ResizeTo, TenCrop, TimeGrid
from vidfeat.video import Timeline

EVERY_4TH = Windows(stride=4, window=8)
EVERY_16TH = Windows(stride=16, window=16)
TILES = Windows(stride=4, window=4)
EACH_FRAME = Windows(stride=1, window=8, placement="centre", tail="clamp")
TWO_SECONDS = Windows(stride="2s", window="2s", tail="pad")
GRIDS: dict[str, TimeGrid] = {
    "actionformer": EVERY_4TH,
    "actionformer-epic": EVERY_4TH,
    "tridet": EVERY_4TH,
    "tridet-hacs": EVERY_4TH,
    "opentad": EVERY_4TH,
    "bmn": TILES,
    "mmaction2": EVERY_4TH,
    "videomae-tad": EVERY_16TH,
    "rtfm": EVERY_16TH,
    "gtad": EACH_FRAME,
    "ms-tcn": EACH_FRAME,
    "moment-detr": TWO_SECONDS,
    "lighthouse": TWO_SECONDS,
    "lstr": Windows(stride=6, window=6, fps=24),
    "howto100m": Windows(stride=1, window=1, fps=1),
}
FRAMES = {"video_val_1": 120, "video_test_2": 260}
KEPT = Pooling(views="keep")


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Encoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    encoder: Any = vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    return dataclasses.replace(encoder, recipe=dataclasses.replace(encoder.recipe, transforms=(ResizeTo(32, 32),)))


@pytest.fixture(scope="module")
def ten_crops(tiny: Any) -> Encoder:
    transforms = (ResizeTo(40, 40), TenCrop(32, 32))
    return dataclasses.replace(tiny, recipe=dataclasses.replace(tiny.recipe, transforms=transforms))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "more").mkdir()
    write_video(folder / "video_val_1.mp4", frames=FRAMES["video_val_1"])
    write_video(folder / "more" / "video_test_2.mp4", frames=FRAMES["video_test_2"])
    (folder / "video_val_3.mp4").write_bytes(b"no video")
    return folder


Compute = Callable[[Encoder, TimeGrid, Pooling | None], tuple[LocalExecutor, dict[str, VideoFeatures]]]


@pytest.fixture(scope="module")
def compute(videos: Path) -> Iterator[Compute]:
    """For a grid: what executes jobs with it, and the features without a layout."""
    made: dict[str, Any] = {}

    def of(encoder: Encoder, grid: TimeGrid, pooling: Pooling | None) -> Any:
        name = repr((encoder.identity, grid, pooling))
        if name not in made:
            job = Job(videos=videos, encoders=encoder, grid=grid, pooling=pooling)
            worker = worker_for(job)
            outcomes = list(stream(job, executor=LocalExecutor(worker)))
            made[name] = worker, {Path(one.key).stem: one for one in outcomes if isinstance(one, VideoFeatures)}
        return LocalExecutor(made[name][0]), made[name][1]

    yield of
    for worker, _ in made.values():
        worker.close()


def as_files_hold_it(layout: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows that a reader is to give, from those that were computed."""
    if layout in ("moment-detr", "lighthouse"):
        return values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-5)
    if layout == "howto100m":
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)
    return values[::5] if layout == "gtad" else values


def test_rows_of_a_variable_rate_are_refused_where_the_loader_counts_at_one_rate(tiny: Encoder, tmp_path: Path) -> None:
    ticks = [*range(60), *range(60, 180, 3)]  # 25 frames a second, then 8
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "uneven.mp4", frames=len(ticks), ticks=ticks)
    write_video(tmp_path / "videos" / "even.mp4", frames=100)

    def failed(layout: str, grid: TimeGrid, name: str) -> dict[str, Any]:
        job = Job(videos=tmp_path / "videos", encoders=tiny, grid=grid, layout=layout, out=tmp_path / name)
        run(job, quiet=True)
        assert verify(tmp_path / name) == []
        with load(tmp_path / name) as features:
            return dict(features.failures)

    (refused,) = failed("actionformer", EVERY_4TH, "refused").items()
    assert refused[0] == "uneven.mp4"
    assert (refused[1].error.stage, refused[1].error.kind) == ("write", "variable_rate")
    assert (tmp_path / "refused" / "missing_files.txt").read_text() == "uneven\n"
    assert not failed("actionformer", Windows(stride=4, window=8, fps=25), "resampled")
    assert not failed("ms-tcn", EACH_FRAME, "frames")  # its labels are those of frames
    plain = Job(videos=tmp_path / "videos", encoders=tiny, grid=EVERY_4TH, out=tmp_path / "plain.npz")
    run(plain, quiet=True)
    vidfeat.convert(tmp_path / "plain.npz", tmp_path / "converted", layout="actionformer")
    with load(tmp_path / "converted") as features:
        assert set(features.failures) == {"uneven.mp4"}


@pytest.mark.parametrize("layout", [name for name in GRIDS if name not in ("bmn", "mmaction2")])
def test_the_loader_reads_the_rows_and_their_times(
    layout: str, tiny: Encoder, ten_crops: Encoder, videos: Path, compute: Compute, tmp_path: Path
) -> None:
    encoder, pooling = (ten_crops, KEPT) if layout == "rtfm" else (tiny, None)
    executor, computed = compute(encoder, GRIDS[layout], pooling)
    job = Job(videos=videos, encoders=encoder, grid=GRIDS[layout], pooling=pooling, layout=layout, out=tmp_path / "out")
    summary = run(job, quiet=True, executor=executor)
    assert summary is not None
    assert (summary.computed, summary.failed) == (2, 1)
    assert verify(tmp_path / "out") == []
    assert load(tmp_path / "out").header["config_lines"] == summary.config_lines
    assert (tmp_path / "out" / "config-lines.txt").read_text() == f"{summary.config_lines}\n"
    assert (tmp_path / "out" / "missing_files.txt").read_text() == "video_val_3\n"
    for video, features in computed.items():
        rows, seconds = READERS[layout](summary.config_lines, tmp_path / "out", video, RATE)
        assert np.allclose(rows, as_files_hold_it(layout, features.values), rtol=0, atol=0 if rows.ndim == 3 else 1e-6)
        assert features.start_seconds is not None
        assert features.end_seconds is not None
        step = 5 if layout == "gtad" else 1
        start, end = features.start_seconds[::step], features.end_seconds[::step]
        whole = end - start > (end - start).max() - 1e-6  # those at the ends of the video may be cut off
        fps = getattr(GRIDS[layout], "fps", None) or RATE
        assert np.abs(seconds - (start + end) / 2)[whole].max() <= 0.5 / fps + 1e-9
        assert (seconds >= start).all()  # also of those


def hundred_rows(values: npt.NDArray[Any], stride: float, centre: float, fps: float) -> npt.NDArray[Any]:
    """BMN's rule in seconds, a number at a time; `centre` of row 0 in frames."""
    at = (centre + stride * np.arange(len(values))) / fps
    total, wanted = len(values) * stride / fps, []
    for row in range(100):
        low, high = max(at[0] + 0.0001, row / 100 * total), min(at[-1] - 0.0001, (row + 1) / 100 * total)
        points = [low, (low + high) / 2, high]
        outside = high < at[0] or low > at[-1]
        wanted.append([0.0 if outside else np.mean(np.interp(points, at, column)) for column in values.T])
    return np.array(wanted)


@pytest.mark.parametrize(("layout", "grid", "centre"), [("bmn", TILES, 2), ("mmaction2", EVERY_4TH, 4)])
def test_a_hundred_rows_as_bmn_makes_them(
    layout: str, grid: TimeGrid, centre: float, tiny: Encoder, videos: Path, compute: Compute, tmp_path: Path
) -> None:
    executor, computed = compute(tiny, grid, None)
    job = Job(videos=videos, encoders=tiny, grid=grid, layout=layout, out=tmp_path / "out")
    summary = run(job, quiet=True, executor=executor)
    assert summary is not None
    stored = {Path(key).stem: features for key, features in load(tmp_path / "out").items()}
    for video, features in computed.items():
        count = len(features.values)
        rows, seconds = READERS[layout](summary.config_lines, tmp_path / "out", video, RATE)
        assert np.allclose(rows, hundred_rows(features.values, 4, centre, RATE), rtol=0, atol=1e-5)
        # A hundredth has no row before it, or after it, where it ends within the half window of the first row.
        assert (rows == 0).all(axis=1).any() == (count / 100 < centre / 4)
        start, end = stored[video].start_seconds, stored[video].end_seconds
        assert start is not None
        assert end is not None
        assert np.allclose(seconds * count, (start + end) / 2, rtol=0, atol=1e-9)
        assert np.array_equal(rows, stored[video].values)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 80), st.integers(1, 9))
def test_where_the_rows_of_mmaction2s_windows_are(clip_len: int, stride: int, interval: int) -> None:
    grid = RowGrid.of(WindowSampling(clip_len, stride, interval))
    shift = (1 - interval) / 2 if clip_len % 2 == 0 else 0.5
    assert (grid.fps, grid.stride, grid.centre) == (None, stride, stride // 2 + shift)


@pytest.mark.parametrize(
    ("grid", "facts"),
    [
        (WindowSampling(8, 64, 8), (None, 64, 28.5)),
        (Windows(clip_len=16, stride=4, window=16), (None, 4, 8)),
        (Windows(clip_len=16, stride=16, window=16, fps=15), (15, 16, 8)),
        (Windows(clip_len=8, stride="0.5s", window=16, fps=24), (24, 12, 7.5)),
        (Windows(clip_len=1, stride="2s", window=1), (None, None, 0.5)),
        (Windows(clip_len=1, stride="0.1s", window=1, fps=24), (24, 2.4, 0.5)),
        (Windows(clip_len=1, stride=1, window=1, fps=0.001), (0.001, 1, 0.5)),
        (Windows(clip_len=4, stride="600s", window=4, fps=2), (2, 1200, 2)),
    ],
)
def test_where_the_rows_of_a_grid_are(grid: TimeGrid, facts: tuple[Any, ...]) -> None:
    measured = RowGrid.of(grid)
    assert (measured.fps, measured.stride) == facts[:2]
    assert measured.centre == pytest.approx(facts[2], abs=1e-3)


@settings(max_examples=40)
@given(
    rate=st.sampled_from([24000 / 1001, 25.0, 30000 / 1001, 60.0]),
    first=st.sampled_from([0.0, 0.48, 3.7]),
    uneven=st.booleans(),
    resampled=st.booleans(),
    stride=st.integers(1, 20),
    window=st.integers(1, 24),
)
def test_a_loaders_time_is_that_of_the_row(
    rate: float, first: float, uneven: bool, resampled: bool, stride: int, window: int
) -> None:
    """By the formula of ActionFormer and OpenTAD, from the start of the video on, to half a frame of its rate."""
    fps = 25.0 if resampled else rate
    grid = Windows(clip_len=window, stride=stride, window=window, fps=25 if resampled else None)
    measured = RowGrid.of(grid)
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, 400) if uneven and resampled else np.zeros(400)
    jitter[0] = 0
    plan = grid.plan(Timeline(first + (np.arange(400) + jitter) / rate, rate))
    seconds = first + (np.arange(len(plan)) * (measured.stride or 0) + measured.centre) / fps
    assert np.abs(seconds - (plan.start_seconds + plan.end_seconds) / 2).max() <= 0.5 / fps + 1e-6


@settings(max_examples=60)
@given(
    clip_len=st.integers(1, 12),
    interval=st.integers(1, 9),
    more=st.integers(0, 5),
    stride=st.integers(1, 20),
    fps=st.sampled_from([None, 12.5, 30.0]),
    placement=st.sampled_from(["start", "centre"]),
    mmaction2=st.booleans(),
)
def test_a_loaders_place_of_a_row_is_the_centre_of_its_frames(
    clip_len: int, interval: int, more: int, stride: int, fps: float | None, placement: Any, mmaction2: bool
) -> None:
    """Also of clips that skip frames: by the printed lines and the formulas of ActionFormer, TriDet and OpenTAD."""
    window = clip_len * interval + more
    windows = Windows(clip_len=clip_len, stride=stride, window=window, fps=fps, placement=placement)
    grid: TimeGrid = WindowSampling(clip_len, stride, interval) if mmaction2 else windows
    rate = getattr(grid, "fps", None) or 30.0
    plan = grid.plan(Timeline.of_rate(600, rate))
    used = plan.frame_index.mean(axis=1) + 0.5
    inner = (plan.frame_index.min(axis=1) > 0) & (plan.frame_index.max(axis=1) < 599)
    output = Output("tiny", "/features", 32, RowGrid.of(grid))
    yaml_lines, python_lines = LAYOUTS["actionformer"].lines([output]), LAYOUTS["opentad"].lines([output])
    at = np.arange(len(plan)) * number(yaml_lines, "feat_stride")
    assert np.abs(at + 0.5 * number(yaml_lines, "num_frames") - used)[inner].max() < 1e-3
    at = np.arange(len(plan)) * int(number(python_lines, "feature_stride"))
    assert np.abs(at + int(number(python_lines, "offset_frames")) - used)[inner].max() < 1


def test_the_tensors_of_hacs(tmp_path: Path) -> None:
    """SlowFast's two pathways, whatever the dtype; and files that are something else."""
    sink = LAYOUTS["tridet-hacs"].open(tmp_path / "out" / "training")
    values = np.arange(3 * 2304, dtype=np.float16).reshape(3, 2304)
    sink.prepare()
    assert sink.write([VideoFeatures("a.mp4", "tiny", values)]) == {}
    path = tmp_path / "out" / "training" / "a.pkl"
    parts = pickle.loads(path.read_bytes())
    assert {name: tuple(part.shape) for name, part in parts.items()} == {
        "slow_feature": (1, 2048, 3),
        "fast_feature": (1, 256, 3),
    }
    assert {part.dtype for part in parts.values()} == {torch.float32}
    (read,) = sink.read(["a.mp4"])
    assert read.dtype == np.float16
    assert np.array_equal(read, values)
    for wrong in ({"slow_feature": 1, "fast_feature": 2}, [1], {}, {"slow_feature": print, "fast_feature": print}):
        path.write_bytes(pickle.dumps(wrong))
        (read,) = sink.read(["a.mp4"])
        assert isinstance(read, Unreadable), wrong


def test_the_lines_for_howto100m() -> None:
    clips = Output("tiny", "/data/my features", 32, RowGrid.of(Windows(clip_len=16, stride=16, window=16, fps=24)))
    lines = LAYOUTS["howto100m"].lines([clips])
    assert "--features_path_3D '/data/my features' --feature_dim 32" in lines


def test_rows_that_are_too_far_apart() -> None:
    with pytest.raises(UsageError, match="8 rows in 200,000 frames"):
        RowGrid.of(Windows(clip_len=4, stride="90000s", window=4, fps=2))


def test_a_lost_half_frame_is_said(tiny: Encoder, tmp_path: Path) -> None:
    job = Job(
        videos="a.mp4",
        encoders=tiny,
        grid=WindowSampling(8, 64, 8),
        pooling=Pooling(views="per_clip"),
        layout="opentad",
        out=tmp_path / "out",
    )
    lines = job.sinks()[0].header()["config_lines"]
    assert "offset_frames=28.5,  # OpenTAD takes 28: labels lie 0.5 frames too late" in lines


@pytest.mark.parametrize(
    ("layout", "grid", "words"),
    [
        ("lstr", Windows(stride=6, window=6), "24 fps"),
        ("lstr", Windows(stride=6, window=32, fps=24), "24 fps"),
        ("moment-detr", Windows(stride="2s", window="2s"), "every 2 s"),
        ("lighthouse", Windows(stride="1s", window="1s", tail="pad"), "every 2 s"),
        ("rtfm", Windows(stride=8, window=16), "16 frames"),
        ("rtfm", Windows(stride=16, window=16, tail="clamp"), "16 frames"),
        ("howto100m", Windows(stride=1, window=16, fps=1), "every second"),
        ("videomae-tad", Windows(stride=4, window=16, placement="centre"), "4th or 16th"),
        ("ms-tcn", Windows(stride=1, window=16), "every frame"),
        ("ms-tcn", Windows(stride=1, window=8, placement="centre"), "also for the last"),
        ("gtad", Windows(stride=5, window=8, placement="centre"), "every frame"),
        ("actionformer", Windows(stride="0.5s", window=16), "the same for all videos"),
        ("opentad", Windows(stride="0.1s", window=16, fps=24), "whole number of frames"),
    ],
)
def test_other_rows_than_the_loader_counts_on(
    layout: str, grid: TimeGrid, words: str, tiny: Encoder, ten_crops: Encoder, tmp_path: Path
) -> None:
    encoder, pooling = (ten_crops, KEPT) if layout == "rtfm" else (tiny, None)
    with pytest.raises(UsageError, match=words) as caught:
        Job(videos="a.mp4", encoders=encoder, grid=grid, pooling=pooling, layout=layout, out=tmp_path / "out")
    assert caught.value.where == "layout"
    assert not list(tmp_path.iterdir())


def test_other_axes_than_the_loader_reads(tiny: Encoder, ten_crops: Encoder, tmp_path: Path) -> None:
    def refuse(words: str, layout: str, **options: Any) -> None:
        with pytest.raises(UsageError, match=words):
            Job(**{"videos": "a.mp4", "layout": layout, "out": tmp_path / "out", "encoders": tiny, **options})

    refuse("rows of windows", "opentad")
    refuse("expected one of actionformer", "act", grid=EVERY_4TH)
    refuse("no axis but C", "opentad", grid=EVERY_4TH, pooling=Pooling(time="keep"))
    refuse("no axis but C", "opentad", grid=EVERY_4TH, pooling=KEPT)
    refuse("10 crops", "rtfm", grid=EVERY_16TH, pooling=KEPT)
    refuse("10 crops", "rtfm", grid=EVERY_16TH, encoders=ten_crops)
    refuse("per_clip", "opentad", grid=WindowSampling(8, 16))
    refuse("a folder", "opentad", grid=EVERY_4TH, out=tmp_path / "features.npz")
    refuse("a folder", "opentad", grid=EVERY_4TH, out=tmp_path / "{key}.npz")


@pytest.mark.parametrize(
    ("layout", "names", "words"),
    [
        ("ms-tcn", ["rgb.1.mp4", "rgb.2.mp4"], "'rgb.2.mp4' and 'rgb.1.mp4', which would both be 'rgb.npy'"),
        ("opentad", ["a/x.mp4", "b/x.mp4"], "'b/x.mp4' and 'a/x.mp4', which would both be 'x.npy'"),
        ("ms-tcn", ["..mp4", "x.mp4"], "a name for ms-tcn"),
        ("gtad", ["video_val_1.mp4", "clip.mp4"], "contains 'val' or 'test'"),
        ("gtad", ["a/val.mp4", "b/val.mp4"], "'val', as for 'a/val.mp4'"),
    ],
)
def test_names_that_become_one(layout: str, names: list[str], words: str, tiny: Encoder, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"")
    videos = [vidfeat.VideoRef(name, str(tmp_path / "videos" / name)) for name in names]
    with pytest.raises(UsageError, match=words):
        run(Job(videos=videos, encoders=tiny, grid=GRIDS[layout], layout=layout, out=tmp_path / "out"), quiet=True)
    assert not (tmp_path / "out").exists()


def test_missing_files_are_those_of_the_last_session(
    tiny: Encoder, videos: Path, compute: Compute, tmp_path: Path
) -> None:
    executor, _ = compute(tiny, EVERY_4TH, None)
    shutil.copytree(videos, tmp_path / "videos")
    job = Job(videos=tmp_path / "videos", encoders=tiny, grid=EVERY_4TH, layout="opentad", out=tmp_path / "out")
    run(job, quiet=True, executor=executor)
    missing = tmp_path / "out" / "missing_files.txt"
    assert missing.read_text() == "video_val_3\n"
    shutil.copy(videos / "video_val_1.mp4", tmp_path / "videos" / "video_val_3.mp4")
    (tmp_path / "videos" / "video_val_4.mp4").write_bytes(b"no video")
    summary = run(job, quiet=True, retry_failed=True, executor=executor)
    assert summary is not None
    assert (summary.computed, summary.kept, summary.failed) == (1, 2, 1)
    assert missing.read_text() == "video_val_4\n"
    again = run(job, quiet=True)
    assert again is not None
    assert (again.computed, again.kept, again.config_lines) == (0, 3, summary.config_lines)
    other = dataclasses.replace(job, layout="ms-tcn", grid=EACH_FRAME)
    executor, computed = compute(tiny, EACH_FRAME, None)
    with pytest.raises(vidfeat.OutputError, match="one in the format opentad"):
        run(other, quiet=True, executor=executor)
    changed = run(other, quiet=True, executor=executor, restart=True)
    assert changed is not None
    assert (changed.computed, changed.kept) == (3, 0)
    assert np.load(tmp_path / "out" / "video_val_1.npy").shape == computed["video_val_1"].values.T.shape
    assert verify(tmp_path / "out") == []


def test_files_of_others_are_not_replaced(tiny: Encoder, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rgb_val.h5").write_bytes(b"features of someone")
    job = Job(videos=videos, encoders=tiny, grid=EACH_FRAME, layout="gtad", out=tmp_path / "out")
    with pytest.raises(vidfeat.OutputError, match="a file that vidfeat did not write"):
        run(job, quiet=True)
    assert (tmp_path / "out" / "rgb_val.h5").read_bytes() == b"features of someone"


def test_the_order_of_columns_is_the_consumers(tiny: Any, tmp_path: Path) -> None:
    pair = [dataclasses.replace(tiny, name="clip_vit"), dataclasses.replace(tiny, name="slowfast_r50")]
    for encoders in (pair, pair[::-1]):
        for layout, order in [
            ("moment-detr", ["slowfast_r50", "clip_vit"]),
            ("lighthouse", ["clip_vit", "slowfast_r50"]),
        ]:
            job = Job(
                videos="a", encoders=encoders, grid=TWO_SECONDS, layout=layout, out=f"{tmp_path}/{layout}/{{encoder}}"
            )
            lines = job.sinks()[0].header()["config_lines"]
            places = [lines.index(f"{tmp_path}/{layout}/{name}") for name in order]
            assert places == sorted(places)
            assert f"v_feat_dim{'=64' if layout == 'moment-detr' else ': 66'}" in lines


def test_a_folder_that_has_the_name_that_the_loader_looks_for(tiny: Encoder, tmp_path: Path) -> None:
    (sink,) = Job(videos="a", encoders=tiny, grid=EVERY_4TH, layout="bmn", out=tmp_path / "f" / "csv_mean_100").sinks()
    assert sink.path_of("x.mp4") == tmp_path / "f" / "csv_mean_100" / "x.csv"  # type: ignore[attr-defined]
    assert f"--feature_path {tmp_path}/f/ " in sink.header()["config_lines"]


def test_a_job_with_a_layout_is_plain_data(tiny: Encoder, tmp_path: Path) -> None:
    job = Job(videos="a", encoders=tiny, grid=GRIDS["howto100m"], layout="howto100m", out=tmp_path / "out")
    assert Job.from_json(job.to_json()) == job
    assert job.dtype == "float16"


def test_the_command(
    tiny: Any, videos: Path, tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(NAMES_IN_HELP) == set(LAYOUTS) == set(GRIDS)
    model = [str(repository / "examples" / "tiny_slowonly.py"), "--checkpoint", str(tiny.weights.path)]
    words = [
        "extract",
        *model,
        str(videos / "video_val_1.mp4"),
        "-o",
        str(tmp_path / "out"),
        "--layout",
        "actionformer",
    ]
    assert main([*words, "--stride", "16", "--window", "32", "--fps", "12.5"]) == 0
    shown = capsys.readouterr().out
    rows, seconds = READERS["actionformer"](shown, tmp_path / "out", "video_val_1", RATE)
    assert len(rows) == (60 - 32) // 16 + 1
    assert seconds == pytest.approx([14.5 / 12.5, 30.5 / 12.5])
    assert main([*words, "--stride", "2s"]) == 2
    assert "Give --stride in frames, or --fps with it." in capsys.readouterr().err


def test_another_output_becomes_one(tiny: Encoder, videos: Path, compute: Compute, tmp_path: Path) -> None:
    executor, computed = compute(tiny, EVERY_4TH, None)
    run(Job(videos=videos, encoders=tiny, grid=EVERY_4TH, out=tmp_path / "f.npz"), quiet=True, executor=executor)
    for layout in ("actionformer", "opentad"):
        found = vidfeat.convert(tmp_path / "f.npz", tmp_path / layout, layout=layout)
        assert (found.converted, found.failed) == (2, 1)
        assert verify(tmp_path / layout) == []
        for video, features in computed.items():
            rows, _ = READERS[layout](found.config_lines, tmp_path / layout, video, RATE)
            assert np.array_equal(rows, features.values)
    resized = vidfeat.convert(tmp_path / "opentad", tmp_path / "bmn", layout="bmn")
    assert [features.values.shape for features in load(resized.out).values()] == [(100, 32)] * 2
    assert verify(resized.out) == []
    assert (tmp_path / "bmn" / "missing_files.txt").read_text() == "video_val_3\n"
    with pytest.raises(UsageError, match="those of bmn"):
        vidfeat.convert(tmp_path / "bmn", tmp_path / "again", layout="opentad")
    with pytest.raises(UsageError, match="24 fps"):
        vidfeat.convert(tmp_path / "f.npz", tmp_path / "again", layout="lstr")
