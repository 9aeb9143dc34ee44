"""What `vidfeat bench` is made of: a process and its memory, rendered clips, limits, the baseline's features."""

from __future__ import annotations

import functools
import os
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional

from tools.bench import measured_work
from video.video_files import write_video
from vidfeat import Extractor
from vidfeat.errors import UsageError, VideoError, VidfeatError
from vidfeat.mmaction import compile_recipe
from vidfeat.models import build
from vidfeat.models.random_weights import write_random_weights
from vidfeat.preprocessing.clips import PreprocessSpec
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.tools.bench import clips, dense, scaling
from vidfeat.tools.bench.baseline import AttentionWrittenOut, baseline_features
from vidfeat.tools.bench.comparison import CONTENDERS, largest_difference, parse_rows
from vidfeat.tools.bench.process import measure
from vidfeat.tools.bench.session import Request
from vidfeat.tools.bench.table import render, significant, to_json
from vidfeat.tools.bench.upper_bounds import decode_rate, enough, limit
from vidfeat.tools.bench.workload import DEFAULT_CFG_OPTIONS, DEFAULT_MODEL, Facts, Workload
from vidfeat.video import decode, probe

RATES = st.floats(1e-3, 1e4)
MEGABYTE = 1_000_000


class TestLimit:
    @given(RATES, RATES)
    def test_shared_cores_do_one_after_the_other(self, decode: float, model: float) -> None:
        together = limit(decode, model, shares_cores=True)
        assert together == pytest.approx(decode * model / (decode + model))
        assert together < min(decode, model) == limit(decode, model, shares_cores=False)

    def test_enough(self) -> None:
        assert not enough(0.9, 19)
        assert not enough(5, 0.9)
        assert enough(1, 1)
        assert enough(0.01, 20)


class TestProcess:
    def test_clock(self) -> None:
        measured = measure(functools.partial(measured_work.sleep, 0.2))
        assert measured.result == "slept"
        assert measured.seconds >= 0.2

    @pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is seen on Linux only")
    def test_memory_of_the_whole_tree_and_of_nothing_after_the_clock(self) -> None:
        measured = measure(functools.partial(measured_work.hold, 150 * MEGABYTE, 30 * MEGABYTE, 40 * MEGABYTE))
        assert measured.peak_bytes is not None
        assert measured.running_peak_bytes is not None
        assert 150 * MEGABYTE < measured.peak_bytes < 250 * MEGABYTE
        assert 70 * MEGABYTE < measured.running_peak_bytes < 140 * MEGABYTE

    def test_errors_keep_their_type(self) -> None:
        with pytest.raises(UsageError) as usage:
            measure(measured_work.misuse)
        assert str(usage.value) == "here: expected this; found that. Mend it."
        with pytest.raises(VideoError) as video:
            measure(measured_work.break_video)
        assert (video.value.stage, video.value.kind) == ("decode", "corrupt")

    def test_a_blunder_comes_with_its_traceback(self) -> None:
        with pytest.raises(RuntimeError, match="ValueError: of all things") as raised:
            measure(measured_work.blunder)
        assert "in blunder" in str(raised.value.__cause__)

    def test_a_dead_process_is_reported(self) -> None:
        with pytest.raises(VidfeatError, match="ended by SIGKILL"):
            measure(measured_work.die)
        with pytest.raises(VidfeatError, match="ended with exit code 7"):
            measure(measured_work.leave)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = clips.render_clips(tmp_path_factory.mktemp("rendered"), 1)
    return path


class TestClips:
    def test_clip_is_as_in_kinetics(self, clip: Path) -> None:
        info = probe(clip)
        assert (info.codec, info.width, info.height, info.frames, info.fps) == ("h264", 340, 256, 300, 30)
        bits_per_second = clip.stat().st_size * 8 / clips.SECONDS
        assert 200_000 < bits_per_second < 2_000_000

    def test_loop_plays_the_same_again(self, clip: Path, tmp_path: Path) -> None:
        looped = clips.loop(clip, 3, tmp_path / "looped.mp4")
        info = probe(looped)
        assert (info.frames, info.fps) == (900, 30)
        with av.open(str(looped)) as container:
            assert container.duration == 30 * av.time_base
        once = [frame.pixels.copy() for frame in decode(str(clip), [0, 7, 299], probe(clip))]
        again = [frame.pixels.copy() for frame in decode(str(looped), [600, 607, 899], info)]
        assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))


class TestRows:
    def test_names(self) -> None:
        assert parse_rows("bf16,shipped") == ("bf16", "shipped")
        assert parse_rows("none") == ()
        assert Request().rows == tuple(CONTENDERS) == ("shipped", "tuned", "exact", "bf16")
        for wrong in ("", "exact,exact", "exact, bf16", "fp16"):
            with pytest.raises(UsageError, match="--rows"):
                parse_rows(wrong)

    def test_difference_is_of_the_worst_video(self) -> None:
        reference = np.array([[3, 4], [0, 2]], np.float32)
        assert largest_difference(reference, reference) == 0
        features = np.array([[3, 4.5], [0.5, 2]], np.float32)
        assert largest_difference(features, reference) == pytest.approx(0.25)

    @pytest.mark.parametrize(
        ("value", "text"), [(0.01234, "0.0123"), (0.5, "0.500"), (12.34, "12.3"), (1234.5, "1234"), (0.0, "0")]
    )
    def test_three_digits(self, value: float, text: str) -> None:
        assert significant(value) == text


