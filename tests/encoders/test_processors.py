"""Processors of transformers: pixels against the library's own, options that are refused, antialiased resizing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tiny_transformers import TINY, frame
from vidfeat.encoders.processors import compile_processor
from vidfeat.errors import ConfigError
from vidfeat.preprocessing import antialias
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import ResizeTo

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "processors.npz"))

EXACT = 2e-6
ONE_LEVEL = 1.01
"""The largest difference, of a pixel of 255 levels, to Pillow, whose filter weights are more precise."""


@pytest.mark.parametrize("case", GOLDEN)
def test_pixels_are_those_of_the_library(case: str) -> None:
    name, height, width, backend = re.fullmatch(r"(.+)-(\d+)x(\d+)(-pil)?", case).groups()  # type: ignore[union-attr]
    processing = compile_processor(TINY[name].processor, name)
    (pixels,) = FrameTransformer(processing.transforms)(frame(int(height), int(width)), where="picture")
    mean, std = np.array(processing.normalize.mean), np.array(processing.normalize.std)
    pixels = pixels[..., ::-1] if processing.normalize.to_bgr else pixels
    expected = GOLDEN[case].transpose(1, 2, 0)
    assert pixels.shape == expected.shape
    levels = np.abs((expected * std + mean) - pixels).max()
    pillow = bool(backend) and name != "vivit"  # whose processor has no other backend
    assert levels <= (ONE_LEVEL if pillow else 255 * EXACT)
    found = (pixels - mean) / std
    assert np.linalg.norm(found - expected) <= (4e-3 if pillow else EXACT) * np.linalg.norm(expected)


@settings(max_examples=60)
@given(
    *(st.integers(1, 90) for _ in range(4)),
    st.sampled_from(["bilinear", "bicubic"]),
)
def test_antialiased_resizing_is_that_of_pytorch(
    height: int, width: int, to_height: int, to_width: int, kind: Any
) -> None:
    picture = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    channels_first = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
    planes = channels_first.contiguous(memory_format=torch.channels_last)
    expected = functional.interpolate(planes, size=(to_height, to_width), mode=kind, antialias=True)
    found = antialias.resize(picture, to_width, to_height, kind)
    np.testing.assert_array_equal(found, expected[0].permute(1, 2, 0).numpy())
    if width == 1 or to_width == 1:
        return  # PyTorch takes such planes for another memory format, with wrong results
    # Its float32 kernel is 8e-4 from its float64 one.
    expected = functional.interpolate(channels_first.double(), size=(to_height, to_width), mode=kind, antialias=True)
    found = antialias.resize_unrounded(picture, to_width, to_height, kind)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), rtol=0, atol=255 * EXACT)


@settings(max_examples=60)
@given(*(st.integers(1, 400) for _ in range(4)))
@example(1, 2, 1, 249)
@example(10, 16, 235, 328)
def test_the_nearest_pixels_are_those_of_pytorch(height: int, width: int, to_height: int, to_width: int) -> None:
    picture = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None]
    expected = functional.interpolate(planes, size=(to_height, to_width), mode="nearest-exact")[0].permute(1, 2, 0)
    (found,) = FrameTransformer((ResizeTo(to_width, to_height, "nearest_exact"),))(picture, where="")
    np.testing.assert_array_equal(found, expected.numpy())


@settings(max_examples=30)
@given(*(st.integers(1, 90) for _ in range(4)))
def test_resizing_in_floating_point_is_that_of_torchvision(
    height: int, width: int, to_height: int, to_width: int
) -> None:
    picture = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    # what torchvision does without antialiasing
    expected = functional.interpolate(planes, size=(to_height, to_width), mode="bilinear")[0].permute(1, 2, 0)
    (found,) = FrameTransformer((ResizeTo(to_width, to_height, "bilinear_float"),))(picture, where="")
    assert found.dtype == np.uint8
    assert np.abs(found - expected.numpy()).max() <= 0.505  # rounded; positions are those of fp32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resample": 1}, r"resample: expected 0 \(nearest\), 2 \(bilinear\), 3 \(bicubic\); found 1"),
        ({"resample": True}, "resample: expected"),
        ({"do_resize": 1}, "do_resize: expected true or false; found 1"),
        ({"size": {"longest_edge": 224}}, "size: expected height and width, or shortest_edge"),
        ({"size": {"height": 224}}, "size: expected height and width, or shortest_edge"),
        ({"size": {"shortest_edge": 0}}, "size: expected"),
        ({"size": "224"}, "size: expected"),
        ({"size": {"shortest_edge": 20_000}}, "size: expected pixels, from 1 to 10000"),
        ({"crop_size": {"shortest_edge": 224}}, "crop_size: expected height and width; found"),
        ({"do_pad": True}, "do_pad: expected false; found true"),
        ({"do_sample_frames": True}, "do_sample_frames: expected false"),
        ({"rescale_factor": 0}, "rescale_factor: expected a number above 0"),
        ({"image_mean": [0.5, 0.5]}, "image_mean: expected three numbers"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std: expected numbers other than 0"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order: expected no such option; found True"),
        ({"offset": True}, "offset: expected no such option; found True"),
        ({"image_processor_type": "MobileViTImageProcessor", "do_normalize": True}, "do_normalize: expected false"),
        ({"image_processor_type": "Siglip2ImageProcessor", "do_resize": False}, "do_resize: expected true"),
        ({"image_processor_type": "Siglip2ImageProcessorFast", "max_num_patches": 0},
         "max_num_patches: expected a whole number, from 1 to 10000; found 0"),
        ({"image_processor_type": "Siglip2ImageProcessor", "patch_size": [16, 16]}, "patch_size: expected a whole"),
        ({"image_processor_type": "Siglip2ImageProcessor", "size": {"height": 224, "width": 224}},
         "size: expected no such option"),
        ({"image_processor_type": "LayoutLMv3ImageProcessor"}, "_type: expected a processor of Beit, Bit"),
        ({"image_processor_type": None}, "image_processor_type: expected a processor of"),
    ],
)  # fmt: skip
def test_options_that_are_not_supported(change: dict[str, Any], words: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^repository: .*{words}.* This option of the processor is not supported\.$"
    ):
        compile_processor({"image_processor_type": "CLIPImageProcessor"} | change, "repository")


def test_switches() -> None:
    options = {"image_processor_type": "CLIPImageProcessor", "do_resize": False, "do_center_crop": False}
    whole = compile_processor({**options, "do_rescale": False, "do_normalize": False}, "")
    assert (whole.transforms, whole.normalize.mean, whole.normalize.std) == ((), (0.0,) * 3, (1.0,) * 3)
    scaled = compile_processor({**options, "do_normalize": False}, "")
    assert scaled.normalize.std == pytest.approx((255.0,) * 3)
    raw = compile_processor({**options, "do_rescale": False, "image_mean": 100, "image_std": 50}, "")
    assert (raw.normalize.mean, raw.normalize.std) == ((100.0,) * 3, (50.0,) * 3)
