"""The main path of a report: read the output, measure its features, add pictures of its videos, write the page."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat import UsageError, __version__, load
from vidfeat.formats.atomic import replacing
from vidfeat.store import StoredFeatures
from vidfeat.tools.report.labels import Column, folders, match, read_labels
from vidfeat.tools.report.measure import (
    dead_dimensions,
    equal_groups,
    mean_cosine,
    near_duplicate_groups,
    neighbours,
    norms,
    unit,
)
from vidfeat.tools.report.outputs import Video, has_names, read_video
from vidfeat.tools.report.page import base64_of, render
from vidfeat.tools.report.pictures import find_video, frames_per_video, take_pictures
from vidfeat.tools.report.projection import Map, Method, project, require

LARGEST = 20_000
"""Most videos on one page; of more, an even sample is shown. Comparing all pairs of this many takes about 20 s."""

NEIGHBOURS = 8
"""Neighbours of a video that the page lists."""

NEAR_DUPLICATE = 0.999
"""The cosine from which two videos are near-duplicates."""

PICTURE_BYTES = 12_000_000
"""Most bytes of JPEG on a page."""

SIMILARITY_BYTES = 6_000_000
"""Most bytes of self-similarities on a page."""

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
    label_notes: list[str] = []
    with load(out) as stored:
        keys, named = stored.videos, has_names(stored)
        names = keys
        if known is not None and not named and len(known.rows) == len(keys):
            names, named = [name for name, _ in known.rows], True
            label_notes.append(f"The names of the videos are those of {labels}, by position.")
        chosen = _sample(len(keys))
        columns = [folders([names[number] for number in chosen])] if named else []
        if known is not None:
            found, matched = match(known, names)
            columns += [Column(column.name, tuple(column.values[number] for number in chosen)) for column in found]
            if matched < len(names):
                label_notes.append(f"{labels} has labels for {matched} of {len(names)} videos.")
        videos = [read_video(stored, keys[number], names[number]) for number in chosen]
        notes = [*stored.notes, *label_notes, *_notes_on(videos, len(keys))]
    groups = _groups(videos)
    shown = _pictures(videos, video_root, notes, progress=progress)
    data = {
        **_about(stored, notes),
        **_table(videos, columns),
        "groups": [_group(videos, members, method) for members in groups],
        "pictures": {str(number): list(map(base64_of, images)) for number, images in shown.items()},
        "similarities": _similarities(videos, notes),
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


def _sample(count: int) -> Sequence[int]:
    if count <= LARGEST:
        return range(count)
    return [number * count // LARGEST for number in range(LARGEST)]


# --- what the features are --------------------------------------------------------------------------------------------


def _notes_on(videos: Sequence[Video], total: int) -> list[str]:
    notes = []
    if len(videos) < total:
        notes.append(f"The page shows an even sample of {len(videos)} of {total} videos.")
    if not videos:
        notes.append("The output is empty: it has no video.")
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
    return {
        "title": stored.out.name,
        "state": stored.state,
        "notes": notes,
        "facts": [*_facts(stored.header).items(), ("report", f"vidfeat {__version__}, {_now()}")],
        "windows": _is_windowed(stored.header),
        "nearDuplicate": NEAR_DUPLICATE,
    }


def _now() -> str:
    return datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


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


def _is_windowed(header: Mapping[str, Any]) -> bool:
    recipe = header.get("recipe")
    sampling = recipe.get("sampling") if isinstance(recipe, dict) else None
    return isinstance(sampling, dict) and sampling.get("type") == "WindowSampling"


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
    }


def _column(column: Column) -> dict[str, Any]:
    """Each label once, the most frequent first."""
    values = [value for value, _ in Counter(column.values).most_common()]
    place = {value: number for number, value in enumerate(values)}
    return {"name": column.name, "values": values, "of": [place[value] for value in column.values]}


# --- what takes space on the page -------------------------------------------------------------------------------------


def _pictures(
    videos: Sequence[Video], root: Path | None, notes: list[str], *, progress: bool
) -> dict[int, list[bytes]]:
    """Pictures of the videos that are found; adds a sentence to `notes` where some have none."""
    wanted = [number for number, video in enumerate(videos) if video.failure is None]
    if not wanted:
        return {}
    if root is None:
        notes.append("There are no pictures: give the folder of the videos with --video-root.")
        return {}
    found = {number: path for number in wanted if (path := find_video(videos[number].name, root))}
    if len(found) < len(wanted):
        missing = len(wanted) - len(found)
        notes.append(f"{missing} of {len(wanted)} videos are not below {root}: they have no pictures.")
    frames, count = frames_per_video(len(found), PICTURE_BYTES)
    numbers = list(found)
    chosen = {number: found[number] for number in (numbers[place * len(found) // count] for place in range(count))}
    taken: dict[int, list[bytes]] = {}
    with _bar(len(chosen), progress) as bar:
        for number, images in take_pictures(chosen, frames, PICTURE_BYTES):
            if images:
                taken[number] = images
            bar.update()
    if len(taken) < len(found):
        notes.append(
            f"{len(taken)} of the {len(found)} videos that were found have pictures: the others cannot be read, or "
            "the page would become too large."
        )
    return taken


def _bar(total: int, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc="pictures", unit="video", disable=not progress)


def _similarities(videos: Sequence[Video], notes: list[str]) -> dict[str, Any]:
    """The self-similarities of as many videos as fit, evenly sampled."""
    present = {number: video.similarity for number, video in enumerate(videos) if video.similarity is not None}
    largest = max((similarity.levels.nbytes for similarity in present.values()), default=1)
    count = min(len(present), max(1, SIMILARITY_BYTES // largest))
    if count < len(present):
        notes.append(f"Similarity over time is shown for {count} of {len(present)} videos, to keep the page small.")
    numbers = list(present)
    chosen = [numbers[place * len(numbers) // count] for place in range(count)]
    return {
        str(number): {
            "rows": present[number].rows,
            "side": len(present[number].levels),
            "low": round(present[number].low, 6),
            "high": round(present[number].high, 6),
            "levels": base64_of(present[number].levels.tobytes()),
        }
        for number in chosen
    }
