"""The folder of a demonstration: what lies where, and that it is nobody else's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidfeat.errors import UsageError, WriteError
from vidfeat.formats.atomic import replacing

_MARK = "ABOUT.txt"
_MARKED = b"Made by `vidfeat demo`"


@dataclass(frozen=True)
class DemoFolder:
    """Where a demonstration keeps its files.

    Attributes:
        root: the folder that holds them all.
    """

    root: Path

    @property
    def clips(self) -> Path:
        """The folder of the clips, with a folder for each motion."""
        return self.root / "clips"

    @property
    def listed(self) -> Path:
        """The list of the clips. A file of someone else's among the clips is not on it, and so is left alone."""
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
    """Take a new or empty folder, or that of an earlier demonstration, and mark it.

    Raises:
        UsageError: there is something else; nothing is touched.
        WriteError: the system refused.
    """
    mark = root / _MARK
    try:
        ours = _is_ours(root, mark)
    except OSError as error:
        raise UsageError(str(root), expected="a folder that can be read", found=error.strerror or str(error)) from error
    if not ours:
        raise UsageError(
            str(root),
            expected="a new or empty folder, or that of an earlier `vidfeat demo`",
            found="a folder with other files" if root.is_dir() else "a file",
            hint="Choose another one: vidfeat demo -o FOLDER.",
        )
    make_folder(root)
    with replacing(mark) as file:
        file.write(_MARKED + b", which writes its own files here anew whenever it is run.\n")
    return DemoFolder(root)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        WriteError: the system refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            str(folder),
            expected="to make the folder",
            found=error.strerror or str(error),
            hint="Choose another place: vidfeat demo -o FOLDER.",
        ) from error


def _is_ours(root: Path, mark: Path) -> bool:
    if not root.is_dir():
        return not root.exists()
    return not any(root.iterdir()) or (mark.is_file() and mark.read_bytes().startswith(_MARKED))
