"""From videos and speeds to hours and bytes: the arithmetic, and what it says of real runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video.video_files import write_video
from vidfeat import Extractor, Job, VideoFeatures, VideoRef
from vidfeat.encoders import Encoder
from vidfeat.engine.decode_pool import PoolOptions
from vidfeat.engine.measure import InferenceTest, measure_decoding
from vidfeat.errors import UsageError, VideoError
from vidfeat.formats import open_sink
from vidfeat.mmaction import FeatureRequest, LongVideo, compile_file
from vidfeat.preprocessing.clips import PreprocessSpec
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.recipe import CenterCrop, Pooling, Recipe
from vidfeat.tools.estimate import Estimate, estimate, render, to_json
from vidfeat.tools.estimate.duplicates import Duplicates
from vidfeat.tools.estimate.duration import START_SECONDS, Machine, Timing, predict_duration, sample
from vidfeat.tools.estimate.estimation import _timing
from vidfeat.tools.estimate.output import predict_output
from vidfeat.tools.estimate.probe import Decodable, Failing
from vidfeat.tools.estimate.workload import OPENING_PIXELS, Workload
from vidfeat.tools.random_encoder import random_encoder
from vidfeat.video import Timeline, VideoInfo

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


@pytest.fixture(scope="module")
def tiny(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return random_encoder(config, tmp_path_factory.mktemp("weights"))


def refs_of(paths: Sequence[Path]) -> list[VideoRef]:
    return [VideoRef(path.name, str(path)) for path in paths]


def decodable(index: int, decoding_pixels: int, network_pixels: int = 100, clips: int = 4) -> Decodable:
    """A video of a known amount of work."""
    info = VideoInfo(
        *(f"{index:06d}.mp4", 1000, "mov", "h264", "yuv420p", 96, 72, 0, 25.0, 0.0, 1.0, 25),
        frames_from="packets",
        timeline=Timeline.of_rate(25, 25.0),
    )
    return Decodable(VideoRef(info.path, info.path), info, Workload(clips, clips, decoding_pixels, network_pixels))


def inference_of(values: np.ndarray, clips: int) -> InferenceTest:
    seconds = np.arange(float(len(values))) if values.ndim == 2 else None
    return InferenceTest(0.1, VideoFeatures("", "", values, seconds, seconds), clips)


class TestSample:
    @given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30), st.integers(1, 12), st.randoms())
    def test_it_is_spread_and_does_not_depend_on_the_order(self, work: list[int], count: int, random: object) -> None:
        listed = [decodable(index, pixels) for index, pixels in enumerate(work)]
        chosen = sample(listed, count)
        random.shuffle(listed)  # type: ignore[attr-defined]
        assert sample(listed, count) == chosen
        assert len({video.video.key for video in chosen}) == len(chosen) == min(count, len(work))
        ranked = sorted(listed, key=lambda video: (video.work.decoding_pixels, video.video.key))
        ranks = [ranked.index(video) for video in chosen]
        assert ranks == sorted(ranks)
        # One from the middle of every equal part.
        for number, rank in enumerate(ranks):
            assert number * len(work) // len(chosen) <= rank < (number + 1) * len(work) / len(chosen)

    def test_the_middle_of_each_part(self) -> None:
        chosen = sample([decodable(n, n + 1) for n in range(9)], 3)
        assert [video.video.key for video in chosen] == ["000001.mp4", "000004.mp4", "000007.mp4"]


class TestDuration:
    VIDEOS = (decodable(0, 1000, 50), decodable(1, 3000, 150))
    TIMINGS = (Timing("0.mp4", 1.0, 500), Timing("1.mp4", 6.0, 2000))

    def test_a_cpu_shares_its_cores_between_both_stages(self) -> None:
        duration = predict_duration(self.VIDEOS, self.TIMINGS, 0.1, Machine(4, 4, None), random_weights=True)
        # 7 s for 2500 pixels are 11.2 s for 4000; 200 pixels of the network take 20 s.
        assert duration.decoding_core_seconds == pytest.approx(11.2)
        assert duration.network_seconds == pytest.approx(20)
        assert duration.seconds == pytest.approx(START_SECONDS + 31.2 / 4)
        # Every video was decoded, so there is nothing to be wrong about.
        assert duration.at_least == duration.seconds == duration.at_most
        assert (duration.bottleneck, duration.sample) == ("network", ("0.mp4", "1.mp4"))

    def test_how_far_a_sample_can_be_off(self) -> None:
        """As a real sample of it is: of many samples, nearly all are within the two standard errors."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(100, 10000, 2000)
        seconds = pixels * rng.uniform(0.5, 1.5, 2000)
        videos = [decodable(number, int(size), 0) for number, size in enumerate(pixels)]
        inside = 0
        for _ in range(200):
            chosen = rng.choice(2000, 8, replace=False)
            timings = [Timing("", seconds[one], int(pixels[one])) for one in chosen]
            duration = predict_duration(videos, timings, 0.0, Machine(2, 2, None), random_weights=True)
            inside += duration.at_least <= START_SECONDS + seconds.sum() / 2 <= duration.at_most
        assert 170 < inside < 199

    def test_one_video_says_nothing_of_the_others(self) -> None:
        duration = predict_duration(self.VIDEOS, self.TIMINGS[:1], 0.1, Machine(1, 1, None), random_weights=True)
        assert duration.at_least == duration.seconds == duration.at_most == pytest.approx(START_SECONDS + 8 + 20)

    @pytest.mark.parametrize(
        ("machine", "network", "seconds", "bottleneck"),
        [
            (Machine(2, 2, None), 0.01, (11.2 + 2) / 2, "decoding"),
            (Machine(64, 4, None), 0.1, 11.2 / 4, "decoding"),  # 64 cores, of which decoding can use 4
            (Machine(64, 4, None), 1.0, 211.2 / 64, "network"),
            (Machine(16, 4, "a GPU", 1), 0.001, 11.2 / 4, "decoding"),
            (Machine(16, 4, "a GPU", 1), 0.1, 20, "network"),
            (Machine(16, 4, "a GPU", 2), 0.1, 20 / 2, "network"),
            (Machine(16, 4, "a GPU", 2), 0.02, 11.2 / 4, "decoding"),  # 4 s of one GPU, but 2 s of both
            (Machine(16, 4, "a GPU", 8), 0.1, 20 / 2, "network"),  # two videos, each of which stays on one
        ],
    )
    def test_who_waits_for_whom(self, machine: Machine, network: float, seconds: float, bottleneck: str) -> None:
        duration = predict_duration(self.VIDEOS, self.TIMINGS, network, machine, random_weights=False)
        assert duration.seconds == pytest.approx(START_SECONDS + seconds)
        assert duration.bottleneck == bottleneck

    @given(st.integers(1, 16), st.integers(1, 8), st.floats(0.001, 10))
    def test_more_gpus_never_take_longer_nor_less_than_their_share(
        self, processes: int, gpus: int, network: float
    ) -> None:
        one, several = (
            predict_duration(
                self.VIDEOS, self.TIMINGS, network, Machine(16, processes, "a GPU", n), random_weights=True
            )
            for n in (1, gpus)
        )
        assert several.network_seconds == one.network_seconds
        assert (one.seconds - START_SECONDS) / gpus <= (several.seconds - START_SECONDS) * (1 + 1e-9)
        assert several.seconds <= one.seconds
        assert several.bottleneck == "decoding" or one.bottleneck == "network"


