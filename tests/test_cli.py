"""The commands as people type them: real processes, real videos, every kind of mistake."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

VIDFEAT = (sys.executable, "-m", "vidfeat")


def run(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    command = [str(argument) for argument in arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=300, check=False
    )


def vidfeat(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    return run(*VIDFEAT, *arguments, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def config(repository: Path) -> Path:
    return repository / "examples" / "tiny_slowonly.py"


@pytest.fixture(scope="session")
def checkpoint(repository: Path) -> Path:
    (path,) = (repository / "examples").glob("*.safetensors")
    return path


@pytest.fixture(scope="session")
def clips(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rendered clips in three folders, one of them with spaces in its name."""
    folder = tmp_path_factory.mktemp("rendered")
    done = run(sys.executable, repository / "examples" / "render_clips.py", folder, 5)
    assert done.returncode == 0, done.stderr
    (folder / "slide" / "000.mp4").rename(folder / "slide" / "a clip (1).mp4")
    return folder


@pytest.fixture(scope="session")
def reference(config: Path, checkpoint: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the features of these clips, and nothing else."""
    folder = tmp_path_factory.mktemp("reference")
    done = vidfeat("extract", config, clips, "--checkpoint", checkpoint, "-o", folder / "reference.pkl", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture
def extracted(reference: Path, tmp_path: Path) -> Path:
    """The features of these clips, to be read or changed."""
    shutil.copytree(reference, tmp_path, dirs_exist_ok=True)
    return tmp_path / "reference.pkl"


def write_list(path: Path, *lines: str, newline: str = "\n") -> Path:
    path.write_bytes(newline.join([*lines, ""]).encode())
    return path


def manifest(out: Path) -> list[dict]:
    return [json.loads(line) for line in Path(f"{out}.manifest.jsonl").read_text().splitlines()]


class TestOutputs:
    def test_pickle_is_a_list_of_float32_rows_in_list_order(self, extracted: Path, clips: Path) -> None:
        rows = pickle.loads(extracted.read_bytes())
        assert isinstance(rows, list)
        assert [(type(row), row.dtype, row.shape) for row in rows] == [(np.ndarray, np.float32, (32,))] * 5
        header, *videos = manifest(extracted)
        assert [video["name"] for video in videos] == sorted(
            path.relative_to(clips).as_posix() for path in clips.rglob("*.mp4")
        )
        assert all(video["status"] == "done" and video["frames"] == 90 and video["fps"] == 30.0 for video in videos)
        assert header["recipe"]["sampling"]["clip_len"] == 8
        assert len(header["checkpoint"]["sha256"]) == 64

    @pytest.mark.parametrize("name", ["x.json", "x.yaml", "x.pickle", "sub/folder/x.pkl"])
    def test_all_files_hold_the_same(
        self, name: str, extracted: Path, config: Path, checkpoint: Path, clips: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / name
        assert vidfeat("extract", config, clips, "--checkpoint", checkpoint, "-o", out).returncode == 0
        load = {".json": json.loads, ".yaml": yaml.safe_load}.get(out.suffix, pickle.loads)
        rows = load(out.read_bytes())
        assert np.array_equal(np.array(rows, np.float32), pickle.loads(extracted.read_bytes()))

    def test_folder(self, extracted: Path, config: Path, checkpoint: Path, clips: Path, tmp_path: Path) -> None:
        out = tmp_path / "features"
        assert vidfeat("extract", config, clips, "--checkpoint", checkpoint, "-o", out).returncode == 0
        names = [video["name"] for video in manifest(out)[1:]]
        rows = [np.load((out / name).with_suffix(".npy")) for name in names]
        assert np.array_equal(rows, pickle.loads(extracted.read_bytes()))
        assert len(list(out.rglob("*"))) == 5 + 3

    def test_nothing_else_is_written(self, extracted: Path) -> None:
        assert sorted(path.name for path in extracted.parent.iterdir()) == [
            "reference.pkl",
            "reference.pkl.manifest.jsonl",
        ]

    def test_library_gives_the_same_bits(self, extracted: Path, config: Path, checkpoint: Path, clips: Path) -> None:
        import vidfeat as library

        extractor = library.Extractor(config, checkpoint=checkpoint)
        features = extractor.extract(clips / "bounce" / "001.mp4")
        assert features.values.tobytes() == pickle.loads(extracted.read_bytes())[0].tobytes()


class TestLists:
    def test_list_with_labels_comments_and_crlf(
        self, extracted: Path, config: Path, checkpoint: Path, clips: Path, tmp_path: Path
    ) -> None:
        names = [video["name"] for video in manifest(extracted)[1:]]
        lines = ["# five clips", "", *(f"{name} {number}" for number, name in enumerate(names))]
        listed = write_list(tmp_path / "list.txt", *lines, newline="\r\n")
        out = tmp_path / "out.pkl"
        done = vidfeat(
            "extract", config, "--video-list", listed, "--video-root", clips, "--checkpoint", checkpoint, "-o", out
        )
        assert done.returncode == 0, done.stderr
        assert out.read_bytes() == extracted.read_bytes()

    def test_a_list_has_any_name(
        self, extracted: Path, config: Path, checkpoint: Path, clips: Path, tmp_path: Path
    ) -> None:
        names = [video["name"] for video in manifest(extracted)[1:]]
        for name in ("val_list", "val.csv"):
            listed, out = write_list(tmp_path / name, *names), tmp_path / f"{name}.pkl"
            done = vidfeat(
                "extract", config, "--video-list", listed, "--video-root", clips, "--checkpoint", checkpoint, "-o", out
            )
            assert done.returncode == 0, done.stderr
            assert out.read_bytes() == extracted.read_bytes()

    def test_a_list_and_videos(
        self, extracted: Path, config: Path, checkpoint: Path, clips: Path, tmp_path: Path
    ) -> None:
        names = [video["name"] for video in manifest(extracted)[1:]]
        listed = write_list(tmp_path / "list.txt", *(str(clips / name) for name in names[1:]))
        out = tmp_path / "out.pkl"
        command = ["extract", "--video-list", listed, config, "-o", out, clips / names[0], "--checkpoint", checkpoint]
        done = vidfeat(*command)
        assert done.returncode == 0, done.stderr
        rows = dict(zip((v["name"] for v in manifest(out)[1:]), pickle.loads(out.read_bytes()), strict=True))
        expected = [str(clips / name) for name in names[1:]] + [Path(names[0]).name]
        assert set(rows) == set(expected)
        for name, row in zip([*names[1:], names[0]], pickle.loads(extracted.read_bytes())[1:], strict=False):
            assert rows[str(clips / name)].tobytes() == row.tobytes()

    def test_mmaction2s_command(
        self, extracted: Path, config: Path, checkpoint: Path, clips: Path, tmp_path: Path, repository: Path
    ) -> None:
        listed = write_list(tmp_path / "list.txt", *(video["name"] for video in manifest(extracted)[1:]))
        out = tmp_path / "out.pkl"
        script = repository / "tools" / "misc" / "clip_feature_extraction.py"
        flags = ["--fuse-conv-bn", "--gpu-collect", "--tmpdir", tmp_path / "t", "--local_rank", 0, "--launcher", "none"]
        options = ["--cfg-options", "model.backbone.with_cp=True", "data.workers_per_gpu=4"]
        done = run(
            *(sys.executable, script, config, checkpoint),
            *("--video-list", listed, "--video-root", clips, "--out", out),
            *flags,
            *options,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert out.read_bytes() == extracted.read_bytes()
        for flag in ("--fuse-conv-bn", "--gpu-collect", "--tmpdir"):
            assert [line for line in done.stderr.splitlines() if line.startswith(f"{flag}:")], done.stderr
        assert not list(tmp_path.glob("fake_anno*"))

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["features"], ["third argument, 'features'", "--out features/", "--views few"]),
            (["--out", "x.pkl", "--dump-score"], ["l.txt: expected a readable list of videos"]),
            ([], ["--out is missing"]),
            (["--out", "x.pkl", "--precison", "bf16"], ["No such option", "--precison", "Did you mean", "--precision"]),
        ],
    )
    def test_habits_of_1x_are_answered_in_one_line(
        self, more: list[str], words: list[str], config: Path, checkpoint: Path, tmp_path: Path, repository: Path
    ) -> None:
        script = repository / "tools" / "misc" / "clip_feature_extraction.py"
        done = run(sys.executable, script, config, checkpoint, *more, "--video-list", "l.txt", cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert all(word in done.stderr for word in words), done.stderr

    @pytest.mark.parametrize("processes", ["0", "--video-list", "two", ""])
    def test_the_number_of_processes_is_a_number(self, processes: str, repository: Path) -> None:
        script = repository / "tools" / "misc" / "dist_clip_feature_extraction.sh"
        done = run("bash", script, "config.py", "weights.pth", processes, "list.txt")
        assert done.returncode == 2
        assert f"expected the number of processes as the third argument; found '{processes}'" in done.stderr

    @pytest.mark.parametrize("processes", [2, 3])
    def test_several_processes_give_the_same_bits(
        self,
        processes: int,
        extracted: Path,
        config: Path,
        checkpoint: Path,
        clips: Path,
        tmp_path: Path,
        repository: Path,
    ) -> None:
        listed = write_list(tmp_path / "list.txt", *(video["name"] for video in manifest(extracted)[1:]))
        out = tmp_path / "out.pkl"
        script = repository / "tools" / "misc" / "dist_clip_feature_extraction.sh"
        done = run(
            *("bash", script, config, checkpoint, processes),
            *("--video-list", listed, "--video-root", clips, "--out", out),
            cwd=tmp_path,
            env={"PYTHON": sys.executable},
        )
        assert done.returncode == 0, done.stderr
        assert out.read_bytes() == extracted.read_bytes()
        assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.pkl", "out.pkl.manifest.jsonl"]
        assert "OMP_NUM_THREADS" not in done.stderr

    def test_several_processes_and_a_broken_video_end_with_3(
        self, config: Path, checkpoint: Path, clips: Path, tmp_path: Path, repository: Path
    ) -> None:
        listed = write_list(tmp_path / "list.txt", "bounce/001.mp4", "absent.mp4", "circle/002.mp4")
        script = repository / "tools" / "misc" / "dist_clip_feature_extraction.sh"
        done = run(
            *("bash", script, config, checkpoint, 2),
            *("--video-list", listed, "--video-root", clips, "--out", tmp_path / "out.pkl"),
            env={"PYTHON": sys.executable},
        )
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        rows = pickle.loads((tmp_path / "out.pkl").read_bytes())
        assert [row is None for row in rows] == [False, True, False]

    @pytest.mark.parametrize(
        "environment",
        [
            {"SLURM_PROCID": "{rank}", "SLURM_NTASKS": "2", "SLURM_LOCALID": "{rank}"},
            {"OMPI_COMM_WORLD_RANK": "{rank}", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "{rank}"},
        ],
    )
    def test_slurm_and_mpi(
        self,
        environment: dict[str, str],
        extracted: Path,
        config: Path,
        checkpoint: Path,
        clips: Path,
        tmp_path: Path,
    ) -> None:
        out = tmp_path / "out.pkl"
        launcher = "slurm" if "SLURM_PROCID" in environment else "mpi"
        command = [*VIDFEAT, "extract", config, clips, "--checkpoint", checkpoint, "-o", out, "--launcher", launcher]
        processes = [
            subprocess.Popen(
                [str(word) for word in command],
                env={**os.environ, **{key: value.format(rank=rank) for key, value in environment.items()}},
                stderr=subprocess.PIPE,
            )
            for rank in (1, 0)
        ]
        errors = [process.communicate(timeout=300)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
        assert out.read_bytes() == extracted.read_bytes()


class TestResume:
    def test_a_finished_run_does_nothing(self, extracted: Path, config: Path, checkpoint: Path, clips: Path) -> None:
        before = extracted.stat().st_mtime_ns
        done = vidfeat("extract", config, clips, "--checkpoint", checkpoint, "-o", extracted)
        assert done.returncode == 0
        assert "complete already" in done.stderr
        assert extracted.stat().st_mtime_ns == before

    def test_another_recipe_is_computed_again_and_said(
        self, extracted: Path, config: Path, checkpoint: Path, clips: Path
    ) -> None:
        before = pickle.loads(extracted.read_bytes())
        command = ["extract", config, clips, "--checkpoint", checkpoint, "-o", extracted]
        done = vidfeat(*command, "--cfg-options", "data.test.pipeline.1.num_clips=2")
        assert done.returncode == 0, done.stderr
        assert len([line for line in done.stderr.splitlines() if "another recipe" in line]) == 1
        after = pickle.loads(extracted.read_bytes())
        assert [a.tobytes() != b.tobytes() for a, b in zip(before, after, strict=True)] == [True] * 5

    def test_only_what_a_longer_list_adds_is_computed(
        self, extracted: Path, config: Path, checkpoint: Path, clips: Path, tmp_path: Path
    ) -> None:
        names = [video["name"] for video in manifest(extracted)[1:]]
        out = tmp_path / "out"
        files = [out / Path(name).with_suffix(".npy") for name in names]
        command = ["extract", config, "--video-root", clips, "--checkpoint", checkpoint, "-o", out, "--video-list"]
        assert vidfeat(*command, write_list(tmp_path / "some.txt", *names[:3])).returncode == 0
        before = [file.stat().st_mtime_ns for file in files[:3]]
        done = vidfeat(*command, write_list(tmp_path / "all.txt", *reversed(names)))
        assert done.returncode == 0, done.stderr
        assert [file.stat().st_mtime_ns for file in files[:3]] == before
        assert np.array_equal([np.load(file) for file in files], pickle.loads(extracted.read_bytes()))
        assert [video["name"] for video in manifest(out)[1:]] == names[::-1]

    def test_failures_are_retried_when_asked(self, config: Path, checkpoint: Path, clips: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(clips, tmp_path / "clips")
        whole = (folder / "circle" / "002.mp4").read_bytes()
        (folder / "circle" / "002.mp4").write_bytes(whole[: len(whole) // 2])
        command = ["extract", config, folder, "--checkpoint", checkpoint, "-o", tmp_path / "out.pkl"]
        assert vidfeat(*command).returncode == 3
        assert vidfeat(*command).returncode == 3
        (folder / "circle" / "002.mp4").write_bytes(whole)
        assert vidfeat(*command, "--retry-failed").returncode == 0
        assert vidfeat("verify", tmp_path / "out.pkl").returncode == 0


@pytest.fixture(scope="session")
def broken(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos that cannot be read, and one that can, last in order."""
    folder = tmp_path_factory.mktemp("broken")
    good = (clips / "bounce" / "001.mp4").read_bytes()
    (folder / "a_empty.mp4").touch()
    (folder / "b_text.mp4").write_text("this is not a video\n" * 100)
    (folder / "c_truncated.mp4").write_bytes(good[: len(good) // 2])
    (folder / "d_playlist.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n")
    (folder / "z_good.mp4").write_bytes(good)
    return folder


class TestBadVideos:
    KINDS = ("empty", "corrupt", "truncated", "blocked_format")

    def test_each_is_named_and_the_others_are_done(
        self, broken: Path, config: Path, checkpoint: Path, tmp_path: Path, extracted: Path
    ) -> None:
        out = tmp_path / "out.pkl"
        done = vidfeat("extract", config, broken, "--checkpoint", checkpoint, "-o", out)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        rows = pickle.loads(out.read_bytes())
        assert rows[:4] == [None] * 4
        assert rows[4].tobytes() == pickle.loads(extracted.read_bytes())[0].tobytes()
        videos = manifest(out)[1:]
        assert tuple(video["error"]["kind"] for video in videos[:4]) == self.KINDS
        for video in videos[:4]:
            (line,) = [line for line in done.stderr.splitlines() if video["name"] in line]
            assert "expected" in line
            assert "found" in line

    def test_keyed_outputs_leave_them_out(self, broken: Path, config: Path, checkpoint: Path, tmp_path: Path) -> None:
        assert vidfeat("extract", config, broken, "--checkpoint", checkpoint, "-o", tmp_path / "o").returncode == 3
        assert [path.name for path in (tmp_path / "o").iterdir()] == ["z_good.npy"]

    def test_fail_stops_at_the_first(self, broken: Path, config: Path, checkpoint: Path, tmp_path: Path) -> None:
        done = vidfeat(
            "extract", config, broken, "--checkpoint", checkpoint, "-o", tmp_path / "o.pkl", "--on-error", "fail"
        )
        assert done.returncode == 3
        assert "a_empty.mp4" in done.stderr
        assert "b_text.mp4" not in done.stderr
        assert not (tmp_path / "o.pkl").exists()


class TestMistakes:
    """One message on stderr that names the thing, exit code 2, nothing written."""

    @pytest.fixture
    def folder(self, tmp_path: Path, config: Path, clips: Path) -> Path:
        text = config.read_text()
        (tmp_path / "import.py").write_text("import os\n" + text)
        for name, right, wrong in (
            ("key", "num_clips=4", "num_clip=4"),
            ("type", "CenterCrop", "MiddleCrop"),
            ("random", "test_mode=True", "test_mode=False"),
            ("depth", "depth=18", "depth=34"),
        ):
            assert right in text
            (tmp_path / f"{name}.py").write_text(text.replace(right, wrong))
        (tmp_path / "text.pth").write_text("not a checkpoint")
        (tmp_path / "renamed-00000000.safetensors").write_bytes(b"x")
        write_list(tmp_path / "escape.txt", "../outside.mp4")
        write_list(tmp_path / "twice.txt", "bounce/001.mp4", "bounce/001.mp4 3")
        write_list(tmp_path / "nothing.txt", "# nothing")
        (tmp_path / "file").touch()
        return tmp_path

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"model": "{folder}/import.py"}, ["import.py:1", "import"]),
            ({"model": "{folder}/key.py"}, ["data.test.pipeline.1.num_clip", "num_clips"]),
            ({"model": "{folder}/type.py"}, ["data.test.pipeline.4.type", "MiddleCrop", "CenterCrop"]),
            ({"model": "{folder}/random.py"}, ["data.test.pipeline.1.test_mode", "True"]),
            ({"model": "{folder}/absent.py"}, ["absent.py"]),
            ({"model": "{folder}/depth.py"}, ["layer3", "missing"]),
            ({"--checkpoint": "{folder}/absent.pth"}, ["absent.pth"]),
            ({"--checkpoint": "{folder}/text.pth"}, ["text.pth"]),
            ({"--checkpoint": "{folder}/renamed-00000000.safetensors"}, ["00000000"]),
            ({"--checkpoint": None}, ["--checkpoint"]),
            ({"--cfg-options": "data.test.pipeline.1.frame_intervall=2"}, ["frame_intervall", "frame_interval"]),
            ({"--cfg-options": "modell.backbone.depth=50"}, ["modell"]),
            ({"--cfg-options": "img_norm_cfg.to_bgr=True"}, ["img_norm_cfg"]),
            ({"--video-list": "{folder}/escape.txt"}, ["escape.txt", "../outside.mp4"]),
            ({"--video-list": "{folder}/twice.txt"}, ["twice.txt", "001.mp4"]),
            ({"--video-list": "{folder}/nothing.txt"}, ["nothing.txt"]),
            ({"--video-list": "{folder}/absent.txt"}, ["absent.txt"]),
            ({"-o": "{folder}/out.xyz"}, [".xyz", ".pkl"]),
            ({"-o": "{folder}/file/out.pkl"}, ["file"]),
            ({"--device": "cuda:99"}, ["cuda:99", "--device cpu"]),
            ({"--device": "tpu"}, ["tpu", "cuda"]),
            ({"--launcher": "slurm"}, ["SLURM_PROCID"]),
            ({"--precision": "fp8"}, ["fp8"]),
            ({"--timeout": "0"}, ["--timeout", "above 0"]),
        ],
    )
    def test_mistake(
        self, change: dict[str, str | None], words: list[str], folder: Path, config: Path, checkpoint: Path, clips: Path
    ) -> None:
        good = write_list(folder / "good.txt", "bounce/001.mp4")
        flags: dict[str, object] = {
            "model": config,
            "--checkpoint": checkpoint,
            "--video-list": good,
            "--video-root": clips,
            "-o": folder / "out.pkl",
        }
        flags.update({key: value and value.format(folder=folder) for key, value in change.items()})
        before = sorted(folder.rglob("*"))
        command = [flags.pop("model")]
        for flag, value in flags.items():
            command += [] if value is None else [flag, value]
        done = vidfeat("extract", *command)
        assert done.returncode == 2, done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("vidfeat: error:")]) == 1
        assert all(word in done.stderr for word in words), done.stderr
        assert "Traceback" not in done.stderr
        assert sorted(folder.rglob("*")) == before
        assert not done.stdout

    def test_an_exploit_in_a_checkpoint_does_not_run(self, config: Path, clips: Path, tmp_path: Path) -> None:
        class Exploit:
            def __reduce__(self) -> tuple:
                return os.system, (f"touch {tmp_path / 'pwned'}",)

        (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Exploit()}, protocol=2))
        done = vidfeat("extract", config, clips, "--checkpoint", tmp_path / "evil.pth", "-o", tmp_path / "o.pkl")
        assert done.returncode == 2
        assert "system" in done.stderr
        assert not (tmp_path / "pwned").exists()

    def test_traceback_only_with_debug(self, tmp_path: Path) -> None:
        done = vidfeat("inspect", tmp_path / "absent.py", "--debug")
        assert done.returncode == 1
        assert "Traceback" in done.stderr


