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

from vidfeat.engine.decode_pool import ReaderOptions, processes_for
from vidfeat.engine.local import Reading, run
from vidfeat.engine.progress import Progress
from vidfeat.errors import VidfeatError
from vidfeat.extract import Extractor
from vidfeat.hardware import usable_cores
from vidfeat.inference.runner import Batch, Kernels, Network, Precision
from vidfeat.preprocessing.clips import PreprocessSpec, read_chunks
from vidfeat.store import Entry, RunIdentity, RunStore, list_digest
from vidfeat.tools.bench.process import Clock
from vidfeat.tools.bench.roofs import enough
from vidfeat.tools.bench.runs import Run
from vidfeat.tools.bench.workload import Workload

LONG_LIST = 1_000_000
"""Videos that the network is told are to come: with so many ahead, `extract` takes the time to see whether compiling
pays."""

_DISTINCT_BATCHES = 4


@dataclass(frozen=True, eq=False)
class Settled:
    """An extractor whose network has computed its first batches.

    Attributes:
        extractor: the model.
        units: the network's inputs that the first video makes, how many.
        shape: of each, `[frames, H, W, 3]`.
        said: what the network told about its decisions, in lines.
    """

    extractor: Extractor
    units: int
    shape: tuple[int, ...]
    said: tuple[str, ...]


def run_ours(workload: Workload, precision: Precision, kernels: Kernels | None, clock: Clock) -> Run:
    """All features of a workload, each committed to an output on disk; then the network alone.

    Args:
        workload: what to compute.
        precision, kernels: as for `settle`.
        clock: started once the network has computed the first video, and stopped at the last commit.
    """
    settled = settle(workload, precision, kernels)
    features = extract(settled.extractor, workload, clock)
    network = settled.extractor.network
    units_per_second = _units_per_second_alone(network, settled.shape, settled.units * len(workload.paths))
    return Run(
        features,
        model_videos_per_second=units_per_second / settled.units,
        kernels=network.numerics.kernels,
        compile_seconds=network.compiling.seconds,
        cosine=network.numerics.cosine,
        said=settled.said,
    )


def settle(workload: Workload, precision: Precision, kernels: Kernels | None) -> Settled:
    """Load the model, and have it compute the first video as the first of a long list.

    Args:
        workload: what to compute.
        precision: number format of the network.
        kernels: who runs it; None has it decide by measurement.
    """
    said: list[str] = []
    extractor = Extractor.from_setup(
        workload.prepare(precision), threads=len(usable_cores()), kernels=kernels, say=said.append
    )
    path = workload.paths[0]
    computation = extractor.begin(extractor.batcher(LONG_LIST), where=str(path))
    chunks: list[int] = []
    shape: tuple[int, ...] = ()
    for views in read_chunks(PreprocessSpec.of(extractor.recipe), path):
        computation.add(views)
        units = views.units(extractor.recipe.model)
        shape = (len(units[0].frames), *views.pixels.shape[2:])
        chunks = [*(chunks if views.first_clip else []), len(units)]
    computation.result()
    return Settled(extractor, sum(chunks), shape, tuple(said))


def extract(extractor: Extractor, workload: Workload, clock: Clock) -> npt.NDArray[np.float32]:
    """All features of a workload, float32 `[videos, C]`, as they are read back from the output.

    Raises:
        VidfeatError: a video failed.
    """
    options = ReaderOptions(processes_for(len(usable_cores()), extractor.device.type))
    entries = [Entry(index, f"{index}", path) for index, path in enumerate(workload.paths)]
    identity = RunIdentity(extractor.recipe.digest, extractor.weights.sha256, extractor.precision, list_digest(entries))
    out = Path(tempfile.mkdtemp(dir=workload.scratch)) / "features.pkl"
    with RunStore.open(out, identity, entries) as store, Progress(len(entries), quiet=True) as progress:
        pending = store.pending()
        clock.start()
        with Reading(PreprocessSpec.of(extractor.recipe), pending, options) as reading:
            run(extractor, reading, store, progress)
        clock.stop()
        summary = store.finish(
            {"recipe": {}, "checkpoint": {"source": ""}, "device": "", "numerics": {}, "versions": {}}
        )
    if summary is None or summary.failed:
        raise VidfeatError(
            "the videos",
            expected="videos that give features, as those of a benchmark all have to",
            found="some that do not, named above",
            hint="Leave them out.",
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
    resident = [network.new_batch(shape).pixels for _ in range(_DISTINCT_BATCHES)]
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
