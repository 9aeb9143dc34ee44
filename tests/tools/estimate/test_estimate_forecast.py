"""From videos and speeds to hours and bytes: the arithmetic, and what it says of real runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import faulty_worker
from video.video_files import write_video
from vidfeat import Extractor
from vidfeat.engine.decode_pool import ReaderOptions
from vidfeat.mmaction import FeatureRequest, LongVideo, compile_file
from vidfeat.models.random_weights import write_random_weights
from vidfeat.preprocessing.clips import PreprocessSpec
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.recipe import CenterCrop, Pooling, Recipe
from vidfeat.store import Entry, open_format
from vidfeat.tools.estimate import Forecast, forecast, render, to_json
from vidfeat.tools.estimate.benchmark import NetworkTest, Read, measure_reading, sample
from vidfeat.tools.estimate.duplicates import Duplicates
from vidfeat.tools.estimate.forecast import START_SECONDS, Machine, predict_duration, predict_output
from vidfeat.tools.estimate.survey import Sound
from vidfeat.tools.estimate.workload import OPENING_PIXELS, Workload
from vidfeat.video import VideoInfo, probe

WINDOWS = FeatureRequest(
    pooling=Pooling(views="per_clip"), views="few", long_video=LongVideo(clip_interval=16, frame_interval=1)
)


@pytest.fixture(scope="module")
def config(repository: Path) -> Path:
    return repository / "examples" / "tiny_slowonly.py"


@pytest.fixture(scope="module")
def recipe(config: Path) -> Recipe:
    return compile_file(config)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [write_video(folder / f"{frames}.mp4", frames=frames, size=(96, 72)) for frames in (20, 40, 60)]


def entries_of(paths: Sequence[Path]) -> list[Entry]:
    return [Entry(index, path.name, path) for index, path in enumerate(paths)]


def sound(index: int, host_pixels: int, network_pixels: int = 100, clips: int = 4) -> Sound:
    """A video of a known amount of work."""
    info = VideoInfo(
        *(f"{index}.mp4", 1000, "mov", "h264", "yuv420p", 96, 72, 0, 25.0, 0.0, 1.0, 25),
        frames_from="packets",
    )
    entry = Entry(index, info.path, Path(info.path))
    return Sound(entry, info, Workload(clips, clips, host_pixels, network_pixels))


class TestSample:
    @given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30), st.integers(1, 12), st.randoms())
    def test_it_is_spread_and_does_not_depend_on_the_order(self, work: list[int], count: int, random: object) -> None:
        listed = [sound(index, pixels) for index, pixels in enumerate(work)]
        chosen = sample(listed, count)
        random.shuffle(listed)  # type: ignore[attr-defined]
        assert sample(listed, count) == chosen
        assert len({video.entry.index for video in chosen}) == len(chosen) == min(count, len(work))
        ranks = [sorted(listed, key=lambda v: (v.work.host_pixels, v.entry.index)).index(video) for video in chosen]
        assert ranks == sorted(ranks)
        # One from the middle of every equal part.
        for number, rank in enumerate(ranks):
            assert number * len(work) // len(chosen) <= rank < (number + 1) * len(work) / len(chosen)

    def test_the_middle_of_each_part(self) -> None:
        assert [video.entry.index for video in sample([sound(n, n + 1) for n in range(9)], 3)] == [1, 4, 7]


class TestDuration:
    VIDEOS = (sound(0, 1000, 50), sound(1, 3000, 150))
    READ = (Read("0.mp4", 1.0, 500), Read("1.mp4", 6.0, 2000))

    def test_a_cpu_shares_its_cores_between_both_halves(self) -> None:
        duration = predict_duration(self.VIDEOS, self.READ, 0.1, Machine(4, 4, None), made_up_weights=True)
        # 7 s for 2500 pixels are 11.2 s for 4000; 200 pixels of the network take 20 s.
        assert duration.reading_core_seconds == pytest.approx(11.2)
        assert duration.network_seconds == pytest.approx(20)
        assert duration.seconds == pytest.approx(START_SECONDS + 31.2 / 4)
        # Every video was read, so there is nothing to be wrong about.
        assert duration.at_least == duration.seconds == duration.at_most
        assert (duration.bottleneck, duration.sample) == ("network", ("0.mp4", "1.mp4"))

    def test_how_far_a_sample_can_be_off(self) -> None:
        """As a real sample of it is: of many samples, nearly all are within the two standard errors."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(100, 10000, 2000)
        seconds = pixels * rng.uniform(0.5, 1.5, 2000)
        videos = [sound(number, int(size), 0) for number, size in enumerate(pixels)]
        inside = 0
        for _ in range(200):
            read = [Read("", seconds[chosen], int(pixels[chosen])) for chosen in rng.choice(2000, 8, replace=False)]
            duration = predict_duration(videos, read, 0.0, Machine(2, 2, None), made_up_weights=True)
            inside += duration.at_least <= START_SECONDS + seconds.sum() / 2 <= duration.at_most
        assert 170 < inside < 199

    def test_one_video_tells_nothing_of_the_others(self) -> None:
        duration = predict_duration(self.VIDEOS, self.READ[:1], 0.1, Machine(1, 1, None), made_up_weights=True)
        assert duration.at_least == duration.seconds == duration.at_most == pytest.approx(START_SECONDS + 8 + 20)

    @pytest.mark.parametrize(
        ("machine", "network", "seconds", "bottleneck"),
        [
            (Machine(2, 2, None), 0.01, (11.2 + 2) / 2, "reading"),
            (Machine(64, 4, None), 0.1, 11.2 / 4, "reading"),  # 64 cores, of which reading can use 4
            (Machine(64, 4, None), 1.0, 211.2 / 64, "network"),
            (Machine(16, 4, "a GPU", 1), 0.001, 11.2 / 4, "reading"),
            (Machine(16, 4, "a GPU", 1), 0.1, 20, "network"),
            (Machine(16, 4, "a GPU", 2), 0.1, 20 / 2, "network"),
            (Machine(16, 4, "a GPU", 2), 0.02, 11.2 / 4, "reading"),  # 4 s of one GPU, but 2 s of both
            (Machine(16, 4, "a GPU", 8), 0.1, 20 / 2, "network"),  # two videos, each of which stays on one
        ],
    )
    def test_who_waits_for_whom(self, machine: Machine, network: float, seconds: float, bottleneck: str) -> None:
        duration = predict_duration(self.VIDEOS, self.READ, network, machine, made_up_weights=False)
        assert duration.seconds == pytest.approx(START_SECONDS + seconds)
        assert duration.bottleneck == bottleneck

    @given(st.integers(1, 16), st.integers(1, 8), st.floats(0.001, 10))
    def test_more_gpus_never_take_longer_nor_less_than_their_share(
        self, readers: int, gpus: int, network: float
    ) -> None:
        one, several = (
            predict_duration(self.VIDEOS, self.READ, network, Machine(16, readers, "a GPU", n), made_up_weights=True)
            for n in (1, gpus)
        )
        assert several.network_seconds == one.network_seconds
        assert (one.seconds - START_SECONDS) / gpus <= (several.seconds - START_SECONDS) * (1 + 1e-9)
        assert several.seconds <= one.seconds
        assert several.bottleneck == "reading" or one.bottleneck == "network"


