"""Which videos a job is about: list files, folders, paths and patterns, expanded into `VideoRef`s."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias, Union
from urllib.parse import unquote

from vidfeat.errors import UsageError, quote, shorten
from vidfeat.storage import find, is_uri, open_lines, require_scheme

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

LONGEST_NAME = 4096
"""Most bytes that the key of a video may have, in UTF-8."""

_REPEATS_NAMED = 5
_LONGEST_LINE = 1 << 20
_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"[+-]?\d+")
_WILDCARDS = re.compile(r"[*?[]")


@dataclass(frozen=True)
class VideoRef:
    """One video to take features of.

    Attributes:
        key: its name in outputs: the path as the list has it, or relative to the folder scanned; with `/` between
            folders, without `.` components and doubled slashes. No two videos of a job have the same.
        uri: where it is: a local path, or a URI of `vidfeat.storage.SCHEMES`. It need not exist: then this video
            fails, alone.
        segment: the half-open range of presentation time that is looked at, `(start, end)` in seconds; None for all.
        label: its class, where the list says it.
        bytes: its size, where that was known when it was found; not part of what it is.
    """

    key: str
    uri: str
    segment: tuple[float, float] | None = None
    label: str | None = None
    bytes: int | None = field(default=None, compare=False, repr=False)

    @property
    def path(self) -> Path:
        """The local file of one that is no URI."""
        return Path(self.uri)


VideoLike: TypeAlias = Union[str, Path, VideoRef]
"""A folder, a list file, a path, a pattern, or a video that is described already."""


def expand(videos: VideoLike | Sequence[VideoLike], root: Path | str | None = None) -> tuple[VideoRef, ...]:
    """All videos that are meant.

    Args:
        videos: any of these, or a sequence of them: a `VideoRef`; a folder, as in `scan`; a list file that ends in
            `.txt`, or a pipe, as in `read_list`; the path of a video; a pattern with `*`, `?` or `[`, which stands for
            the files that match and end in one of `VIDEO_SUFFIXES`, in the order of their names. `**` matches folders
            at any depth, without following links. What a pattern matches is named by its path relative to the folder
            before the first wildcard. A path that exists is no pattern. Any of these may be a URI, such as
            `s3://bucket/folder/`, with one of the schemes in `vidfeat.storage.SCHEMES`.
        root: the folder, or its URI, that the paths in list files are relative to, as in `read_list`.

    Raises:
        UsageError: as in `read_list` and `scan`; a pattern matches no video; two videos have the same key; a key is
            empty or has more than `LONGEST_NAME` bytes; there is a root and no list.
    """
    given = [videos] if isinstance(videos, (str, Path, VideoRef)) else list(videos)
    lists = [video for video in given if not isinstance(video, VideoRef) and _is_list(video)]
    if root is not None and not lists:
        raise UsageError("video_root", expected="a list of videos to go with it", found="none")
    refs = tuple(_distinct(itertools.chain.from_iterable(_expand_one(video, root) for video in given)))
    for ref in refs:
        _require_name(ref.key, ref.uri)
    return refs


def _expand_one(video: VideoLike, root: Path | str | None) -> Sequence[VideoRef]:
    if isinstance(video, VideoRef):
        return [video]
    if not str(video):
        raise UsageError("videos", expected="a path", found="an empty one", hint="Name the current folder as `.`.")
    video = _without_file_scheme(video)
    if _is_list(video):
        return read_list(video, root)
    if is_uri(video):
        return [
            VideoRef(found.name, found.uri, bytes=found.bytes or None) for found in find(str(video), VIDEO_SUFFIXES)
        ]
    path = Path(video)
    if not _is(Path.exists, path) and _WILDCARDS.search(str(path)):
        return _matching(path)
    return _videos_at(path)


def _without_file_scheme(path: Path | str) -> Path | str:
    """A local path in place of a URI that means one."""
    if not str(path).lower().startswith("file://"):
        return path
    return Path(unquote(str(path)[len("file://") :]))


def _is_list(list_file: Path | str) -> bool:
    path = Path(list_file)
    if is_uri(list_file):
        return path.suffix.lower() == ".txt"
    return _is(Path.is_fifo, path) or (path.suffix.lower() == ".txt" and not _is(Path.is_dir, path))


def read_list(list_file: Path | str, root: Path | str | None) -> list[VideoRef]:
    """The videos named by a list file, one path a line.

    Spaces belong to the path. A whole number after the path, separated by white space, is a label in the manner of
    MMAction2, unless a file is there under the name with the number and none without; after a path that ends in one of
    `VIDEO_SUFFIXES`, so are several, as lists for many labels have them: `"1 7"`. Empty lines and lines that start with
    `#` are skipped; name a file `#1.mp4` as `./#1.mp4`. CRLF and a byte order mark are fine. The text is UTF-8; other
    bytes are kept as they are (`surrogateescape`).

    Args:
        list_file: the list; it is read once and from start to end, so that it may be a pipe. It may be a URI.
        root: the folder that the paths are relative to. No path may then lead out of it: not by `..`, not as an
            absolute path, not through a symbolic link; an absolute path inside it is named relative to it. Without a
            root, paths are relative to the current folder, and nothing is confined: absolute paths and `..` lead
            wherever they lead, so read lists of strangers with a root. It may be the URI of a folder: then a line is
            a path below it, or a URI that begins with it. The root of a list that is a URI is, by default, the folder
            that the list is in. No other list may name URIs.

    Returns:
        The videos in the order of the list. A file that does not exist is still one: it fails later, alone.

    Raises:
        UsageError: the root is no folder; or, naming the line, the list cannot be read, is empty or binary, leaves the
            root, has a name of more than `LONGEST_NAME` bytes, or repeats paths, of which the first ones are named.
    """
    list_file, root = _without_file_scheme(list_file), None if root is None else _without_file_scheme(root)
    if is_uri(root) or is_uri(list_file):
        return _read_remote_list(list_file, root)
    root = None if root is None else Path(root)
    if root is not None and not _is(Path.is_dir, root):
        raise UsageError(
            f"video_root {str(root)!r}",
            expected="the folder that the list's paths start from",
            found="a file" if _is(Path.is_file, root) else "no such folder",
            hint="Correct video_root, or mount what it should hold.",
        )
    confined = None if root is None else _Confinement(root)
    base = Path() if root is None else root
    refs: list[VideoRef] = []
    first_line: dict[str, int] = {}
    repeats: list[tuple[int, str, int]] = []
    for number, line in _lines(list_file):
        where = f"{list_file}:{number}"
        name, label = _split_label(line, base)
        _require_name(name, where)
        if is_uri(name):
            raise UsageError(
                where,
                expected="a path, as the list and its root are local",
                found=quote(name),
                hint="Pass the URI of the folder that holds the videos as `video_root`.",
            )
        path = base / name
        key = path.as_posix() if confined is None else confined.name_of(path, where)
        normal = os.path.normpath(base / key)
        if normal in first_line:
            repeats.append((number, key, first_line[normal]))
            continue
        first_line[normal] = number
        refs.append(VideoRef(key, str(path), label=label))
    return _list_of(list_file, refs, repeats)


def _read_remote_list(list_file: Path | str, root: Path | str | None) -> list[VideoRef]:
    """`read_list` with a list, or a root, behind a URI: no line leads out of the root."""
    folder = str(root if root is not None else str(list_file).rpartition("/")[0]).rstrip("/") + "/"
    if not is_uri(folder):
        raise UsageError(
            "video_root", expected="a URI, as the list is one", found=quote(folder), hint="Copy the list first."
        )
    require_scheme(folder, "video_root")
    first_line: dict[str, int] = {}
    repeats: list[tuple[int, str, int]] = []
    refs = []
    for number, line in _lines(list_file):
        where = f"{list_file}:{number}"
        name, label = _split_label(line, None)
        key = name.removeprefix(folder)
        _require_name(key, where)
        if is_uri(key) or key.startswith("/") or ".." in re.split(r"[/\\]", unquote(key)):
            raise UsageError(
                where,
                expected=f"a path below video_root {folder}",
                found=quote(name),
                hint="Correct the line, or choose a root that holds all videos.",
            )
        key = os.path.normpath(key)
        if key in first_line:
            repeats.append((number, key, first_line[key]))
            continue
        first_line[key] = number
        refs.append(VideoRef(key, folder + key, label=label))
    return _list_of(list_file, refs, repeats)


def _list_of(list_file: Path | str, refs: list[VideoRef], repeats: Sequence[tuple[int, str, int]]) -> list[VideoRef]:
    """The videos of a list.

    Raises:
        UsageError: there are none, or lines repeat others.
    """
    if repeats:
        raise _repeated(list_file, repeats)
    if not refs:
        raise UsageError(str(list_file), expected="at least one path, one a line", found="none")
    return refs


def scan(paths: Sequence[Path]) -> list[VideoRef]:
    """The videos among `paths`: files as they are, folders with everything below them.

    In a folder, videos are known by `VIDEO_SUFFIXES` and taken in the order of their names. Hidden files and folders
    are skipped. A symbolic link to a file counts as that file, wherever it leads, as data sets are often folders of
    links; a link to a folder is not followed, so that there are no loops.

    Returns:
        The videos in the order of `paths`. A video in a folder is named by its path relative to that folder, a file
        by its own name.

    Raises:
        UsageError: a path does not exist or is a list, a folder holds no video, or two videos have the same key.
    """
    for path in paths:
        if _is_list(path):
            raise UsageError(str(path), expected="a video or a folder", found="a list", hint="Give it as video_list.")
    return _distinct(itertools.chain.from_iterable(map(_videos_at, paths)))


def list_digest(keys: Iterable[str]) -> str:
    """SHA-256, as 64 hex digits, over the keys in order, each in UTF-8 and followed by a zero byte.

    Raises:
        UnicodeEncodeError: a key that no file can have.
    """
    digest = hashlib.sha256()
    for key in keys:
        digest.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _distinct(refs: Iterable[VideoRef]) -> list[VideoRef]:
    found: dict[str, VideoRef] = {}
    for ref in refs:
        if ref.key in found:
            raise UsageError(
                ref.uri,
                expected="videos with different names, as outputs are named after them",
                found=f"{quote(ref.key)} also at {shorten(found[ref.key].uri)}",
                hint="Give the folder above both, or run them apart.",
            )
        found[ref.key] = ref
    if not found:
        raise UsageError("videos", expected="at least one video or folder", found="none")
    return list(found.values())


def _require_name(name: str, where: str) -> None:
    try:
        size = len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= LONGEST_NAME or "\0" in name:
        raise UsageError(
            where,
            expected=f"a name of at most {LONGEST_NAME:,} bytes, as a file can have",
            found=f"{size:,} bytes, {quote(name)}" if size > LONGEST_NAME else quote(name),
        )


def _repeated(list_file: Path | str, repeats: Sequence[tuple[int, str, int]]) -> UsageError:
    """The error for lines that name a video again: their numbers, the names, and the lines that named them first."""
    found = "; ".join(
        f"{quote(name)} on line {number}, which is already on line {first}"
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


def _lines(list_file: Path | str) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and the lines that hold a path, stripped."""
    try:
        with open_lines(str(list_file)) if is_uri(list_file) else Path(list_file).open("rb") as file:
            # A line of a binary file can be as long as the file.
            for number, raw in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
                where = f"{list_file}:{number}"
                if b"\0" in raw:
                    raise _binary(where)
                if len(raw) == _LONGEST_LINE:
                    raise UsageError(where, expected="one path a line", found=f"at least {_LONGEST_LINE:,} bytes")
                raw = raw.removeprefix(_BOM) if number == 1 else raw
                line = raw.decode("utf-8", "surrogateescape").strip()
                if line and not line.startswith("#"):
                    yield number, line
    except OSError as error:
        raise UsageError(
            str(list_file), expected="a readable list of videos", found=error.strerror or str(error)
        ) from error


