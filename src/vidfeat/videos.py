"""Which videos a job is about: list files, folders, paths and patterns, expanded into `VideoRef`s."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, Union, cast
from urllib.parse import unquote

from vidfeat.errors import UsageError, quote, shorten
from vidfeat.lazy_import import import_extra
from vidfeat.storage import find, is_uri, open_object, require_scheme

VIDEO_SUFFIXES = frozenset(
    """
    .264 .265 .3g2 .3gp .amv .asf .avc .avi .dif .divx .dv .evo .f4v .flv .gif .h263 .h264 .h265 .h26l .hevc .insv
    .ismv .ivf .lrv .m1v .m2p .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf
    .nut .obu .ogg .ogm .ogv .ogx .qt .tod .tp .trp .ts .vob .vro .webm .wmv .xvid .y4m
    """.split()
)
"""The suffixes, in lower case, by which `scan` knows a video. A list may name files with any suffix."""

LONGEST_NAME = 4096
"""Most bytes that the key of a video may have, in UTF-8."""

LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".parquet"})
"""The suffixes, in lower case, of list files."""

STDIN = "-"
"""The name of the list that is read from standard input."""

_VIDEO_COLUMNS = ("video", "path")
_LABEL_COLUMN = "label"
_SUFFIXES_NAMED = 8
_REPEATS_NAMED = 5
_LONGEST_LINE = 1 << 20
_ROWS_AT_ONCE = 1 << 14
_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"[+-]?\d+")
_ANY_SUFFIX = "|".join(map(re.escape, sorted(VIDEO_SUFFIXES)))
_SEPARATED_LABEL = re.compile(rf"(.+?(?:{_ANY_SUFFIX}))\s*[,\t](.+)", re.IGNORECASE)
_WILDCARDS = re.compile(r"[*?[]")

Note = Callable[[str], object]


@dataclass(frozen=True)
class Segment:
    """A part of a video that has a row of its own.

    Attributes:
        start_seconds, end_seconds: half-open range of presentation time.
        label: what a list says of it.
        where: file and line of the list, for errors.
    """

    start_seconds: float
    end_seconds: float
    label: str | None = None
    where: str = field(default="", compare=False)


Cut: TypeAlias = Union[tuple[float, float], tuple[tuple[float, float, Union[str, None]], ...]]
"""The part of a video that is looked at, as plain data: one range in seconds, or several with their labels."""


def has_rows(cut: Cut) -> bool:
    """Whether it is several ranges, with a row for each."""
    return isinstance(cut[0], tuple)


def ranges_of(cut: Cut) -> list[tuple[float, float]]:
    """Its ranges, in seconds."""
    parts: Any = cut if has_rows(cut) else (cut,)
    return [(start, end) for start, end, *_ in parts]


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
        segments: parts that have a row each, for the grid `Segments`; there is no `segment` then.
        bytes: its size, where that was known when it was found; not part of what it is.
    """

    key: str
    uri: str
    segment: tuple[float, float] | None = None
    label: str | None = None
    segments: tuple[Segment, ...] = ()
    bytes: int | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VideoRef:
        """From what `dataclasses.asdict` gave, where a tuple is a list."""
        segment, segments = data.get("segment"), data.get("segments", ())
        return cls(
            **{
                **data,
                "segment": None if segment is None else tuple(segment),
                "segments": tuple(Segment(**part) for part in segments),
            }
        )

    @classmethod
    def with_cut(cls, key: str, uri: str, cut: Cut | None) -> VideoRef:
        """The video of which `cut` is looked at."""
        if cut is None or not has_rows(cut):
            return cls(key, uri, cast("tuple[float, float] | None", cut))
        return cls(key, uri, segments=tuple(Segment(*cast("tuple[float, float, str | None]", part)) for part in cut))

    @property
    def cut(self) -> Cut | None:
        """What is looked at; None for all. Features of one cut are not those of another."""
        return tuple((part.start_seconds, part.end_seconds, part.label) for part in self.segments) or self.segment

    @property
    def path(self) -> Path:
        """The local file of one that is no URI."""
        return Path(self.uri)


VideoLike: TypeAlias = Union[str, Path, VideoRef]
"""A folder, a list file, a path, a pattern, or a video that is described already."""


