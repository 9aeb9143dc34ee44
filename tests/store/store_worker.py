"""A stand-in for a run's process: commits made-up features, slowly enough to be killed."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from vidfeat.errors import VideoError
from vidfeat.store import Entry, Failure, ManifestHeader, RunIdentity, RunStore, Success, list_digest

HEADER: ManifestHeader = {
    "recipe": {"schema": 1},
    "checkpoint": {"source": "model.pth"},
    "device": "cpu",
    "numerics": {},
    "versions": {"vidfeat": "0", "python": "3"},
}


def entries_of(count: int) -> list[Entry]:
    return [Entry(i, f"folder {i % 3}/clip {i}.mp4", Path(f"clip {i}.mp4")) for i in range(count)]


def identity_of(entries: list[Entry], precision: str = "fp32") -> RunIdentity:
    recipe = hashlib.sha256(json.dumps(HEADER["recipe"], separators=(",", ":")).encode()).hexdigest()
    return RunIdentity(recipe, "b" * 64, precision, list_digest(entries))


def features_of(index: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(index).standard_normal(size, dtype=np.float32)


def error_of(entry: Entry) -> VideoError:
    return VideoError(str(entry.path), stage="decode", kind="corrupt", expected="frames", found="none")


def commit(store: RunStore, entry: Entry, *, fails: bool = False) -> None:
    if fails:
        store.commit(Failure(entry, error_of(entry)))
    else:
        store.commit(Success(entry, features_of(entry.index), frames=250 + entry.index, fps=25.0, seconds=10.0))


def die_before(out: str, count: int) -> None:
    """Make this process vanish before it changes a folder for the `count`-th time."""
    changes = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
    seen = 0

    def watch(event: str, args: tuple) -> None:
        nonlocal seen
        if event in changes and str(args[0]).startswith(str(Path(out).parent)):
            if seen == count:
                os._exit(77)
            seen += 1

    sys.addaudithook(watch)


def main(out: str, count: str, log: str, options: str) -> None:
    settings = {"rank": 0, "world_size": 1, "pause": 0.0, "fails": [], "timeout": 60.0, **json.loads(options)}
    entries = entries_of(int(count))
    if "die_before" in settings:
        die_before(out, settings["die_before"])
    rank, world_size = settings["rank"], settings["world_size"]
    with (
        RunStore.open(out, identity_of(entries), entries, rank=rank, world_size=world_size) as store,
        Path(log).open("a", buffering=1) as tell,
    ):
        print("open", flush=True)
        for entry in store.pending():
            time.sleep(settings["pause"])
            commit(store, entry, fails=entry.index in settings["fails"])
            tell.write(f"{entry.index}\n")
        store.finish(HEADER, timeout=settings["timeout"], poll=0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
