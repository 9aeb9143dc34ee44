"""Tables of segments: parts of videos that have a row each."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from vidfeat.errors import UsageError, quote, reason
from vidfeat.videos.lists import Confinement
from vidfeat.videos.references import Segment, VideoRef, distinct, require_name

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
    places = {name: parts[0].where for name, parts in found.items()}
    refs = _files_of_segments(places, root) if videos is None else _videos_of_segments(places, videos)
    by_start = attrgetter("start_seconds", "end_seconds")
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
                require_name(line[0], where)
                yield where, line
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(str(csv_file), expected="a table of segments in UTF-8", found=reason(error)) from error


def _seconds(text: str, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UsageError(where, expected="a number of seconds", found=quote(text))
    return seconds


def _files_of_segments(places: Mapping[str, str], root: Path | None) -> dict[str, VideoRef]:
    confined, base = (None, Path()) if root is None else (Confinement(root, follow_links=False), root)
    keys = {name: name if confined is None else confined.name_of(base / name, where) for name, where in places.items()}
    refs = {name: VideoRef(key, str(base / name)) for name, key in keys.items()}
    distinct(refs.values())
    return refs


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