def expand(
    videos: VideoLike | Sequence[VideoLike],
    root: Path | str | None = None,
    *,
    follow_links: bool = False,
    note: Note = lambda line: None,
) -> tuple[VideoRef, ...]:
    """All videos that are meant.

    Args:
        videos: any of these, or a sequence of them: a `VideoRef`; a folder, as in `scan`; a list file that ends in one
            of `LIST_SUFFIXES`, a pipe, or `STDIN`, as in `read_list`; the path of a video; a pattern with `*`, `?` or
            `[`, which stands for the files that match and end in one of `VIDEO_SUFFIXES`, in the order of their names.
            `**` matches folders at any depth, without following links. What a pattern matches is named by its path
            relative to the folder before the first wildcard. A path that exists is no pattern. Any of these may be a
            URI, such as `s3://bucket/folder/`, with one of the schemes in `vidfeat.storage.SCHEMES`.
        root: the folder, or its URI, that the paths in list files are relative to, as in `read_list`.
        follow_links: whether links may lead out of the root of a list, or out of a folder.
        note: takes a line about the files of each folder that are no videos.

    Raises:
        UsageError: as in `read_list` and `scan`; a pattern matches no video; two videos have the same key; a key is
            empty or has more than `LONGEST_NAME` bytes; there is a root and no list.
    """
    given = _several(videos, root)
    found = (_expand_one(video, root, follow_links, note, read_list) for video in given)
    refs = tuple(_distinct(itertools.chain.from_iterable(found)))
    for ref in refs:
        _require_name(ref.key, ref.uri)
    return refs


def expand_lazily(
    videos: VideoLike | Sequence[VideoLike],
    root: Path | str | None = None,
    *,
    follow_links: bool = False,
    note: Note = lambda line: None,
) -> Iterator[VideoRef]:
    """The same one by one, in memory that does not grow with a list. That keys differ is not checked."""
    for video in _several(videos, root):
        for ref in _expand_one(video, root, follow_links, note, _read_lazily):
            _require_name(ref.key, ref.uri)
            yield ref


def _read_lazily(list_file: Path | str, root: Path | str | None, *, follow_links: bool) -> Iterator[VideoRef]:
    return (ref for _, _, ref in _refs_of(list_file, root, follow_links))


def _several(videos: VideoLike | Sequence[VideoLike], root: Path | str | None) -> list[VideoLike]:
    given: list[VideoLike] = [videos] if isinstance(videos, (str, Path, VideoRef)) else list(videos)
    lists = [video for video in given if not isinstance(video, VideoRef) and _is_list(video)]
    if root is not None and not lists:
        raise UsageError("video_root", expected="a list of videos to go with it", found="none")
    return given


def _expand_one(
    video: VideoLike, root: Path | str | None, follow_links: bool, note: Note, read: Callable[..., Iterable[VideoRef]]
) -> Iterable[VideoRef]:
    if isinstance(video, VideoRef):
        return [video]
    if not str(video):
        raise UsageError("videos", expected="a path", found="an empty one", hint="Name the current folder as `.`.")
    video = _without_file_scheme(video)
    if _is_list(video):
        return read(video, root, follow_links=follow_links)
    if is_uri(video):
        listed = find(str(video), VIDEO_SUFFIXES)
        return [VideoRef(found.name, found.uri, bytes=found.bytes or None) for found in listed]
    path = Path(video)
    if not _is(Path.exists, path) and _WILDCARDS.search(str(path)):
        return _matching(path)
    return _videos_at(path, follow_links, note)


def _without_file_scheme(path: Path | str) -> Path | str:
    """A local path in place of a URI that means one."""
    if not str(path).lower().startswith("file://"):
        return path
    return Path(unquote(str(path)[len("file://") :]))


def _is_list(list_file: Path | str) -> bool:
    path = Path(list_file)
    is_named_so = str(path) == STDIN or path.suffix.lower() in LIST_SUFFIXES
    if is_uri(list_file):
        return is_named_so
    return _is(Path.is_fifo, path) or (is_named_so and not _is(Path.is_dir, path))


