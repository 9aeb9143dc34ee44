"""Train the network of `vidfeat demo` from scratch, write it beside its config, and print the table of its model card.

    python scripts/train_demo.py                # train, write, evaluate; about a quarter of an hour on two cores
    python scripts/train_demo.py --evaluate     # only the table, with the weights that are there

The clips are rendered during training and go through the recipe's own sampling and transforms; the network is the one
that `vidfeat extract` builds. Everything is seeded; the last bits depend on the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

import vidfeat
from vidfeat.inference.network import Normalizer
from vidfeat.mmaction import compile_file
from vidfeat.models import Recognizer, build, channels_last
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import Recipe
from vidfeat.tools.demo import CONFIG, weights
from vidfeat.tools.demo.clips import list_clips, write_clips
from vidfeat.tools.demo.folder import DemoFolder
from vidfeat.tools.demo.motions import MOTIONS, UNSEEN_MOTIONS
from vidfeat.tools.demo.retrieval import LEVELS, chance_level, colour_histogram, rank1
from vidfeat.tools.demo.scene import FRAMES, draw_scene

SEED = 20261122
STEPS, BATCH = 1200, 32
LEARNING_RATE, WEIGHT_DECAY = 4e-3, 0.02
SHARPNESS = 16.0
"""The factor of cosines before the softmax. Training compares by cosine because retrieval does."""
SMOOTHING = 0.05
TESTED_PER_MOTION = 30


class RenderedClips(Dataset[tuple[torch.Tensor, int]]):
    """Training clips for one epoch: clip i is of motion `i % len(MOTIONS)`."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        self._recipe = recipe
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """uint8 `[T, H, W, 3]` and the index of the motion."""
        number, label = divmod(index, len(MOTIONS))
        scene = draw_scene(list(MOTIONS)[label], "train", number)
        transform = FrameTransformer(self._recipe.transforms)
        plan = self._recipe.sampling.frame_index(FRAMES)[0]
        frames = [transform(frame, where="rendered")[0] for frame in scene.frames(plan)]
        return torch.from_numpy(np.stack(frames)), label


def new_network(recipe: Recipe) -> Recognizer:
    """The recipe's network with random weights, ready for training."""
    generator = torch.Generator().manual_seed(SEED)
    model = build(recipe.model)
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.BatchNorm3d):
            module.reset_running_stats()
            module.reset_parameters()
    channels_last(model)
    return model.requires_grad_()


