"""Write processors.npz: what the library's own processors make of two pictures. Never run by the tests.

Needs transformers, torchvision and pillow, in an environment of their own.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoVideoProcessor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tiny_transformers as tiny  # noqa: E402

NAMES = ["videomae", "vjepa2", "vivit", "clip", "siglip", "siglip2", "dinov2", "dinov3", "vit", "convnext"]
FURTHER = ["chinese-clip", "blip", "align", "efficientnet", "levit", "mobilenet-v2", "mobilevit", "data2vec"]
FURTHER += ["tipsv2"]
SIZES = [(61, 83), (27, 36)]
SHAPES = [*SIZES, (83, 61), (64, 64), (11, 40)]  # the last is enlarged


def of(name, folder, picture, **options):
    """float32 `[3, H, W]`."""
    tiny.write(name, folder)
    if tiny.TINY[name].file.startswith("video"):
        if options:
            return None  # a video processor has no other backend
        values = AutoVideoProcessor.from_pretrained(folder)(torch.from_numpy(picture[None]), return_tensors="pt")
        return values["pixel_values_videos"][0, 0].numpy()
    processor = AutoImageProcessor.from_pretrained(folder, **options)
    pictures = [picture] if name in ("videomae", "vivit") else picture
    given = processor(pictures, return_tensors="pt")
    values = np.asarray(given["pixel_values"], np.float32)
    if name == "siglip2":
        return of_patches(values[0], *given["spatial_shapes"][0].tolist())
    return values.reshape(values.shape[-3:])


def of_patches(patches, rows, columns):
    """The picture that was cut into patches, float32 `[3, H, W]`."""
    size = tiny.TINY["siglip2"].processor["patch_size"]
    grid = patches[: rows * columns].reshape(rows, columns, size, size, 3)
    return grid.transpose(4, 0, 2, 1, 3).reshape(3, rows * size, columns * size)


def main():
    warnings.simplefilter("ignore")
    arrays = {}
    for name in NAMES + FURTHER:
        for height, width in SHAPES if name == "siglip2" else SIZES if name in NAMES else SIZES[:1]:
            picture = tiny.frame(height, width)
            for backend, options in (("", {}), ("-pil", {"backend": "pil"}))[: 2 if name in NAMES else 1]:
                with tempfile.TemporaryDirectory() as folder:
                    values = of(name, Path(folder), picture, **options)
                if values is not None:
                    arrays[f"{name}-{height}x{width}{backend}"] = values
                    print(name, height, width, backend, values.shape)
    np.savez_compressed(HERE / "processors.npz", **arrays)


if __name__ == "__main__":
    main()