class TestOutput:
    @pytest.mark.parametrize("name", ["x.pkl", "x.json", "x.yaml", "x"])
    def test_its_size_is_that_of_a_real_one(self, name: str, recipe: Recipe, tmp_path: Path) -> None:
        rows = np.random.default_rng(0).normal(size=(40, 512)).astype(np.float32)
        test = NetworkTest(0.1, rows[0], 4)
        output = predict_output([sound(n, 1) for n in range(40)], recipe, test, tmp_path / name, known_place=True)
        written = open_format(tmp_path / name)
        written.prepare()
        for number, row in enumerate(rows):
            written.keep((f"{number}.mp4", row))
        written.assemble(iter(rows))
        files = [written.out] if written.out.is_file() else list(written.out.iterdir())
        assert output.bytes == pytest.approx(sum(path.stat().st_size for path in files), rel=0.03)
        assert (output.rows, output.row_shape) == (40, (512,))
        assert output.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
        assert output.bytes < output.peak_bytes

    def test_a_row_for_every_window(self, config: Path, tmp_path: Path) -> None:
        windows = compile_file(config, request=WINDOWS)
        test = NetworkTest(0.1, np.ones((3, 512), np.float32), 3)
        output = predict_output(
            [sound(0, 1, clips=7), sound(1, 1, clips=1000)], windows, test, "x.json", known_place=False
        )
        assert (output.rows, output.row_shape, output.free_bytes) == (1007, (512,), None)


