"""What was measured: for people, and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from vidfeat import __version__
from vidfeat.tools.bench.comparison import Comparison, Row
from vidfeat.tools.bench.dense import Dense
from vidfeat.tools.bench.scaling import Point, Scaling
from vidfeat.tools.bench.workload import Facts

_SHOWN_OF_MODEL = ("frames", "views", "transforms", "backbone")


def render(facts: Facts, comparison: Comparison | None, scaling: Scaling | None, dense: Dense | None = None) -> str:
    """Lines for a terminal."""
    parts = [machine_line(facts)]
    if comparison is not None:
        parts.append(_comparison_lines(facts, comparison))
    if scaling is not None:
        parts.append(_scaling_lines(scaling))
    if dense is not None:
        parts.append(_dense_lines(dense))
    return "\n\n".join(parts)


def machine_line(facts: Facts) -> str:
    """The machine in a line."""
    device = "CPU" if facts.shares_cores else f"{facts.device}, {facts.device_name}"
    cpu = f", {facts.device_name}" if facts.shares_cores else ""
    return f"{facts.cores} cores{cpu}; on the {device}; torch {facts.torch}; vidfeat {__version__}"


def to_json(
    facts: Facts, comparison: Comparison | None, scaling: Scaling | None, dense: Dense | None = None
) -> dict[str, Any]:
    """The same for programs; `docs/benchmarks.md` explains the keys."""
    data: dict[str, Any] = {
        "vidfeat": __version__,
        "machine": {
            "cores": facts.cores,
            "device": facts.device,
            "device_name": facts.device_name,
            "torch": facts.torch,
        },
    }
    if comparison is not None:
        data |= {
            "recipe_digest": facts.digest,
            "random_weights": facts.random_weights,
            "videos": comparison.videos,
            "upper_bounds": {
                "decode_videos_per_second": comparison.decode_bound,
                "model_videos_per_second": dict(comparison.model_bounds),
            },
            "rows": [dataclasses.asdict(row) | {"bound_by": row.bound_by} for row in comparison.rows],
            "notes": list(comparison.notes),
        }
    if scaling is not None:
        data["scaling"] = dataclasses.asdict(scaling)
    if dense is not None:
        data["dense"] = dataclasses.asdict(dense) | {"of_parts": dense.of_parts, "ratio": dense.ratio}
    return data


def _comparison_lines(facts: Facts, comparison: Comparison) -> str:
    about = [line for line in facts.model.splitlines() if line.startswith(_SHOWN_OF_MODEL)]
    weights = "weights       random; the time does not depend on them" if facts.random_weights else ""
    header = ("row", "", "videos/s", "ratio", "of limit", "decode", "model", "memory", "backend", "compiling")
    table = _aligned([header, *(_cells(row) for row in comparison.rows)])
    parts = ["\n".join(filter(None, [*about, weights])), "\n".join(table), _bound_lines(facts, comparison)]
    return "\n\n".join(filter(None, [*parts, "\n".join(comparison.notes)]))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.words,
        significant(row.videos_per_second),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.fraction_of_limit is None else f"{row.fraction_of_limit:.2f}",
        f"{row.decode_share:.2f}",
        f"{row.model_share:.2f}",
        gigabytes(row.peak_memory_bytes),
        row.backend,
        f"{row.compile_seconds:.0f} s" if row.compile_seconds else "",
    )


def _bound_lines(facts: Facts, comparison: Comparison) -> str:
    lines = [f"decoding alone         {significant(comparison.decode_bound)} videos/s"]
    for row in comparison.rows:
        bound = comparison.model_bounds[row.name]
        lines.append(f"network alone, {row.name:<7} {significant(bound)} videos/s; {row.bound_by} costs more")
    both = "add up, as both use the same cores" if facts.shares_cores else "do not add up: the slower one decides"
    return "\n".join([*lines, f"the limit follows from both, whose times {both}"])


def _scaling_lines(scaling: Scaling) -> str:
    header = ("videos", "length", "rows", "input", "s a video", "memory")
    parts = [(scaling.model, (*scaling.by_count, *scaling.by_length)), (scaling.window_model, scaling.by_windows)]
    return "\n\n".join(
        "\n".join([f"scaling, {model}", *_aligned([header, *map(_point_cells, points)])]) for model, points in parts
    )


def _dense_lines(dense: Dense) -> str:
    seconds = {name: f"{significant(value)} s" for name, value in vars(dense).items() if name.endswith("_seconds")}
    return "\n".join(
        [
            f"dense, {dense.frame_model}: {dense.frame_rows} rows, a frame every second: {seconds['frame_seconds']}",
            f"  decoding alone {seconds['decode_seconds']}, each frame once through the network alone "
            f"{seconds['model_seconds']}; {dense.of_parts:.2f} of their sum",
            f"dense, {dense.window_model}: {dense.window_rows} windows of 16 frames, 4 apart: "
            f"{seconds['window_seconds']}",
            f"  each decoded by itself: at least {seconds['one_by_one_seconds']}; ratio {dense.ratio:.1f}",
        ]
    )


def _point_cells(point: Point) -> tuple[str, ...]:
    return (
        f"{point.videos}",
        "as given" if point.length_seconds is None else f"{point.length_seconds} s",
        f"{point.rows}",
        "" if point.input_size is None else f"{point.input_size}x{point.input_size}",
        significant(point.seconds_per_video),
        gigabytes(point.peak_memory_bytes),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def significant(value: float) -> str:
    """Three digits of a positive number, and never an exponent."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f}"


def gigabytes(size: int | None) -> str:
    """Of bytes; empty where they are not known."""
    return "" if size is None else f"{size / 1e9:.2f} GB"
