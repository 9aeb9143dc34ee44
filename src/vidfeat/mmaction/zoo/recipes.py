"""The parts of a released model's recipe, and the config of either line of MMAction2 that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vidfeat.mmaction.zoo.networks import Network
from vidfeat.recipe import Normalize

Line = Literal["0.x", "1.x"]
Step = dict[str, Any]
Sampling = tuple[str, dict[str, Any]]

# --- frames -----------------------------------------------------------------------------------------------------------


def frames(number: int) -> Sampling:
    """`number` single frames spread over the video."""
    return clips(1, 1, number)


def frames_twice(number: int) -> Sampling:
    """`number` single frames from each of two places in every segment."""
    return clips(1, 1, number, twice_sample=True)


def clips(clip_len: int, frame_interval: int, number: int, **options: Any) -> Sampling:
    """`number` clips of `clip_len` frames spread over the video."""
    return "SampleFrames", {"clip_len": clip_len, "frame_interval": frame_interval, "num_clips": number, **options}


def dense(clip_len: int, frame_interval: int, number: int) -> Sampling:
    """`number` clips within 64 frames, at ten positions."""
    return "DenseSampleFrames", {"clip_len": clip_len, "frame_interval": frame_interval, "num_clips": number}


def spread(clip_len: int, number: int = 1) -> Sampling:
    """`number` clips whose frames are spread over the whole video."""
    return "UniformSample", {"clip_len": clip_len, "num_clips": number}


# --- crops ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crop:
    """Resize to `scale`, then crop squares of `size` pixels."""

    type: Literal["CenterCrop", "ThreeCrop", "TenCrop"]
    size: int
    scale: tuple[int, int]


def three(size: int) -> Crop:
    """Three squares as high as the frame."""
    return Crop("ThreeCrop", size, (-1, size))


def ten(size: int, *, short: int) -> Crop:
    """Corners and center with their mirror images, from frames whose short edge is `short`."""
    return Crop("TenCrop", size, (-1, short))


def center(size: int, *, short: int) -> Crop:
    """The center of frames whose short edge is `short`."""
    return Crop("CenterCrop", size, (-1, short))


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelRow:
    """One recipe and the models that use it.

    Attributes:
        network, sampling, crop, normalize: the recipe.
        names: the models, separated by white space.
    """

    network: Network
    sampling: Sampling
    crop: Crop
    normalize: Normalize
    names: str

    def config(self, line: Line, classes: int) -> dict[str, Any]:
        """The recipe as the data of a config file of that line, with a head for `classes`. A new copy at every call."""
        return _CONFIGS[line](self, classes)


def _config_v0(row: ModelRow, classes: int) -> dict[str, Any]:
    mean_and_std = {"mean": list(row.normalize.mean), "std": list(row.normalize.std)}
    pipeline = [*_pixels(row), {"type": "Normalize", **mean_and_std, "to_bgr": False}, _shape(row)]
    model = _model(row, classes)
    model["test_cfg"]["average_clips"] = row.network.average_clips
    return {"model": model, "data": {"test": {"type": "VideoDataset", "pipeline": pipeline}}}


def _config_v1(row: ModelRow, classes: int) -> dict[str, Any]:
    preprocessor = {
        "type": "ActionDataPreprocessor",
        "mean": list(row.normalize.mean),
        "std": list(row.normalize.std),
        "format_shape": row.network.layout,
    }
    dataset = {"type": "VideoDataset", "pipeline": [*_pixels(row), _shape(row), {"type": "PackActionInputs"}]}
    model = {**_model(row, classes), "data_preprocessor": preprocessor}
    model["cls_head"]["average_clips"] = "prob"
    return {"model": model, "test_dataloader": {"dataset": dataset}}


_CONFIGS = {"0.x": _config_v0, "1.x": _config_v1}


def _model(row: ModelRow, classes: int) -> dict[str, Any]:
    network = row.network
    neck = {} if network.neck is None else {"neck": _own(network.neck)}
    number = "video_classes" if network.head["type"] == "OmniHead" else "num_classes"
    return {
        "type": network.recognizer,
        "backbone": _own(network.backbone),
        **neck,
        "cls_head": {**network.head, number: classes},
        "test_cfg": {"fcn_test": True} if network.fcn_test else {},
    }


def _pixels(row: ModelRow) -> list[Step]:
    kind, options = row.sampling
    return [
        {"type": "DecordInit"},
        {"type": kind, **options, "test_mode": True},
        {"type": "DecordDecode"},
        {"type": "Resize", "scale": row.crop.scale},
        {"type": row.crop.type, "crop_size": row.crop.size},
    ]


def _shape(row: ModelRow) -> Step:
    return {"type": "FormatShape", "input_format": row.network.layout}


def _own(value: Any) -> Any:
    """A copy, with lists, which overrides can index, in place of tuples."""
    if isinstance(value, Mapping):
        return {key: _own(item) for key, item in value.items()}
    return [_own(item) for item in value] if isinstance(value, tuple) else value
