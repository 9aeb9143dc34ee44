"""vidfeat against MMAction2's way of working, on the same clips in one run.

MMAction2's way: two loader processes that decode, resize, crop and normalise one video each; a batch of one video; the
network as it was trained, eager, fp32, NCHW. It is rebuilt here from vidfeat's own parts, so that both sides decode
with the same library and the ratio shows the way of working, not the decoder.

usage: python benchmarks/against_mmaction2.py [--config tsn|slowonly] [--videos N] [--repeat K] [FOLDER]
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidfeat.engine.local import run
from vidfeat.engine.progress import Progress
from vidfeat.extract import Extractor
from vidfeat.mmaction import compile_file
from vidfeat.models import build
from vidfeat.pooling import pool_video, pool_views
from vidfeat.recipe import Recipe
from vidfeat.store import Entry, RunIdentity, RunStore, scan
from vidfeat.transforms import normalize
from vidfeat.views import read_views

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = {
    "tsn": "configs/recognition/tsn/tsn_r50_clip_feature_extraction_1x1x3_rgb.py",
    "slowonly": "configs/recognition/slowonly/slowonly_r50_clip_feature_extraction_4x16x1_rgb.py",
}
THEIRS, OURS = "MMAction2's way", "vidfeat"


class Videos(torch.utils.data.Dataset[torch.Tensor]):
    """What MMAction2's loader processes do with a video: everything up to the float32 input."""

    def __init__(self, recipe: Recipe, entries: list[Entry]) -> None:
        self.recipe, self.entries = recipe, entries

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> torch.Tensor:
        torch.set_num_threads(1)
        views = read_views(self.recipe, self.entries[index].path)
        units = views.units(self.recipe.model)
        pixels = np.empty((len(units), len(units[0].frames), *views.pixels.shape[2:]), np.uint8)
        for unit, place in zip(units, pixels, strict=True):
            views.gather(unit, place)
        dims = self.recipe.model.dims
        frames = pixels.reshape(-1, *pixels.shape[2:]) if dims == 2 else pixels
        return normalize(torch.from_numpy(frames), self.recipe.normalize, dims).contiguous()


def mmaction2s_way(recipe: Recipe, checkpoint: Path, entries: list[Entry]) -> list[torch.Tensor]:
    """All features, computed the way MMAction2 does."""
    model = build(recipe.model)
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    loader = torch.utils.data.DataLoader(Videos(recipe, entries), batch_size=None, num_workers=2)
    with torch.inference_mode():
        return [pool_video(pool_views(model.forward_features(inputs))) for inputs in loader]


def our_way(config: Path, checkpoint: Path, entries: list[Entry], out: Path) -> None:
    """All features, computed and committed as `vidfeat extract` does."""
    extractor = Extractor(config, checkpoint=checkpoint, device="cpu")
    identity = RunIdentity(extractor.recipe.digest, extractor.weights.sha256, "fp32", "benchmark")
    with RunStore.open(out, identity, entries) as store, Progress(len(entries), quiet=True) as progress:
        run(extractor, store.pending(), store, progress)
        nothing: dict[str, Any] = {}
        store.finish(
            {"recipe": {}, "checkpoint": {"source": "x"}, "device": "cpu", "numerics": nothing, "versions": nothing}
        )


def in_a_process(work: Callable[[], object], results: multiprocessing.Queue[float]) -> None:
    """Report the seconds that some work takes."""
    start = time.perf_counter()
    work()
    results.put(time.perf_counter() - start)


def memory_of(pid: int) -> int:
    """Bytes that a process and all below it hold; memory that several share is shared out among them. Linux only."""
    folder = Path("/proc") / str(pid)
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
        below = " ".join((task / "children").read_text() for task in (folder / "task").iterdir())
    except OSError:  # it ended
        return 0
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return own + sum(memory_of(int(child)) for child in below.split())


def measure(work: Callable[[], object]) -> tuple[float, int]:
    """Seconds and peak memory of some work, in a fresh process that has imported everything before the clock starts."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[float] = context.Queue()
    process = context.Process(target=in_a_process, args=(work, results))
    process.start()
    assert process.pid is not None
    peak = 0
    while results.empty():
        if not process.is_alive():
            raise SystemExit(f"the measured process ended with {process.exitcode}")
        peak = max(peak, memory_of(process.pid))
        time.sleep(0.1)
    process.join()
    return results.get(), peak


def main() -> None:
    """Measure both ways, alternating, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="clips; rendered ones where none is given")
    parser.add_argument("--config", choices=CONFIGS, default="tsn")
    parser.add_argument("--videos", type=int, default=6, help="videos to use, the folder's repeated if need be")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    config = REPOSITORY / CONFIGS[options.config]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = options.folder or rendered(scratch / "clips")
        found = scan([folder])
        entries = [Entry(number, f"{number}", found[number % len(found)].path) for number in range(options.videos)]
        recipe = compile_file(config)
        model = build(recipe.model)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        for buffer in model.buffers():
            buffer.fill_(1)
        checkpoint = scratch / "weights.pth"
        torch.save(model.state_dict(), checkpoint)
        times: dict[str, list[tuple[float, int]]] = {THEIRS: [], OURS: []}
        for number in range(options.repeat):
            times[THEIRS].append(measure(functools.partial(mmaction2s_way, recipe, checkpoint, entries)))
            out = scratch / f"{number}.pkl"
            times[OURS].append(measure(functools.partial(our_way, config, checkpoint, entries, out)))
    print(
        f"{options.config}, {options.videos} videos of {folder if options.folder else 'rendered clips'}, "
        f"{len(recipe.transforms)} transforms, torch {torch.__version__}, {torch.get_num_threads()} cores, "
        f"median of {options.repeat}"
    )
    seconds = {way: float(np.median([time for time, _ in runs])) for way, runs in times.items()}
    for way, runs in times.items():
        memory = max(memory for _, memory in runs)
        print(f"  {way:<16} {options.videos / seconds[way]:6.3f} videos/s   peak memory {memory / 1e9:.2f} GB")
    print(f"  ratio            {seconds[THEIRS] / seconds[OURS]:6.2f}")


def rendered(folder: Path) -> Path:
    """A few clips by the repository's own script."""
    sys.path.insert(0, str(REPOSITORY / "examples"))
    from render_clips import main as render

    render(str(folder), "6")
    return folder


if __name__ == "__main__":
    main()
