"""What a repository of this kind has, and that its parts agree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vidfeat.cli.main import COMMANDS, COMPLETION
from vidfeat.mmaction import compile_file


def test_the_workflow_tests_every_version_that_is_promised(repository: Path) -> None:
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text())
    promised = re.findall(r"Python :: (3\.\d+)", (repository / "pyproject.toml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == promised
    assert {"lint", "test", "package", "images"} == set(workflow["jobs"])


def test_hooks_run_the_tested_linter(repository: Path) -> None:
    hooks = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())
    assert f"ruff=={hooks['repos'][0]['rev'].removeprefix('v')}" in (repository / "constraints.txt").read_text().split()


def test_links_on_a_package_index_are_absolute_and_lead_to_files(repository: Path) -> None:
    project, text = (repository / "pyproject.toml").read_text(), (repository / "README.md").read_text()
    rules = re.findall(r"pattern = '(.+)', replacement = '(.+)' \}", project)
    assert len(rules) == 2
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    links = re.findall(r"\]\(([^)]+)\)", text)
    own = [link for link in links if "/vidfeat/vidfeat/" in link]
    assert all(link.startswith("https://") for link in links)
    assert len(own) > 20
    assert all((repository / link.split("/main/")[1]).exists() for link in own)
    assert [link for link in own if "raw." in link] == [link for link in own if link.endswith(".png")] != []


def test_the_site_has_every_page(repository: Path) -> None:
    site = (repository / "mkdocs.yml").read_text()
    named = set(re.findall(r": ([\w-]+\.md)$", site, re.MULTILINE))
    assert named == {path.name for path in (repository / "docs").glob("*.md")}


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_images_install_extras_that_exist(name: str, repository: Path) -> None:
    extras = re.findall(r"'\.\[(.*)\]'", (repository / "docker" / f"{name}.Dockerfile").read_text())
    project = (repository / "pyproject.toml").read_text()
    assert extras
    assert all(f"\n{extra} = [" in project for names in extras for extra in names.split(","))


def complete(*words: str, kind: str = "plain") -> list[str]:
    """What bash is offered for the last word, or which words it is to complete itself as those of files."""
    asked = {"COMP_WORDS": " ".join(["vidfeat", *words]), "COMP_CWORD": str(len(words)), COMPLETION: "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "vidfeat"], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    return [word for offered, word in (line.split(",") for line in done.stdout.splitlines()) if offered == kind]


def test_completion() -> None:
    assert set(complete("")) == set(COMMANDS) - {"plan"}
    assert complete("extract", "--prec") == ["--precision"]
    assert complete("extract", "--precision", "b") == ["bf16"]
    assert len(complete("extract", "tsm_mobilenetv2")) == 2
    assert complete("inspect", "tsm_mobilenetv2_dense_1x1x8_k") == ["tsm_mobilenetv2_dense_1x1x8_kinetics400_rgb_port"]


def test_the_shell_completes_files() -> None:
    for words in ([], ["model.py"], ["--checkpoint"], ["--video-list"], ["--video-root"], ["-o"], ["--segments"]):
        assert complete("extract", *words, "some/fo", kind="file") == ["some/fo"]
    for command in ("verify", "report", "convert", "compact"):
        assert complete(command, "fea", kind="file") == ["fea"]


def test_the_downstream_page_runs_on_any_features(repository: Path, tmp_path: Path) -> None:
    """In the notebook the same lines run on the features of rendered clips, which are as good as the demo says."""
    notebook = json.loads((repository / "examples" / "downstream.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    page = re.findall(r"^```python\n(.*?)^```", (repository / "docs" / "downstream.md").read_text(), re.M | re.S)
    assert [cell.split() for cell in cells[1:]] == [
        block.replace('"features.npz"', '"demo/features.pkl"').split() for block in page
    ]
    program = "\n".join([*cells, "assert accuracy > 0.6 and len(classes) > 5, (accuracy, classes)"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert " -> " in done.stdout


def test_the_example_of_a_timm_backbone_compiles(repository: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed", exc_type=ImportError)
    folder = repository / "configs" / "recognition" / "tsn"
    recipe = compile_file(folder / "tsn_timm_resnet18_clip_feature_extraction_1x1x3_rgb.py")
    other = compile_file(folder / "tsn_r50_clip_feature_extraction_1x1x3_rgb.py")
    assert (recipe.feature_size, recipe.sampling, recipe.transforms) == (512, other.sampling, other.transforms)
