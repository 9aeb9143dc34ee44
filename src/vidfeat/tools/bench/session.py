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
from vidfeat.tools.bench.growth import GROWTH_CFG_OPTIONS, GROWTH_MODEL, Growth, grow
from vidfeat.tools.bench.process import apart
from vidfeat.tools.bench.workload import DEFAULT_CFG_OPTIONS, DEFAULT_MODEL, Facts, Workload, examine

if TYPE_CHECKING:
    from vidfeat.inference.runner import Kernels

RENDERED_CLIPS = 6
DEFAULT_VIDEOS = 12
"""Videos of the list where none are given: twice the rendered clips, so that starting up weighs less."""


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: path of a config, or name of a released model; `DEFAULT_MODEL` where None.
        cfg_options: overrides of its config, dotted key to value.
        checkpoint: path or URL of its weights; made up where None, and nothing is downloaded.
        device: "auto" (a GPU where there is one), "cpu", or one GPU.
        paths: the videos; clips are rendered where there are none.
        videos: length of the list, from the paths, over and over if need be; as many as there are where None.
        rows: keys of `CONTENDERS`; nothing is compared where there are none.
        repeat: how often each row is measured.
        kernels: who runs our networks; they decide that by measurement where None.
        growth: whether to measure how cost grows.
        growth_model: the model for that; `GROWTH_MODEL` where None.
    """

    model: str | None = None
    cfg_options: Mapping[str, Any] | None = None
    checkpoint: str | None = None
    device: str = "auto"
    paths: Sequence[Path] = ()
    videos: int | None = None
    rows: Sequence[str] = tuple(CONTENDERS)
    repeat: int = 3
    kernels: Kernels | None = None
    growth: bool = False
    growth_model: str | None = None


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        facts: of the machine and the model.
        comparison: None where no rows were asked for.
        growth: None where it was not asked for.
    """

    facts: Facts
    comparison: Comparison | None
    growth: Growth | None


def bench(request: Request, say: Callable[[str], object] = lambda line: None) -> Report:
    """Measure what is requested. Takes minutes; leaves nothing behind.

    Args:
        request: what to measure.
        say: told how far it is, in lines.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError, VideoError: see `vidfeat.errors`.
    """
    with tempfile.TemporaryDirectory(prefix="vidfeat-bench-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        workload, facts = _workload(request, scratch)
        comparison = None
        if request.rows:
            comparison = compare(workload, facts, request.rows, repeat=request.repeat, kernels=request.kernels, say=say)
        return Report(facts, comparison, _growth(request, workload, say) if request.growth else None)


def _workload(request: Request, scratch: Path) -> tuple[Workload, Facts]:
    model, options = request.model or DEFAULT_MODEL, dict(request.cfg_options or {})
    if request.model is None:
        options = {**DEFAULT_CFG_OPTIONS, **options}
    facts, weights = apart(
        functools.partial(examine, model, options, request.checkpoint, request.device, scratch / "weights.safetensors")
    )
    paths = request.paths or apart(functools.partial(render_clips, scratch / "clips", RENDERED_CLIPS))
    count = request.videos or (len(paths) if request.paths else DEFAULT_VIDEOS)
    listed = tuple(paths[number % len(paths)] for number in range(count))
    return Workload(model, options, weights, facts.device, listed, scratch), facts


def _growth(request: Request, compared: Workload, say: Callable[[str], object]) -> Growth:
    """The same videos with another model."""
    model = request.growth_model or GROWTH_MODEL
    options = GROWTH_CFG_OPTIONS if request.growth_model is None else {}
    _, weights = apart(
        functools.partial(examine, model, options, None, compared.device, compared.scratch / "growth.safetensors")
    )
    workload = Workload(model, options, weights, compared.device, compared.paths, compared.scratch)
    return grow(workload, kernels=request.kernels or "eager", say=say)
