"""Processors of `transformers`, from their JSON files to transforms and normalisation.

Their options are compiled, or refused one by one; nothing of the library runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vidfeat.errors import ConfigError
from vidfeat.recipe import (
    CenterCrop,
    FrameTransform,
    Interpolation,
    Normalize,
    ResizeShortEdge,
    ResizeTo,
    ResizeToPatches,
)

_HALVES = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

_PLAIN: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_center_crop": False,
    "do_pad": False,
    "do_sample_frames": False,
    "do_reduce_labels": False,
    "rescale_factor": 1 / 255,
    "image_mean": _HALVES,
    "image_std": _HALVES,
    "resample": 2,
    "size": {"height": 224, "width": 224},
    "crop_size": {"height": 224, "width": 224},
}
_CROPPED = {**_PLAIN, "do_center_crop": True, "size": {"shortest_edge": 224}}
_CLIP_LIKE = {**_CROPPED, "resample": 3, "image_mean": _CLIP[0], "image_std": _CLIP[1]}

DEFAULTS: dict[str, dict[str, Any]] = {
    "VideoMAE": _CROPPED,
    "Blip": {**_CLIP_LIKE, "do_center_crop": False, "size": {"height": 384, "width": 384}},
    "CLIP": _CLIP_LIKE,
    "ChineseCLIP": _CLIP_LIKE,
    "Bit": _CLIP_LIKE,
    "EfficientNet": {
        **_PLAIN,
        "resample": 3,
        "size": {"height": 346, "width": 346},
        "crop_size": {"height": 289, "width": 289},
        "rescale_offset": False,
        "include_top": True,
    },
    "Levit": {**_CROPPED, "resample": 3, "image_mean": _IMAGENET[0], "image_std": _IMAGENET[1]},
    "MobileNetV1": {**_CROPPED, "size": {"shortest_edge": 256}},
    "MobileNetV2": {**_CROPPED, "size": {"shortest_edge": 256}},
    "MobileViT": {
        **_CROPPED,
        "resample": 3,
        "crop_size": {"height": 256, "width": 256},
        "do_normalize": False,
        "do_flip_channel_order": True,
    },
    "Siglip": {**_PLAIN, "resample": 3},
    "Siglip2": {
        **{name: _PLAIN[name] for name in ("do_resize", "do_rescale", "do_normalize", "rescale_factor", "resample")},
        "image_mean": _HALVES,
        "image_std": _HALVES,
        "patch_size": 16,
        "max_num_patches": 256,
    },
    "DINOv3ViT": {**_PLAIN, "image_mean": _IMAGENET[0], "image_std": _IMAGENET[1]},
    "Tipsv2": {**_PLAIN, "do_normalize": False, "size": {"height": 448, "width": 448}},
    "ViT": _PLAIN,
    "Beit": {**_PLAIN, "resample": 3},
    "DeiT": {**_PLAIN, "do_center_crop": True, "resample": 3, "size": {"height": 256, "width": 256}},
    "ConvNext": {**_PLAIN, "resample": 3, "size": {"shortest_edge": 384}, "crop_pct": 224 / 256},
    "Vivit": {**_CROPPED, "size": {"shortest_edge": 256}, "rescale_factor": 1 / 127.5, "offset": True},
    "VJEPA2": {
        **_CROPPED,
        "image_mean": _IMAGENET[0],
        "image_std": _IMAGENET[1],
        "size": {"shortest_edge": 292},
        "crop_size": {"height": 256, "width": 256},
    },
}
"""The options of each processor that its JSON leaves out, from `transformers` 5.24."""

_NO_EFFECT = {
    "_processor_class",
    "_valid_processor_keys",
    "auto_map",
    "data_format",
    "default_to_square",
    "device",
    "disable_grouping",
    "do_convert_rgb",  # frames are RGB
    "feature_extractor_type",
    "image_processor_type",
    "input_data_format",
    "model_input_names",
    "processor_class",
    "return_metadata",
    "return_tensors",
    "video_metadata",
    "video_processor_type",
}

_RESAMPLE: dict[int, Interpolation] = {0: "nearest_exact", 2: "antialiased_bilinear", 3: "antialiased_bicubic"}
_FILTERS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_PILLOW: dict[int, Interpolation] = {2: "pillow_bilinear", 3: "pillow_bicubic"}
_UNROUNDED: dict[int, Interpolation] = {2: "antialiased_bilinear_unrounded", 3: "antialiased_bicubic_unrounded"}


@dataclass(frozen=True)
class Processing:
    """What a processor does to a frame.

    Attributes:
        transforms: of frames.
        normalize: from their pixels, 0 to 255, to float32.
    """

    transforms: tuple[FrameTransform, ...]
    normalize: Normalize


def compile_processor(data: dict[str, Any], where: str) -> Processing:
    """Compile the JSON data of a processor.

    The processor's own rounding is kept: the long edge is rounded down, the crop's margins are rounded down, and frames
    that are smaller than the crop get black margins. `DINOv3ViT`'s processor makes numbers between 0 and 1 of pixels,
    resizes these, and does not round them again: frames are float32 then.

    Args:
        data: of `preprocessor_config.json` or `video_preprocessor_config.json`.
        where: the file, for errors.

    Raises:
        ConfigError: an option is not supported.
    """
    options = _Options(data, where)
    kind = options.kind
    transforms: list[FrameTransform] = []
    if kind == "Siglip2" and not options.flag("do_resize"):
        raise options.error("do_resize", "true", "false")  # frames of other sizes are no whole patches
    if options.flag("do_resize"):
        table = {"Vivit": _PILLOW, "DINOv3ViT": _UNROUNDED if options.flag("do_rescale") else _RESAMPLE}
        transforms += _resize(options, options.one_of("resample", table.get(kind, _RESAMPLE)))
    if options.flag("do_center_crop"):
        width, height = options.edges("crop_size")
        transforms.append(CenterCrop(width, height, smaller="pad"))
    refused = ["do_pad", "do_sample_frames", "do_reduce_labels"]
    if kind == "MobileViT":  # its processor has the option, and does not normalise
        refused.append("do_normalize")
    for name in refused:
        if options.flag(name):
            raise options.error(name, "false", "true")
    scale = options.number("rescale_factor") if options.flag("do_rescale") else 1.0
    mean, std = options.three("image_mean"), options.three("image_std")
    again = std if options.flag("include_top") else (1.0, 1.0, 1.0)
    if not options.flag("do_normalize"):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    shift = 1.0 if options.flag("offset") or (options.flag("rescale_offset") and options.flag("do_rescale")) else 0.0
    # (pixel * scale - shift - mean) / std / again, as (pixel - a) / b
    red, green, blue = (((m + shift) / scale, s * t / scale) for m, s, t in zip(mean, std, again, strict=True))
    to_bgr = options.flag("do_flip_channel_order")
    return Processing(tuple(transforms), Normalize((red[0], green[0], blue[0]), (red[1], green[1], blue[1]), to_bgr))


def _resize(options: _Options, interpolation: Interpolation) -> list[FrameTransform]:
    if options.kind == "Siglip2":
        return [ResizeToPatches(options.count("patch_size"), options.count("max_num_patches"), interpolation)]
    if options.kind not in ("ConvNext", "Levit"):
        return [options.resize(interpolation)]
    short = options.edge("size", "shortest_edge")
    if options.kind == "Levit":  # whose `size` is that of the crop, whatever `crop_size` is
        return [ResizeShortEdge(int((256 / 224) * short), interpolation, "down")]
    # ConvNext's is that of the result: below 384 it is a crop from a larger frame.
    if short >= 384:
        return [ResizeTo(short, short, interpolation)]
    resize = ResizeShortEdge(int(short / options.number("crop_pct")), interpolation, "down")
    return [resize, CenterCrop(short, short, smaller="pad")]


class _Options:
    """The options of a processor, each of which is checked when it is read."""

    def __init__(self, data: dict[str, Any], where: str) -> None:
        self._where = where
        names = [data.get(f"{n}_type") for n in ("video_processor", "image_processor", "feature_extractor")]
        name = next((found for found in names if isinstance(found, str)), "")
        self.kind = name.removesuffix("Fast")
        for suffix in ("ImageProcessor", "VideoProcessor", "FeatureExtractor"):
            self.kind = self.kind.removesuffix(suffix)
        if self.kind not in DEFAULTS:
            raise self.error("image_processor_type", f"a processor of {', '.join(sorted(DEFAULTS))}", repr(name))
        given = {key: value for key, value in data.items() if value is not None}
        self._values = DEFAULTS[self.kind] | given
        unknown = next((key for key in given if key not in DEFAULTS[self.kind] and key not in _NO_EFFECT), None)
        if unknown is not None:
            raise self.error(unknown, "no such option", repr(given[unknown]))
        if self.kind == "VJEPA2":  # computes it from the crop, whatever the file says
            self._values["size"] = {"shortest_edge": int(self.edges("crop_size")[1] * 256 / 224)}

    def error(self, name: str, expected: str, found: str) -> ConfigError:
        return ConfigError(
            f"{self._where}: {name}",
            expected=expected,
            found=found,
            hint="This option of the processor is not supported.",
        )

    def flag(self, name: str) -> bool:
        """Whether a switch is on; of those that only some processors have, too."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise self.error(name, "true or false", repr(value))
        return value

    def number(self, name: str) -> float:
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.error(name, "a number above 0", repr(value))
        return float(value)

    def one_of(self, name: str, table: dict[int, Interpolation]) -> Interpolation:
        value = self._values[name]
        if value not in table:
            raise self.error(name, ", ".join(f"{number} ({_FILTERS[number]})" for number in table), repr(value))
        return table[value]

    def three(self, name: str) -> tuple[float, float, float]:
        value = self._values[name]
        numbers = [value] * 3 if isinstance(value, int | float) else value
        if not isinstance(numbers, list | tuple) or [type(n) in (int, float) for n in numbers] != [True] * 3:
            raise self.error(name, "three numbers", repr(value))
        if name == "image_std" and not all(numbers):
            raise self.error(name, "numbers other than 0", repr(value))
        red, green, blue = (float(number) for number in numbers)
        return red, green, blue

    def resize(self, interpolation: Interpolation) -> FrameTransform:
        size = self._values["size"]
        if isinstance(size, int) and not isinstance(size, bool):
            shortest = DEFAULTS[self.kind]["size"].keys() == {"shortest_edge"}
            size = {"shortest_edge": size} if shortest else {"height": size, "width": size}
        if isinstance(size, dict) and {key for key, value in size.items() if value} == {"shortest_edge"}:
            return ResizeShortEdge(self._pixels("size", size["shortest_edge"]), interpolation, "down")
        width, height = self._edges("size", size)
        return ResizeTo(width, height, interpolation)

    def count(self, name: str) -> int:
        return self._whole(name, self._values[name], "a whole number")

    def edge(self, name: str, key: str) -> int:
        value = self._values[name]
        return self._pixels(name, value.get(key) if isinstance(value, dict) else value)

    def edges(self, name: str) -> tuple[int, int]:
        """Width and height."""
        value = self._values[name]
        return self._edges(name, {"height": value, "width": value} if isinstance(value, int) else value)

    def _edges(self, name: str, value: Any) -> tuple[int, int]:
        if not isinstance(value, dict) or {key for key, pixels in value.items() if pixels} != {"height", "width"}:
            raise self.error(name, "height and width" + (", or shortest_edge" * (name == "size")), repr(value))
        return self._pixels(name, value["width"]), self._pixels(name, value["height"])

    def _pixels(self, name: str, value: Any) -> int:
        return self._whole(name, value, "pixels")

    def _whole(self, name: str, value: Any, what: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
            raise self.error(name, f"{what}, from 1 to 10000", repr(value))
        return value
