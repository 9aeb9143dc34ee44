"""What is measured, and what there is to know about it before."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidfeat.extract import Setup
    from vidfeat.inference.runner import Precision

DEFAULT_MODEL = "tsn_r50_1x1x8_100e_kinetics400_rgb"
DEFAULT_CFG_OPTIONS: Mapping[str, Any] = {"data.test.pipeline.4.type": "CenterCrop"}
"""TSN, ResNet-50, 25 frames of 256x256: the released model as MMAction2's own feature extraction config uses it, with
one crop in place of three."""


@dataclass(frozen=True)
class Workload:
    """A model, videos and a place to write. It travels between processes.

    Attributes:
        model: as for `vidfeat.extract.prepare`.
        cfg_options: likewise.
        checkpoint: file of the weights.
        device: "cpu", or the one GPU that is used, such as "cuda:0".
        paths: the videos, some perhaps more than once.
        scratch: a folder for outputs and for what `torch.compile` caches.
    """

    model: str
    cfg_options: Mapping[str, Any]
    checkpoint: Path
    device: str
    paths: tuple[Path, ...]
    scratch: Path

    def prepare(self, precision: Precision) -> Setup:
        """Compile the config and find the weights."""
        from vidfeat.extract import prepare

        # Kernels of an earlier benchmark, or of other work, would make compiling look cheap.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self.scratch / "kernels")
        return prepare(
            self.model,
            checkpoint=self.checkpoint,
            device=self.device,
            precision=precision,
            cfg_options=self.cfg_options,
        )


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
        view_spec: its `PreprocessSpec`, pickled: reading it imports the decoder.
        made_up: whether there was no checkpoint, and the weights are random.
    """

    device: str
    device_name: str
    cores: int
    torch: str
    model: str
    digest: str
    view_spec: bytes
    made_up: bool

    @property
    def shares_cores(self) -> bool:
        """Whether reading and the network compete for the same cores."""
        return self.device == "cpu"


def examine(
    model: str,
    cfg_options: Mapping[str, Any],
    checkpoint: str | None,
    device: str,
    weights: Path,
) -> tuple[Facts, Path]:
    """Learn the facts, and have weights.

    Args:
        model, cfg_options, device: as for `vidfeat.extract.prepare`; of several devices the first is used.
        checkpoint: path or URL; weights are made up where None.
        weights: where to write those.

    Returns:
        The facts, and the file of the weights.

    Raises:
        ConfigError, CheckpointError, DeviceError, UsageError: see `vidfeat.errors`.
    """
    import torch

    from vidfeat.checkpoint import find
    from vidfeat.extract import choose_devices
    from vidfeat.hardware import cpu_name, usable_cores
    from vidfeat.mmaction import compile_model
    from vidfeat.models.random_weights import write_random_weights
    from vidfeat.preprocessing.clips import PreprocessSpec
    from vidfeat.tools.describe import describe

    recipe, _ = compile_model(model, cfg_options)
    chosen = choose_devices(device)[0]
    if checkpoint is None:
        write_random_weights(recipe.model, weights)
    else:
        weights = find(checkpoint, progress=False).path
    facts = Facts(
        device=str(chosen),
        device_name=torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else cpu_name(),
        cores=len(usable_cores()),
        torch=torch.__version__,
        model=describe(recipe),
        digest=recipe.digest,
        view_spec=pickle.dumps(PreprocessSpec.of(recipe)),
        made_up=checkpoint is None,
    )
    return facts, weights
