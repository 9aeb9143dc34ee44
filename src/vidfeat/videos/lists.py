"""List files: text, tables and Parquet, of videos below a root or anywhere."""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from vidfeat.errors import UsageError, quote, shorten, system_errors
from vidfeat.lazy_import import import_extra
from vidfeat.storage import is_uri, open_object, require_scheme
from vidfeat.videos.folders import VIDEO_SUFFIXES, is_video, path_is, real_path
from vidfeat.videos.references import VideoRef, require_name, without_file_scheme

LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".parquet"})
"""The suffixes, in lower case, of list files."""

STDIN = "-"
"""The name of the list that is read from standard input."""

_VIDEO_COLUMNS = ("video", "path")
_LABEL_COLUMN = "label"
_REPEATS_NAMED = 5
_LONGEST_LINE = 1 << 20
_ROWS_AT_ONCE = 64  # few, as a hostile table can have a megabyte in each, and the first that is too long ends it
_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"[+-]?\d+")
_ANY_SUFFIX = "|".join(map(re.escape, sorted(VIDEO_SUFFIXES)))
_SEPARATED_LABEL = re.compile(rf"(.+?(?:{_ANY_SUFFIX}))\s*[,\t](.+)", re.IGNORECASE)


def is_list(list_file: Path | str) -> bool:
    path = Path(list_file)
    is_named_so = str(path) == STDIN or path.suffix.lower() in LIST_SUFFIXES
    if is_uri(list_file):
        return is_named_so
    return path_is(Path.is_fifo, path) or (is_named_so and not path_is(Path.is_dir, path))


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


def iterate_list(list_file: Path | str, root: Path | str | None, *, follow_links: bool = False) -> Iterator[VideoRef]:
    """The same one by one, in memory that does not grow with the list. Repeats and empty lists are not refused."""
    return (ref for _, _, ref in _refs_of(list_file, root, follow_links))


def _refs_of(list_file: Path | str, root: Path | str | None, follow_links: bool) -> Iterator[tuple[int, str, VideoRef]]:
    """The lines of a list: number, file, and the video."""
    list_file, root = without_file_scheme(list_file), None if root is None else without_file_scheme(root)
    if is_uri(root) or is_uri(list_file):
        yield from _refs_below(list_file, root)
        return
    root = None if root is None else Path(root)
    if root is not None and not path_is(Path.is_dir, root):
        raise UsageError(
            "video_root",
            expected="the folder that the paths of the list are relative to",
            found=f"{'a file' if path_is(Path.is_file, root) else 'no folder'} at {quote(str(root))}",
            hint="Correct the path, or mount the disk.",
        )
    confined = None if root is None else Confinement(root, follow_links)
    base = Path() if root is None else root
    for number, name, label in _named_videos(list_file, base):
        where = f"{list_file}:{number}"
        require_name(name, where)
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
        require_name(key, where)
        if is_uri(key) or key.startswith("/") or ".." in re.split(r"[/\\]", unquote(key)):
            raise UsageError(
                where,
                expected=f"a path below `video_root`, {folder}",
                found=quote(name),
                hint="Correct the line, or choose a root that holds all videos.",
            )
        key = os.path.normpath(key)
        yield number, key, VideoRef(key, folder + key, label=label)


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
        is_file = base is not None and path_is(Path.is_file, base / line)
        return None if is_file else (separator, names)
    if is_table and len(names) > 1 and not is_video(Path(names[0])):
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
    with system_errors(UsageError, list_file, expected="a readable list of videos"), _open_list(list_file) as file:
        # A line of a binary file can be as long as the file.
        for number, raw in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
            where = f"{list_file}:{number}"
            if b"\0" in raw:
                raise UsageError(
                    where,
                    expected="text in UTF-8, one path a line",
                    found="a zero byte, as in a binary file or in UTF-16",
                    hint="Check that this is the list and not a video; save a UTF-16 list as UTF-8.",
                )
            if len(raw) == _LONGEST_LINE:
                raise UsageError(where, expected="one path a line", found=f"at least {_LONGEST_LINE:,} bytes")
            raw = raw.removeprefix(_BOM) if number == 1 else raw
            line = raw.decode("utf-8", "surrogateescape").strip()
            if line and not line.startswith("#"):
                yield number, line


def _split_label(line: str, base: Path | None) -> tuple[str, str | None]:
    """The path and the label of a line; a file below `base`, if it is local, decides what is which."""

    def is_file(name: str) -> bool:
        return base is not None and path_is(Path.is_file, base / name)

    separated = _SEPARATED_LABEL.fullmatch(line)
    if separated and (is_file(separated[1]) or not is_file(line)):
        return separated[1], " ".join(separated[2].split())
    words = line.split()
    labels = sum(1 for _ in itertools.takewhile(_LABEL.fullmatch, reversed(words[1:])))
    if not labels:
        return line, None
    path = line.rsplit(maxsplit=labels)[0]
    if not is_video(Path(path)):
        path, labels = line.rsplit(maxsplit=1)[0], 1
    if is_file(line) and not is_file(path):
        return line, None
    return path, " ".join(words[-labels:])


class Confinement:
    """Names paths relative to a root, and refuses those that lead out of it."""

    def __init__(self, root: Path, follow_links: bool) -> None:
        self._root, self._follow_links = root, follow_links
        self._real_root = real_path(root)
        # Lists are long and their folders are few: each folder is resolved once.
        self._real_folder = lru_cache(maxsize=4096)(real_path)

    def name_of(self, path: Path, where: str) -> str:
        is_below = path.is_relative_to(self._root) and ".." not in path.parts
        if is_below and self._follow_links and path != self._root:
            return path.relative_to(self._root).as_posix()
        real = self._real_folder(path.parent) / path.name
        if path.name == ".." or path_is(Path.is_symlink, path):
            real = real_path(path)
        if not real.is_relative_to(self._real_root):
            raise UsageError(
                where,
                expected=f"a path inside `video_root`, {self._root}",
                found=f"{quote(str(path))}, which leads to {shorten(str(real))}",
                hint="Give `follow_links=True` where the links below the root can be trusted."
                if is_below
                else "Correct the line, or choose a root that holds all videos.",
            )
        if real == self._real_root:
            raise UsageError(where, expected="a file inside `video_root`", found="the root itself")
        if is_below:
            return path.relative_to(self._root).as_posix()
        return real.relative_to(self._real_root).as_posix()
