"""MMAction2's way of working, rebuilt from vidfeat's own parts, so that a ratio shows the way of working and not whose
decoder is the faster one.

Loader processes decode, resize, crop and normalise one video each, and decode every frame up to the last one wanted, as
decord does; the network takes one video a batch, as it was trained: eager, fp32, channels first, norms not folded,
attention written out, with PyTorch's own number of threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader, Dataset

from vidfeat.checkpoint import find, load_into, load_state
from vidfeat.inference.devices import choose_devices
from vidfeat.inference.network import Normalizer
from vidfeat.inference.pooling import pool_video, pool_views
from vidfeat.models import Recognizer, build
from vidfeat.models.uniformerv2 import UniFormerV2Config
from vidfeat.preprocessing.clips import PreprocessSpec, read_whole
from vidfeat.recipe import Recipe
from vidfeat.tools.bench.process import Clock
from vidfeat.tools.bench.runs import Run
from vidfeat.tools.bench.workload import Workload
from vidfeat.video import probe
from vidfeat.videos import VideoRef


class VideoInputs(Dataset[torch.Tensor]):
    """What a loader process does with a video: everything up to the network's float32 input.

    Args:
        recipe: what to do.
        paths: the videos.
    """

    def __init__(self, recipe: Recipe, paths: Sequence[Path]) -> None:
        self._recipe = recipe
        self._paths = paths
        self._normalize = Normalizer(recipe.normalize, recipe.model.dims)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """float32 `[N, 3, H, W]` or `[N, 3, T, H, W]`: all views of a video."""
        path = self._paths[index]
        without_packets = dataclasses.replace(probe(path), packets=None)
        clips = read_whole(PreprocessSpec.of(self._recipe), VideoRef(f"{index}", str(path)), info=without_packets)
        samples = clips.samples(self._recipe.model)
        pixels = np.empty((len(samples), len(samples[0]), *clips.pixels.shape[2:]), clips.pixels.dtype)
        for sample, place in zip(samples, pixels, strict=True):
            clips.gather(sample, place)
        frames = pixels.reshape(-1, *pixels.shape[2:]) if self._recipe.model.dims == 2 else pixels
        return self._normalize(torch.from_numpy(frames)).contiguous()


class AttentionWrittenOut(TorchFunctionMode):
    """Inside it attention is two products and a softmax, each of which fills a matrix of queries x keys."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value, mask = (*args, None)[:4]
        scale = (kwargs or {}).get("scale")
        products = query * (query.shape[-1] ** -0.5 if scale is None else scale) @ key.transpose(-2, -1)
        return (products if mask is None else products + mask).softmax(-1) @ value


def run_baseline(workload: Workload, workers: int, clock: Clock) -> Run:
    """All features of a workload.

    Args:
        workload: what to compute.
        workers: loader processes.
        clock: started once the network has computed the first video, as vidfeat's is.
    """
    recipe, weights = Recipe.from_json(workload.encoder["recipe"]), find(workload.encoder["path"])
    (device,) = choose_devices(workload.device)
    model = build(recipe.model)
    load_into(model, load_state(weights), source=weights.source, computed=model.computed)
    model.to(device)
    alone = _seconds_alone(recipe, model, workload.paths[0], device)
    clock.start()
    features = list(baseline_features(recipe, model, workload.paths, workers, device))
    clock.stop()
    return Run(np.stack(features), model_videos_per_second=1 / alone)


def baseline_features(
    recipe: Recipe, model: Recognizer, paths: Sequence[Path], workers: int, device: torch.device
) -> Iterator[npt.NDArray[np.float32]]:
    """The features of one video after the other, float32 `[C]`, computed with so many loader processes.

    Args:
        recipe: what to compute.
        model: with its weights, on the device.
        paths: the videos.
        workers: loader processes, at least 1.
        device: where.
    """
    # Forked, as MMAction2's are, where that can be done.
    fork = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    videos = VideoInputs(recipe, paths)
    with warnings.catch_warnings():
        # Python warns of forking while there are threads. PyTorch's loaders have done it for years.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        loader = DataLoader(
            videos,
            batch_size=None,
            num_workers=workers,
            multiprocessing_context=fork,
            pin_memory=device.type == "cuda",
        )
        loaded = iter(loader)
    for inputs in loaded:
        yield _feature(recipe, model, inputs, device)


@torch.inference_mode()
def _feature(recipe: Recipe, model: Recognizer, inputs: torch.Tensor, device: torch.device) -> npt.NDArray[np.float32]:
    # MMAction2's backbones write attention out, or have PyTorch give the weights too, which does; but for this one.
    fused = isinstance(recipe.model.backbone, UniFormerV2Config)
    with contextlib.nullcontext() if fused else AttentionWrittenOut():
        rows = pool_views(model.forward_features(inputs.to(device)), recipe.pooling)
    return pool_video(rows, recipe.pooling).cpu().numpy()


def _seconds_alone(recipe: Recipe, model: Recognizer, path: Path, device: torch.device) -> float:
    """What the network takes for a video, with nothing beside it."""
    inputs = VideoInputs(recipe, [path])[0]
    _feature(recipe, model, inputs, device)
    start = time.perf_counter()
    _feature(recipe, model, inputs, device)
    return time.perf_counter() - start