class TestHelp:
    def test_help_needs_no_torch(self) -> None:
        code = "import sys; from vidfeat.cli.main import main; main(['extract', '--help'])\n"
        done = run(sys.executable, "-c", code + "print({'torch', 'av', 'cv2', 'numpy'} & set(sys.modules))")
        assert done.stdout.splitlines()[-1] == "set()"

    def test_inspect(self, config: Path) -> None:
        words = vidfeat("inspect", config).stdout
        assert "clips of 8 frames, 4 apart" in words
        assert "feature size  32" in words
        assert json.loads(vidfeat("inspect", config, "--json").stdout)["model"]["dims"] == 3


def numerics(out: Path) -> dict[str, object]:
    header = json.loads(out.with_name(f"{out.name}.manifest.jsonl").read_text().splitlines()[0])
    (session,) = header["sessions"]
    return {"precision": header["precision"], **session["numerics"]}


def backends(out: Path) -> set[str]:
    header = json.loads(out.with_name(f"{out.name}.manifest.jsonl").read_text().splitlines()[0])
    return {session["numerics"]["backend"] for session in header["sessions"]}


def test_bf16_is_close_to_fp32_and_recorded(
    config: Path, checkpoint: Path, clips: Path, extracted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bf16.pkl"
    done = vidfeat("extract", config, clips, "--checkpoint", checkpoint, "-o", out, "--precision", "bf16")
    assert done.returncode == 0, done.stderr
    exact, reduced = (pickle.loads(path.read_bytes()) for path in (extracted, out))
    for a, b in zip(exact, reduced, strict=True):
        assert b.dtype == np.float32
        assert not np.array_equal(a, b)
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= 0.9995
    found = numerics(out)
    assert found.pop("cosine_to_fp32") >= 0.9995  # type: ignore[operator]
    assert found == {"precision": "bf16", "backend": "eager", "samples_per_batch": [1]}
    assert numerics(extracted)["cosine_to_fp32"] is None
    again = vidfeat("extract", config, clips, "--checkpoint", checkpoint, "-o", out)
    assert again.returncode == 0, again.stderr
    assert "precision" in again.stderr
    assert out.read_bytes() == extracted.read_bytes()


def test_several_devices_share_a_list_and_give_the_same_bytes(
    config: Path, checkpoint: Path, clips: Path, extracted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "two.pkl"
    done = vidfeat("extract", config, clips, "--checkpoint", checkpoint, "-o", out, "--device", "cpu,cpu")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == extracted.read_bytes()
    assert "model-bound (network" in done.stderr or "decode-bound (network" in done.stderr


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_run_keeps_its_backend(config: Path, checkpoint: Path, clips: Path, extracted: Path, tmp_path: Path) -> None:
    """Begun with the compiled backend and one video missing; then the video comes, and no flag says how to go on."""
    root = Path(shutil.copytree(clips, tmp_path / "videos"))
    names = [str(path.relative_to(root)) for path in sorted(root.rglob("*.mp4"))]
    listed = write_list(tmp_path / "list.txt", *names, "late.mp4")
    out = tmp_path / "compiled.pkl"
    command = ["extract", config, "--video-list", listed, "--video-root", root, "--checkpoint", checkpoint]
    first = vidfeat(*command, "-o", out, "--compile")
    assert first.returncode == 3, first.stderr
    assert backends(out) == {"compiled"}
    exact = pickle.loads(extracted.read_bytes())
    for a, b in zip(exact, pickle.loads(out.read_bytes()), strict=False):
        assert np.allclose(a, b, rtol=1e-4, atol=1e-5)
    shutil.copy(root / names[0], root / "late.mp4")
    other = vidfeat(*command, "-o", out, "--retry-failed", "--no-compile")
    assert other.returncode == 2
    assert "started with: compiled" in other.stderr
    last = vidfeat(*command, "-o", out, "--retry-failed")
    assert last.returncode == 0, last.stderr
    assert backends(out) == {"compiled"}
    assert not (tmp_path / "compiled.pkl.vidfeat").exists()