def read_list(list_file: Path | str, root: Path | str | None, *, follow_links: bool = False) -> list[VideoRef]:
    """The videos named by a list file, one path a line.

    Spaces belong to the path. A whole number after the path, separated by white space, is a label in the manner of
    MMAction2, unless a file is there under the name with the number and none without; after a path that ends in one of
    `VIDEO_SUFFIXES`, so are several, as lists for many labels have them: `"1 7"`. After such a path and a comma or a
    tab, the rest of the line is the label, whatever it is, by the same rule for files that are there. Empty lines and
    lines that start with `#` are skipped; name a file `#1.mp4` as `./#1.mp4`. CRLF and a byte order mark are fine. The
    text is UTF-8; other bytes are kept as they are (`surrogateescape`).

    Where the first line names the columns of a table, one of them `video` or `path`, the paths are in that column, and
    labels in the column `label`, if there is one. Cells are separated by tabs or commas, and may be in double quotes.

    A list that ends in `.parquet` is a table with such columns: paths are strings, labels strings or whole numbers, and
    rows stand for lines. It is read some rows at a time.

    Args:
        list_file: the list, or `STDIN`; it is read once and from start to end, so that it may be a pipe. It may be a
            URI.
        root: the folder that the paths are relative to. No path may then lead out of it: not by `..`, not as an
            absolute path, not through a symbolic link; an absolute path inside it is named relative to it. Without a
            root, paths are relative to the current folder, and nothing is confined: absolute paths and `..` lead
            wherever they lead, so read lists of strangers with a root. It may be the URI of a folder: then a line is
            a path below it, or a URI that begins with it. The root of a list that is a URI is, by default, the folder
            that the list is in. No other list may name URIs.
        follow_links: whether symbolic links may lead out of the root after all.

    Returns:
        The videos in the order of the list. A file that does not exist is still one: it fails later, alone.

    Raises:
        UsageError: the root is no folder; or, naming the line, the list cannot be read, is empty or binary, is a table
            without a column of videos, has a URI though it is local, leaves the root, has a name of more than
            `LONGEST_NAME` bytes, or repeats paths, of which the first ones are named.
    """
    refs: list[VideoRef] = []
    first_line: dict[str, int] = {}
    repeats: list[tuple[int, str, int]] = []
    for number, file, ref in _refs_of(list_file, root, follow_links):
        if file in first_line:
            repeats.append((number, ref.key, first_line[file]))
            continue
        first_line[file] = number
        refs.append(ref)
    if repeats:
        raise _repeated(list_file, repeats)
    if not refs:
        raise UsageError(str(list_file), expected="at least one path, one a line", found="none")
    return refs


def _refs_of(list_file: Path | str, root: Path | str | None, follow_links: bool) -> Iterator[tuple[int, str, VideoRef]]:
    """The lines of a list: number, file, and the video."""
    list_file, root = _without_file_scheme(list_file), None if root is None else _without_file_scheme(root)
    if is_uri(root) or is_uri(list_file):
        yield from _refs_below(list_file, root)
        return
    root = None if root is None else Path(root)
    if root is not None and not _is(Path.is_dir, root):
        raise UsageError(
            f"video_root {str(root)!r}",
            expected="the folder that the list's paths start from",
            found="a file" if _is(Path.is_file, root) else "no such folder",
            hint="Correct video_root, or mount what it should hold.",
        )
    confined = None if root is None else _Confinement(root, follow_links)
    base = Path() if root is None else root
    for number, name, label in _named_videos(list_file, base):
        where = f"{list_file}:{number}"
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
        yield number, os.path.normpath(base / key), VideoRef(key, str(path), label=label)


def _refs_below(list_file: Path | str, root: Path | str | None) -> Iterator[tuple[int, str, VideoRef]]:
    """The same of a list, or with a root, behind a URI: no line leads out of the root."""
    folder = str(root if root is not None else str(list_file).rpartition("/")[0]).rstrip("/") + "/"
    if not is_uri(folder):
        raise UsageError(
            "video_root", expected="a URI, as the list is one", found=quote(folder), hint="Copy the list first."
        )
    require_scheme(folder, "video_root")
    for number, name, label in _named_videos(list_file, None):
        where = f"{list_file}:{number}"
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
        yield number, key, VideoRef(key, folder + key, label=label)


def scan(paths: Sequence[Path], *, follow_links: bool = False, note: Note = lambda line: None) -> list[VideoRef]:
    """The videos among `paths`: files as they are, folders with everything below them.

    In a folder, videos are known by `VIDEO_SUFFIXES` and taken in the order of their names. Hidden files and folders
    are skipped. A symbolic link to a file counts as that file, wherever it leads, as data sets are often folders of
    links. A link to a folder is followed.

    Args:
        paths: files and folders.
        follow_links: whether links to folders may lead out of the folder that is scanned.
        note: takes a line about the files of each folder that are no videos: how many, by suffix.

    Returns:
        The videos in the order of `paths`. A video in a folder is named by its path relative to that folder, a file
        by its own name.

    Raises:
        UsageError: a path does not exist or is a list, a folder holds no video, two videos have the same key, or a link
            leads out of the folder, or back to a folder that it is in.
    """
    for path in paths:
        if _is_list(path):
            raise UsageError(str(path), expected="a video or a folder", found="a list", hint="Give it as video_list.")
    return _distinct(itertools.chain.from_iterable(_videos_at(path, follow_links, note) for path in paths))


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


