"""One call of `vidfeat bench`, from what was asked for to what was measured."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.tools.bench.clips import render_clips
from vidfeat.tools.bench.comparison import CONTENDERS, Comparison, compare
from vidfeat.tools.bench.dense import Dense, measure_dense
from vidfeat.tools.bench.process import apart
from vidfeat.tools.bench.scaling import SCALING_CFG_OPTIONS, SCALING_MODEL, Scaling, measure_scaling
from vidfeat.tools.bench.workload import DEFAULT_CFG_OPTIONS, DEFAULT_MODEL, Facts, Workload, examine

if TYPE_CHECKING:
    from vidfeat.inference.backends import Backend

RENDERED_CLIPS = 6


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: path of a config, or name of a released model; `DEFAULT_MODEL` where None.
        cfg_options: overrides of its config, dotted key to value.
        checkpoint: path or URL of its weights; random where None, and nothing is downloaded.
        device: "auto" (a GPU where there is one), "cpu", or one GPU.
        paths: the videos; clips are rendered where there are none.
        videos: length of the list, from the paths, over and over if need be; as many as there are where None.
        rows: keys of `CONTENDERS`; nothing is compared where there are none.
        repeat: how often each row is measured.
        backend: what runs vidfeat's networks; selected by measurement where None.
        scaling: whether to measure how cost grows.
        scaling_model: the model for that; `SCALING_MODEL` where None.
        dense: whether to measure rows over time.
    """

    model: str | None = None
    cfg_options: Mapping[str, Any] | None = None
    checkpoint: str | None = None
    device: str = "auto"
    paths: Sequence[Path] = ()
    videos: int | None = None
    rows: Sequence[str] = tuple(CONTENDERS)
    repeat: int = 3
    backend: Backend | None = None
    scaling: bool = False
    scaling_model: str | None = None
    dense: bool = False


QUICK = Request(videos=4, rows=("shipped", "exact", "bf16"), repeat=1, backend="eager")
"""An answer in three minutes on two cores."""

THOROUGH = Request(videos=2 * RENDERED_CLIPS)
"""Twice the rendered clips, so that starting up weighs less; compiled where that pays."""


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        facts: of the machine and the model.
        comparison: None where no rows were asked for.
        scaling, dense: None where they were not asked for.
    """

    facts: Facts
    comparison: Comparison | None
    scaling: Scaling | None
    dense: Dense | None


def bench(request: Request, say: Callable[[str], object] = lambda line: None) -> Report:
    """Measure what is requested. Takes minutes; leaves nothing behind.

    Args:
        request: what to measure.
        say: takes a line about each measurement.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError, VideoError: see `vidfeat.errors`.
    """
    with tempfile.TemporaryDirectory(prefix="vidfeat-bench-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        workload, facts = _workload(request, scratch)
        comparison = None
        if request.rows:
            comparison = compare(workload, facts, request.rows, repeat=request.repeat, backend=request.backend, say=say)
        scaling = None
        if request.scaling:
            options = SCALING_CFG_OPTIONS if request.scaling_model is None else {}
            model, compiled = request.scaling_model or SCALING_MODEL, request.backend == "compiled"
            scaling = measure_scaling(workload, model, options, compiled=compiled, say=say)
        dense = measure_dense(workload, facts.cores, say=say) if request.dense else None
        return Report(facts, comparison, scaling, dense)


def _workload(request: Request, scratch: Path) -> tuple[Workload, Facts]:
    model, options = request.model or DEFAULT_MODEL, dict(request.cfg_options or {})
    if request.model is None:
        options = {**DEFAULT_CFG_OPTIONS, **options}
    facts, encoder = apart(functools.partial(examine, model, options, request.checkpoint, request.device, scratch))
    count = request.videos or len(request.paths) or 2 * RENDERED_CLIPS
    paths = request.paths or apart(functools.partial(render_clips, scratch / "clips", min(count, RENDERED_CLIPS)))
    listed = tuple(paths[number % len(paths)] for number in range(count))
    return Workload(encoder, facts.device, listed, scratch), facts
