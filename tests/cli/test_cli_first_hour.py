"""Mistakes and habits of a first hour, as real processes: lists, links, outputs elsewhere, argument order, cores."""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from video.video_files import write_video


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    for name in ("a", "b c"):
        write_video(tmp_path / "disk" / f"{name}.mp4")
    (tmp_path / "list.txt").write_text("a.mp4,walk\nb c.mp4\tride a bike\n")
    return tmp_path


@pytest.fixture
def vidfeat(place: Path, repository: Path):  # type: ignore[no-untyped-def]
    """Runs `vidfeat extract` with a model in between options, the videos last or first."""
    (checkpoint,) = (repository / "examples").glob("*.safetensors")

    def run(*words: object, stdin: str = "") -> tuple[int, str, str]:
        if words[0] == "extract":
            model = repository / "examples" / "tiny_slowonly.py"
            words = ("extract", model, "--checkpoint", checkpoint, *words[1:], "--device", "cpu")
        command = [sys.executable, "-m", "vidfeat", *map(str, words)]
        done = subprocess.run(command, input=stdin, cwd=place, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_forgotten_root_writes_nothing_and_the_corrected_command_computes(vidfeat, place: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, errors = vidfeat("extract", "--video-list", "list.txt", "-o", "out.npz")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "expected at least one file that exists; found none of 2; the first is 'a.mp4'" in errors
    assert "as --video-root." in errors
    assert sorted(os.listdir(place)) == ["disk", "list.txt"]  # noqa: PTH208

    code, _, errors = vidfeat("extract", "--video-list", "list.txt", "-o", "out.npz", "--video-root", "disk")
    assert code == 0, errors
    assert vidfeat("verify", "out.npz")[:2] == (0, "out.npz: intact: 2 of 2 videos have features\n")


def test_an_output_without_features_is_not_whole(vidfeat, place: Path) -> None:  # type: ignore[no-untyped-def]
    (place / "empty.mp4").touch()
    assert vidfeat("extract", "empty.mp4", "-o", "out.npz")[0] == 3
    assert vidfeat("verify", "out.npz")[:2] == (1, "none of the 1 videos has features\n")


def test_a_list_on_stdin_and_options_between_arguments(vidfeat, place: Path) -> None:  # type: ignore[no-untyped-def]
    text = (place / "list.txt").read_text()
    words = ("extract", "--cores", 1, "--video-root", "disk", "-", "-o", "out.npz", "--log-json", "log.jsonl", "-v")
    code, _, errors = vidfeat(*words, stdin=text)
    assert code == 0, errors
    assert "b c.mp4: 32 numbers" in errors
    start = json.loads((place / "log.jsonl").read_text().splitlines()[0])
    assert (start["event"], start["videos"]) == ("start", 2)
    assert start["cores"] == 1 or not hasattr(os, "sched_setaffinity")


def test_links_to_other_disks_and_files_that_are_skipped(vidfeat, place: Path) -> None:  # type: ignore[no-untyped-def]
    (place / "root").mkdir()
    for name in ("a.mp4", "b c.mp4"):
        (place / "root" / name).symlink_to(place / "disk" / name)
    words = ("extract", "--video-list", "list.txt", "--video-root", "root", "-o", "out.npz")
    code, _, errors = vidfeat(*words)
    assert code == 2
    assert "Give --follow-links" in errors
    assert vidfeat(*words, "--follow-links")[0] == 0
    (place / "root" / "notes.json").touch()
    (place / "root" / "._a.mp4").touch()
    (place / "root" / ".notes").touch()
    code, _, errors = vidfeat("extract", "root", "-o", "out.npz")
    assert code == 0
    assert "2 files skipped in root: 1 hidden, 1 .json\n" in errors or "1 .json, 1 hidden\n" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("extract", "disk", "-o", "s3://bucket/x.npz"),
            "--out: expected the URI of a folder in object storage, which gets Parquet files; found 's3://bucket/",
        ),
        (
            ("extract", "disk", "-o", "ftp://host/x/"),
            "--out: expected a path, or a URI of s3, gs, az, http, https, file",
        ),
        (("verify", "ftp://host/x/"), "--out: expected a path, or a URI of s3"),
        (
            ("extract", "ftp://host/a.mp4", "-o", "x.npz"),
            "VIDEO_OR_FOLDER: expected a path, or a URI of s3",
        ),
        (("extract", "disk", "-o", "x.npz", "--precison", "fp32"), "Did you mean '--precision'? See `vidfeat extract"),
        (("models", "--familly", "tsn"), "Did you mean '--family'? See `vidfeat models --help`."),
        (("models", "--family"), "Option '--family' requires an argument. See `vidfeat models --help`."),
        (("models", "tsn", "kinetcs"), "found no such model. `vidfeat models` lists all."),
        (("verify", "x.npz"), "x.npz: expected an output of vidfeat extract; found no such file."),
        (
            ("report", "x.npz"),
            "x.npz: expected an output of vidfeat extract, or one that is under way; found no such file",
        ),
        (("inspect", "x.py"), "x.py: expected a config file; found no such file."),
        (("predict", "disk/a.mp4", "x"), "MODEL: expected MODEL before the videos; found 'disk/a.mp4'."),
        (("extract", "disk", "-o", "https://host/x/"), "--out: expected a path or object storage, as HTTP cannot be"),
        (
            ("extract", "disk", "-o", "{name}.npz"),
            "--out: expected no words in braces but {key} and {encoder}; found",
        ),
        (
            ("extract", "--video-list", "list.txt", "--video-root", "dsk", "-o", "x.npz"),
            "--video-root: expected the folder that the paths of the list are relative to; found no folder at 'dsk'.",
        ),
    ],
)
def test_what_is_refused_is_named(words: tuple[str, ...], message: str, vidfeat, place: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, errors = vidfeat(*words)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert message in errors
    assert sorted(os.listdir(place)) == ["disk", "list.txt"]  # noqa: PTH208


def test_a_terminal_of_80_columns_shows_how_far_a_long_video_is(place: Path, repository: Path) -> None:
    write_video(place / "a long name of a video.mp4", frames=2000)
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    words = [repository / "examples" / "tiny_slowonly.py", "a long name of a video.mp4", "--checkpoint", checkpoint]
    words += ["-o", "out.npz", "--stride", "1", "--cores", "1"]
    terminal, its_end = pty.openpty()
    ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "vidfeat", "extract", *map(str, words)]
    with subprocess.Popen(command, cwd=place, stdin=its_end, stdout=its_end, stderr=its_end) as process:
        os.close(its_end)
        shown = ""
        while not re.search(r"bound, .*: \d+ of 80 s\]", shown):
            shown += os.read(terminal, 4096).decode()  # raises where the process has ended
        process.kill()
    os.close(terminal)
    assert max(map(len, shown.split("\r"))) <= 80