class TestReading:
    SPEC = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=600), (CenterCrop(32, 32),))

    def test_a_video_that_takes_too_long_counts_as_far_as_it_was_read(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "long.mp4", frames=600)
        info = probe(path)
        whole = Sound(Entry(0, "long.mp4", path), info, Workload(600, 600, OPENING_PIXELS + 64 * 48 * 1200, 0))
        # Without room for a second chunk, which is never asked for: the time is over when the first is there.
        test = measure_reading(self.SPEC, [whole], ReaderOptions(1, budget_bytes=1 << 20), seconds=0.0)
        (read,) = test.read
        assert read.pixels == OPENING_PIXELS + 64 * 48 * 512
        assert read.cpu_seconds > 0
        assert test.views is not None
        assert len(test.views.clips) == 256
        test = measure_reading(self.SPEC, [whole], ReaderOptions(1), seconds=30.0)
        assert (test.read[0].pixels, test.unsound) == (whole.work.host_pixels, ())


class TestMadeUpWeights:
    @pytest.mark.parametrize(
        "name",
        ["examples/tiny_slowonly.py", "configs/recognition/tsn/tsn_r50_clip_feature_extraction_1x1x3_rgb.py"],
    )
    def test_they_fit_and_numbers_stay_in_range(
        self, name: str, repository: Path, videos: list[Path], tmp_path: Path
    ) -> None:
        options = {"data.test.pipeline.1.num_clips": 2}
        checkpoint = write_random_weights(compile_file(repository / name).model, tmp_path / "made_up.safetensors")
        array = Extractor(repository / name, checkpoint=checkpoint, cfg_options=options).extract(videos[0]).array
        assert np.isfinite(array).all()
        assert 1e-3 < np.abs(array).mean() < 1e5


class TestForecast:
    def test_real_videos(self, config: Path, videos: list[Path]) -> None:
        found = forecast(config, entries_of(videos))
        assert [video.entry.name for video in found.sound] == ["20.mp4", "40.mp4", "60.mp4"]
        assert (found.unsound, found.duplicates) == ((), ())
        assert found.duration is not None
        assert found.output is not None
        assert set(found.duration.sample) == {"20.mp4", "40.mp4", "60.mp4"}
        assert 0 < found.duration.at_least <= found.duration.seconds <= found.duration.at_most < 60
        assert (found.output.rows, found.output.row_shape, found.output.format) == (3, (32,), "pkl")

    def test_windows_as_many_as_a_run_gives(self, config: Path, videos: list[Path], tmp_path: Path) -> None:
        found = forecast(config, entries_of(videos), request=WINDOWS)
        checkpoint = write_random_weights(compile_file(config).model, tmp_path / "made_up.safetensors")
        extractor = Extractor(config, checkpoint=checkpoint, request=WINDOWS)
        arrays = [extractor.extract(path).array for path in videos]
        assert found.output is not None
        assert found.output.rows == sum(len(array) for array in arrays)
        assert found.output.row_shape == arrays[0][0].shape
        assert sum(video.work.inputs for video in found.sound) == sum(len(array) for array in arrays)

    def test_a_video_that_opens_and_hangs_or_crashes_later_is_named(
        self, config: Path, videos: list[Path], tmp_path: Path
    ) -> None:
        # At the first chunk of the self-benchmark; `stop_0` already at the probe.
        hostile = [Path(shutil.copy(videos[0], tmp_path / f"{name}.mp4")) for name in ("stop_0", "abort_1")]
        reading = ReaderOptions(2, timeout_seconds=1.0, command=faulty_worker.command())
        found = forecast(config, entries_of([*hostile, videos[0], videos[2]]), reading=reading)
        assert [(video.entry.name, video.error.kind) for video in found.unsound] == [
            ("stop_0.mp4", "timeout"),
            ("abort_1.mp4", "crashed"),
        ]
        assert found.duration is not None
        assert found.duration.sample == ("20.mp4", "60.mp4")
        assert [video.entry.index for video in found.sound] == [2, 3]

    def test_nothing_sound(self, config: Path, tmp_path: Path) -> None:
        found = forecast(config, entries_of([tmp_path / "one.mp4", tmp_path / "two.mp4"]))
        assert (found.duration, found.output, len(found.unsound)) == (None, None, 2)
        table = render(found)
        assert "2: 0 sound, 2 broken" in table
        assert "not known" in table
        assert to_json(found)["videos"]["sound"] == 0


