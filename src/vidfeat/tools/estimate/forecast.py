"""What a run would take: the survey of its videos, multiplied by the speed of this machine."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from vidfeat.engine.decode_pool import ReaderOptions, processes_for
from vidfeat.engine.progress import Progress
from vidfeat.extract import Extractor, choose_devices
from vidfeat.hardware import usable_cores
from vidfeat.mmaction import FeatureRequest, compile_model
from vidfeat.models.random_weights import write_random_weights
from vidfeat.preprocessing.clips import PreprocessSpec
from vidfeat.recipe import Recipe
from vidfeat.store import Entry, open_format
from vidfeat.tools.estimate.benchmark import NetworkTest, Read, measure_network, measure_reading, sample
from vidfeat.tools.estimate.duplicates import Duplicates, find_duplicates
from vidfeat.tools.estimate.survey import Sound, Unsound, survey

RECORD_BYTES = 512
"""About what the manifest takes for a video, and the journal beside the features themselves."""

START_SECONDS = 4.0
"""From the command to the first video: importing PyTorch, and loading the network while the first videos are read.
Measured on 2 cores; design note 0004. It matters to short lists only."""

Bottleneck = Literal["reading", "network"]


@dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes:
        cores: CPU cores that this process may use.
        readers: processes that read videos; more than `cores` or a few would not help.
        gpu: name of the GPU that runs the network, the first of several; None where the CPU does.
        gpus: how many GPUs run it, each the videos that are given to it.
    """

    cores: int
    readers: int
    gpu: str | None
    gpus: int = 0


@dataclass(frozen=True)
class Duration:
    """How long the sound videos take.

    Attributes:
        seconds: the prediction, from the command to its end, on this machine with nothing else to do.
        at_least, at_most: the same for a reading speed that is two standard errors of the sample higher or lower.
        reading_core_seconds: seconds of one core that reading takes.
        network_seconds: seconds of one core, or of one GPU, that the network takes.
        bottleneck: which of the two to make faster first.
        sample: the videos that were read for this, at least in part.
        made_up_weights: whether the network had made-up weights, which take the same time.
    """

    seconds: float
    at_least: float
    at_most: float
    reading_core_seconds: float
    network_seconds: float
    bottleneck: Bottleneck
    sample: tuple[str, ...]
    made_up_weights: bool


@dataclass(frozen=True)
class Output:
    """What comes out.

    Attributes:
        format: as the manifest calls it.
        rows: feature vectors, over all sound videos.
        row_shape: shape of each.
        bytes: size of the output.
        peak_bytes: the most that output, journal and manifest take together.
        free_bytes: what is free where the output goes; None where that was not said.
    """

    format: str
    rows: int
    row_shape: tuple[int, ...]
    bytes: int
    peak_bytes: int
    free_bytes: int | None


@dataclass(frozen=True)
class Forecast:
    """What a run would take.

    Attributes:
        sound: the videos that open, in the order of the list.
        unsound: the videos that would fail, as far as that shows without decoding all of them.
        duplicates: videos that are there more than once.
        machine: what computes.
        duration: how long it takes; None where no video is sound.
        output: what comes out; None where no video is sound.
    """

    sound: tuple[Sound, ...]
    unsound: tuple[Unsound, ...]
    duplicates: tuple[Duplicates, ...]
    machine: Machine
    duration: Duration | None = None
    output: Output | None = None


def forecast(
    model: str | os.PathLike[str],
    entries: Sequence[Entry],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    cfg_options: Mapping[str, Any] | None = None,
    request: FeatureRequest | None = None,
    out: str | os.PathLike[str] | None = None,
    reading: ReaderOptions | None = None,
    progress: bool = False,
) -> Forecast:
    """Look at all videos, measure this machine on some of them, and predict what a run takes.

    Args:
        model, precision, cfg_options, request: as for `Extractor`.
        device: as for `choose_devices`. Of several, the speed is measured on the first.
        entries: the videos.
        checkpoint: weights; made-up ones where None, even of a released model: time does not depend on them.
        out: where the output would go, which says its format; a `.pkl` anywhere where None.
        reading: how videos are read; as `vidfeat extract` does where None.
        progress: whether to show on stderr how many videos were looked at.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError: as for `Extractor`; the output's suffix is unknown, or
            the videos' names do not fit a folder.
    """
    output = Path("features.pkl") if out is None else out
    open_format(os.fspath(output)).check_names(entries)
    extractor = _extractor(model, checkpoint, device, precision, cfg_options, request)
    machine = _machine(choose_devices(device))
    reading = reading or ReaderOptions(machine.readers)
    with Progress(len(entries), quiet=not progress) as bar:
        found = survey(entries, extractor.recipe, reading, settled=bar.done)
    duplicates = tuple(find_duplicates(entries))
    if not found.sound:
        return Forecast((), found.unsound, duplicates, machine)
    test = measure_reading(PreprocessSpec.of(extractor.recipe), sample(found.sound), reading)
    damaged = {video.entry.index for video in test.unsound}
    sound = tuple(video for video in found.sound if video.entry.index not in damaged)
    unsound = tuple(sorted((*found.unsound, *test.unsound), key=lambda video: video.entry.index))
    if test.views is None:
        return Forecast(sound, unsound, duplicates, machine)
    network = measure_network(extractor, test.views)
    return Forecast(
        sound,
        unsound,
        duplicates,
        machine,
        predict_duration(sound, test.read, network.seconds_per_pixel, machine, made_up_weights=checkpoint is None),
        predict_output(sound, extractor.recipe, network, output, known_place=out is not None),
    )


