"""`vidfeat estimate` as people type it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from video.video_files import cut, write_video
from vidfeat.cli.main import main


def estimate(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vidfeat", "estimate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def config(repository: Path) -> Path:
    return repository / "examples" / "tiny_slowonly.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole videos, a copy of one of them, and one that is cut off."""
    folder = tmp_path_factory.mktemp("videos")
    first = write_video(folder / "first.mp4", frames=30, size=(96, 72))
    write_video(folder / "second.mp4", frames=50, size=(128, 72))
    shutil.copy(first, folder / "copy.mp4")
    cut(first, folder / "cut.mp4", 0.5)
    (folder / ".lists").mkdir()
    (folder / ".lists" / "list.txt").write_text("second.mp4 1\ncut.mp4 0\nfirst.mp4 0\nabsent.mp4 1\n")
    return folder


def test_the_table(folder: Path, config: Path, tmp_path: Path) -> None:
    done = estimate(config, folder, "-o", tmp_path / "features.json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == "videos 4: 3 decodable, 1 failing; duplicates among them: 1".split()
    # The frames of 30 + 30 + 50, at 25 a second.
    assert "4.4 s of video, 110 frames, " in lines[1]
    assert lines[1].endswith("96x72 (2), 128x72 (1)")
    assert lines[2].split() == "network input 12 views, 4 a video".split()
    assert lines[3].startswith("output         3 rows of 32 float32 numbers, ")
    assert lines[3].endswith(" as json")
    assert lines[4].endswith(" free: enough")
    assert "with nothing else to do" in lines[5]
    text = " ".join(done.stdout.split())
    assert "from 3 of 3 videos, with random weights" in text
    assert "bottleneck" in text
    assert f"failing: truncated: {folder / 'cut.mp4'}: expected " in text
    assert "duplicates: copy.mp4 = first.mp4 (same content)" in text
    assert list(tmp_path.iterdir()) == []


def test_a_list_as_json(folder: Path, config: Path, repository: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    done = estimate(
        *(
            config,
            folder / ".lists" / "list.txt",
            "--video-root",
            folder,
            "--json",
            "--checkpoint",
            checkpoint,
            "--views",
            "keep",
        )
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert list(found) == ["videos", "failing", "duplicates", "machine", "duration", "output"]
    videos = found["videos"]
    assert (videos["total"], videos["decodable"], videos["failing"], videos["frames"]) == (4, 2, 2, 80)
    assert videos["bytes"] == sum((folder / name).stat().st_size for name in ("first.mp4", "second.mp4"))
    assert (videos["seconds"], videos["frames_estimated"], videos["views"]) == (80 / 25, 0, 8)
    assert [(one["index"], one["name"], one["kind"]) for one in found["failing"]] == [
        (1, "cut.mp4", "truncated"),
        (3, "absent.mp4", "missing"),
    ]
    assert found["duplicates"] == []
    assert (found["output"]["rows"], found["output"]["row_shape"]) == (8, [32])
    assert not found["duration"]["random_weights"]
    assert sorted(found["duration"]["sample"]) == ["first.mp4", "second.mp4"]
    assert found["duration"]["bottleneck"] in ("decoding", "network")
    assert found["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{config}", "{folder}/no.txt"), "a readable list of videos"),
        (("{config}", "{folder}/no.mp4"), "a video or a folder of videos"),
        (("no_such_model", "{folder}"), "no_such_model"),
        (("{config}", "{folder}", "-o", "x.xls"), "one of .pkl"),
        (("{config}", "{folder}", "--device", "cuda:99"), "the CUDA device"),
        (("{config}", "{folder}", "--clip-interval", "16"), "--long-video-mode together with"),
        (("{config}", "{folder}", "--checkpoint", "{folder}/first.mp4"), "first.mp4"),
        (("{folder}", "{config}"), "MODEL: expected MODEL before the videos"),
        (("{config}",), "expected at least one video, folder or --video-list"),
        ((), "Missing argument 'MODEL'"),
    ],
)
def test_mistakes_are_reported_before_any_work(
    arguments: tuple[str, ...], message: str, folder: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", *(text.format(folder=folder, config=config) for text in arguments)]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith("vidfeat: error: ")
    assert message in line


@pytest.mark.parametrize(
    "arguments", [("{folder}/.lists/list.txt", "{config}"), ("{config}", "{folder}/.lists/list.txt")]
)
def test_the_former_name_takes_the_model_first_or_last(
    arguments: tuple[str, str], folder: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [text.format(folder=folder, config=config) for text in arguments]
    assert main(["plan", *words, "--video-root", str(folder), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["videos"]["total"] == 4
    assert printed.err == "vidfeat: note: `vidfeat plan` is now `vidfeat estimate`, and takes MODEL before the videos\n"