def train(model: Recognizer, recipe: Recipe) -> None:
    """Train the network to classify the motions, on `STEPS` batches of clips, each used once."""
    prototypes = nn.Parameter(
        torch.randn(len(MOTIONS), recipe.model.feature_size, generator=torch.Generator().manual_seed(SEED))
    )
    optimizer = torch.optim.AdamW([*model.parameters(), prototypes], LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.15)
    # The clips are ordered by motion, so that a batch has as many of each.
    loader = DataLoader(RenderedClips(recipe, STEPS * BATCH), BATCH, num_workers=1, prefetch_factor=8)
    normalize = Normalizer(recipe.normalize, recipe.model.dims)
    right = 0.0
    model.train()
    with tqdm(loader, unit="batch", mininterval=10) as progress:
        for clips, labels in progress:
            maps = model.forward_features(normalize(clips))
            assert isinstance(maps, torch.Tensor)
            cosines = functional.normalize(maps.mean((2, 3, 4))) @ functional.normalize(prototypes).T
            loss = functional.cross_entropy(SHARPNESS * cosines, labels, label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            right += 0.05 * (float((cosines.argmax(1) == labels).float().mean()) - right)
            progress.set_postfix(loss=f"{loss.item():.3f}", right=f"{right:.3f}", refresh=False)
    model.eval()


def write(model: Recognizer, folder: Path, note: str) -> Path:
    """Save the weights, named by the first digits of their SHA-256."""
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    data = save(state, metadata={"note": note})
    path = folder / f"{CONFIG.stem}-{hashlib.sha256(data).hexdigest()[:8]}.safetensors"
    path.write_bytes(data)
    return path


# --- evaluation -------------------------------------------------------------------------------------------------------


def evaluate(recipe: Recipe) -> None:
    """Print rank 1 on clips that are files and go through `vidfeat extract`, as a table in Markdown."""
    with tempfile.TemporaryDirectory() as name:
        folder = DemoFolder(Path(name))
        clips = list_clips("test", TESTED_PER_MOTION, [*MOTIONS, *UNSEEN_MOTIONS])
        write_clips(clips, folder, progress=True)
        untrained = write(new_network(recipe), folder.root, "random, not trained")
        rows = {
            "this network": extract(weights(), folder),
            "the same network, untrained": extract(untrained, folder),
            f"colour histograms, {LEVELS**3} bins": np.stack([colour_histogram(folder.clips / c.name) for c in clips]),
        }
    labels = [clip.motion for clip in clips]
    print("\n".join(table(rows, labels)))
    print()
    print("\n".join(mistakes(rows["this network"], labels)))


def extract(checkpoint: Path, folder: DemoFolder) -> np.ndarray:
    """float32 `[N, C]` of all clips."""
    encoder = vidfeat.encoder(CONFIG, checkpoint=checkpoint)
    job = vidfeat.Job(videos=folder.listed, encoders=encoder, out=folder.features, video_root=folder.clips)
    vidfeat.run(job, restart=True, quiet=True)
    with vidfeat.load(folder.features) as stored:
        return np.stack([features.values for features in stored.values()])


def table(rows: dict[str, np.ndarray], labels: Sequence[str]) -> Iterator[str]:
    seen = np.isin(labels, list(MOTIONS))
    trained = f"{seen.sum()} clips of {len(MOTIONS)} motions"
    others = f"{(~seen).sum()} clips of {len(UNSEEN_MOTIONS)} unseen motions"
    yield f"| rank 1 | {trained} | {others}, among all {len(seen)} | among the {(~seen).sum()} |"
    yield "|---|---|---|---|"
    for name, vectors in rows.items():
        figures = (
            rank1(vectors[seen], np.asarray(labels)[seen].tolist()).mean(),
            rank1(vectors, labels)[~seen].mean(),
            rank1(vectors[~seen], np.asarray(labels)[~seen].tolist()).mean(),
        )
        yield f"| {name} | " + " | ".join(f"{figure:.1%}" for figure in figures) + " |"
    by_chance = (
        chance_level(np.asarray(labels)[seen].tolist()),
        (TESTED_PER_MOTION - 1) / (len(labels) - 1),
        chance_level(np.asarray(labels)[~seen].tolist()),
    )
    yield "| by chance | " + " | ".join(f"{figure:.1%}" for figure in by_chance) + " |"


def mistakes(vectors: np.ndarray, labels: Sequence[str]) -> Iterator[str]:
    """Rank 1 of each motion, among all clips."""
    right = rank1(vectors, labels)
    for motion in dict.fromkeys(labels):
        yield f"{motion:22} {right[np.asarray(labels) == motion].mean():.1%}"


def main() -> None:
    """Train and evaluate, or only evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="do not train: print the table")
    options = parser.parse_args()
    torch.set_num_threads(1)  # The other core renders.
    torch.manual_seed(SEED)
    recipe = compile_file(CONFIG)
    if not options.evaluate:
        start = time.monotonic()
        model = new_network(recipe)
        train(model, recipe)
        for old in CONFIG.parent.glob("*.safetensors"):
            old.unlink()
        path = write(model, CONFIG.parent, "motions of rendered shapes, for demonstration only; see the card")
        print(f"{path.name}: {path.stat().st_size} bytes after {time.monotonic() - start:.0f} s")
    evaluate(recipe)


if __name__ == "__main__":
    main()