class TestDefaults:
    def test_default_model_is_one_crop_of_25_frames(self) -> None:
        recipe, _ = compile_recipe(DEFAULT_MODEL, DEFAULT_CFG_OPTIONS)
        assert recipe.sampling == SegmentSampling(clip_len=1, num_clips=25)
        assert "CenterCrop" in str(recipe.transforms)

    def test_scaling_model_takes_8_frames(self) -> None:
        recipe, _ = compile_recipe(scaling.SCALING_MODEL, scaling.SCALING_CFG_OPTIONS)
        assert recipe.sampling == SegmentSampling(clip_len=1, num_clips=8)


MODELS = {
    "tsn_r18_1x1x8_100e_hvu_event_rgb": {
        "data.test.pipeline.1.num_clips": 3,
        "data.test.pipeline.3.scale": (-1, 64),
        "data.test.pipeline.4.crop_size": 64,
    },
    "vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400": {
        "model.backbone.img_size": 64,
        "model.backbone.depth": 4,
        "test_dataloader.dataset.pipeline.1.num_clips": 2,
        "test_dataloader.dataset.pipeline.3.scale": (-1, 64),
        "test_dataloader.dataset.pipeline.4.crop_size": 64,
    },
}
"""An image network and a transformer; `test_bench_command` has a clip network."""


@pytest.mark.parametrize("model", MODELS)
def test_baseline_does_the_same_work(model: str, tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{n}.mp4", frames=20 + n, size=(96, 72)) for n in range(2)]
    weights = tmp_path / "weights.safetensors"
    recipe, _ = compile_recipe(model, MODELS[model])
    write_random_weights(recipe.model, weights)
    network = build(recipe.model)
    network.load_state_dict(load_file(weights))
    baseline = np.stack(list(baseline_features(recipe, network, paths, 1, torch.device("cpu"))))
    with Extractor(model, checkpoint=weights, cfg_options=MODELS[model], device="cpu") as extractor:
        found = np.stack([extractor.extract(path).values for path in paths])
    assert np.abs(baseline).max() > 1e-3
    assert largest_difference(baseline[:1], baseline[1:]) > 1e-3
    assert largest_difference(found, baseline) < 1e-5


def test_the_baseline_writes_attention_out() -> None:
    query, key, value = torch.randn(3, 2, 3, 50, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.randn(1, 3, 50, 50, generator=torch.Generator().manual_seed(1))
    for how in ({}, {"attn_mask": mask}, {"scale": 0.5}):
        args = (query, key, value, how.get("attn_mask"))
        scale = how.get("scale")
        fused = functional.scaled_dot_product_attention(*args, scale=scale)
        with AttentionWrittenOut(), torch.profiler.profile() as profile:
            found = functional.scaled_dot_product_attention(*args, scale=scale)
        torch.testing.assert_close(found, fused)
        names = {event.key for event in profile.key_averages()}
        assert {"aten::matmul", "aten::softmax"} <= names
        assert not any("scaled_dot_product" in name for name in names)


def test_a_video_that_cannot_be_read_is_named(repository: Path, tmp_path: Path) -> None:
    recipe, _ = compile_recipe(repository / "examples" / "tiny_slowonly.py")
    good = write_video(tmp_path / "good.mp4", size=(96, 72))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        decode_rate(pickle.dumps(PreprocessSpec.of(recipe)), [good, bad], 2)


def test_windows_of_a_longer_video_have_more_rows(clip: Path, repository: Path, tmp_path: Path) -> None:
    compared = Workload({}, "cpu", (clip,), tmp_path)
    found = scaling.measure_scaling(
        compared,
        str(repository / "examples" / "tiny_slowonly.py"),
        {},
        counts=(),
        lengths=(),
        window_lengths=(10, 20),
        window_sizes=(32,),
    )
    assert (found.by_count, found.by_length) == ((), ())
    assert [(one.videos, one.length_seconds, one.input_size) for one in found.by_windows] == [(1, 10, 32), (1, 20, 32)]
    # A window every 16 frames, its centre inside the video.
    assert [one.rows for one in found.by_windows] == [300 // 16 + 1, 600 // 16]
    assert all(one.seconds_per_video > 0 for one in found.by_windows)


@pytest.mark.skipif(os.environ.get("VIDFEAT_SLOW") != "1", reason="takes a minute; set VIDFEAT_SLOW=1")
def test_rows_over_time(tmp_path: Path) -> None:
    found = dense.measure_dense(Workload({}, "cpu", (), tmp_path), 2, frame_seconds=10, window_seconds=10)
    assert (found.frame_rows, found.window_rows) == (10, (300 - 16) // 4 + 1)
    assert min(value for name, value in vars(found).items() if name.endswith("_seconds")) > 0


def test_rows_over_time_in_words() -> None:
    found = dense.Dense("image", 600, 50.0, 8.0, 40.0, "clips", 446, 4.0, 30.0)
    assert found.of_parts == pytest.approx(50 / 48)
    assert found.ratio == 7.5
    facts = Facts("cpu", "CPU", 2, "2", "model", "digest", b"", random_weights=True)
    lines = render(facts, None, None, found)
    assert "1.04 of their sum" in lines
    assert "ratio 7.5" in lines
    assert to_json(facts, None, None, found)["dense"]["ratio"] == 7.5
