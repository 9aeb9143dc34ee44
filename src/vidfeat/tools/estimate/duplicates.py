"""Duplicate videos: one file under two names, or two files of the same content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from vidfeat.videos import VideoRef

_BLOCK_BYTES = 1 << 20
_T = TypeVar("_T")


@dataclass(frozen=True)
class Duplicates:
    """Videos with one content.

    Attributes:
        keys: of the videos, in the order of the list, at least two.
        same_file: whether they all are one file, named twice or reached over links.
    """

    keys: tuple[str, ...]
    same_file: bool


@dataclass(frozen=True)
class _File:
    """One file, or a segment of one, and all videos of the list that are in it, with their positions."""

    size: int
    segment: tuple[float, float] | None
    videos: tuple[tuple[int, VideoRef], ...]


def find_duplicates(videos: Sequence[VideoRef]) -> list[Duplicates]:
    """The videos that are there more than once, in the order of the list.

    Only files of equal size are read, and those as a whole. What cannot be read, is empty or is no file is left out.
    """
    files = _files(videos)
    found = {_keys([file]): True for file in files if len(file.videos) > 1}
    for same_size in _grouped(files, lambda file: (file.size, file.segment)):
        for same in _grouped(same_size, _digest):
            for file in same:
                found.pop(_keys([file]), None)
            found[_keys(same)] = False
    position = {video.key: number for number, video in enumerate(videos)}
    return [Duplicates(keys, same_file=found[keys]) for keys in sorted(found, key=lambda keys: position[keys[0]])]


def _files(videos: Sequence[VideoRef]) -> list[_File]:
    """The files of the videos, each once."""
    leading: dict[tuple[Any, ...], list[tuple[int, VideoRef]]] = defaultdict(list)
    for number, video in enumerate(videos):
        try:
            about = os.stat(video.uri)  # noqa: PTH116 - a million of them
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode) and about.st_size:
            leading[about.st_dev, about.st_ino, about.st_size, video.segment].append((number, video))
    return [_File(size, segment, tuple(group)) for (_, _, size, segment), group in leading.items()]


def _grouped(items: Iterable[_T], key: Callable[[_T], Hashable]) -> list[list[_T]]:
    """Items of one key together, in groups of at least two; a key of None is nobody's."""
    groups: dict[Hashable, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [group for value, group in groups.items() if len(group) > 1 and value is not None]


def _keys(files: Sequence[_File]) -> tuple[str, ...]:
    return tuple(video.key for _, video in sorted((one for file in files for one in file.videos), key=itemgetter(0)))


def _digest(file: _File) -> bytes | None:
    """SHA-256 of the content, as far as the file's size goes; None where it cannot be read."""
    digest = hashlib.sha256()
    left = file.size
    try:
        # What was a file a moment ago may be a pipe by now, which would wait for a writer.
        path = file.videos[0][1].path
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as content:
            while left and (block := content.read(min(left, _BLOCK_BYTES))):
                digest.update(block)
                left -= len(block)
    except OSError:
        return None
    return digest.digest()
