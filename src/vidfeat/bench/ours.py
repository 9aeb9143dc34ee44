"""What `vidfeat extract` runs, on a list that is long enough for its network to be made as fast as it gets."""

from __future__ import annotations

import itertools
import pickle
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidfeat.bench.process import Clock
from vidfeat.bench.roofs import enough
from vidfeat.bench.runs import Run
from vidfeat.bench.workload import Workload
from vidfeat.engine.local import run
from vidfeat.engine.progress import Progress
from vidfeat.engine.readers import ReaderOptions, processes_for
from vidfeat.errors import VidfeatError
from vidfeat.extract import Extractor
from vidfeat.machine import usable_cores
from vidfeat.network import Batch, Kernels, Network, Precision
from vidfeat.store import Entry, RunIdentity, RunStore, list_digest
from vidfeat.views import ViewSpec, read_chunks

LONG_LIST = 1_000_000
"""Videos that the network is told are to come: with so many ahead, `extract` takes the time to see whether compiling
pays."""

_DISTINCT_BATCHES = 4


@dataclass(frozen=True)
class _Units:
    """The network's inputs that a video makes: how many, and of what shape `[frames, H, W, 3]`."""

    count: int
    shape: tuple[int, ...]


def run_ours(workload: Workload, precision: Precision, kernels: Kernels | None, clock: Clock) -> Run:
    """All features of a workload, each committed to an output on disk; then the network alone.

    Args:
        workload: what to compute.
        precision: number format of the network.
        kernels: who runs it; decided by measurement, before the clock starts, where None.
        clock: started once the network has computed the first video, and stopped at the last commit.
    """
    said: list[str] = []
    cores = len(usable_cores())
    extractor = Extractor.from_setup(workload.prepare(precision), threads=cores, kernels=kernels, say=said.append)
    units = _settle(extractor, workload.paths[0])
    features = _extract(extractor, workload, ReaderOptions(processes_for(cores)), clock)
    network = extractor.network
    units_per_second = _units_per_second_alone(network, units.shape, units.count * len(workload.paths))
    return Run(
        features,
        model_videos_per_second=units_per_second / units.count,
        kernels=network.numerics.kernels,
        compile_seconds=network.compiling.seconds,
        cosine=network.numerics.cosine,
        said=tuple(said),
    )


def _settle(extractor: Extractor, path: Path) -> _Units:
    """Have the network decide who runs it, by the first video of what it takes for a long list."""
    computation = extractor.begin(extractor.batcher(LONG_LIST), where=str(path))
    units = _Units(0, ())
    for views in read_chunks(ViewSpec.of(extractor.recipe), path):
        computation.add(views)
        found = views.units(extractor.recipe.model)
        before = 0 if views.first_clip == 0 else units.count
        units = _Units(before + len(found), (len(found[0].frames), *views.pixels.shape[2:]))
    computation.result()
    return units


def _extract(extractor: Extractor, workload: Workload, reading: ReaderOptions, clock: Clock) -> npt.NDArray[np.float32]:
    """The features as they are read back from the output."""
    entries = [Entry(index, f"{index}", path) for index, path in enumerate(workload.paths)]
    identity = RunIdentity(extractor.recipe.digest, extractor.weights.sha256, extractor.precision, list_digest(entries))
    out = Path(tempfile.mkdtemp(dir=workload.scratch)) / "features.pkl"
    with RunStore.open(out, identity, entries) as store, Progress(len(entries), quiet=True) as progress:
        pending = store.pending()
        clock.start()
        run(extractor, pending, store, progress, reading=reading)
        clock.stop()
        summary = store.finish(
            {"recipe": {}, "checkpoint": {"source": ""}, "device": "", "numerics": {}, "versions": {}}
        )
    if summary is None or summary.failed:
        raise VidfeatError(
            "the videos",
            expected="videos that give features, as those of a benchmark all have to",
            found="some that do not, named above",
            do="Leave them out.",
        )
    return np.stack(pickle.loads(out.read_bytes()))


def _units_per_second_alone(network: Network, shape: tuple[int, ...], units: int) -> float:
    """How many units the network computes while all its lanes are busy with random pixels and nothing else runs.

    Args:
        network: settled.
        shape: of a unit, `[frames, H, W, 3]`.
        units: how many the whole list has.
    """
    rng = np.random.default_rng(0)
    resident = [network.buffer(network.units, shape) for _ in range(_DISTINCT_BATCHES)]
    for pixels in resident:
        pixels[...] = rng.integers(0, 256, pixels.shape, np.uint8)
    submitted: list[Batch] = []
    # What lanes spend on a batch, and not what passes until the last is done, when some of them have nothing left.
    before, start = network.busy.seconds, time.monotonic()
    for pixels in itertools.cycle(resident):
        submitted.append(Batch(pixels))
        network.submit(submitted[-1])
        if len(submitted) >= 2 * network.lanes and enough(
            len(submitted) * network.units / units, time.monotonic() - start
        ):
            break
    for batch in submitted:
        batch.rows.result()
    return len(submitted) * network.units * network.lanes / (network.busy.seconds - before)
