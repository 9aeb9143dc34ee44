"""The documents: links lead somewhere, commands can be typed, examples run, and the two READMEs say the same."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import vidfeat as package
from video.video_files import write_video
from vidfeat import __all__ as public_names
from vidfeat.cli.main import vidfeat
from vidfeat.mmaction.zoo import table

REPOSITORY = Path(__file__).resolve().parents[1]
READMES = [REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"]
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
PROGRAMS = ("vidfeat ", "python ", "bash ", "pip ", "export ", "git ")


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def code_lines(page: Path) -> list[str]:
    """The lines of all indented and fenced code, joined where they go on, without comments and alignment."""
    code, fenced = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            code.append(re.sub(r"\s+#.*", "", line).strip())
    return [re.sub(r"\s+", " ", line) for line in "\n".join(code).replace("\\\n", " ").splitlines() if line]


def commands(page: Path) -> list[str]:
    return [line for line in code_lines(page) if line.startswith(PROGRAMS)]


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            assert not anchor, f"{link}: link to pages, whose headings may change"
            assert (page.parent / path).exists(), link


def parse(words: list[str]) -> None:
    """Parse the words of a command, and run nothing; a command that is only kept for old scripts is none."""
    context = click.Context(vidfeat, info_name="vidfeat")
    name, command, others = vidfeat.resolve_command(context, words)
    if command is None or command.hidden:
        raise click.UsageError(f"{name} is a former name")
    command.make_context(name, others, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_can_be_typed(page: Path) -> None:
    for command in commands(page):
        program, *words = shlex.split(command)
        if program != "vidfeat" or (words[0] == "demo" and importlib.util.find_spec("vidfeat.tools.demo") is None):
            continue
        try:
            parse(words)
        except click.ClickException as error:
            pytest.fail(f"{name_of(page)}: {command}: {error.format_message()}")
        except click.exceptions.Exit:
            pass  # --help


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_scripts_and_configs_in_commands_exist(page: Path) -> None:
    for word in " ".join(commands(page)).split():
        if re.match(r"(tools|scripts|benchmarks|configs|examples)/", word):
            assert (REPOSITORY / word).is_file(), word


def test_both_readmes_have_the_same_code_and_links() -> None:
    english, chinese = READMES
    assert len(commands(english)) > 10
    assert code_lines(english) == code_lines(chinese)
    other = {"README.zh-CN.md": "README.md"}
    assert [other.get(link, link) for link in links(english)] == links(chinese)


def test_both_readmes_have_the_same_parts() -> None:
    english, chinese = (page.read_text(encoding="utf-8").splitlines() for page in READMES)
    for mark in ("## ", "| ", "- "):
        assert sum(line.startswith(mark) for line in english) == sum(line.startswith(mark) for line in chinese)


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_a_readme_leads_to_every_page(readme: Path) -> None:
    reached = {(REPOSITORY / link).resolve() for link in links(readme) if not link.startswith("https://")}
    assert {page for page in PAGES if page.parent == REPOSITORY / "docs"} <= reached
    assert (REPOSITORY / "docs" / "design") in reached


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_the_number_of_released_models(readme: Path) -> None:
    (number,) = re.findall(r"# (\d+) (?:released models|个已发布的模型)", readme.read_text(encoding="utf-8"))
    assert int(number) == len(table(None, None))


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["python.md", "extending.md"])
def test_examples_run(name: str, tmp_path: Path) -> None:
    """Blocks that begin with the name of a file are that file; the others are one program, in their order."""
    examples = REPOSITORY / "examples"
    shutil.copy(examples / "tiny_slowonly.py", tmp_path / "config.py")
    text = (examples / "tiny_slowonly.py").read_text(encoding="utf-8")
    (tmp_path / "other_config.py").write_text(text.replace("to_bgr=False", "to_bgr=True"), encoding="utf-8")
    (weights,) = examples.glob("*.safetensors")
    shutil.copy(weights, tmp_path / "weights.pth")
    (tmp_path / "my_videos").mkdir()
    write_video(tmp_path / "my_videos" / "clip.mp4", frames=90, size=(160, 120))
    programs, rest = ["main.py"], []
    for block in python_blocks(REPOSITORY / "docs" / name):
        if titled := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / titled[1]).write_text(block, encoding="utf-8")
            programs += [titled[1]] if "__main__" in block else []
        else:
            rest.append(block)
    (tmp_path / "main.py").write_text("\n".join(rest), encoding="utf-8")
    for program in programs:
        done = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert len(list(tmp_path.glob("features*.manifest.jsonl"))) >= 2


def test_every_public_name_is_explained() -> None:
    words = set(re.findall(r"\w+", (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")))
    assert set(public_names) - {"__version__"} <= words


def test_the_reference_has_every_public_name() -> None:
    """The other way round, the build of the site fails for a name that is not there."""
    reference = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    members = re.findall(r"\w+", " ".join(re.findall(r"members: \[(.*)\]", reference)))
    documented = {*re.findall(r"^::: vidfeat\.(\w+)$", reference, re.MULTILINE), *members}
    assert set(public_names) - {"__version__"} <= documented
    assert all(hasattr(package, name) for name in documented - {"errors"})
