"""Videos that are there twice: one file under two names, or two files of the same content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vidfeat.store import Entry

_BLOCK_BYTES = 1 << 20
_T = TypeVar("_T")


@dataclass(frozen=True)
class Duplicates:
    """Videos with one content.

    Attributes:
        names: of the videos, in the order of the list, at least two.
        same_file: whether they all are one file, named twice or reached over links.
    """

    names: tuple[str, ...]
    same_file: bool


@dataclass(frozen=True)
class _File:
    """One file and all entries that lead to it."""

    size: int
    entries: tuple[Entry, ...]


def find_duplicates(entries: Sequence[Entry]) -> list[Duplicates]:
    """The videos that are there more than once, in the order of the list.

    Only files of equal size are read, and those as a whole. What cannot be read, is empty or is no file is left out.
    """
    files = _files(entries)
    found = [Duplicates(_names([file]), same_file=True) for file in files if len(file.entries) > 1]
    for same_size in _grouped(files, lambda file: file.size):
        for same in _grouped(same_size, _digest):
            found = [one for one in found if one.names[0] not in _names(same)]
            found.append(Duplicates(_names(same), same_file=False))
    position = {entry.name: entry.index for entry in entries}
    return sorted(found, key=lambda one: position[one.names[0]])


def _files(entries: Sequence[Entry]) -> list[_File]:
    """The files behind the entries, each once."""
    sizes: dict[tuple[int, int], int] = {}
    leading: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        try:
            about = entry.path.stat()
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode) and about.st_size:
            sizes[about.st_dev, about.st_ino] = about.st_size
            leading[about.st_dev, about.st_ino].append(entry)
    return [_File(sizes[key], tuple(group)) for key, group in leading.items()]


def _grouped(items: Iterable[_T], key: Callable[[_T], Hashable]) -> list[list[_T]]:
    """Items of one key together, in groups of at least two; a key of None is nobody's."""
    groups: dict[Hashable, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [group for value, group in groups.items() if len(group) > 1 and value is not None]


def _names(files: Sequence[_File]) -> tuple[str, ...]:
    entries = sorted((entry for file in files for entry in file.entries), key=lambda entry: entry.index)
    return tuple(entry.name for entry in entries)


def _digest(file: _File) -> bytes | None:
    """SHA-256 of the content, as far as the file's size goes; None where it cannot be read."""
    digest = hashlib.sha256()
    left = file.size
    try:
        with open(file.entries[0].path, "rb", opener=_open_without_waiting) as content:
            while left and (block := content.read(min(left, _BLOCK_BYTES))):
                digest.update(block)
                left -= len(block)
    except OSError:
        return None
    return digest.digest()


def _open_without_waiting(path: str, flags: int) -> int:
    # What was a file a moment ago may be a pipe by now, which would wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)