def _named_videos(list_file: Path | str, base: Path | None) -> Iterator[tuple[int, str, str | None]]:
    """Line number, path and label of each video."""
    if Path(list_file).suffix.lower() == ".parquet":
        yield from _rows_of_parquet(list_file)
        return
    lines = _lines(list_file)
    for number, line in itertools.islice(lines, 1):
        columns = _columns(line, list_file, base)
        if columns is not None:
            yield from _rows_of_table(lines, *columns, list_file)
            return
        yield number, *_split_label(line, base)
    for number, line in lines:
        yield number, *_split_label(line, base)


def _columns(line: str, list_file: Path | str, base: Path | None) -> tuple[str, list[str]] | None:
    """The separator and the columns of a table whose first line this is; None where it names a video."""
    separator = "\t" if "\t" in line else ","
    names = [name.strip().lower() for name in _cells(line, separator)]
    is_table = Path(list_file).suffix.lower() in (".csv", ".tsv")
    if any(name in _VIDEO_COLUMNS for name in names) and (len(names) > 1 or is_table):
        is_file = base is not None and _is(Path.is_file, base / line)
        return None if is_file else (separator, names)
    if is_table and len(names) > 1 and not _is_video(Path(names[0])):
        raise UsageError(
            f"{list_file}:1",
            expected=f"a column called {' or '.join(_VIDEO_COLUMNS)}",
            found=", ".join(map(repr, names)),
            hint="Name the column of the paths so in the first line, or write a path and a label on each line.",
        )
    return None


def _rows_of_table(
    lines: Iterable[tuple[int, str]], separator: str, columns: Sequence[str], list_file: Path | str
) -> Iterator[tuple[int, str, str | None]]:
    video = next(columns.index(name) for name in _VIDEO_COLUMNS if name in columns)
    label = columns.index(_LABEL_COLUMN) if _LABEL_COLUMN in columns else None
    for number, line in lines:
        cells = _cells(line, separator)
        cells += [""] * (len(columns) - len(cells))  # separators at the end are stripped with the white space
        if len(cells) != len(columns):
            raise UsageError(
                f"{list_file}:{number}",
                expected=f"at most {len(columns)} cells, as in the first line",
                found=f"{len(cells)}",
                hint="Put cells that hold the separator in double quotes.",
            )
        yield number, cells[video].strip(), None if label is None else cells[label].strip() or None


def _rows_of_parquet(list_file: Path | str) -> Iterator[tuple[int, str, str | None]]:
    """Row number from 1, path and label of each video."""
    arrow, parquet = (
        import_extra(module, "parquet", list_file, "lists in Parquet") for module in ("pyarrow", "pyarrow.parquet")
    )

    def holds_text(kind: Any) -> bool:
        kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
        return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))

    try:
        with _open_list(list_file) as file:
            table = parquet.ParquetFile(file)
            columns = {field.name.strip().lower(): field for field in reversed(table.schema_arrow)}
            video = next((columns[name] for name in _VIDEO_COLUMNS if name in columns), None)
            label = columns.get(_LABEL_COLUMN)
            if video is None or not holds_text(video.type):
                raise UsageError(
                    str(list_file),
                    expected=f"a column of strings called {' or '.join(_VIDEO_COLUMNS)}",
                    found=", ".join(f"{quote(field.name)} ({field.type})" for field in columns.values()),
                )
            if label is not None and not (holds_text(label.type) or arrow.types.is_integer(label.type)):
                raise UsageError(
                    str(list_file), expected="labels that are strings or whole numbers", found=str(label.type)
                )
            wanted = [field.name for field in (video, label) if field is not None]
            numbers = itertools.count(1)
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                labels = itertools.repeat(None) if label is None else batch.column(label.name).to_pylist()
                for number, path, text in zip(numbers, batch.column(video.name).to_pylist(), labels, strict=False):
                    yield number, (path or "").strip(), (None if text is None else str(text).strip() or None)
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise UsageError(str(list_file), expected="a readable list of videos in Parquet", found=str(error)) from error


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator))
    except csv.Error:  # a cell of more than 131072 characters, which is no path
        return [line]