def _extractor(
    model: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None,
    device: str,
    precision: str,
    cfg_options: Mapping[str, Any] | None,
    request: FeatureRequest | None,
) -> Extractor:
    with tempfile.TemporaryDirectory() as folder:
        if checkpoint is None:
            recipe, _ = compile_model(model, cfg_options, request)
            checkpoint = write_random_weights(recipe.model, Path(folder) / "made_up.safetensors")
        return Extractor(
            model, checkpoint=checkpoint, device=device, precision=precision, cfg_options=cfg_options, request=request
        )


def _machine(devices: Sequence[torch.device]) -> Machine:
    cores = len(usable_cores())
    readers = processes_for(cores, devices[0].type)
    if devices[0].type != "cuda":
        return Machine(cores, readers, None)
    return Machine(cores, readers, torch.cuda.get_device_name(devices[0]), len(devices))


# --- arithmetic -------------------------------------------------------------------------------------------------------


def predict_duration(
    sound: Sequence[Sound],
    read: Sequence[Read],
    network_seconds_per_pixel: float,
    machine: Machine,
    *,
    made_up_weights: bool,
) -> Duration:
    """How long the sound videos take, by the speed at which some were read and the network ran.

    Args:
        sound: all videos, at least one.
        read: what reading some of them took, at least one.
        network_seconds_per_pixel: as in `NetworkTest`.
        machine: what computes.
        made_up_weights: as in `Duration`.
    """
    host_pixels = sum(video.work.host_pixels for video in sound)
    network = network_seconds_per_pixel * sum(video.work.network_pixels for video in sound)
    per_pixel = sum(one.cpu_seconds for one in read) / sum(one.pixels for one in read)
    error = 2 * _standard_error(per_pixel, read, len(sound)) * host_pixels
    reading = per_pixel * host_pixels
    seconds, bottleneck = _elapsed(reading, network, machine, len(sound))
    return Duration(
        seconds=seconds,
        at_least=_elapsed(max(0.0, reading - error), network, machine, len(sound))[0],
        at_most=_elapsed(reading + error, network, machine, len(sound))[0],
        reading_core_seconds=reading,
        network_seconds=network,
        bottleneck=bottleneck,
        sample=tuple(one.name for one in read),
        made_up_weights=made_up_weights,
    )


def _standard_error(per_pixel: float, read: Sequence[Read], videos: int) -> float:
    """Of the seconds per pixel, as a ratio estimated from a part of all videos; 0 where one video has to tell all."""
    if len(read) < 2:
        return 0.0
    variance = sum((one.cpu_seconds - per_pixel * one.pixels) ** 2 for one in read) / (len(read) - 1)
    mean_pixels = sum(one.pixels for one in read) / len(read)
    return math.sqrt((1 - len(read) / videos) * variance / len(read)) / mean_pixels


def _elapsed(reading: float, network: float, machine: Machine, videos: int) -> tuple[float, Bottleneck]:
    """Seconds by the clock with starting up, and what to make faster first, from the core seconds of both halves.

    Both go on at the same time. On a CPU they share the cores, on GPUs only the slower one counts. Reading is never
    faster than its processes, and no video is divided between GPUs.
    """
    read_alone = reading / machine.readers
    if machine.gpu is not None:
        network /= max(1, min(machine.gpus, videos))
        return START_SECONDS + max(read_alone, network), "reading" if read_alone > network else "network"
    shared = (reading + network) / machine.cores
    bottleneck: Bottleneck = "reading" if read_alone > shared or reading > network else "network"
    return START_SECONDS + max(read_alone, shared), bottleneck


def predict_output(
    sound: Sequence[Sound], recipe: Recipe, network: NetworkTest, out: str | os.PathLike[str], *, known_place: bool
) -> Output:
    """What the sound videos give.

    Args:
        sound: all videos.
        recipe: what is done to them.
        network: some features, to see their shape.
        out: where the output would go.
        known_place: whether it would really go there, so that the space there matters.
    """
    array = network.features
    one_row = recipe.pooling.views == "mean" or recipe.pooling.row_length is not None
    row = array if one_row else array[0]
    rows = len(sound) if one_row else len(array) * sum(video.work.clips for video in sound) // network.clips
    written = open_format(os.fspath(out))
    size = round(rows * row.size * _bytes_per_value(array, "" if written.name == "npy" else written.out.suffix))
    # A folder has its features already when the run ends; for one file they are in the journal until then.
    journal = len(sound) * RECORD_BYTES + (0 if written.name == "npy" else rows * row.nbytes)
    return Output(
        format=written.name,
        rows=rows,
        row_shape=row.shape,
        bytes=size,
        peak_bytes=size + journal + len(sound) * RECORD_BYTES,
        free_bytes=_free_bytes(written.out) if known_place else None,
    )


def _bytes_per_value(array: npt.NDArray[np.float32], suffix: str) -> float:
    """How much a number of such features takes in an output of that suffix: a few copies are written."""
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for videos in (1, 5):
            written = open_format(Path(folder, f"{videos}{suffix}"))
            written.keep(*((f"{number}", array) for number in range(videos)))
            written.assemble(itertools.repeat(array, videos))
            files = [path for path in (written.out, *written.out.rglob("*")) if path.is_file()]
            sizes.append(sum(path.stat().st_size for path in files))
    return (sizes[1] - sizes[0]) / 4 / array.size


def _free_bytes(out: Path) -> int:
    there = next(folder for folder in out.absolute().parents if folder.exists())
    return shutil.disk_usage(there).free
