"""Which videos a job is about: list files, folders, paths and patterns, expanded into `VideoRef`s."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, Union

from vidfeat.errors import UsageError
from vidfeat.storage import find, is_uri
from vidfeat.videos.folders import VIDEO_SUFFIXES, Note, is_pattern, matching, videos_at
from vidfeat.videos.lists import LIST_SUFFIXES, STDIN, is_list, iterate_list, read_list
from vidfeat.videos.references import (
    LONGEST_NAME,
    Cut,
    Segment,
    VideoRef,
    distinct,
    has_rows,
    list_digest,
    ranges_of,
    require_name,
    without_file_scheme,
)
from vidfeat.videos.segments import read_segments

__all__ = [
    "LIST_SUFFIXES",
    "LONGEST_NAME",
    "STDIN",
    "VIDEO_SUFFIXES",
    "Cut",
    "Segment",
    "VideoLike",
    "VideoRef",
    "expand",
    "expand_lazily",
    "has_rows",
    "list_digest",
    "ranges_of",
    "read_list",
    "read_segments",
]

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
        videos: any of these, or a sequence of them: a `VideoRef`; a list file that ends in one of `LIST_SUFFIXES`, a
            pipe, or `STDIN`, as in `read_list`; the path of a video; a folder; a pattern with `*`, `?` or `[`, which
            stands for the files that match and end in one of `VIDEO_SUFFIXES`, in the order of their names. `**`
            matches folders at any depth, without following links. What a pattern matches is named by its path
            relative to the folder before the first wildcard. A path that exists is no pattern. In a folder, videos are
            known by `VIDEO_SUFFIXES`, taken in the order of their names, and named by their path relative to it. Hidden
            files and folders are skipped. A symbolic link to a file counts as that file, wherever it leads, as data
            sets are often folders of links. A link to a folder is followed. Any of these may be a URI, such as
            `s3://bucket/folder/`, with one of the schemes in `vidfeat.storage.SCHEMES`.
        root: the folder, or its URI, that the paths in list files are relative to, as in `read_list`.
        follow_links: whether links may lead out of the root of a list, or out of a folder.
        note: takes a line about the files of each folder that are no videos.

    Raises:
        UsageError: as in `read_list`; a path does not exist; a folder holds no video; a link leads out of a folder, or
            back to a folder that it is in; a pattern matches no video; two videos have the same key; a key is empty or
            has more than `LONGEST_NAME` bytes; there is a root and no list.
    """
    given = _several(videos, root)
    found = (_expand_one(video, root, follow_links, note, read_list) for video in given)
    refs = tuple(distinct(itertools.chain.from_iterable(found)))
    for ref in refs:
        require_name(ref.key, ref.uri)
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
        for ref in _expand_one(video, root, follow_links, note, iterate_list):
            require_name(ref.key, ref.uri)
            yield ref


def _several(videos: VideoLike | Sequence[VideoLike], root: Path | str | None) -> list[VideoLike]:
    given: list[VideoLike] = [videos] if isinstance(videos, (str, Path, VideoRef)) else list(videos)
    lists = [video for video in given if not isinstance(video, VideoRef) and is_list(video)]
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
    video = without_file_scheme(video)
    if is_list(video):
        return read(video, root, follow_links=follow_links)
    if is_uri(video):
        listed = find(str(video), VIDEO_SUFFIXES)
        return [VideoRef(found.name, found.uri, bytes=found.bytes or None) for found in listed]
    path = Path(video)
    if is_pattern(path):
        return matching(path)
    return videos_at(path, follow_links, note)