class TestOutput:
    @pytest.mark.parametrize("name", ["x.pkl", "x.json", "x.yaml", "x", "x.npz", "x.h5"])
    def test_its_size_is_that_of_a_real_one(self, name: str, recipe: Recipe, tmp_path: Path) -> None:
        rows = np.random.default_rng(0).normal(size=(40, 512)).astype(np.float32)
        videos, sink = [decodable(n, 1) for n in range(40)], open_sink(tmp_path / name)
        output = predict_output(videos, recipe, inference_of(rows[0], 4), sink, dtype="float32", known_place=True)
        features = [VideoFeatures(f"{number}.mp4", "tiny", row) for number, row in enumerate(rows)]
        sink.prepare()
        sink.write(features)
        sink.finalize((one.key, one) for one in features)
        files = [sink.out] if sink.out.is_file() else list(sink.out.iterdir())
        assert output.bytes == pytest.approx(sum(path.stat().st_size for path in files), rel=0.03)
        assert (output.rows, output.row_shape) == (40, (512,))
        assert output.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
        assert output.bytes < output.peak_bytes

    def test_a_row_for_every_window(self, config: Path, tmp_path: Path) -> None:
        windows = compile_file(config, request=WINDOWS)
        test, sink = inference_of(np.ones((3, 512), np.float32), 3), open_sink("x.json")
        videos = [decodable(0, 1, clips=7), decodable(1, 1, clips=1000)]
        output = predict_output(videos, windows, test, sink, dtype="float32", known_place=False)
        assert (output.rows, output.row_shape, output.free_bytes) == (1007, (512,), None)


