"""The rows of the comparison, measured in an interleaved order, and what follows from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfeat.errors import DeviceError, UsageError
from vidfeat.tools.bench.process import Clock, Measured, measure
from vidfeat.tools.bench.runs import Run
from vidfeat.tools.bench.upper_bounds import decode_rate, limit
from vidfeat.tools.bench.workload import Facts, Workload

if TYPE_CHECKING:
    from vidfeat.inference import Precision
    from vidfeat.inference.backends import Backend

AS_SHIPPED_WORKERS = 2
"""`workers_per_gpu` of MMAction2's feature extraction configs."""

Say = Callable[[str], object]


@dataclass(frozen=True)
class Baseline:
    """MMAction2's way of working.

    Attributes:
        words: what it is, for people.
        workers: loader processes; one for each core where None.
    """

    words: str
    workers: int | None

    def __call__(self, workload: Workload, facts: Facts, backend: Backend | None, clock: Clock) -> Run:
        """The work, in the process that is measured."""
        from vidfeat.tools.bench.baseline import run_baseline

        return run_baseline(workload, self.workers or facts.cores, clock)


@dataclass(frozen=True)
class Extraction:
    """What `vidfeat extract` runs.

    Attributes:
        words: what it is, for people.
        precision: number format of the network.
    """

    words: str
    precision: Precision

    def __call__(self, workload: Workload, facts: Facts, backend: Backend | None, clock: Clock) -> Run:
        """The work, in the process that is measured."""
        from vidfeat.tools.bench.extraction import run_extraction

        compiled = None if backend is None else backend == "compiled"
        return run_extraction(workload, workload.job(precision=self.precision, compiled=compiled), clock)


CONTENDERS: Mapping[str, Baseline | Extraction] = {
    "shipped": Baseline("MMAction2's way, as shipped", workers=AS_SHIPPED_WORKERS),
    "tuned": Baseline("MMAction2's way, a worker a core", workers=None),
    "exact": Extraction("vidfeat, fp32", "fp32"),
    "bf16": Extraction("vidfeat, bf16", "bf16"),
}
"""What can be compared, by the name of its row."""


def parse_rows(text: str) -> tuple[str, ...]:
    """The rows that a `--rows` value names, with commas between them; "none" names none.

    Raises:
        UsageError: it names something else, or a row twice.
    """
    names = () if text == "none" else tuple(text.split(","))
    if set(names) <= set(CONTENDERS) and len(set(names)) == len(names):
        return names
    raise UsageError("--rows", expected=f"some of {','.join(CONTENDERS)}, or none", found=repr(text))


@dataclass(frozen=True)
class Row:
    """One way of working, measured.

    Attributes:
        name: key of `CONTENDERS`.
        words: what it is, for people.
        videos_per_second: the median over its runs.
        runs: of each run, in order.
        ratio: to the row "shipped"; None without one.
        limit: videos per second that the machine can do at most, decoding as vidfeat does and with the network as this
            row runs it; of MMAction2's way that of the row "exact", None without one.
        fraction_of_limit: `videos_per_second / limit`; None without a limit.
        decode_share: of the time of a run, how much decoding alone would take, on all cores.
        model_share: how much the network alone would take. Where both share the cores, the rest up to 1 is lost.
        peak_memory_bytes: the most of all runs, of the process and all below it, from birth; None where it cannot be
            seen.
        running_peak_memory_bytes: the same without the time before the clock started, such as that of compiling.
        backend: what ran the network.
        compile_seconds: spent in `torch.compile` before the clock started, the most of all runs, that is, of the first.
        cosine_to_fp32: least cosine to eager fp32 in the first batch; None where there was nothing to check.
        difference: largest relative distance of a video's features to those of the row "shipped"; None without one.
    """

    name: str
    words: str
    videos_per_second: float
    runs: tuple[float, ...]
    ratio: float | None
    limit: float | None
    fraction_of_limit: float | None
    decode_share: float
    model_share: float
    peak_memory_bytes: int | None
    running_peak_memory_bytes: int | None
    backend: Backend
    compile_seconds: float
    cosine_to_fp32: float | None
    difference: float | None

    @property
    def bound_by(self) -> str:
        """The stage that takes more of the machine: "decode" or "model"."""
        return "decode" if self.decode_share > self.model_share else "model"


