"""A forecast for people, as a table, and for programs, as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from vidfeat.tools.estimate.duplicates import Duplicates
from vidfeat.tools.estimate.forecast import Duration, Forecast, Machine, Output
from vidfeat.tools.estimate.survey import Sound, Unsound

NAMED = 20
"""Broken videos, and duplicates, that the table names; the JSON has them all."""

_SIZES_NAMED = 3
_COPIES_NAMED = 5


def render(forecast: Forecast) -> str:
    """The table: a subject and what there is to say about it on each line, then the broken and the duplicate videos."""
    lines = {
        "videos": _videos(forecast),
        "of sound ones": _content(forecast.sound),
        "network input": _inputs(forecast.sound),
        "output": "nothing" if forecast.output is None else _output(forecast.output),
        "disk": "" if forecast.output is None else _disk(forecast.output),
        "time": "not known: no video could be read" if forecast.duration is None else _time(forecast),
        "bottleneck": "" if forecast.duration is None else _bottleneck(forecast.duration, forecast.machine),
    }
    table = [_wrapped(name, text) for name, text in lines.items() if text]
    broken = [_wrapped("", _reason(video)) for video in forecast.unsound[:NAMED]]
    twice = [_wrapped("", _same(same)) for same in forecast.duplicates[:NAMED]]
    return "\n".join(
        [
            *table,
            *_listed("broken", broken, len(forecast.unsound)),
            *_listed("duplicates", twice, len(forecast.duplicates)),
            "Broken is what does not open; damage further in shows only when a video is decoded.",
        ]
    )


def to_json(forecast: Forecast) -> dict[str, Any]:
    """Everything that a forecast knows, save the details of every sound video."""
    return {
        "videos": {
            "total": len(forecast.sound) + len(forecast.unsound),
            "sound": len(forecast.sound),
            "broken": len(forecast.unsound),
            "bytes": sum(video.info.bytes for video in forecast.sound),
            "frames": sum(video.info.frames for video in forecast.sound),
            "frames_estimated": sum(not video.info.frames_exact for video in forecast.sound),
            "seconds": _seconds(forecast.sound),
            "views": sum(video.work.inputs for video in forecast.sound),
        },
        "broken": [
            {
                "index": video.entry.index,
                "name": video.entry.name,
                "stage": video.error.stage,
                "kind": video.error.kind,
                "message": str(video.error),
            }
            for video in forecast.unsound
        ],
        "duplicates": [{"names": list(same.names), "same_file": same.same_file} for same in forecast.duplicates],
        "machine": dataclasses.asdict(forecast.machine),
        "duration": None if forecast.duration is None else dataclasses.asdict(forecast.duration),
        "output": None if forecast.output is None else dataclasses.asdict(forecast.output),
    }


# --- lines ------------------------------------------------------------------------------------------------------------


def _videos(forecast: Forecast) -> str:
    extra = sum(len(same.names) - 1 for same in forecast.duplicates)
    total = len(forecast.sound) + len(forecast.unsound)
    return (
        f"{total:,}: {len(forecast.sound):,} sound, {len(forecast.unsound):,} broken; duplicates among them: {extra:,}"
    )


def _content(sound: Sequence[Sound]) -> str:
    if not sound:
        return ""
    frames = sum(video.info.frames for video in sound)
    sizes = Counter(f"{video.info.width}x{video.info.height}" for video in sound).most_common()
    named = ", ".join(f"{size} ({count:,})" for size, count in sizes[:_SIZES_NAMED])
    others = f" and {len(sizes) - _SIZES_NAMED:,} more sizes" if len(sizes) > _SIZES_NAMED else ""
    about = "about " if any(not video.info.frames_exact for video in sound) else ""
    return (
        f"{_span(_seconds(sound))} of video, {about}{frames:,} frames, {_size(sum(v.info.bytes for v in sound))}; "
        f"{named}{others}"
    )


def _inputs(sound: Sequence[Sound]) -> str:
    if not sound:
        return ""
    counts = [video.work.inputs for video in sound]
    each = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return f"{sum(counts):,} views, {each} a video"


def _output(output: Output) -> str:
    shape = " x ".join(f"{length:,}" for length in output.row_shape)
    return f"{output.rows:,} rows of {shape} float32 numbers, {_size(output.bytes)} as {output.format}"


def _disk(output: Output) -> str:
    peak = f"{_size(output.peak_bytes)} at the peak, with journal and manifest"
    if output.free_bytes is None:
        return peak
    enough = "enough" if output.peak_bytes < output.free_bytes else "NOT ENOUGH"
    return f"{peak}; {_size(output.free_bytes)} free: {enough}"


def _time(forecast: Forecast) -> str:
    duration = forecast.duration
    assert duration is not None
    machine = forecast.machine
    gpus = f"{machine.gpus} times {machine.gpu}" if machine.gpus > 1 else machine.gpu
    where = f"{machine.cores} cores" if machine.gpu is None else f"{machine.cores} cores and {gpus}"
    weights = ", with made-up weights" if duration.made_up_weights else ""
    return (
        f"{_span(duration.seconds)} on {where} with nothing else to do "
        f"({_span(duration.at_least)} to {_span(duration.at_most)}), "
        f"from {len(duration.sample):,} of {len(forecast.sound):,} videos{weights}"
    )


def _bottleneck(duration: Duration, machine: Machine) -> str:
    reading, network = _span(duration.reading_core_seconds), _span(duration.network_seconds)
    unit = "of one core" if machine.gpu is None else "of the GPU"
    if machine.gpus > 1:
        unit = f"of one GPU, shared by {machine.gpus}"
    halves = f"reading takes {reading} of one core, the network {network} {unit}"
    if duration.bottleneck == "network":
        return f"the network: {halves}"
    processes = f", shared by {machine.readers} processes" if machine.readers > 1 else ""
    return f"reading: {halves.replace(' of one core,', f' of one core{processes},', 1)}"


def _reason(video: Unsound) -> str:
    error = video.error
    place = "" if error.where.endswith(video.entry.name) else f"{video.entry.name}: "
    return f"{error.kind}: {place}{error}"


def _same(same: Duplicates) -> str:
    more = f" and {len(same.names) - _COPIES_NAMED:,} more" if len(same.names) > _COPIES_NAMED else ""
    return f"{' = '.join(same.names[:_COPIES_NAMED])}{more} ({'one file' if same.same_file else 'same content'})"


# --- words ------------------------------------------------------------------------------------------------------------


def _listed(title: str, lines: list[str], total: int) -> list[str]:
    if not lines:
        return []
    more = [_wrapped("", f"and {total - NAMED:,} more (--json has all)")] if total > NAMED else []
    return [f"{title}:", *lines, *more]


def _wrapped(subject: str, text: str) -> str:
    start, indent = (f"{subject:<14} ", " " * 15) if subject else ("  ", "    ")
    printable = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
    return textwrap.fill(
        printable,
        120,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _seconds(sound: Sequence[Sound]) -> float:
    """Duration of all videos, from frames and frame rate where both are known."""
    return sum(
        video.info.frames / video.info.fps if video.info.fps else video.info.duration_seconds or 0.0 for video in sound
    )


def _span(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 99.5:
        return f"{minutes:.1f} min" if minutes < 9.95 else f"{minutes:.0f} min"
    return f"{minutes / 60:,.1f} h"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