class TestDecoding:
    SPEC = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=600), (CenterCrop(32, 32),))

    def test_a_video_that_takes_too_long_counts_as_far_as_it_was_decoded(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "long.mp4", frames=600)
        # Without room for a second chunk, which is never asked for: the time is over when the first is there.
        test = measure_decoding(self.SPEC, refs_of([path]), PoolOptions(1, budget_bytes=1 << 20), seconds=0.0)
        timing = _timing(self.SPEC, *test.decoded)
        assert timing.pixels == OPENING_PIXELS + 64 * 48 * 256
        assert timing.cpu_seconds > 0
        assert test.clips is not None
        assert len(test.clips.clips) == 128
        test = measure_decoding(self.SPEC, refs_of([path]), PoolOptions(1), seconds=30.0)
        assert _timing(self.SPEC, *test.decoded).pixels == OPENING_PIXELS + 64 * 48 * 1200
        assert test.failed == {}


class TestRandomWeights:
    @pytest.mark.parametrize(
        "name",
        ["examples/tiny_slowonly.py", "configs/recognition/tsn/tsn_r50_clip_feature_extraction_1x1x3_rgb.py"],
    )
    def test_they_fit_and_numbers_stay_in_range(
        self, name: str, repository: Path, videos: list[Path], tmp_path: Path
    ) -> None:
        options = {"data.test.pipeline.1.num_clips": 2}
        encoder = random_encoder(repository / name, tmp_path, cfg_options=options)
        with Extractor(encoder) as extractor:
            values = extractor.extract(videos[0]).values
        assert np.isfinite(values).all()
        assert 1e-3 < np.abs(values).mean() < 1e5


