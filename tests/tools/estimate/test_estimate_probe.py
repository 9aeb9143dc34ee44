"""What `vidfeat estimate` finds out about videos without decoding them, in processes that may crash and hang."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from video.video_files import cut, write_video
from vidfeat.engine.decode_pool import PoolOptions
from vidfeat.mmaction import compile_file
from vidfeat.preprocessing.clips import PreprocessSpec, read_whole
from vidfeat.recipe import Recipe
from vidfeat.tools.estimate.duplicates import Duplicates, find_duplicates
from vidfeat.tools.estimate.probe import Decodable, Failing
from vidfeat.tools.estimate.probe import probe as probe_list
from vidfeat.tools.estimate.workload import OPENING_PIXELS, Workload, Workloads
from vidfeat.video import VideoInfo, probe
from vidfeat.videos import VideoRef


@pytest.fixture(scope="module")
def recipe(repository: Path) -> Recipe:
    return compile_file(repository / "examples" / "tiny_slowonly.py")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "whole.mp4", frames=40, size=(96, 72))


def refs_of(*paths: Path) -> list[VideoRef]:
    return [VideoRef(path.name, str(path)) for path in paths]


def without_times(info: VideoInfo) -> VideoInfo:
    return replace(info, timeline=replace(info.timeline, pts_seconds=np.empty(0)))


def test_each_video_is_what_the_probe_says_or_why_it_fails(recipe: Recipe, video: Path, tmp_path: Path) -> None:
    truncated = cut(video, tmp_path / "truncated.mp4", 0.6)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 1000)
    seen: list[None] = []
    refs = refs_of(truncated, video, empty, tmp_path / "absent.mp4", text)
    found = probe_list(refs, recipe, PoolOptions(2), done=lambda: seen.append(None))
    assert len(seen) == 5
    decodable = found.pop(1)
    assert isinstance(decodable, Decodable)
    assert (decodable.video, decodable.info) == (refs[1], without_times(probe(video)))
    failing = [one for one in found if isinstance(one, Failing)]
    assert [(one.video.key, one.error.stage, one.error.kind) for one in failing] == [
        ("truncated.mp4", "open", "truncated"),
        ("empty.mp4", "open", "empty"),
        ("absent.mp4", "open", "missing"),
        ("text.mp4", "open", "corrupt"),
    ]


@pytest.mark.parametrize(("name", "kind"), [("abort_0", "crashed"), ("stop_0", "timeout")])
def test_a_hostile_video_is_named_and_the_others_are_probed(
    name: str, kind: str, recipe: Recipe, video: Path, tmp_path: Path, faulty_workers: None
) -> None:
    hostile = Path(shutil.copy(video, tmp_path / f"{name}.mp4"))
    refs = [*refs_of(video, hostile), VideoRef("again.mp4", str(video))]
    found = probe_list(refs, recipe, PoolOptions(2, timeout_seconds=1.0))
    assert [one.video for one in found] == refs
    assert [type(one) for one in found] == [Decodable, Failing, Decodable]
    (failing,) = (one for one in found if isinstance(one, Failing))
    assert (failing.error.kind, failing.error.where) == (kind, str(hostile))


def test_frames_that_no_crop_fits_into_are_found(repository: Path, video: Path) -> None:
    crop_only = compile_file(
        repository / "examples" / "tiny_slowonly.py",
        {"data.test.pipeline.3.scale": (50, 50), "data.test.pipeline.3.keep_ratio": False},
    )
    (failing,) = probe_list(refs_of(video), crop_only, PoolOptions(1))
    assert isinstance(failing, Failing)
    assert (failing.error.stage, failing.error.kind, failing.error.where) == ("sample", "too_small", str(video))


def test_a_segment_is_planned_alone(recipe: Recipe, video: Path) -> None:
    whole, half, none = (
        VideoRef("whole", str(video)),
        VideoRef("half", str(video), segment=(0.0, 0.8)),
        VideoRef("none", str(video), segment=(7.0, 8.0)),
    )
    found = probe_list([whole, half, none], recipe, PoolOptions(1))
    assert isinstance(found[0], Decodable)
    assert isinstance(found[1], Decodable)
    assert isinstance(found[2], Failing)
    assert found[1].work.decoding_pixels < found[0].work.decoding_pixels
    assert (found[2].error.stage, found[2].error.kind) == ("sample", "outside")


class TestWorkload:
    def test_it_is_what_decoding_gives(self, recipe: Recipe, video: Path) -> None:
        clips = read_whole(PreprocessSpec.of(recipe), VideoRef("video", str(video)))
        last = 1 + max(wanted_frames(recipe, 40))
        assert Workloads(recipe).of(probe(video)) == Workload(
            clips=len(clips.clips),
            inputs=clips.crops * len(clips.clips),
            decoding_pixels=OPENING_PIXELS + 96 * 72 * (last + len(clips.pixels)),
            network_pixels=clips.clips.size * clips.pixels.size // 3 // len(clips.pixels),
        )

    def test_an_estimate_means_that_everything_is_decoded(self, recipe: Recipe, video: Path, tmp_path: Path) -> None:
        estimated = write_video(tmp_path / "estimated.avi", "mpeg4", frames=60, size=(96, 72))
        info = probe(estimated)
        assert not info.frames_exact
        assert Workloads(recipe).of(info).decoding_pixels == OPENING_PIXELS + 96 * 72 * (
            60 + len(wanted_frames(recipe, 60))
        )

    def test_image_networks_take_frame_by_frame(self, repository: Path, video: Path) -> None:
        configs = repository / "configs" / "recognition" / "tsn"
        recipe = compile_file(configs / "tsn_r50_clip_feature_extraction_1x1x3_rgb.py")
        clips = read_whole(PreprocessSpec.of(recipe), VideoRef("video", str(video)))
        work = Workloads(recipe).of(probe(video))
        assert (work.clips, work.inputs) == (25, 25 * clips.crops)
        assert work.network_pixels == 25 * clips.pixels[0].size // 3


def wanted_frames(recipe: Recipe, frames: int) -> set[int]:
    return set(recipe.sampling.frame_index(frames).ravel().tolist())


class TestDuplicates:
    def test_one_file_under_two_names_and_two_files_of_one_content(self, tmp_path: Path) -> None:
        contents = {"a": b"1" * 5000, "b": b"2" * 5000, "c": b"1" * 5000, "d": b"2" * 4999, "e": b"3", "f": b"3"}
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        (tmp_path / "link").symlink_to("b")
        os.link(tmp_path / "e", tmp_path / "hard")
        names = [*contents, "link", "hard", "absent"]
        assert find_duplicates(refs_of(*(tmp_path / name for name in names))) == [
            Duplicates(("a", "c"), same_file=False),
            Duplicates(("b", "link"), same_file=True),
            Duplicates(("e", "f", "hard"), same_file=False),
        ]

    def test_equal_to_the_last_block_and_then_not(self, tmp_path: Path) -> None:
        for name, end in (("a", b"x"), ("b", b"y"), ("c", b"x")):
            (tmp_path / name).write_bytes(bytes(3 << 20) + end)
        assert find_duplicates(refs_of(*(tmp_path / name for name in "abc"))) == [
            Duplicates(("a", "c"), same_file=False)
        ]

    def test_pipes_and_folders_are_no_files(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            os.mkfifo(tmp_path / name)
            (tmp_path / f"{name}_folder").mkdir()
            (tmp_path / f"{name}_empty").touch()
        assert find_duplicates(refs_of(*sorted(tmp_path.iterdir()))) == []