@dataclass(frozen=True)
class Comparison:
    """All rows, and the upper bounds.

    Attributes:
        videos: in the list.
        decode_bound: videos per second if there were only decoding, the median over all repeats.
        model_bounds: videos per second if there were only the network, by the name of the row.
        rows: in the order that was asked for.
        notes: which backends were selected and why, and rows that this machine cannot do, in lines.
    """

    videos: int
    decode_bound: float
    model_bounds: Mapping[str, float]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def compare(
    workload: Workload,
    facts: Facts,
    names: Sequence[str],
    *,
    repeat: int,
    backend: Backend | None = None,
    say: Say = lambda line: None,
) -> Comparison:
    """Measure rows in turn, each once and then all again, so that changes of the machine's speed reach all of them.

    Args:
        workload: what all of them compute.
        facts: of the machine and the model.
        names: keys of `CONTENDERS`.
        repeat: how often each is measured.
        backend: what runs vidfeat's networks; None selects one in the first run of each row, for the others as well.
        say: takes a line about each measurement.

    Raises:
        VideoError: a video cannot be decoded.
        DeviceError: the backend does not work here.
    """
    decoding: list[float] = []
    series: dict[str, list[Measured[Run]]] = {name: [] for name in names}
    notes: list[str] = []
    for number in range(1, repeat + 1):
        decoding.append(decode_rate(facts.preprocess, workload.paths, facts.cores))
        say(f"{number}/{repeat}  decoding alone: {decoding[-1]:.3g} videos/s")
        for name, runs in list(series.items()):
            contender, used = CONTENDERS[name], runs[0].result.backend if runs else backend
            try:
                runs.append(measure(functools.partial(contender, workload, facts, used)))
                line = f"{len(workload.paths) / runs[-1].seconds:.3g} videos/s"
            except DeviceError as error:
                # Of other formats a finding and no fault: not every network fits into every one.
                if isinstance(contender, Baseline) or contender.precision == "fp32":
                    raise
                del series[name]
                line = f"none: {error}"
                notes.append(f"{name}: {line}")
            say(f"{number}/{repeat}  {name}: {line}")
    for name, runs in series.items():
        notes += [f"{name}: {line}" for line in runs[0].result.said]
    return _conclude(series, facts, median(decoding), len(workload.paths), tuple(notes))


def _conclude(
    series: Mapping[str, Sequence[Measured[Run]]], facts: Facts, decode: float, videos: int, notes: tuple[str, ...]
) -> Comparison:
    bounds = {name: median(run.result.model_videos_per_second for run in runs) for name, runs in series.items()}
    limits = {name: limit(decode, bound, shares_cores=facts.shares_cores) for name, bound in bounds.items()}
    rates = {name: tuple(videos / run.seconds for run in runs) for name, runs in series.items()}
    shipped = series["shipped"][0].result.features if "shipped" in series else None
    rows = []
    for name, runs in series.items():
        rate, first = median(rates[name]), runs[0].result
        most = limits.get("exact") if isinstance(CONTENDERS[name], Baseline) else limits[name]
        rows.append(
            Row(
                name=name,
                words=CONTENDERS[name].words,
                videos_per_second=rate,
                runs=rates[name],
                ratio=rate / median(rates["shipped"]) if "shipped" in rates else None,
                limit=most,
                fraction_of_limit=rate / most if most else None,
                decode_share=rate / decode,
                model_share=rate / bounds[name],
                peak_memory_bytes=_most(run.peak_bytes for run in runs),
                running_peak_memory_bytes=_most(run.running_peak_bytes for run in runs),
                backend=first.backend,
                compile_seconds=max(run.result.compile_seconds for run in runs),
                cosine_to_fp32=first.cosine,
                difference=None if shipped is None else largest_difference(first.features, shipped),
            )
        )
    return Comparison(videos, decode, bounds, tuple(rows), notes)


def largest_difference(features: npt.NDArray[np.float32], reference: npt.NDArray[np.float32]) -> float:
    """Of all videos, the largest distance to the reference, relative to the reference's length; both `[videos, C]`."""
    distances = np.linalg.norm(features - reference, axis=1)
    return float(np.max(distances / np.maximum(np.linalg.norm(reference, axis=1), np.finfo(np.float32).tiny)))


def _most(peaks: Iterable[int | None]) -> int | None:
    return max((peak for peak in peaks if peak is not None), default=None)
