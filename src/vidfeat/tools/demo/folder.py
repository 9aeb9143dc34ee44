"""The folder of a demonstration: the paths of its files, and a check that it holds no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidfeat.errors import UsageError, WriteError, system_errors
from vidfeat.formats.atomic import replacing

_MARK = "ABOUT.txt"
_MARKED = b"Made by `vidfeat demo`"


@dataclass(frozen=True)
class DemoFolder:
    """The paths of a demonstration.

    Attributes:
        root: the folder that holds all files.
    """

    root: Path

    @property
    def clips(self) -> Path:
        """The folder of the clips, with a folder for each motion."""
        return self.root / "clips"

    @property
    def listed(self) -> Path:
        """The list of the clips. Other files in the folder of the clips are not in it, and are not touched."""
        return self.root / "clips.txt"

    @property
    def features(self) -> Path:
        """The output of `vidfeat extract`."""
        return self.root / "features.pkl"

    @property
    def page(self) -> Path:
        """The page of `vidfeat report`."""
        return self.root / "report.html"


def claim(root: Path) -> DemoFolder:
    """Create or reuse a folder, and mark it as that of a demonstration.

    Raises:
        UsageError: there is a file, or a folder with other files; it is not touched.
        WriteError: the folder cannot be created or written.
    """
    mark = root / _MARK
    with system_errors(UsageError, root, expected="a folder that can be read"):
        ours = _is_ours(root, mark)
    if not ours:
        raise UsageError(
            str(root),
            expected="a new or empty folder, or that of an earlier `vidfeat demo`",
            found="a folder with other files" if root.is_dir() else "a file",
            hint="Choose another one: vidfeat demo -o FOLDER.",
        )
    make_folder(root)
    with replacing(mark) as file:
        file.write(_MARKED + b", which replaces its own files here on every run.\n")
    return DemoFolder(root)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, where they are missing.

    Raises:
        WriteError: the folder cannot be created.
    """
    hint = "Choose another place: vidfeat demo -o FOLDER."
    with system_errors(WriteError, folder, expected="to create the folder", hint=hint):
        folder.mkdir(parents=True, exist_ok=True)


def _is_ours(root: Path, mark: Path) -> bool:
    if not root.is_dir():
        return not root.exists()
    return not any(root.iterdir()) or (mark.is_file() and mark.read_bytes().startswith(_MARKED))
