"""Write libraries.npz: what the preprocessing of timm and torchvision makes of a picture. Never run by the tests.

Needs timm, torchvision and pillow, in an environment of their own. For each preprocessing among the pretrained
networks of torchvision, and among a sample of timm's, it holds the options as JSON text, and of the library's input of
one picture every few pixels.
"""

import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torchvision import models

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tiny_transformers as tiny  # noqa: E402

SIZE = 245, 333
STEP = 23
MOST_OF_TIMM = 60
FIELDS = ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")


def of_torchvision(picture):
    for name in models.list_models(module=models):
        transforms = models.get_model_weights(name).DEFAULT.transforms()
        options = {key: getattr(value, "value", value) for key, value in vars(transforms).items() if key[0] != "_"}
        kept = {key: options[key] for key in ("resize_size", "crop_size", "mean", "std", "interpolation")}
        yield "image", name, kept, transforms(Image.fromarray(picture))
    for name in models.list_models(module=models.video):
        transforms = models.get_model_weights(name).DEFAULT.transforms()
        options = {key: getattr(value, "value", value) for key, value in vars(transforms).items() if key[0] != "_"}
        kept = {key: options[key] for key in ("resize_size", "crop_size", "mean", "std", "interpolation")}
        yield "clip", name, kept, transforms(torch.from_numpy(picture).permute(2, 0, 1)[None])[:, 0]


def of_timm(picture):
    seen = set()
    for name in timm.list_models(pretrained=True):
        cfg = timm.get_pretrained_cfg(name).to_dict()
        kept = {key: cfg[key] for key in FIELDS if cfg.get(key) is not None}
        # one of each kind of size, and of everything else
        kind = json.dumps(kept, default=list)
        supported = kept.get("interpolation") in ("bilinear", "bicubic") and kept["input_size"][0] == 3
        if kind in seen or not supported or kept.get("crop_mode") == "border":
            continue
        seen.add(kind)
        yield (
            "timm",
            name,
            kept,
            timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=cfg))(Image.fromarray(picture)),
        )


def main():
    picture, arrays, seen = tiny.frame(*SIZE), {}, set()
    cases = [*of_torchvision(picture)]
    library = [*of_timm(picture)]
    cases += library[:: -(-len(library) // MOST_OF_TIMM)]
    print(len(library), "kinds of preprocessing of timm")
    for kind, name, options, values in cases:
        key = json.dumps({"kind": kind, **options}, default=list)
        if key in seen:
            continue
        seen.add(key)
        arrays[f"{kind}/{name}"] = values[:, ::STEP, ::STEP].numpy()
        arrays[f"{kind}/{name}/options"] = np.array(key)
    np.savez_compressed(HERE / "libraries.npz", **arrays)
    print(len(seen), "cases,", (HERE / "libraries.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