class TestEstimate:
    def test_real_videos(self, tiny: Encoder, videos: list[Path]) -> None:
        found = estimate(Job(videos=refs_of(videos), encoders=tiny))
        assert [video.video.key for video in found.decodable] == ["20.mp4", "40.mp4", "60.mp4"]
        assert (found.failing, found.duplicates) == ([], ())
        assert found.duration is not None
        assert found.output is not None
        assert set(found.duration.sample) == {"20.mp4", "40.mp4", "60.mp4"}
        assert 0 < found.duration.at_least <= found.duration.seconds <= found.duration.at_most < 60
        assert (found.output.rows, found.output.row_shape, found.output.format) == (3, (32,), "pkl")

    def test_windows_as_many_as_a_run_gives(self, config: Path, videos: list[Path], tmp_path: Path) -> None:
        windows = random_encoder(config, tmp_path, request=WINDOWS)
        found = estimate(Job(videos=refs_of(videos), encoders=windows))
        with Extractor(windows) as extractor:
            arrays = [extractor.extract(path).values for path in videos]
        assert found.output is not None
        assert found.output.rows == sum(len(array) for array in arrays)
        assert found.output.row_shape == arrays[0][0].shape
        assert sum(video.work.inputs for video in found.decodable) == sum(len(array) for array in arrays)

    def test_a_video_that_opens_and_hangs_or_crashes_later_is_named(
        self, tiny: Encoder, videos: list[Path], tmp_path: Path, faulty_workers: None
    ) -> None:
        # At the first chunk when decoding is measured; `stop_0` already at the probe.
        hostile = [Path(shutil.copy(videos[0], tmp_path / f"{name}.mp4")) for name in ("stop_0", "abort_1")]
        refs = refs_of([*hostile, videos[0], videos[2]])
        found = estimate(Job(videos=refs, encoders=tiny, decode_processes=2, timeout_seconds=1.0))
        assert [(video.video.key, video.error.kind) for video in found.failing] == [
            ("stop_0.mp4", "timeout"),
            ("abort_1.mp4", "crashed"),
        ]
        assert found.duration is not None
        assert found.duration.sample == ("20.mp4", "60.mp4")
        assert [video.video for video in found.decodable] == refs[2:]
        assert [one["index"] for one in to_json(found)["failing"]] == [0, 1]

    def test_nothing_decodable(self, tiny: Encoder, tmp_path: Path) -> None:
        found = estimate(Job(videos=refs_of([tmp_path / "one.mp4", tmp_path / "two.mp4"]), encoders=tiny))
        assert (found.duration, found.output, len(found.failing)) == (None, None, 2)
        table = render(found)
        assert "2: 0 decodable, 2 failing" in table
        assert "not known" in table
        assert to_json(found)["videos"]["decodable"] == 0

    def test_one_encoder_at_a_time(self, tiny: Encoder, videos: list[Path], config: Path, tmp_path: Path) -> None:
        other = random_encoder(config, tmp_path, cfg_options={"model.backbone.depth": 34})
        with pytest.raises(UsageError, match="encoders: expected one encoder; found 2"):
            estimate(Job(videos=refs_of(videos), encoders=[tiny, other]))


class TestTable:
    MACHINE = Machine(2, 2, None)

    def test_twenty_failing_videos_are_named_and_the_rest_counted(self, tmp_path: Path) -> None:

        error = VideoError("a\nb.mp4", stage="open", kind="empty", expected="a video", found="0 bytes")
        failing = tuple(Failing(VideoRef(f"{n}.mp4", str(tmp_path)), error) for n in range(2025))
        table = render(Estimate(failing, (), self.MACHINE)).splitlines()
        assert sum("empty:" in line for line in table) == 20
        assert "  and 2,005 more (--json has all)" in table
        assert table[0].split() == "videos 2,025: 0 decodable, 2,025 failing; duplicates among them: 0".split()
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
        videos = (decodable(0, 1000, 1000), decodable(1, 1000, 1000))
        duration = predict_duration(videos, TestDuration.TIMINGS, 0.1, machine, random_weights=True)
        table = render(Estimate(videos, (), machine, duration))
        assert where in " ".join(table.split())
        assert unit in " ".join(table.split())
        assert to_json(Estimate(videos, (), machine, duration))["machine"]["gpus"] == gpus

    def test_one_sample_has_no_error_in_brackets(self) -> None:
        videos = (decodable(0, 1000, 1000), decodable(1, 1000, 1000))
        for timings, brackets in ((TestDuration.TIMINGS[:1], 0), (TestDuration.TIMINGS, 1)):
            duration = predict_duration(videos, timings, 0.1, self.MACHINE, random_weights=True)
            line = " ".join(render(Estimate(videos, (), self.MACHINE, duration)).partition("time ")[2].split())
            assert line.partition(" videos")[0].count(" (") == brackets

    def test_of_many_copies_five_are_named(self) -> None:
        same = Duplicates(tuple(f"{number}.mp4" for number in range(12)), same_file=True)
        table = render(Estimate((), (same,), self.MACHINE))
        assert "  0.mp4 = 1.mp4 = 2.mp4 = 3.mp4 = 4.mp4 and 7 more (one file)" in table
        assert to_json(Estimate((), (same,), self.MACHINE))["duplicates"][0]["names"][11] == "11.mp4"

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
