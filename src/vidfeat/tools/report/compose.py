"""The main path of a report: read the output, measure its features, picture its videos, write the page."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidfeat import __version__
from vidfeat.errors import UsageError
from vidfeat.formats.atomic import replacing
from vidfeat.tools.report import measure, pictures
from vidfeat.tools.report.labels import Column, folders, match, read_labels
from vidfeat.tools.report.outputs import Output, Unreadable, Video, read
from vidfeat.tools.report.page import packed, render
from vidfeat.tools.report.projection import Map, Method, project, require

LARGEST = 20_000
"""Most videos on one page; of more, an even sample is shown. The comparison of all pairs takes about 20 s there."""

NEIGHBOURS = 8
"""How many neighbours a clip has on the page."""

ALIKE = 0.999
"""The cosine from which two videos count as near-duplicates."""

PICTURE_BYTES = 12_000_000
"""What the pictures on a page may take, in bytes of JPEG."""

STRIP_SIDE, STRIP_BYTES = 64, 6_000_000
"""Steps of time in a self-similarity, and what all of them on a page may take."""

_BINS = 30
_DEEPEST = 12  # of a recipe, in words: a stranger's may be deeper than the stack
_LISTED = 200
"""Most groups of duplicates, dead dimensions and the like that are listed one by one; their number is always told."""


@dataclass(frozen=True)
class Summary:
    """What a report shows.

    Attributes:
        page: the page.
        videos: how many the output has.
        failed: how many of them have no features because they failed.
        shown: how many are points on a map.
        pictured: how many have pictures.
        notes: what is wrong with the output or missing on the page, a sentence each, as it stands on the page.
    """

    page: Path
    videos: int
    failed: int
    shown: int
    pictured: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """A video of the page and what its features are.

    Attributes:
        video: what the output says.
        vector: float32 `[C]`, finite; None where there is none.
        shape: of the features, where they are numbers.
        problem: why there is no vector though the video did not fail; empty where there is one.
        not_finite: how many values are infinite or no number.
        strip: the self-similarity of features with a row per window or view.
    """

    video: Video
    vector: measure.Floats | None = None
    shape: tuple[int, ...] = ()
    problem: str = ""
    not_finite: int = 0
    strip: measure.Strip | None = None


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
        out: an output of any format, finished or not, also one that another program wrote. Runs no code from it.
        video_root: the folder that the videos' names start from, for the pictures; None for a page without.
        labels: a file with a class or more per video, as `vidfeat.tools.report.labels.read_labels` reads it. It also
            names the videos of an output that does not, where it has as many lines as that has rows.
        page: the file to write, `.html`; it is there in full or not at all.
        method: how the map is made.
        progress: show on standard error how far the pictures are.

    Returns:
        What the page shows.

    Raises:
        UsageError: `out` is nothing that can be shown, or an argument is wrong.
        OutputError: `out` cannot be read at all.
        WriteError: the page cannot be written.
    """
    _check(video_root, page)
    require(method)
    known = read_labels(labels) if labels else None
    output = read(out)
    notes = list(output.notes)
    if known is not None and not output.named and len(known.rows) == len(output.videos):
        output = _named(output, [name for name, _ in known.rows])
        notes.append(f"The names of the videos are those of {labels}, by position.")
    chosen = _sample(len(output.videos))
    every = [video.name for video in output.videos]
    columns = [folders([every[number] for number in chosen])] if output.named else []
    if known is not None:
        found, matched = match(known, every)
        columns += [Column(column.name, tuple(column.values[number] for number in chosen)) for column in found]
        if matched < len(every):
            notes.append(f"{labels} has labels for {matched} of {len(every)} videos.")
    if len(chosen) < len(output.videos):
        notes.append(f"The page shows an even sample of {len(chosen)} of {len(output.videos)} videos.")
    seen = list(_look(output, set(chosen)))
    notes += _notes_on(seen)
    groups = _groups(seen)
    shown = _pictures(seen, video_root, notes, progress=progress)
    data = {
        **_about(output, notes),
        **_videos(seen, columns),
        "groups": [_group(seen, members, method) for members in groups],
        "pictures": {str(number): list(map(packed, images)) for number, images in shown.items()},
        "strips": _strips(seen, notes),
    }
    with replacing(page) as file:
        file.write(render(data))
    return Summary(
        page=page,
        videos=len(output.videos),
        failed=sum(video.failure is not None for video in output.videos),
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


def _named(output: Output, names: Sequence[str]) -> Output:
    videos = tuple(dataclasses.replace(video, name=name) for video, name in zip(output.videos, names, strict=True))
    return dataclasses.replace(output, named=True, videos=videos)


def _sample(count: int) -> Sequence[int]:
    if count <= LARGEST:
        return range(count)
    return [number * count // LARGEST for number in range(LARGEST)]


# --- what the features are --------------------------------------------------------------------------------------------


def _look(output: Output, chosen: set[int]) -> Iterator[Seen]:
    rows = iter(output.rows)
    for number, video in enumerate(output.videos):
        row = next(rows, Unreadable("the output has no row for it"))
        if number in chosen:
            yield _seen(video, row)


def _seen(video: Video, row: Any) -> Seen:
    if isinstance(row, Unreadable):
        return Seen(video, problem="" if video.failure else row.why)
    if row is None:
        return Seen(video, problem="" if video.failure else "no features, and no reason given")
    try:
        array = np.asarray(row)
    except (ValueError, RecursionError):  # rows of differing lengths
        return Seen(video, problem="no array of numbers")
    if array.dtype.kind not in "fiub" or not array.ndim or not array.size:
        return Seen(video, problem=f"no array of numbers: {array.dtype} of shape {list(array.shape)}")
    with np.errstate(over="ignore"):  # becomes infinite, and is told
        features = array.astype(np.float32)
    not_finite = int((~np.isfinite(features)).sum())
    if not_finite:
        return Seen(video, shape=features.shape, problem="values that are not finite", not_finite=not_finite)
    strip = measure.strip(features, STRIP_SIDE) if features.ndim == 2 and len(features) > 1 else None
    return Seen(video, measure.vector_of(features), features.shape, strip=strip)


def _notes_on(seen: Sequence[Seen]) -> list[str]:
    notes = []
    if not seen:
        notes.append("The output is empty: it has no video.")
    elif all(one.vector is None for one in seen):
        notes.append("No video has features that can be shown.")
    sizes = Counter(len(one.vector) for one in seen if one.vector is not None)
    if len(sizes) > 1:
        told = ", ".join(f"{size} ({count} videos)" for size, count in sizes.most_common(5))
        more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
        notes.append(f"The features differ in size: {told}{more}. Each size has a map of its own.")
    unusable = sum(bool(one.problem) for one in seen)
    if unusable:
        notes.append(f"{unusable} of {len(seen)} videos did not fail and have no features that can be shown.")
    return notes


def _groups(seen: Sequence[Seen]) -> list[list[int]]:
    """The videos whose vectors have one size, the largest group first."""
    groups: dict[int, list[int]] = {}
    for number, one in enumerate(seen):
        if one.vector is not None:
            groups.setdefault(len(one.vector), []).append(number)
    return sorted(groups.values(), key=len, reverse=True)


def _group(seen: Sequence[Seen], members: list[int], method: Method) -> dict[str, Any]:
    """The map of the videos `members` and what there is to say about them; all numbers of videos are of the page."""
    vectors = np.stack([vector for number in members if (vector := seen[number].vector) is not None])
    # Directions only, as the neighbours are found by cosine; else the lengths would be most of the map.
    places: Map = project(measure.unit(vectors), method)
    near = measure.neighbours(vectors, NEIGHBOURS)
    lengths = measure.norms(vectors)
    dead = measure.dead_dimensions(vectors)
    equal, alike = measure.equal_groups(vectors), measure.alike_groups(near, ALIKE)
    counts, edges = np.histogram(lengths, bins=_BINS)
    mean = measure.mean_cosine(vectors)

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


# --- what the page says of the run and its videos ---------------------------------------------------------------------


def _about(output: Output, notes: list[str]) -> dict[str, Any]:
    return {
        "title": output.out.name,
        "state": output.state,
        "notes": notes,
        "facts": [*_facts(output.header), ("report", f"vidfeat {__version__}, {_now()}")],
        "windows": _is_windowed(output.header),
        "alikeFrom": ALIKE,
    }


def _now() -> str:
    return datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _facts(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The recipe and where the features come from, as pairs of words; any JSON will do."""
    facts = []
    for key, value in header.items():
        if key in ("vidfeat_manifest", "videos", "failed", "output"):
            continue
        if key == "recipe" and isinstance(value, dict):
            facts += [(f"recipe: {part}", _in_words(of)) for part, of in value.items() if part != "type"]
        else:
            facts.append((str(key), _in_words(value)))
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


def _videos(seen: Sequence[Seen], columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "names": [one.video.name for one in seen],
        "frames": [one.video.frames for one in seen],
        "seconds": [_seconds(one.video) for one in seen],
        "shapes": [list(one.shape) for one in seen],
        "failed": [
            (number, *dataclasses.astuple(one.video.failure)) for number, one in enumerate(seen) if one.video.failure
        ],
        "problems": [(number, one.problem) for number, one in enumerate(seen) if one.problem],
        "notFinite": [(number, one.not_finite) for number, one in enumerate(seen) if one.not_finite],
        "columns": [_column(column) for column in columns],
    }


def _seconds(video: Video) -> float | None:
    if video.seconds is not None:
        return round(video.seconds, 3)
    return round(video.frames / video.fps, 3) if video.frames is not None and video.fps else None


def _column(column: Column) -> dict[str, Any]:
    """Each text once, the commonest first."""
    values = [value for value, _ in Counter(column.values).most_common()]
    place = {value: number for number, value in enumerate(values)}
    return {"name": column.name, "values": values, "of": [place[value] for value in column.values]}


# --- what takes space on the page -------------------------------------------------------------------------------------


def _pictures(seen: Sequence[Seen], root: Path | None, notes: list[str], *, progress: bool) -> dict[int, list[bytes]]:
    """Pictures of the videos that are found; `notes` gets a sentence where some have none."""
    wanted = [number for number, one in enumerate(seen) if one.video.failure is None]
    if not wanted:
        return {}
    if root is None:
        notes.append("There are no pictures: give the folder of the videos with --video-root.")
        return {}
    found = {number: path for number in wanted if (path := pictures.find(seen[number].video.name, root))}
    if len(found) < len(wanted):
        missing = len(wanted) - len(found)
        notes.append(f"{missing} of {len(wanted)} videos are not below {root}: they have no pictures.")
    frames, videos = pictures.share_out(len(found), PICTURE_BYTES)
    numbers = list(found)
    chosen = {numbers[place * len(found) // videos]: None for place in range(videos)}
    taken: dict[int, list[bytes]] = {}
    with _bar(len(chosen), progress) as bar:
        for number, images in pictures.take({number: found[number] for number in chosen}, frames, PICTURE_BYTES):
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


def _strips(seen: Sequence[Seen], notes: list[str]) -> dict[str, Any]:
    """The self-similarities, of as many videos as fit, evenly chosen."""
    numbers = [number for number, one in enumerate(seen) if one.strip is not None]
    largest = max((one.strip.levels.nbytes for one in seen if one.strip is not None), default=1)
    count = min(len(numbers), max(1, STRIP_BYTES // largest))
    if count < len(numbers):
        notes.append(f"Similarity over time is shown for {count} of {len(numbers)} videos, to keep the page small.")
    strips: dict[str, Any] = {}
    for place in range(count):
        number = numbers[place * len(numbers) // count]
        strip = seen[number].strip
        assert strip is not None  # only such numbers were taken
        strips[str(number)] = {
            "rows": strip.rows,
            "side": len(strip.levels),
            "low": round(strip.low, 6),
            "high": round(strip.high, 6),
            "levels": packed(strip.levels.tobytes()),
        }
    return strips