class TestTable:
    MACHINE = Machine(2, 2, None)

    def test_twenty_broken_videos_are_named_and_the_rest_counted(self, tmp_path: Path) -> None:
        from vidfeat.errors import VideoError
        from vidfeat.tools.estimate.survey import Unsound

        error = VideoError("a\nb.mp4", stage="open", kind="empty", expected="a video", found="0 bytes")
        unsound = tuple(Unsound(Entry(n, f"{n}.mp4", tmp_path), error) for n in range(2025))
        table = render(Forecast((), unsound, (), self.MACHINE)).splitlines()
        assert sum("empty:" in line for line in table) == 20
        assert "  and 2,005 more (--json has all)" in table
        assert table[0].split() == "videos 2,025: 0 sound, 2,025 broken; duplicates among them: 0".split()
        assert all(line.isprintable() for line in table)

    @pytest.mark.parametrize(
        ("gpus", "where", "unit"),
        [
            (0, "on 16 cores with", "3.3 min of one core"),
            (1, "on 16 cores and a GPU with", "3.3 min of the GPU"),
            (8, "on 16 cores and 8 times a GPU with", "3.3 min of one GPU, shared by 8"),
        ],
    )
    def test_it_says_what_computes(self, gpus: int, where: str, unit: str) -> None:
        machine = Machine(16, 4, "a GPU" if gpus else None, gpus)
        videos = (sound(0, 1000, 1000), sound(1, 1000, 1000))
        duration = predict_duration(videos, TestDuration.READ, 0.1, machine, made_up_weights=True)
        table = render(Forecast(videos, (), (), machine, duration))
        assert where in " ".join(table.split())
        assert unit in " ".join(table.split())
        assert to_json(Forecast(videos, (), (), machine, duration))["machine"]["gpus"] == gpus

    def test_of_many_copies_five_are_named(self) -> None:
        same = Duplicates(tuple(f"{number}.mp4" for number in range(12)), same_file=True)
        table = render(Forecast((), (), (same,), self.MACHINE))
        assert "  0.mp4 = 1.mp4 = 2.mp4 = 3.mp4 = 4.mp4 and 7 more (one file)" in table
        assert to_json(Forecast((), (), (same,), self.MACHINE))["duplicates"][0]["names"][11] == "11.mp4"

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(0.123, "0.12 s"), (9.94, "9.9 s"), (42.4, "42 s"), (99.6, "1.7 min"), (5900, "98 min"), (36000, "10.0 h")],
    )
    def test_spans_of_time(self, seconds: float, words: str) -> None:
        from vidfeat.tools.estimate.render import _span

        assert _span(seconds) == words

    @pytest.mark.parametrize(
        ("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (67840, "67.8 kB"), (2.5e12, "2.5 TB")]
    )
    def test_sizes(self, count: float, words: str) -> None:
        from vidfeat.tools.estimate.render import _size

        assert _size(count) == words
