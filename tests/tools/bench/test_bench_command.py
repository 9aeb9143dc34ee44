"""`vidfeat bench` as people type it: one real run, and what is mistyped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from video.video_files import write_video
from vidfeat.cli.main import main
from vidfeat.tools.bench.comparison import CONTENDERS
from vidfeat.tools.bench.session import QUICK, THOROUGH

VIDFEAT = ("exact", "bf16")


def bench(*arguments: object, scratch: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vidfeat", "bench", *map(str, arguments)]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(2):
        write_video(folder / f"{number}.mp4", frames=40 + number, size=(96, 72))
    return folder


@pytest.fixture(scope="module")
def config(repository: Path) -> Path:
    return repository / "examples" / "tiny_slowonly.py"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def done(config: Path, clips: Path, scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    """What a run prints, and its JSON."""
    file = tmp_path_factory.mktemp("json") / "bench.json"
    options = (
        "--rows",
        "shipped,exact,bf16",
        "--videos",
        3,
        "--repeat",
        1,
        "--no-compile",
        "--device",
        "cpu",
        "--json",
        file,
    )
    run = bench(config, clips, *options, scratch=scratch)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("videos/s") == 4
    return run.stdout, json.loads(file.read_text())


def rows(data: dict) -> dict[str, dict]:
    return {row["name"]: row for row in data["rows"]}


class TestRun:
    def test_rows(self, done: tuple[str, dict]) -> None:
        _, data = done
        assert list(rows(data)) == ["shipped", "exact", "bf16"]
        assert data["videos"] == 3
        assert data["random_weights"] is True
        for row in data["rows"]:
            assert row["videos_per_second"] > 0
            assert row["runs"] == [row["videos_per_second"]]
            assert row["backend"] == "eager"
            assert row["compile_seconds"] == 0

    def test_ratios_are_to_the_shipped_baseline(self, done: tuple[str, dict]) -> None:
        _, data = done
        shipped = rows(data)["shipped"]["videos_per_second"]
        for row in data["rows"]:
            assert row["ratio"] == pytest.approx(row["videos_per_second"] / shipped)

    def test_fractions_follow_from_the_upper_bounds(self, done: tuple[str, dict]) -> None:
        _, data = done
        decode, models = (data["upper_bounds"][f"{stage}_videos_per_second"] for stage in ("decode", "model"))
        for name, row in rows(data).items():
            limited_as = name if name in VIDFEAT else "exact"
            assert row["limit"] == pytest.approx(1 / (1 / decode + 1 / models[limited_as]))
            assert row["fraction_of_limit"] == pytest.approx(row["videos_per_second"] / row["limit"])
            assert row["decode_share"] == pytest.approx(row["videos_per_second"] / decode)
            assert row["model_share"] == pytest.approx(row["videos_per_second"] / models[name])
            assert row["bound_by"] == ("decode" if row["decode_share"] > row["model_share"] else "model")
            assert row["fraction_of_limit"] > 0
        for name in VIDFEAT:
            row = rows(data)[name]
            assert row["decode_share"] + row["model_share"] == pytest.approx(row["fraction_of_limit"])

    def test_memory_is_seen(self, done: tuple[str, dict]) -> None:
        for row in done[1]["rows"]:
            assert 1e8 < row["running_peak_memory_bytes"] <= row["peak_memory_bytes"] < 4e9

    def test_all_rows_compute_the_same(self, done: tuple[str, dict]) -> None:
        found = rows(done[1])
        assert found["shipped"]["difference"] == 0
        assert 0 < found["exact"]["difference"] < 1e-5
        assert 1e-5 < found["bf16"]["difference"] < 0.05
        assert found["bf16"]["cosine_to_fp32"] >= 0.9995

    def test_table(self, done: tuple[str, dict]) -> None:
        text, data = done
        lines = text.splitlines()
        assert lines[0].startswith(f"{data['machine']['cores']} cores, ")
        for name, row in rows(data).items():
            (line,) = [line for line in lines if line.startswith(f"{name} ")]
            assert row["words"] in line
            assert f"  {row['ratio']:.2f}" in line
        assert "decoding alone" in text
        assert "one short round" in text

    def test_nothing_is_left_behind(self, done: tuple[str, dict], scratch: Path) -> None:
        assert list(scratch.glob("vidfeat-*")) == []


def test_what_is_measured_by_default_and_thoroughly() -> None:
    assert (QUICK.rows, QUICK.repeat, QUICK.backend) == (("shipped", "exact", "bf16"), 1, "eager")
    assert (THOROUGH.rows, THOROUGH.repeat, THOROUGH.backend) == (tuple(CONTENDERS), 3, None)
    assert QUICK.videos * len(QUICK.rows) * 6 <= THOROUGH.videos * THOROUGH.repeat * len(THOROUGH.rows)


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("CLIPS",), "MODEL: expected MODEL before the videos"),
            (("clip.mp4",), "MODEL: expected MODEL before the videos"),
            (("CONFIG", "--rows", "exact,fast"), "--rows: expected some of shipped,tuned,exact,bf16, or none"),
            (("CONFIG", "--json", "no/such/folder/x.json"), "--json: expected a file in a folder that exists"),
            (("CONFIG", "--videos", "0"), "expected a whole number above 0; found '0'"),
            (("CONFIG", "--repeat", "x"), "expected a whole number above 0; found 'x'"),
            (("CONFIG", "nowhere"), "nowhere: expected a video or a folder of videos"),
            (("CONFIG", "CLIPS", "--video-list", "list.txt"), "list.txt: expected a readable list of videos"),
        ],
    )
    def test_reported_before_anything_starts(
        self,
        arguments: tuple[str, ...],
        message: str,
        config: Path,
        clips: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        places = {"CONFIG": str(config), "CLIPS": str(clips)}
        assert main(["bench", *(places.get(word, word) for word in arguments)]) == 2
        reported = capsys.readouterr().err
        assert message in reported
        assert len(reported.splitlines()) == 1
