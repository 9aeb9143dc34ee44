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

NAMES = ["videomae", "vjepa2", "vivit", "clip", "siglip", "dinov2", "dinov3", "vit", "convnext"]
FURTHER = ["chinese-clip", "blip", "align", "efficientnet", "levit", "mobilenet-v2", "mobilevit", "data2vec"]
FURTHER += ["tipsv2"]
SIZES = [(61, 83), (27, 36)]


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
    values = np.asarray(processor(pictures, return_tensors="pt")["pixel_values"], np.float32)
    return values.reshape(values.shape[-3:])


def main():
    warnings.simplefilter("ignore")
    arrays = {}
    for name in NAMES + FURTHER:
        for height, width in SIZES if name in NAMES else SIZES[:1]:
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
