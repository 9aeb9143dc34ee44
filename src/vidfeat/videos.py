"""Which videos a run is about: a list file, or the files and folders typed on the command line."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vidfeat.errors import UsageError

VIDEO_SUFFIXES = frozenset(
    {
        ".3gp",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    }
)
"""The suffixes, in lower case, by which `scan` knows a video. A list may name files with any suffix."""

_REPEATS_NAMED = 5
_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class VideoRef:
    """One video to take features of.

    Attributes:
        key: its name in outputs: the path as the list has it, or relative to the folder scanned; with `/` between
            folders, without `.` components and doubled slashes. No two videos of a job have the same.
        uri: where it is: a local path. It need not exist: then this video fails, alone.
        segment: the half-open range of presentation time that is looked at, `(start, end)` in seconds; None for all.
        label: its class, where the list says it.
    """

    key: str
    uri: str
    segment: tuple[float, float] | None = None
    label: str | None = None

    @property
    def path(self) -> Path:
        """The local file."""
        return Path(self.uri)


@dataclass(frozen=True)
class Entry:
    """One video of a run.

    Attributes:
        index: its position among the videos of the run, from 0.
        name: what it is called in outputs: the path as the list has it, or relative to the folder scanned; with `/`
            between folders, without `.` components and doubled slashes.
        path: where the file is; it need not exist.
    """

    index: int
    name: str
    path: Path


def read_list(list_file: Path, root: Path | None) -> list[Entry]:
    """The videos named by a list file, one path a line.

    Spaces belong to the path. A whole number after the path, separated by white space, is a label in the manner of
    MMAction2 and is dropped, unless a file is there under the name with the number and none without; after a path that
    ends in one of `VIDEO_SUFFIXES`, so are several, as lists for many labels have them. Empty lines and lines that
    start with `#` are skipped; name a file `#1.mp4` as `./#1.mp4`. CRLF and a byte order mark are fine. The text is
    UTF-8; other bytes are kept as they are (`surrogateescape`).

    Args:
        list_file: the list.
        root: the folder that the paths are relative to. No entry may then lead out of it: not by `..`, not as an
            absolute path, not through a symbolic link; an absolute path inside it is named relative to it. Without a
            root, paths are relative to the current folder, and nothing is confined: absolute paths and `..` lead
            wherever they lead, so read lists of strangers with a root.

    Returns:
        The entries in the order of the list. A file that does not exist is still an entry: it fails later, alone.

    Raises:
        UsageError: the root is no folder; or, naming the line, the list cannot be read, is empty or binary, leaves the
            root, or repeats paths, of which the first ones are named.
    """
    if root is not None and not _is(Path.is_dir, root):
        raise UsageError(
            f"video root {str(root)!r}",
            expected="the folder that the list's paths start from",
            found="a file" if _is(Path.is_file, root) else "no such folder",
            hint="Correct --video-root, or mount what it should hold.",
        )
    confined = None if root is None else _Confinement(root)
    base = Path() if root is None else root
    entries: list[Entry] = []
    first_line: dict[str, int] = {}
    repeats: list[tuple[int, str, int]] = []
    for number, line in _lines(list_file):
        where = f"{list_file}:{number}"
        path = base / _without_label(line, base)
        name = path.as_posix() if confined is None else confined.name_of(path, where)
        key = os.path.normpath(base / name)
        if key in first_line:
            repeats.append((number, name, first_line[key]))
            continue
        first_line[key] = number
        entries.append(Entry(len(entries), name, path))
    if repeats:
        raise _repeated(list_file, repeats)
    if not entries:
        raise UsageError(str(list_file), expected="at least one path, one a line", found="none")
    return entries


def scan(paths: Sequence[Path]) -> list[Entry]:
    """The videos among `paths`: files as they are, folders with everything below them.

    In a folder, videos are known by `VIDEO_SUFFIXES` and taken in the order of their names. Hidden files and folders
    are skipped. A symbolic link to a file counts as that file, wherever it leads, as data sets are often folders of
    links; a link to a folder is not followed, so that there are no loops.

    Returns:
        The entries in the order of `paths`. A video in a folder is named by its path relative to that folder, a file
        by its own name.

    Raises:
        UsageError: a path does not exist or is a list, a folder holds no video, or two videos have the same name.
    """
    entries: list[Entry] = []
    origin: dict[str, Path] = {}
    for given in paths:
        for name, path in _videos_at(given):
            if name in origin:
                raise UsageError(
                    str(path),
                    expected="videos with different names, as outputs are named after them",
                    found=f"{name!r} also at {origin[name]}",
                    hint="Give the folder above both, or run them apart.",
                )
            origin[name] = path
            entries.append(Entry(len(entries), name, path))
    if not entries:
        raise UsageError("the call", expected="at least one video or folder", found="none")
    return entries


def list_digest(entries: Sequence[Entry]) -> str:
    """SHA-256, as 64 hex digits, over the names in order, each followed by a zero byte."""
    return digest_of_names(entry.name for entry in entries)


def digest_of_names(names: Iterable[str]) -> str:
    """`list_digest` of the names alone.

    Raises:
        UnicodeEncodeError: a name that no file can have.
    """
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _repeated(list_file: Path, repeats: Sequence[tuple[int, str, int]]) -> UsageError:
    """The error for lines that name a video again: their numbers, the names, and the lines that named them first."""
    found = "; ".join(
        f"{name!r} on line {number}, which is already on line {first}"
        for number, name, first in repeats[:_REPEATS_NAMED]
    )
    more = f"; and {len(repeats) - _REPEATS_NAMED} more" if len(repeats) > _REPEATS_NAMED else ""
    return UsageError(
        f"{list_file}:{repeats[0][0]}",
        expected="every video once",
        found=f"{found}{more}",
        hint=f"Remove the later line{'s' if len(repeats) > 1 else ''}.",
    )


# --- list files -------------------------------------------------------------------------------------------------------


def _lines(list_file: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and the lines that hold a path, stripped."""
    try:
        with list_file.open("rb") as file:
            _require_text(list_file, file.read(1 << 16))
            file.seek(0)
            for number, raw in enumerate(file, start=1):
                if b"\0" in raw:
                    raise _binary(f"{list_file}:{number}")
                raw = raw.removeprefix(_BOM) if number == 1 else raw
                line = raw.decode("utf-8", "surrogateescape").strip()
                if line and not line.startswith("#"):
                    yield number, line
    except OSError as error:
        raise UsageError(
            str(list_file), expected="a readable list of videos", found=error.strerror or str(error)
        ) from error