def _open_list(list_file: Path | str) -> contextlib.AbstractContextManager[Any]:
    if str(list_file) == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    return open_object(str(list_file)) if is_uri(list_file) else Path(list_file).open("rb")


def _lines(list_file: Path | str) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and the lines that hold a path, stripped."""
    try:
        with _open_list(list_file) as file:
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

    def is_file(name: str) -> bool:
        return base is not None and _is(Path.is_file, base / name)

    separated = _SEPARATED_LABEL.fullmatch(line)
    if separated and (is_file(separated[1]) or not is_file(line)):
        return separated[1], " ".join(separated[2].split())
    words = line.split()
    labels = sum(1 for _ in itertools.takewhile(_LABEL.fullmatch, reversed(words[1:])))
    if not labels:
        return line, None
    path = line.rsplit(maxsplit=labels)[0]
    if not _is_video(Path(path)):
        path, labels = line.rsplit(maxsplit=1)[0], 1
    if is_file(line) and not is_file(path):
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

    def __init__(self, root: Path, follow_links: bool) -> None:
        self._root, self._follow_links = root, follow_links
        self._real_root = _real(root)
        # Lists are long and their folders are few: each folder is resolved once.
        self._real_folder = lru_cache(maxsize=4096)(_real)

    def name_of(self, path: Path, where: str) -> str:
        is_below = path.is_relative_to(self._root) and ".." not in path.parts
        if is_below and self._follow_links and path != self._root:
            return path.relative_to(self._root).as_posix()
        real = self._real_folder(path.parent) / path.name
        if path.name == ".." or _is(Path.is_symlink, path):
            real = _real(path)
        if not real.is_relative_to(self._real_root):
            raise UsageError(
                where,
                expected=f"a path inside video_root {self._root}",
                found=f"{quote(str(path))}, which leads to {shorten(str(real))}",
                hint="Give `follow_links=True` where the links below the root can be trusted."
                if is_below
                else "Correct the line, or choose a root that holds all videos.",
            )
        if real == self._real_root:
            raise UsageError(where, expected="a file inside video_root", found="the root itself")
        if is_below:
            return path.relative_to(self._root).as_posix()
        return real.relative_to(self._real_root).as_posix()


def _real(path: Path) -> Path:
    # Path.resolve raises on loops of links in some Python versions; realpath leaves them as they are.
    return Path(os.path.realpath(path))


# --- folders and patterns ---------------------------------------------------------------------------------------------


def _videos_at(given: Path, follow_links: bool, note: Note) -> list[VideoRef]:
    if _is(Path.is_dir, given):
        skipped: Counter[str] = Counter()
        videos = _named_from(given, _videos_below(given, follow_links, skipped))
        if skipped:
            note(_skipped(given, skipped))
        return videos
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
        raise UsageError(
            pattern or str(folder),
            expected=f"{'a pattern that matches' if pattern else 'a folder with'} at least one video",
            found="no file with a suffix such as .mp4 or .mkv",
            hint="A list may name files with any suffix.",
        )
    return [VideoRef(key, uri) for key, uri in named]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _videos_below(folder: Path, follow_links: bool, skipped: Counter[str]) -> Iterator[Path]:
    """The videos in a folder and those below it; the suffixes of the other files are counted."""
    root = _real(folder)
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for link in (Path(parent, name) for name in folders):
            if _is(Path.is_symlink, link):
                _require_way_down(link, folder, root, follow_links)
        for name in files:
            path = Path(parent, name)
            if not name.startswith("."):
                if _is_video(path):
                    yield path
                else:
                    skipped[path.suffix.lower()] += 1


def _require_way_down(link: Path, folder: Path, root: Path, follow_links: bool) -> None:
    """Refuse a link to a folder that would never end, or that leads to where nobody said that videos are."""
    target = _real(link)
    above = link.parents[: len(link.relative_to(folder).parts)]
    if any(_real(path).is_relative_to(target) for path in above):
        raise UsageError(
            str(link),
            expected="links to folders without a cycle",
            found=f"a link to {shorten(str(target))}, which contains it",
            hint="Remove the link, or give a list of videos instead.",
        )
    if not follow_links and not target.is_relative_to(root):
        raise UsageError(
            str(link),
            expected=f"links to folders inside {shorten(str(folder))}",
            found=f"a link to {shorten(str(target))}",
            hint="Give `follow_links=True` to take the videos there as well.",
        )


def _skipped(folder: Path, suffixes: Counter[str]) -> str:
    """A line about files that are no videos."""
    count = suffixes.total()
    named = [f"{number} {suffix or 'without a suffix'}" for suffix, number in suffixes.most_common(_SUFFIXES_NAMED)]
    more = [f"{len(suffixes) - len(named)} more suffixes"] if len(suffixes) > len(named) else []
    return f"{count} file{'s' if count > 1 else ''} skipped in {folder}: {', '.join(named + more)}"


def _refuse_folder(error: OSError) -> None:
    # os.walk would skip an unreadable folder in silence, and its videos with it.
    raise UsageError(
        str(error.filename),
        expected="a folder that can be read",
        found=error.strerror or str(error),
        hint="Change its permissions, or give a list of videos instead.",
    ) from error


# --- segments ---------------------------------------------------------------------------------------------------------

_COLUMNS = ("video", "start", "end", "label")


def read_segments(csv_file: Path, videos: Sequence[VideoRef] | None, root: Path | None = None) -> tuple[VideoRef, ...]:
    """The videos of a table of segments, each with its segments in the order of their starts.

    Args:
        csv_file: lines `video,start,end` or `video,start,end,label` with times in seconds, with or without a header,
            which may name further columns.
        videos: those that the table may name, by their keys, or their keys without suffix; the ones that it does not
            name are left out. None: it names files.
        root: as in `read_list`, for those files.

    Raises:
        UsageError: naming the line: a line is no segment, a start is not before its end, or a video is not among
            `videos`. Or the table cannot be read, or is empty.
    """
    found: dict[str, list[Segment]] = {}
    for where, (video, start, end, label) in _segment_lines(csv_file):
        found.setdefault(video, []).append(Segment(_seconds(start, where), _seconds(end, where), label or None, where))
        if not found[video][-1].start_seconds < found[video][-1].end_seconds:
            raise UsageError(where, expected="a start before the end", found=f"{start} to {end}")
    if not found:
        raise UsageError(str(csv_file), expected="at least one line video,start,end", found="none")
    if videos is None:
        refs = _files_of_segments({name: parts[0].where for name, parts in found.items()}, root)
    else:
        refs = _videos_of_segments({name: parts[0].where for name, parts in found.items()}, videos)
    by_start: Callable[[Segment], tuple[float, float]] = lambda part: (part.start_seconds, part.end_seconds)  # noqa: E731
    return tuple(replace(ref, segments=tuple(sorted(found[name], key=by_start))) for name, ref in refs.items())


def _segment_lines(csv_file: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Place and the cells `_COLUMNS` of each line; an empty label where there is none."""
    places: Sequence[int] = range(4)
    try:
        with csv_file.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for cells in reader:
                where = f"{csv_file}:{reader.line_num}"
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if reader.line_num == 1 and set(_COLUMNS[:3]) <= {cell.lower() for cell in cells}:
                    names = [cell.lower() for cell in cells]
                    places = [names.index(name) if name in names else len(names) for name in _COLUMNS]
                    continue
                line = tuple(cells[place] if place < len(cells) else "" for place in places)
                if not all(line[:3]):
                    raise UsageError(where, expected="video,start,end or video,start,end,label", found=",".join(cells))
                _require_name(line[0], where)
                yield where, line
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise UsageError(str(csv_file), expected="a table of segments in UTF-8", found=found) from error


