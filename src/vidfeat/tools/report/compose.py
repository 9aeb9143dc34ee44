"""The main path of a report: read the output, measure its features, add pictures of its videos, write the page."""

from __future__ import annotations

import datetime
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat import UsageError, VideoError, __version__, load
from vidfeat.formats.atomic import replacing
from vidfeat.store import StoredFeatures
from vidfeat.tools.report.labels import Column, folders, match, read_labels
from vidfeat.tools.report.measure import (
    Doubles,
    Floats,
    dead_dimensions,
    equal_groups,
    mean_cosine,
    near_duplicate_groups,
    neighbours,
    norms,
    rows_of,
    unit,
)
from vidfeat.tools.report.moments import Search, compress, joined, steps_of
from vidfeat.tools.report.outputs import Video, has_names, read_video
from vidfeat.tools.report.page import base64_of, render
from vidfeat.tools.report.pictures import Picture, Wanted, find_video, pictures_per_video, take_pictures
from vidfeat.tools.report.projection import Map, Method, project, require
from vidfeat.tools.report.queries import Queries, read_queries

LARGEST = 20_000
"""Most videos on one page; of more, an even sample is shown. Comparing all pairs of this many takes about 20 s."""

NEIGHBOURS = 8
"""Neighbours of a video that the page lists."""

NEAR_DUPLICATE = 0.999
"""The cosine from which two videos are near-duplicates."""

PICTURE_BYTES = 12_000_000
"""Most bytes of pictures on a page."""

_SAMPLE = 8192
"""Rows of which the main directions are computed."""
_BINS = 30
_DEEPEST = 12
"""Levels of a recipe that are shown; one of a hostile manifest may be deeper than the stack."""
_LISTED = 200
"""Most groups of duplicates, dead dimensions and the like that are listed; their number is always given."""


@dataclass(frozen=True)
class Summary:
    """What a report shows.

    Attributes:
        page: the page.
        videos: how many the output has.
        failed: how many of them failed.
        shown: how many are points on a map.
        pictured: how many have pictures.
        notes: what is wrong with the output or missing on the page, a sentence each; the page lists them.
    """

    page: Path
    videos: int
    failed: int
    shown: int
    pictured: int
    notes: tuple[str, ...]


