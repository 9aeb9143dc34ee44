"""`vidfeat demo` as a process, and the model that is included."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from vidfeat.checkpoint import find, load_into, load_state
from vidfeat.mmaction import compile_file
from vidfeat.models import build
from vidfeat.recipe import ResizeShortEdge
from vidfeat.tools.demo import CONFIG, weights
from vidfeat.tools.demo.clips import demo_clips
from vidfeat.tools.demo.motions import MOTIONS

FIGURES = re.compile(r"same motion for (\d+) of 48 clips \(\d+%\); by colour histograms for (\d+) \(\d+%\), by chance")


def demo(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vidfeat", "demo", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """The folder and what was printed, of a run in an empty folder without any argument."""
    folder = tmp_path_factory.mktemp("somewhere")
    return folder / "vidfeat-demo", demo(cwd=folder)


def test_features_retrieve_the_motion_and_colours_do_not(
    shown: tuple[Path, subprocess.CompletedProcess],
) -> None:
    _, done = shown
    assert done.returncode == 0, done.stderr
    right, by_colour = map(int, FIGURES.search(done.stdout).groups())
    assert right / 48 >= 0.9
    assert by_colour / 48 <= 0.25
    first, *examples = done.stdout.split("\n\n")[0].splitlines()
    assert first.split() == ["clip", "nearest", "by", "cosine"]
    names = [clip.name for clip in demo_clips()]
    for line in examples:
        clip, *others = re.split(r"  +", line)
        assert clip in names
        assert len(others) == 3
        for other in others:
            name, cosine = other.split()
            assert name in names
            assert -1 <= float(cosine) <= 1
    assert "vidfeat-demo/report.html" in done.stdout.splitlines()[-1]
    assert "48 of 48 videos" in done.stderr


def test_the_folder_holds_clips_features_and_the_page(shown: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, _ = shown
    assert sorted(path.name for path in folder.iterdir()) == [
        "ABOUT.txt",
        "clips",
        "clips.txt",
        "features.pkl",
        "features.pkl.manifest.jsonl",
        "report.html",
    ]
    assert sorted(path.name for path in (folder / "clips").iterdir()) == sorted(MOTIONS)
    header, *videos = [json.loads(line) for line in (folder / "features.pkl.manifest.jsonl").read_text().splitlines()]
    assert [video["name"] for video in videos] == (folder / "clips.txt").read_text().splitlines()
    assert {(video["frames"], video["fps"]) for video in videos} == {(48, 24.0)}
    assert header["checkpoint"]["sha256"] == find(str(weights())).sha256
    page = (folder / "report.html").read_text()
    assert all(motion in page for motion in MOTIONS)


def test_again_it_replaces_its_own_files_and_no_others(
    shown: tuple[Path, subprocess.CompletedProcess],
) -> None:
    folder, _ = shown
    features = (folder / "features.pkl").read_bytes()
    own = folder / "clips" / "bounce" / "mine.mp4"
    own.write_bytes(b"mine")
    (folder / "clips" / "bounce" / "00.mp4").write_bytes(b"torn")
    (folder / "report.html").unlink()
    done = demo("-o", folder, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert own.read_bytes() == b"mine"
    assert (folder / "features.pkl").read_bytes() == features  # the clips were the same to the bit
    assert (folder / "report.html").is_file()
    assert len((folder / "clips" / "bounce" / "00.mp4").read_bytes()) > 1000
    own.unlink()


@pytest.mark.parametrize("name", ["holiday.txt", "ABOUT.txt"])
def test_a_folder_with_other_files_is_not_touched(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    done = demo("-o", tmp_path)
    assert done.returncode == 2
    assert "found a folder with other files" in done.stderr
    assert "Traceback" not in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.rglob("*")] == [(name, "mine")]


def test_a_place_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out, code in ((tmp_path / "file", 2), (tmp_path / "file" / "below", 4)):
        done = demo("-o", out)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith(f"vidfeat: error: {out}: expected")


def test_the_model_is_small_and_fits_its_config_strictly() -> None:
    recipe = compile_file(CONFIG)
    assert weights().stat().st_size < 2_000_000
    assert recipe.transforms == (ResizeShortEdge(60, "bilinear"),)
    assert (recipe.sampling.clip_len, recipe.model.feature_size) == (16, 128)
    match = load_into(build(recipe.model), load_state(find(str(weights()))), source="demo")
    assert match.ignored_heads == 0
    with safe_open(weights(), "np") as file:
        assert file.metadata()["note"]


def test_the_card_quotes_what_is_shipped() -> None:
    card = (CONFIG.parent / "README.md").read_text()
    assert weights().name in card
    assert all(motion in card for motion in MOTIONS)