def _seconds(text: str, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UsageError(where, expected="a number of seconds", found=quote(text))
    return seconds


def _files_of_segments(places: Mapping[str, str], root: Path | None) -> dict[str, VideoRef]:
    confined, base = (None, Path()) if root is None else (_Confinement(root, follow_links=False), root)
    keys = {name: name if confined is None else confined.name_of(base / name, where) for name, where in places.items()}
    _distinct(VideoRef(key, str(base / name)) for name, key in keys.items())
    return {name: VideoRef(key, str(base / name)) for name, key in keys.items()}


def _videos_of_segments(places: Mapping[str, str], videos: Sequence[VideoRef]) -> dict[str, VideoRef]:
    by_name: dict[str, list[VideoRef]] = {}
    for video in videos:
        for name in {video.key, os.path.splitext(video.key)[0]}:  # noqa: PTH122
            by_name.setdefault(name, []).append(video)
    for name, where in places.items():
        if len(by_name.get(name, ())) != 1:
            several = ", ".join(quote(video.key) for video in by_name.get(name, ()))
            found = f"{quote(name)}, which may be {several}" if several else f"{quote(name)}, which is none of them"
            raise UsageError(where, expected=f"one of the {len(videos)} videos", found=found)
    return {name: by_name[name][0] for name in places}
