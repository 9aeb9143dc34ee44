"""What messages say about installing what is missing."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from vidfeat.lazy_import import install_command

EXTRAS = {"timm": "timm", "torchvision": "torchvision", "umap": "umap-learn", "nvdec": "torchcodec", "hdf5": "h5py"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_names_the_packages_of_the_extra(extra: str, repository: Path) -> None:
    (wanted,) = re.findall(rf'^{extra} = \["(.*)"\]', (repository / "pyproject.toml").read_text(), re.MULTILINE)
    assert shlex.split(install_command(extra)) == ["pip", "install", wanted]
    assert wanted.startswith(EXTRAS[extra])


def test_where_vidfeat_is_not_installed_it_is_that_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert install_command("timm") == "pip install '.[timm]'"


def test_no_message_installs_a_name_that_is_not_published(repository: Path) -> None:
    for path in (repository / "src").rglob("*.py"):
        assert not re.search(r"vidfeat\[\w", path.read_text(encoding="utf-8")), path
