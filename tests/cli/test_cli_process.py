"""The process of a command: its streams, its exit code, and what it says of mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidfeat.cli.main import COMMANDS

FULL = Path("/dev/full")
VIDFEAT = f"{sys.executable} -m vidfeat"


def shell(command: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command line with redirections, with `$1` and so on for arguments."""
    words = ["bash", "-c", f"set -o pipefail; {command}", "bash", *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def vidfeat(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return shell(f'{VIDFEAT} "$@"', *arguments, cwd=cwd)


class TestHelp:
    def test_without_arguments_it_is_shown(self) -> None:
        done = vidfeat()
        assert (done.returncode, done.stderr) == (0, "")
        assert "Turn videos into feature vectors." in done.stdout
        assert "plan" not in done.stdout.split()
        assert done.stdout == vidfeat("--help").stdout

    def test_the_version(self) -> None:
        done = vidfeat("--version")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("vidfeat ")

    def test_the_table_of_models_imports_nothing_that_takes_long(self) -> None:
        code = (
            "import sys; from vidfeat.cli.main import main; code = main(['models']); "
            "print({'torch', 'av', 'cv2', 'numpy', 'yaml', 'vidfeat.mmaction.compile'} & set(sys.modules), code)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] == "set() 0"

    @pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)])
    def test_it_imports_nothing_that_takes_long(self, words: tuple[str, ...]) -> None:
        code = (
            "import sys; from vidfeat.cli.main import main; code = main([*sys.argv[1:], '--help']); "
            "print({'torch', 'av', 'cv2', 'numpy', 'yaml', 'tqdm', 'vidfeat.videos', 'vidfeat.recipe'} "
            "& set(sys.modules), code)"
        )
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] == "set() 0"


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["extrct"], "No such command 'extrct'. Did you mean 'extract'? See `vidfeat --help`."),
            (["--verbose"], "No such option '--verbose'. Did you mean '--version'? See `vidfeat --help`."),
            (["verify"], "Missing argument 'OUT'. See `vidfeat verify --help`."),
            (["extract", "m", "x.mp4"], "Missing option '-o' / '--out'. See `vidfeat extract --help`."),
            (
                ["extract", "m", "x.mp4", "-o", "x.pkl", "--precison", "bf16"],
                "No such option '--precison'. Did you mean '--precision'? See `vidfeat extract --help`.",
            ),
            (
                ["bench", "--repeat", "0"],
                "Invalid value for '--repeat': expected a whole number above 0; found '0'. See `vidfeat bench --help`.",
            ),
            (
                ["extract", "m", "-o", "x.pkl"],
                "VIDEO_OR_FOLDER: expected at least one video, folder or --video-list; found none.",
            ),
            (
                ["extract", "clip.mp4", "m", "-o", "x.pkl"],
                "MODEL: expected MODEL before the videos; found 'clip.mp4'. See the names with `vidfeat models`.",
            ),
            (
                ["estimate", ".", "m"],
                "MODEL: expected MODEL before the videos; found '.'. See the names with `vidfeat models`.",
            ),
        ],
    )
    def test_one_line(self, words: list[str], said: str) -> None:
        done = vidfeat(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"vidfeat: error: {said}\n"

    def test_the_former_name_says_so(self, tmp_path: Path) -> None:
        done = vidfeat("plan", "model.py", cwd=tmp_path)
        note, error = done.stderr.splitlines()
        assert note == "vidfeat: note: `vidfeat plan` is now `vidfeat estimate`, and takes MODEL before the videos"
        assert error.startswith("vidfeat: error: VIDEO_OR_FOLDER: ")
        assert done.returncode == 2

    @pytest.mark.parametrize("words", [["\x1b[31m"], ["inspect", "\x1b[31m\r\n.py"], ["verify", "x", "\x1b[31m\n"]])
    def test_names_cannot_command_the_terminal(self, words: list[str], tmp_path: Path) -> None:
        done = vidfeat(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.endswith("\n")
        assert done.stderr[:-1].isprintable()
        assert "\\x1b[31m" in done.stderr

    def test_nor_does_a_name_in_another_encoding_end_it(self, tmp_path: Path) -> None:
        done = shell(f"LC_ALL=C PYTHONUTF8=0 {VIDFEAT} inspect $'\\xff\\xe4\\xbd\\xa0.py'", cwd=tmp_path)
        assert done.returncode == 2
        assert "vidfeat: error: " in done.stderr
        assert "Traceback" not in done.stderr

    def test_traceback_only_with_debug(self, tmp_path: Path) -> None:
        assert "Traceback" not in vidfeat("inspect", tmp_path / "absent.py").stderr
        done = vidfeat("inspect", "--debug", tmp_path / "absent.py")
        assert (done.returncode, "Traceback" in done.stderr) == (1, True)


class TestStreams:
    """Words on stderr are a courtesy: a run goes on without. Words on stdout are what was asked for."""

    @pytest.fixture
    def config(self, repository: Path) -> Path:
        return repository / "examples" / "tiny_slowonly.py"

    @pytest.mark.parametrize("command", ["", "--help", 'inspect "$1"'])
    def test_stdout_closed(self, command: str, config: Path) -> None:
        done = shell(f"{VIDFEAT} {command} >&-", config)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize("command", ["--help", 'inspect "$1"'])
    def test_stdout_with_a_reader_that_goes_away(self, command: str, config: Path) -> None:
        done = shell(f"{VIDFEAT} {command} | true", config)
        assert (done.returncode, done.stderr) in [(1, ""), (0, "")]  # 0 where all was written before that

    def test_stdout_that_another_program_made_non_blocking(self) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        code = "from vidfeat.cli.process import echo, run_process; run_process(lambda: echo('x' * 1_000_000) or 0)"
        with subprocess.Popen([sys.executable, "-c", code], stdout=theirs) as process, os.fdopen(ours, "rb") as pipe:
            os.close(theirs)
            assert pipe.read() == b"x" * 1_000_000 + b"\n"
        assert process.returncode == 0

    @pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
    @pytest.mark.parametrize("command", ["--help", 'inspect "$1"'])
    def test_stdout_on_a_full_disk(self, command: str, config: Path) -> None:
        done = shell(f"{VIDFEAT} {command} > /dev/full", config)
        assert done.returncode == 4
        assert done.stderr == "vidfeat: error: standard output: No space left on device\n"

    @pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
    @pytest.mark.parametrize("stream", ["2>&-", "2> /dev/full", "2>&- >&- <&-"])
    def test_a_run_whose_stderr_cannot_be_written_to(
        self, stream: str, config: Path, repository: Path, tmp_path: Path
    ) -> None:
        (checkpoint,) = (repository / "examples").glob("*.safetensors")
        made = shell(f'{sys.executable} "$1" clips 1', repository / "examples" / "render_clips.py", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        command = f'{VIDFEAT} extract "$1" clips --checkpoint "$2" -o out.pkl'
        done = shell(f"{command} {stream}", config, checkpoint, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        (tmp_path / "clips" / "broken.mp4").touch()
        done = shell(f"{command} --restart {stream}", config, checkpoint, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
            "out.pkl",
            "out.pkl.manifest.jsonl",
        ]
