"""Folders and patterns of videos."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vidfeat.errors import UsageError, reason, shorten
from vidfeat.videos.references import VideoRef

VIDEO_SUFFIXES = frozenset(
    """
    .264 .265 .3g2 .3gp .amv .asf .avc .avi .dif .divx .dv .evo .f4v .flv .gif .h263 .h264 .h265 .h26l .hevc .insv
    .ismv .ivf .lrv .m1v .m2p .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf
    .nut .obu .ogg .ogm .ogv .ogx .qt .tod .tp .trp .ts .vob .vro .webm .wmv .xvid .y4m
    """.split()
)
"""The suffixes, in lower case, by which a video in a folder is known. A list may name files with any suffix."""


_SUFFIXES_NAMED = 8
_WILDCARDS = re.compile(r"[*?[]")

Note = Callable[[str], object]


def path_is(kind: Callable[[Path], bool], path: Path) -> bool:
    """What `Path.is_file` or the like says; no for names that the system cannot take, such as too long ones."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def real_path(path: Path) -> Path:
    # Path.resolve raises on loops of links in some Python versions; realpath leaves them as they are.
    return Path(os.path.realpath(path))


def videos_at(given: Path, follow_links: bool, note: Note) -> list[VideoRef]:
    """A file as it is, or the videos of a folder and of those below it, as in `vidfeat.videos.expand`."""
    if path_is(Path.is_dir, given):
        skipped: Counter[str] = Counter()
        videos = _named_from(given, _videos_below(given, follow_links, skipped))
        if skipped:
            note(_skipped(given, skipped))
        return videos
    if path_is(Path.exists, given):
        return [VideoRef(given.name, str(given))]
    raise UsageError(str(given), expected="a video or a folder of videos", found="no such file or folder")


def is_pattern(path: Path) -> bool:
    """Whether it has wildcards; a path that exists is no pattern."""
    return not path_is(Path.exists, path) and _WILDCARDS.search(str(path)) is not None


def matching(pattern: Path) -> list[VideoRef]:
    """The videos that match, named by their path relative to the folder before the first wildcard."""
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
    videos = (path for path in visible if is_video(path) and path_is(Path.is_file, path))
    return _named_from(folder, videos, str(pattern))


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


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _videos_below(folder: Path, follow_links: bool, skipped: Counter[str]) -> Iterator[Path]:
    """The videos in a folder and those below it; other files are counted by suffix, and hidden videos."""
    root = real_path(folder)
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for link in (Path(parent, name) for name in folders):
            if path_is(Path.is_symlink, link):
                _require_way_down(link, folder, root, follow_links)
        for name in files:
            path = Path(parent, name)
            if not name.startswith("."):
                if is_video(path):
                    yield path
                else:
                    skipped[path.suffix.lower()] += 1
            elif is_video(path):
                skipped["hidden"] += 1


def _require_way_down(link: Path, folder: Path, root: Path, follow_links: bool) -> None:
    """Refuse a link to a folder that would never end, or that leads to where nobody said that videos are."""
    target = real_path(link)
    above = link.parents[: len(link.relative_to(folder).parts)]
    if any(real_path(path).is_relative_to(target) for path in above):
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
        found=reason(error),
        hint="Change its permissions, or give a list of videos instead.",
    ) from error