def build(
    out: Path,
    *,
    video_root: Path | None,
    labels: Path | None,
    page: Path,
    queries: Path | None = None,
    method: Method = "pca",
    progress: bool = False,
) -> Summary:
    """Write a page about an output: a map of the features, neighbours, pictures, and what is wrong with them.

    Args:
        out: an output of any format, finished or not, or one that another program wrote. Runs no code from it.
        video_root: the folder that the videos' names start from, for pictures; None for a page without them.
        labels: a file with labels of the videos, as `vidfeat.tools.report.labels.read_labels` reads it. Where the
            output has no names and the file has as many rows as the output, the names are taken from the file.
        page: the file to write, `.html`. It is replaced as a whole or not at all.
        queries: a file of words and their vectors in the space of the features, as
            `vidfeat.tools.report.queries.read_queries` reads it; the page lists the best videos, or moments, for each.
        method: how the map is computed.
        progress: whether to show a progress bar of the pictures on stderr.

    Returns:
        What the page shows.

    Raises:
        UsageError: there is no output at `out`, or an argument is wrong.
        OutputError: `out` cannot be read.
        WriteError: the page cannot be written.
    """
    _check(video_root, page)
    require(method)
    known = read_labels(labels) if labels else None
    words = read_queries(queries) if queries else None
    label_notes: list[str] = []
    with load(out) as stored:
        keys, named = stored.videos, has_names(stored)
        names = keys
        if known is not None and not named and len(known.rows) == len(keys):
            names, named = [name for name, _ in known.rows], True
            label_notes.append(f"The names of the videos are those of {labels}, by position.")
        most = min(len(keys), LARGEST)
        chosen = [number * len(keys) // most for number in range(most)]
        columns = [folders([names[number] for number in chosen])] if named else []
        columns = [column for column in columns if len(set(column.values)) > 1]
        if known is not None:
            found, matched = match(known, names)
            columns += [Column(column.name, tuple(column.values[number] for number in chosen)) for column in found]
            if matched < len(names):
                label_notes.append(f"{labels} has labels for {matched} of {len(names)} videos.")
        sample = max(1, _SAMPLE // max(1, len(chosen)))
        videos = [read_video(stored, keys[number], names[number], sample) for number in chosen]
        groups = _groups(videos)
        if words is not None:
            _check_size(words, queries, videos, groups)
        over_time = []
        for members in groups:
            rows = {number: partial(_rows, stored, keys[chosen[number]]) for number in members if videos[number].rows}
            over_time.append(_over_time(videos, members, rows, words))
        notes = [*stored.notes, *label_notes, *_notes_on(videos, len(keys))]
    shown, unpictured = _pictures(videos, video_root, notes, progress=progress)
    data = {
        **_about(stored, notes),
        **_table(videos, columns),
        "groups": [
            {**_group(videos, members, method), **moments} for members, moments in zip(groups, over_time, strict=True)
        ],
        "queries": [] if words is None else words.words,
        "pictures": {
            str(number): [[picture.seconds, base64_of(picture.webp)] for picture in pictures]
            for number, pictures in shown.items()
        },
        "unpictured": list(unpictured.items()),
    }
    with replacing(page) as file:
        file.write(render(data))
    return Summary(
        page=page,
        videos=len(keys),
        failed=0 if stored.state == "foreign" else len(stored.failures),
        shown=sum(map(len, groups)),
        pictured=len(shown),
        notes=tuple(notes),
    )


def _check(video_root: Path | None, page: Path) -> None:
    if video_root is not None and not video_root.is_dir():
        raise UsageError(str(video_root), expected="the folder of the videos", found="no such folder")
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            str(page), expected="a file name that ends in .html", found=repr(page.name), hint="Give -o report.html."
        )
    if page.is_dir() or not page.absolute().parent.is_dir():
        found = "a folder of that name" if page.is_dir() else "no such folder"
        raise UsageError(str(page), expected="a new file in a folder that exists", found=found)


# --- what the features are --------------------------------------------------------------------------------------------


def _notes_on(videos: Sequence[Video], total: int) -> list[str]:
    notes = []
    if len(videos) < total:
        notes.append(f"The page shows an even sample of {len(videos)} of {total} videos.")
    if not videos:
        notes.append("The output is empty: it has no videos.")
    elif all(video.vector is None for video in videos):
        notes.append("No video has features that can be shown.")
    sizes = Counter(len(video.vector) for video in videos if video.vector is not None)
    if len(sizes) > 1:
        listed = ", ".join(f"{size} ({count} videos)" for size, count in sizes.most_common(5))
        more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
        notes.append(f"The features differ in size: {listed}{more}. Each size has a map of its own.")
    unusable = sum(bool(video.problem) for video in videos)
    if unusable:
        notes.append(f"{unusable} of {len(videos)} videos did not fail and have no features that can be shown.")
    return notes


def _groups(videos: Sequence[Video]) -> list[list[int]]:
    """The videos whose vectors have one size, the largest group first."""
    groups: dict[int, list[int]] = {}
    for number, video in enumerate(videos):
        if video.vector is not None:
            groups.setdefault(len(video.vector), []).append(number)
    return sorted(groups.values(), key=len, reverse=True)


def _group(videos: Sequence[Video], members: list[int], method: Method) -> dict[str, Any]:
    """The map and the statistics of the videos `members`; videos are positions on the page."""
    vectors = np.stack([vector for number in members if (vector := videos[number].vector) is not None])
    # Directions only, as the neighbours are found by cosine. Otherwise the norms would dominate the map.
    places: Map = project(unit(vectors), method)
    near = neighbours(vectors, NEIGHBOURS)
    lengths = norms(vectors)
    dead = dead_dimensions(vectors)
    equal, alike = equal_groups(vectors), near_duplicate_groups(near, NEAR_DUPLICATE)
    counts, edges = np.histogram(lengths, bins=_BINS)
    mean = mean_cosine(vectors)

    def on_page(groups: list[list[int]]) -> list[list[int]]:
        return [[members[number] for number in group[:_LISTED]] for group in groups[:_LISTED]]

    return {
        "size": int(vectors.shape[1]),
        "members": members,
        "places": np.round(places.places, 4).tolist(),
        "axes": places.axes,
        "near": np.asarray(members)[near.index].tolist(),
        "cosine": np.round(near.cosine.astype(np.float64), 4).tolist(),
        "norms": [float(f"{length:.4g}") for length in lengths],
        "histogram": {"counts": counts.tolist(), "edges": [float(f"{edge:.4g}") for edge in edges]},
        "zero": [members[number] for number in np.flatnonzero(lengths == 0)[:_LISTED]],
        "meanCosine": None if mean is None else round(mean, 4),
        "dead": dead[:_LISTED],
        "deadCount": len(dead),
        "equal": on_page(equal),
        "equalCount": sum(map(len, equal)),
        "alike": on_page(alike),
        "alikeCount": sum(map(len, alike)),
    }


# --- the run and its videos -------------------------------------------------------------------------------------------


def _about(stored: StoredFeatures, notes: list[str]) -> dict[str, Any]:
    now = datetime.datetime.now().astimezone()
    return {
        "title": stored.out.name,
        "state": stored.state,
        "notes": notes,
        "facts": [*_facts(stored.header).items(), ("report", f"vidfeat {__version__}, {now:%Y-%m-%d %H:%M %Z}")],
        "nearDuplicate": NEAR_DUPLICATE,
    }


def _facts(header: Mapping[str, Any]) -> dict[str, str]:
    """The recipe and where the features come from, in words, by their names; the header may be any JSON."""
    facts: dict[str, str] = {}
    for key, value in header.items():
        if key == "recipe" and isinstance(value, dict):
            facts |= {f"recipe: {part}": _in_words(of) for part, of in value.items() if part != "type"}
        elif key == "sessions" and isinstance(value, list):
            for number, session in enumerate(value, start=1):
                prefix = f"session {number}: " if len(value) > 1 else ""
                parts = session if isinstance(session, dict) else {"session": session}
                facts |= {f"{prefix}{part}": _in_words(of) for part, of in parts.items()}
        elif key not in ("vidfeat_manifest", "videos", "failed", "output"):
            facts[str(key)] = _in_words(value)
    return facts


def _in_words(value: Any, depth: int = 0) -> str:
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        fields = [f"{key} {_in_words(of, depth + 1)}" for key, of in value.items() if key != "type"]
        return f"{value['type']} ({', '.join(fields)})" if "type" in value else ", ".join(fields)
    if isinstance(value, list):
        return f"[{', '.join(_in_words(item, depth + 1) for item in value)}]"
    return "none" if value is None else str(value)


def _table(videos: Sequence[Video], columns: Sequence[Column]) -> dict[str, Any]:
    numbered = list(enumerate(videos))
    return {
        "names": [video.name for video in videos],
        "frames": [video.frames for video in videos],
        "seconds": [None if video.seconds is None else round(video.seconds, 3) for video in videos],
        "shapes": [list(video.shape) for video in videos],
        "failed": [(number, *video.failure) for number, video in numbered if video.failure],
        "problems": [(number, video.problem) for number, video in numbered if video.problem],
        "notFinite": [(number, video.not_finite) for number, video in numbered if video.not_finite],
        "columns": [_column(column) for column in columns],
        "rowLabels": _row_labels(videos),
    }


def _row_labels(videos: Sequence[Video]) -> dict[str, Any]:
    """Each label once, the most frequent first; and its number for each row of the videos that have some, or -1."""
    labels = Counter(label for video in videos for label in video.labels_of_rows if label)
    place = {label: number for number, (label, _) in enumerate(labels.most_common())}
    of = {
        str(number): [place.get(label or "", -1) for label in video.labels_of_rows]
        for number, video in enumerate(videos)
        if video.labels_of_rows
    }
    return {"values": list(place), "of": of}


def _column(column: Column) -> dict[str, Any]:
    """Each label once, the most frequent first."""
    values = [value for value, _ in Counter(column.values).most_common()]
    place = {value: number for number, value in enumerate(values)}
    return {"name": column.name, "values": values, "of": [place[value] for value in column.values]}


# --- rows over time, and the search by words --------------------------------------------------------------------------


def _check_size(words: Queries, path: Path | None, videos: Sequence[Video], groups: list[list[int]]) -> None:
    sizes = [len(vector) for members in groups if (vector := videos[members[0]].vector) is not None]
    if sizes and words.vectors.shape[1] not in sizes:
        listed = ", ".join(map(str, sizes))
        raise UsageError(
            str(path),
            expected=f"vectors in the space of the features, of {listed} numbers",
            found=f"vectors of {words.vectors.shape[1]} numbers",
            hint="Give `vidfeat embed-text` the model that the features were extracted with.",
        )


def _rows(stored: StoredFeatures, key: str) -> Floats:
    return rows_of(stored[key].values)


def _over_time(
    videos: Sequence[Video], members: list[int], rows: Mapping[int, Callable[[], Floats]], words: Queries | None
) -> dict[str, Any]:
    """The moments of the videos `members`, of which some have `rows`, and the results of the queries among them."""
    vectors = {number: vector for number in members if (vector := videos[number].vector) is not None}
    size = len(vectors[members[0]])
    steps, directions = steps_of([videos[number].rows for number in members], size)
    search = Search(words.vectors) if words is not None and words.vectors.shape[1] == size else None

    def moments() -> Iterator[Floats]:
        for number, count in zip(members, steps, strict=True):
            part = joined(rows[number](), count) if count else unit(vectors[number][None])
            if search is not None:
                search.add(number, part)
            if count:
                yield part

    data: dict[str, Any] = {"moments": None}
    if rows:
        sample = np.concatenate([some for number in members if (some := videos[number].sample) is not None])
        compressed = compress(moments(), sample, directions)
        data["moments"] = {
            "rows": [videos[number].rows for number in members],
            "steps": steps,
            "scale": [float(f"{scale:.6g}") for scale in compressed.scale],
            "square": compressed.square,
            "error": compressed.error,
            "levels": base64_of(compressed.levels.tobytes()),
            "along": base64_of(compressed.along.astype("<f4").tobytes()),
            "seconds": base64_of(_seconds(videos, members, steps).astype("<f4").tobytes()),
        }
    else:
        deque(moments(), maxlen=0)  # all of it is search
    if search is not None:
        data["found"] = [
            [found.video.tolist(), found.moment.tolist(), np.round(found.cosine.astype(np.float64), 4).tolist()]
            for found in search.found
        ]
    return data


def _seconds(videos: Sequence[Video], members: list[int], steps: Sequence[int]) -> Doubles:
    """Start and end of all moments, float64 `[N, 2]`; NaN where they are not known."""
    parts = [np.zeros((0, 2))]
    for number, count in zip(members, steps, strict=True):
        times = videos[number].seconds_of_rows
        if times is None or not count:
            parts.append(np.full((count, 2), np.nan))
        else:
            first = np.arange(count) * len(times) // count
            ends = np.maximum.reduceat(times[:, 1], first)
            parts.append(np.stack([np.minimum.reduceat(times[:, 0], first), ends], axis=1))
    return np.concatenate(parts)


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(
    videos: Sequence[Video], root: Path | None, notes: list[str], *, progress: bool
) -> tuple[dict[int, list[Picture]], dict[str, list[int]]]:
    """Pictures of the videos that are found, and by reason the videos without; adds sentences to `notes` on those."""
    from tqdm import tqdm

    wanted = [number for number, video in enumerate(videos) if video.failure is None]
    if not wanted:
        return {}, {}
    if root is None:
        notes.append("There are no pictures: give the folder of the videos with --video-root.")
        return {}, {}
    found = {number: path for number in wanted if (path := find_video(videos[number].name, root))}
    over_time = any(video.seconds_of_rows is not None for video in videos)
    each, count = pictures_per_video(len(found), PICTURE_BYTES, over_time=over_time)
    numbers = list(found)
    chosen = [numbers[place * len(found) // count] for place in range(count)]
    taken: dict[int, list[Picture]] = {}
    unreadable: dict[int, str] = {}
    with tqdm(total=len(chosen), desc="pictures", unit="video", disable=not progress) as bar:
        plan = {number: Wanted(found[number], each, _spans(videos[number], each)) for number in chosen}
        for number, pictures in take_pictures(plan, PICTURE_BYTES):
            if isinstance(pictures, VideoError):
                unreadable[number] = f"no frame can be decoded: {pictures.found}"
            else:
                taken[number] = pictures
            bar.update()
    missing = [number for number in wanted if number not in found]
    left_out = [number for number in found if number not in taken and number not in unreadable]
    if missing:
        notes.append(f"{len(missing)} of {len(wanted)} videos are not below {root}: they have no pictures.")
    if unreadable:
        first, why = next(iter(unreadable.items()))
        notes.append(f"{len(unreadable)} of {len(found)} videos have no pictures, such as {videos[first].name}: {why}.")
    if left_out:
        notes.append(f"{len(left_out)} of {len(found)} videos have no pictures, to keep the page small.")
    reasons = {f"the video is not below {root}": missing, "left out, to keep the page small": left_out}
    for number, why in unreadable.items():
        reasons.setdefault(why, []).append(number)
    return taken, {why: numbers for why, numbers in reasons.items() if numbers}


def _spans(video: Video, count: int) -> Doubles | None:
    if video.seconds_of_rows is not None or video.segment is None:
        return video.seconds_of_rows
    edges = np.linspace(*video.segment, count + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)
