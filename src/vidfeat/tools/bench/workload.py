"""What is measured, and what is known of it before."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.tools.random_encoder import random_encoder

if TYPE_CHECKING:
    from vidfeat import Job

DEFAULT_MODEL = "tsn_r50_1x1x8_100e_kinetics400_rgb"
DEFAULT_CFG_OPTIONS: Mapping[str, Any] = {"data.test.pipeline.4.type": "CenterCrop"}
"""TSN, ResNet-50, 25 frames of 256x256: the released model as MMAction2's own feature extraction config uses it, with
one crop in place of three."""


@dataclass(frozen=True)
class Workload:
    """An encoder, videos and a place to write. It travels between processes.

    Attributes:
        encoder: from `Encoder.to_json`.
        device: "cpu", or the one GPU that is used, such as "cuda:0".
        paths: the videos, some perhaps more than once.
        scratch: a folder for outputs and for what `torch.compile` caches.
    """

    encoder: Mapping[str, Any]
    device: str
    paths: tuple[Path, ...]
    scratch: Path

    def job(self, **options: Any) -> Job:
        """The job of extracting it; `options` are further ones of `Job`. The keys of the videos are their positions."""
        from vidfeat import Job, VideoRef
        from vidfeat.encoders import encoder_from_json

        # What an earlier benchmark or other work compiled would make compiling look cheap.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self.scratch / "compiled")
        videos = [VideoRef(f"{number}", str(path)) for number, path in enumerate(self.paths)]
        return Job(videos=videos, encoders=encoder_from_json(dict(self.encoder)), device=self.device, **options)


@dataclass(frozen=True)
class Facts:
    """What is known of a machine and a model before anything is measured.

    Attributes:
        device: "cpu", or the one GPU that is used, such as "cuda:0".
        device_name: what it is sold as.
        cores: CPU cores that may be used.
        torch: PyTorch's version.
        model: what the model does to a video, in lines of words.
        digest: of its recipe.
        preprocess: its `PreprocessSpec`, pickled: reading it imports the decoder.
        random_weights: whether there was no checkpoint.
    """

    device: str
    device_name: str
    cores: int
    torch: str
    model: str
    digest: str
    preprocess: bytes
    random_weights: bool

    @property
    def shares_cores(self) -> bool:
        """Whether decoding and the network compete for the same cores."""
        return self.device == "cpu"


def examine(
    model: str, cfg_options: Mapping[str, Any], checkpoint: str | None, device: str, scratch: Path
) -> tuple[Facts, dict[str, Any]]:
    """Compile a model, and learn the facts.

    Args:
        model, cfg_options: as for `vidfeat.encoder`.
        checkpoint: path or URL; weights are random where None.
        device: as in `Job`; of several the first is used.
        scratch: a folder for those weights.

    Returns:
        The facts, and the encoder as JSON data.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError: see `vidfeat.errors`.
    """
    import torch

    import vidfeat
    from vidfeat.hardware import cpu_name, usable_cores
    from vidfeat.inference.devices import choose_devices
    from vidfeat.recipe import Recipe
    from vidfeat.tools.describe import describe

    chosen = choose_devices(device)[0]
    if checkpoint is None:
        encoder = random_encoder(model, scratch, cfg_options=cfg_options)
    else:
        encoder = vidfeat.encoder(model, checkpoint=checkpoint, cfg_options=cfg_options)
    facts = Facts(
        device=str(chosen),
        device_name=torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else cpu_name(),
        cores=len(usable_cores()),
        torch=torch.__version__,
        model=describe(Recipe.from_json(encoder.description()["recipe"])),
        digest=encoder.recipe_digest,
        preprocess=pickle.dumps(encoder.preprocess),
        random_weights=checkpoint is None,
    )
    return facts, encoder.to_json()
