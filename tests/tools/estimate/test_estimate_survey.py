"""What `vidfeat plan` finds out about videos without decoding them, in processes that may crash and hang."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engine import faulty_worker
from video.video_files import cut, write_video
from vidfeat.engine.decode_pool import ReaderOptions
from vidfeat.mmaction import compile_file
from vidfeat.preprocessing.clips import read_views
from vidfeat.recipe import Recipe
from vidfeat.store import Entry
from vidfeat.tools.estimate.duplicates import Duplicates, find_duplicates
from vidfeat.tools.estimate.survey import Survey, survey
from vidfeat.tools.estimate.workload import OPENING_PIXELS, Workload, Workloads
from vidfeat.video import probe


@pytest.fixture(scope="module")
def recipe(repository: Path) -> Recipe:
    return compile_file(repository / "examples" / "tiny_slowonly.py")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "sound.mp4", frames=40, size=(96, 72))


def entries_of(*paths: Path) -> list[Entry]:
    return [Entry(index, path.name, path) for index, path in enumerate(paths)]


def surveyed(recipe: Recipe, *paths: Path, timeout: float = 30.0) -> Survey:
    options = ReaderOptions(2, timeout_seconds=timeout, command=faulty_worker.command())
    return survey(entries_of(*paths), recipe, options)


def test_each_video_is_what_the_probe_says_or_why_it_fails(recipe: Recipe, video: Path, tmp_path: Path) -> None:
    truncated = cut(video, tmp_path / "truncated.mp4", 0.6)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 1000)
    seen: list[None] = []
    options = ReaderOptions(2)
    paths = [truncated, video, empty, tmp_path / "absent.mp4", text]
    found = survey(entries_of(*paths), recipe, options, settled=lambda: seen.append(None))
    assert len(seen) == 5
    assert [(sound.entry.index, sound.info) for sound in found.sound] == [(1, probe(video))]
    kinds = [(broken.entry.name, broken.error.stage, broken.error.kind) for broken in found.unsound]
    assert kinds == [
        ("truncated.mp4", "open", "truncated"),
        ("empty.mp4", "open", "empty"),
        ("absent.mp4", "open", "missing"),
        ("text.mp4", "open", "corrupt"),
    ]


@pytest.mark.parametrize(("name", "kind"), [("abort_0", "crashed"), ("stop_0", "timeout")])
def test_a_hostile_video_is_named_and_the_others_are_probed(
    name: str, kind: str, recipe: Recipe, video: Path, tmp_path: Path
) -> None:
    hostile = Path(shutil.copy(video, tmp_path / f"{name}.mp4"))
    found = surveyed(recipe, video, hostile, video, timeout=1.0)
    assert [sound.entry.index for sound in found.sound] == [0, 2]
    (broken,) = found.unsound
    assert (broken.entry.index, broken.error.kind, broken.error.where) == (1, kind, str(hostile))


def test_frames_that_no_crop_fits_into_are_found(repository: Path, video: Path) -> None:
    crop_only = compile_file(
        repository / "examples" / "tiny_slowonly.py",
        {"data.test.pipeline.3.scale": (50, 50), "data.test.pipeline.3.keep_ratio": False},
    )
    found = survey(entries_of(video), crop_only, ReaderOptions(1))
    (broken,) = found.unsound
    assert (broken.error.stage, broken.error.kind, broken.error.where) == ("sample", "too_small", str(video))


class TestWorkload:
    def test_it_is_what_reading_gives(self, recipe: Recipe, video: Path) -> None:
        views = read_views(recipe, video)
        last = 1 + max(wanted_frames(recipe, 40))
        assert Workloads(recipe).of(probe(video)) == Workload(
            clips=len(views.clips),
            inputs=views.crops * len(views.clips),
            host_pixels=OPENING_PIXELS + 96 * 72 * (last + len(views.pixels)),
            network_pixels=views.clips.size * views.pixels.size // 3 // len(views.pixels),
        )

    def test_an_estimate_means_that_everything_is_decoded(self, recipe: Recipe, video: Path, tmp_path: Path) -> None:
        estimated = write_video(tmp_path / "estimated.avi", "mpeg4", frames=60, size=(96, 72))
        info = probe(estimated)
        assert not info.frames_exact
        assert Workloads(recipe).of(info).host_pixels == OPENING_PIXELS + 96 * 72 * (
            60 + len(wanted_frames(recipe, 60))
        )

    def test_image_networks_take_frame_by_frame(self, repository: Path, video: Path) -> None:
        configs = repository / "configs" / "recognition" / "tsn"
        recipe = compile_file(configs / "tsn_r50_clip_feature_extraction_1x1x3_rgb.py")
        views = read_views(recipe, video)
        work = Workloads(recipe).of(probe(video))
        assert (work.clips, work.inputs) == (25, 25 * views.crops)
        assert work.network_pixels == 25 * views.pixels[0].size // 3


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
        assert find_duplicates(entries_of(*(tmp_path / name for name in names))) == [
            Duplicates(("a", "c"), same_file=False),
            Duplicates(("b", "link"), same_file=True),
            Duplicates(("e", "f", "hard"), same_file=False),
        ]

    def test_equal_to_the_last_block_and_then_not(self, tmp_path: Path) -> None:
        for name, end in (("a", b"x"), ("b", b"y"), ("c", b"x")):
            (tmp_path / name).write_bytes(bytes(3 << 20) + end)
        assert find_duplicates(entries_of(*(tmp_path / name for name in "abc"))) == [
            Duplicates(("a", "c"), same_file=False)
        ]

    def test_pipes_and_folders_are_no_files(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            os.mkfifo(tmp_path / name)
            (tmp_path / f"{name}_folder").mkdir()
            (tmp_path / f"{name}_empty").touch()
        assert find_duplicates(entries_of(*sorted(tmp_path.iterdir()))) == []