def _require_text(list_file: Path, head: bytes) -> None:
    # Before any line is read: a line of a binary file can be as long as the file.
    if b"\0" in head:
        raise _binary(f"{list_file}:{head[: head.index(0)].count(10) + 1}")


def _binary(where: str) -> UsageError:
    return UsageError(
        where,
        expected="text in UTF-8, one path a line",
        found="a zero byte, as in a binary file or in UTF-16",
        hint="Check that this is the list and not a video; save a UTF-16 list as UTF-8.",
    )


def _without_label(line: str, base: Path) -> str:
    words = line.split()
    labels = sum(1 for _ in itertools.takewhile(_LABEL.fullmatch, reversed(words[1:])))
    if not labels:
        return line
    path = line.rsplit(maxsplit=labels)[0]
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        path = line.rsplit(maxsplit=1)[0]
    if _is(Path.is_file, base / line) and not _is(Path.is_file, base / path):
        return line
    return path


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    """What `Path.is_file` or the like says; no where the system cannot tell, as of a name that is too long."""
    try:
        return kind(path)
    except OSError:
        return False


class _Confinement:
    """Tells names under a root, and refuses paths that lead out of it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = _real(root)
        # Lists are long and their folders are few: each folder is resolved once.
        self._real_folder = lru_cache(maxsize=4096)(_real)

    def name_of(self, path: Path, where: str) -> str:
        real = self._real_folder(path.parent) / path.name
        if path.name == ".." or _is(Path.is_symlink, path):
            real = _real(path)
        if not real.is_relative_to(self._real_root):
            raise UsageError(
                where,
                expected=f"a path inside the video root {self._root}",
                found=f"{str(path)!r}, which leads to {real}",
                hint="Correct the line, or choose a root that holds all videos and what their links lead to.",
            )
        if real == self._real_root:
            raise UsageError(where, expected="a file inside the video root", found="the root itself")
        if path.is_relative_to(self._root) and ".." not in path.parts:
            return path.relative_to(self._root).as_posix()
        return real.relative_to(self._real_root).as_posix()


def _real(path: Path) -> Path:
    # Path.resolve raises on loops of links in some Python versions; realpath leaves them as they are.
    return Path(os.path.realpath(path))


# --- folders ----------------------------------------------------------------------------------------------------------


def _videos_at(given: Path) -> list[tuple[str, Path]]:
    if given.is_dir():
        videos = sorted((path.relative_to(given).as_posix(), path) for path in _videos_below(given))
        if not videos:
            suffixes = " ".join(sorted(VIDEO_SUFFIXES))
            raise UsageError(str(given), expected=f"a folder with at least one of {suffixes}", found="no such file")
        return videos
    if given.suffix.lower() == ".txt":
        raise UsageError(str(given), expected="a video or a folder", found="a list", hint="Give it with --video-list.")
    if given.exists():
        return [(given.name, given)]
    raise UsageError(str(given), expected="a video or a folder of videos", found="no such file or folder")


def _videos_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in VIDEO_SUFFIXES:
                yield path


def _refuse_folder(error: OSError) -> None:
    # os.walk would skip an unreadable folder in silence, and its videos with it.
    raise UsageError(
        str(error.filename),
        expected="a folder that can be read",
        found=error.strerror or str(error),
        hint="Change its permissions, or give a list of videos instead.",
    ) from error
