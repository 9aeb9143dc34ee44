"""`vidfeat doctor` as a process, with everything installed and with dependencies missing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
import torch

from vidfeat.tools.doctor import EXTRAS, Finding, cpu_flags, examine, render


def doctor(**environment: str) -> subprocess.CompletedProcess:
    env = {key: value for key, value in os.environ.items() if key != "VIDFEAT_MIRROR"} | environment
    return subprocess.run(
        [sys.executable, "-m", "vidfeat", "doctor"],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def line_of(text: str, subject: str) -> str:
    """The line of a subject and those that continue it."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(subject))
    end = next(number for number in range(start + 1, len(lines)) if not lines[number].startswith(" "))
    return " ".join(" ".join(lines[start:end]).split())


class _Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_what_is_here(tmp_path: Path) -> None:
    done = doctor(TORCH_HOME=str(tmp_path / "new"))
    assert (done.returncode, done.stderr) == (0, "")
    assert torch.__version__ in line_of(done.stdout, "torch")
    ffmpeg = line_of(done.stdout, "FFmpeg")
    assert av.__version__ in ffmpeg
    assert ".".join(map(str, av.library_versions["libavcodec"])) in ffmpeg
    assert re.search(r"\d GiB free", line_of(done.stdout, "cache"))
    assert str(tmp_path / "new") in line_of(done.stdout, "cache")
    for extra in EXTRAS:
        assert f"[{extra}]" in done.stdout
    for package in ("click", "tqdm", "numpy", "opencv-python-headless"):
        assert importlib.metadata.version(package) in line_of(done.stdout, "libraries")
    assert max(map(len, done.stdout.splitlines())) < 160


def found(subject: str) -> Finding:
    (finding,) = examine(subject)
    return finding


def test_a_mirror(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("VIDFEAT_MIRROR", f"http://{server}/zoo")
    assert found("mirror") == Finding("mirror", "ok", f"http://{server}/zoo answers")
    for value, what in [
        ("http://127.0.0.1:9", "http://127.0.0.1:9: no answer"),
        ("file:///etc", "not an http(s) URL"),
        ("http://host:port/", "not an http(s) URL"),
        ("http://name:secret@127.0.0.1/zoo", "a user name or password"),
    ]:
        monkeypatch.setenv("VIDFEAT_MIRROR", value)
        finding = found("mirror")
        assert finding.mark == "fix"
        assert what in finding.found
        assert finding.hint
        assert "secret" not in finding.found + finding.hint


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    finding = found("cache")
    assert finding.mark == "fix"
    assert "TORCH_HOME" in finding.hint


def test_a_broken_library_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # its import now fails
    monkeypatch.setitem(sys.modules, "cv2", None)
    findings = {finding.subject: finding for finding in examine()}
    assert (findings["FFmpeg"].mark, findings["libraries"].mark) == ("fix", "fix")
    assert findings["FFmpeg"].found.startswith("ModuleNotFoundError: ")
    assert findings["libraries"].hint == "pip install opencv-python-headless (in place of opencv-python)."
    assert findings["torch"].found == torch.__version__
    assert render(list(findings.values())).endswith("2 to fix.")


def test_the_extras_are_the_packages_own(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text()
    declared = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    assert set(EXTRAS) <= set(re.findall(r"^([\w-]+) = \[", declared, re.MULTILINE))


def test_flags_of_a_cpu() -> None:
    assert cpu_flags("processor : 0\nflags\t\t: fpu amx_bf16\n\nprocessor : 1\nflags : sse\n") == {
        "fpu",
        "amx_bf16",
        "sse",
    }
    assert cpu_flags("Features\t: fp asimd bf16\nbugs : amx_bf16x") == {"fp", "asimd", "bf16"}


def test_the_table() -> None:
    text = render([Finding("a", "ok", "fine"), Finding("long name", "fix", "word " * 30, "Do this.")])
    lines = text.splitlines()
    assert lines[0] == "a          ok   fine"
    assert lines[1].startswith("long name  fix  word word")
    assert lines[-2].strip() == "-> Do this."
    assert lines[-1] == "1 to fix."
    assert all(len(line) <= 100 for line in lines)
    assert render([Finding("a", "note", "x")]).endswith("Nothing to fix.")


def test_every_finding_to_fix_has_a_hint() -> None:
    assert all(finding.hint for finding in examine() if finding.mark == "fix")


def test_a_version_of_pyav_that_does_not_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "__version__", "19.0.2")
    (finding,) = (finding for finding in examine() if finding.subject == "FFmpeg")
    assert finding.mark == "fix"
    assert "in PyAV 19.0.2 (" in finding.found
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    (required,) = re.findall(r'"(av>=.*?)"', project)
    assert finding.hint == f"pip install '{required}'."
