"""An estimate for people, as a table, and for programs, as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from vidfeat.errors import printable
from vidfeat.tools.estimate.duplicates import Duplicates
from vidfeat.tools.estimate.duration import Duration, Machine
from vidfeat.tools.estimate.estimation import Estimate
from vidfeat.tools.estimate.output import Output
from vidfeat.tools.estimate.probe import Decodable, Failing

NAMED = 20
"""Failing videos, and duplicates, that the table names; the JSON has them all."""

_SIZES_NAMED = 3
_COPIES_NAMED = 5


def render(estimate: Estimate) -> str:
    """The table: a subject and what is known of it on each line, then the failing and the duplicate videos."""
    lines = {
        "videos": _videos(estimate),
        "of decodable": _content(estimate.decodable),
        "network input": _inputs(estimate.decodable),
        "output": "nothing" if estimate.output is None else _output(estimate.output),
        "disk": "" if estimate.output is None else _disk(estimate.output),
        "time": "not known: no video could be decoded" if estimate.duration is None else _time(estimate),
        "bottleneck": "" if estimate.duration is None else _bottleneck(estimate.duration, estimate.machine),
    }
    table = [_wrapped(name, text) for name, text in lines.items() if text]
    failing = [_wrapped("", _reason(video)) for video in estimate.failing[:NAMED]]
    twice = [_wrapped("", _same(same)) for same in estimate.duplicates[:NAMED]]
    return "\n".join(
        [
            *table,
            *_listed("failing", failing, len(estimate.failing)),
            *_listed("duplicates", twice, len(estimate.duplicates)),
            "Failing is what does not open; damage further in shows only when a video is decoded.",
        ]
    )


def to_json(estimate: Estimate) -> dict[str, Any]:
    """Everything that an estimate knows, save the details of every decodable video."""
    return {
        "videos": {
            "total": len(estimate.videos),
            "decodable": len(estimate.decodable),
            "failing": len(estimate.failing),
            "bytes": sum(video.info.bytes for video in estimate.decodable),
            "frames": sum(video.info.frames for video in estimate.decodable),
            "frames_estimated": sum(not video.info.frames_exact for video in estimate.decodable),
            "seconds": _seconds(estimate.decodable),
            "views": sum(video.work.inputs for video in estimate.decodable),
        },
        "failing": [
            {
                "index": index,
                "name": video.video.key,
                "stage": video.error.stage,
                "kind": video.error.kind,
                "message": str(video.error),
            }
            for index, video in enumerate(estimate.videos)
            if isinstance(video, Failing)
        ],
        "duplicates": [{"names": list(same.keys), "same_file": same.same_file} for same in estimate.duplicates],
        "machine": dataclasses.asdict(estimate.machine),
        "duration": None if estimate.duration is None else dataclasses.asdict(estimate.duration),
        "output": None if estimate.output is None else dataclasses.asdict(estimate.output),
    }


# --- lines ------------------------------------------------------------------------------------------------------------


def _videos(estimate: Estimate) -> str:
    extra = sum(len(same.keys) - 1 for same in estimate.duplicates)
    counts = f"{len(estimate.decodable):,} decodable, {len(estimate.failing):,} failing"
    return f"{len(estimate.videos):,}: {counts}; duplicates among them: {extra:,}"


def _content(videos: Sequence[Decodable]) -> str:
    if not videos:
        return ""
    frames = sum(video.info.frames for video in videos)
    sizes = Counter(f"{video.info.width}x{video.info.height}" for video in videos).most_common()
    named = ", ".join(f"{size} ({count:,})" for size, count in sizes[:_SIZES_NAMED])
    others = f" and {len(sizes) - _SIZES_NAMED:,} more sizes" if len(sizes) > _SIZES_NAMED else ""
    about = "about " if any(not video.info.frames_exact for video in videos) else ""
    return (
        f"{_span(_seconds(videos))} of video, {about}{frames:,} frames, {_size(sum(v.info.bytes for v in videos))}; "
        f"{named}{others}"
    )


def _inputs(videos: Sequence[Decodable]) -> str:
    if not videos:
        return ""
    counts = [video.work.inputs for video in videos]
    each = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return f"{sum(counts):,} views, {each} a video"


def _output(output: Output) -> str:
    shape = " x ".join(f"{length:,}" for length in output.row_shape)
    return f"{output.rows:,} rows of {shape} {output.dtype} numbers, {_size(output.bytes)} as {output.format}"


def _disk(output: Output) -> str:
    peak = f"{_size(output.peak_bytes)} at the peak, with database and manifest"
    if output.free_bytes is None:
        return peak
    enough = "enough" if output.peak_bytes < output.free_bytes else "NOT ENOUGH"
    return f"{peak}; {_size(output.free_bytes)} free: {enough}"


def _time(estimate: Estimate) -> str:
    duration = estimate.duration
    assert duration is not None
    machine = estimate.machine
    gpus = f"{machine.gpus} times {machine.gpu}" if machine.gpus > 1 else machine.gpu
    where = f"{machine.cores} cores" if machine.gpu is None else f"{machine.cores} cores and {gpus}"
    weights = ", with random weights" if duration.random_weights else ""
    error = f" ({_span(duration.at_least)} to {_span(duration.at_most)})" if len(duration.sample) > 1 else ""
    return (
        f"{_span(duration.seconds)} on {where} with nothing else to do{error}, "
        f"from {len(duration.sample):,} of {len(estimate.decodable):,} videos{weights}"
    )


def _bottleneck(duration: Duration, machine: Machine) -> str:
    decoding, network = _span(duration.decoding_core_seconds), _span(duration.network_seconds)
    unit = "of one core" if machine.gpu is None else "of the GPU"
    if machine.gpus > 1:
        unit = f"of one GPU, shared by {machine.gpus}"
    stages = f"decoding takes {decoding} of one core, the network {network} {unit}"
    if duration.bottleneck == "network":
        return f"the network: {stages}"
    processes = f", shared by {machine.decode_processes} processes" if machine.decode_processes > 1 else ""
    return f"decoding: {stages.replace(' of one core,', f' of one core{processes},', 1)}"


def _reason(video: Failing) -> str:
    error = video.error
    place = "" if error.where.endswith(video.video.key) else f"{video.video.key}: "
    return f"{error.kind}: {place}{error}"


def _same(same: Duplicates) -> str:
    more = f" and {len(same.keys) - _COPIES_NAMED:,} more" if len(same.keys) > _COPIES_NAMED else ""
    return f"{' = '.join(same.keys[:_COPIES_NAMED])}{more} ({'one file' if same.same_file else 'same content'})"


# --- words ------------------------------------------------------------------------------------------------------------


def _listed(title: str, lines: list[str], total: int) -> list[str]:
    if not lines:
        return []
    more = [_wrapped("", f"and {total - NAMED:,} more (--json has all)")] if total > NAMED else []
    return [f"{title}:", *lines, *more]


def _wrapped(subject: str, text: str) -> str:
    start, indent = (f"{subject:<14} ", " " * 15) if subject else ("  ", "    ")
    return textwrap.fill(
        printable(text),
        120,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _seconds(videos: Sequence[Decodable]) -> float:
    """Duration of videos, from frames and frame rate where both are known."""
    return sum(
        video.info.frames / video.info.fps if video.info.fps else video.info.duration_seconds or 0.0 for video in videos
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