def _binary(where: str) -> UsageError:
    return UsageError(
        where,
        expected="text in UTF-8, one path a line",
        found="a zero byte, as in a binary file or in UTF-16",
        hint="Check that this is the list and not a video; save a UTF-16 list as UTF-8.",
    )


def _split_label(line: str, base: Path | None) -> tuple[str, str | None]:
    """The path and the label of a line; a file below `base`, if it is local, decides what is which."""
    words = line.split()
    labels = sum(1 for _ in itertools.takewhile(_LABEL.fullmatch, reversed(words[1:])))
    if not labels:
        return line, None
    path = line.rsplit(maxsplit=labels)[0]
    if not _is_video(Path(path)):
        path, labels = line.rsplit(maxsplit=1)[0], 1
    if base is not None and _is(Path.is_file, base / line) and not _is(Path.is_file, base / path):
        return line, None
    return path, " ".join(words[-labels:])


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    """What `Path.is_file` or the like says; no for names that the system cannot take, such as too long ones."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


class _Confinement:
    """Names paths relative to a root, and refuses those that lead out of it."""

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
                expected=f"a path inside video_root {self._root}",
                found=f"{quote(str(path))}, which leads to {shorten(str(real))}",
                hint="Correct the line, or choose a root that holds all videos and what their links lead to.",
            )
        if real == self._real_root:
            raise UsageError(where, expected="a file inside video_root", found="the root itself")
        if path.is_relative_to(self._root) and ".." not in path.parts:
            return path.relative_to(self._root).as_posix()
        return real.relative_to(self._real_root).as_posix()


def _real(path: Path) -> Path:
    # Path.resolve raises on loops of links in some Python versions; realpath leaves them as they are.
    return Path(os.path.realpath(path))


# --- folders and patterns ---------------------------------------------------------------------------------------------


def _videos_at(given: Path) -> list[VideoRef]:
    if _is(Path.is_dir, given):
        return _named_from(given, _videos_below(given))
    if _is(Path.exists, given):
        return [VideoRef(given.name, str(given))]
    raise UsageError(str(given), expected="a video or a folder of videos", found="no such file or folder")


def _matching(pattern: Path) -> list[VideoRef]:
    fixed = list(itertools.takewhile(lambda part: not _WILDCARDS.search(part), pattern.parts))
    folder, rest = Path(*fixed), pattern.parts[len(fixed) :]
    if rest[-1] == "**":
        rest = (*rest, "*")
    try:
        # Unlike glob.glob, this does not follow links for `**`, where there may be loops.
        found = list(folder.glob("/".join(rest)))
    except ValueError as error:
        raise UsageError(str(pattern), expected="a pattern for paths", found=str(error)) from error
    visible = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return _named_from(folder, (path for path in visible if _is_video(path) and _is(Path.is_file, path)), str(pattern))


def _named_from(folder: Path, videos: Iterable[Path], pattern: str = "") -> list[VideoRef]:
    """The videos, in the order of their names, which are relative to the folder."""
    named = sorted((path.relative_to(folder).as_posix(), str(path)) for path in videos)
    if not named:
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        raise UsageError(
            pattern or str(folder),
            expected=f"{'a pattern that matches' if pattern else 'a folder with'} at least one of {suffixes}",
            found="no such file",
        )
    return [VideoRef(key, uri) for key, uri in named]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _videos_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if not name.startswith(".") and _is_video(path):
                yield path


def _refuse_folder(error: OSError) -> None:
    # os.walk would skip an unreadable folder in silence, and its videos with it.
    raise UsageError(
        str(error.filename),
        expected="a folder that can be read",
        found=error.strerror or str(error),
        hint="Change its permissions, or give a list of videos instead.",
    ) from error
