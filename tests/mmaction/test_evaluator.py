"""Configs of the import style: what they inherit and change, and that nothing of them is imported."""

from pathlib import Path
from typing import Any

import pytest

from vidfeat.errors import ConfigError
from vidfeat.mmaction import compile_file
from vidfeat.mmaction.config import read_config
from vidfeat.preprocessing.sampling import SpreadSampling
from vidfeat.recipe import ThreeCrop

BASE = """
from mmaction.models import ActionDataPreprocessor, I3DHead, Recognizer3D, ResNet3dSlowOnly

model = dict(
    type=Recognizer3D,
    backbone=dict(type=ResNet3dSlowOnly, depth=50, pretrained='somewhere', lateral=False, inflate=(0, 0, 1, 1)),
    cls_head=dict(type=I3DHead, num_classes=400),
    data_preprocessor=dict(
        type=ActionDataPreprocessor, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], format_shape='NCTHW'))
"""
RUNTIME = """
from mmengine.hooks import CheckpointHook
default_scope = 'mmaction'
default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=1, save_best='auto'))
load_from = None
"""
CONFIG = """
from mmengine.config import read_base

with read_base():
    from ..base.slowonly import *
    from ..base.runtime import *

import torch
from mmengine.dataset import DefaultSampler
from mmaction.datasets import (DecordDecode, DecordInit, FormatShape, PackActionInputs, Resize, SampleFrames,
                               ThreeCrop, VideoDataset)

model.update(dict(backbone=dict(pretrained=None, conv1_kernel=(1, 7, 7))))
model.backbone.update(norm_eval=True)

test_pipeline = [
    dict(type=DecordInit),
    dict(type=SampleFrames, clip_len=4, frame_interval=16, num_clips=10, test_mode=True),
    dict(type=DecordDecode),
    dict(type=Resize, scale=(-1, 256)),
    dict(type=ThreeCrop, crop_size=256),
    dict(type=FormatShape, input_format='NCTHW'),
    dict(type=PackActionInputs),
]
test_dataloader = dict(
    batch_size=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=VideoDataset, ann_file='list.txt', pipeline=test_pipeline, test_mode=True))
optim_wrapper = dict(optimizer=dict(type=torch.optim.SGD, lr=0.1))
default_hooks.update(dict(checkpoint=dict(interval=4)))
"""


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    return read_config(path, overrides).data


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write(tmp_path, "base/slowonly.py", BASE)
    write(tmp_path, "base/runtime.py", RUNTIME)
    return write(tmp_path, "slowonly/config.py", CONFIG)


def test_a_config_is_inherited_and_changed(config: Path) -> None:
    data = load_config(config)
    assert data["model"]["type"] == "Recognizer3D"
    assert data["model"]["backbone"] == {
        "type": "ResNet3dSlowOnly",
        "depth": 50,
        "pretrained": None,
        "lateral": False,
        "inflate": (0, 0, 1, 1),
        "conv1_kernel": (1, 7, 7),
        "norm_eval": True,
    }
    assert data["default_hooks"] == {"checkpoint": {"type": "CheckpointHook", "interval": 4, "save_best": "auto"}}
    assert data["optim_wrapper"]["optimizer"]["type"] == "SGD"
    assert data["load_from"] is None
    # Imports are no part of it, and everything is plain data.
    assert data.keys() == {
        "model",
        "default_scope",
        "default_hooks",
        "load_from",
        "test_pipeline",
        "test_dataloader",
        "optim_wrapper",
    }
    assert type(data["model"]) is type(data["model"]["backbone"]) is dict
    assert type(data["model"]["type"]) is str


def test_it_compiles(config: Path) -> None:
    recipe = compile_file(config)
    assert recipe.sampling == SpreadSampling(4, 16, 10)
    assert recipe.transforms[-1] == ThreeCrop(256, 256)


def test_overrides_reach_what_was_changed_in_place(config: Path) -> None:
    assert read_config(config, {"model.backbone.depth": 101}).data["model"]["backbone"]["depth"] == 101
    with pytest.raises(ConfigError, match="a variable"):
        read_config(config, {"test_pipeline.3.scale": (-1, 128)})


def test_names_can_be_inherited_one_by_one_and_through_files(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "from mmaction.models import ResNet\nfirst = dict(x=dict(y=1))\nsecond = 2\n")
    write(tmp_path, "b.py", "with read_base():\n    from .a import *\nthird = dict(type=ResNet)\n")
    path = write(
        tmp_path, "c.py", "with read_base():\n    from .b import first as mine, third, ResNet\nkind = ResNet\n"
    )
    assert load_config(path) == {"mine": {"x": {"y": 1}}, "third": {"type": "ResNet"}}


def test_a_base_is_not_changed_for_others(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "import torch\nitems = [dict(y=1)]\n")
    path = write(
        tmp_path,
        "b.py",
        "with read_base():\n    from .a import items as one\n    from .a import items as two\none[0].update(y=2)\n",
    )
    assert load_config(path) == {"one": [{"y": 2}], "two": [{"y": 1}]}


def test_own_dicts_are_ordinary_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "a.py", "import torch\nown = dict(a=dict(b=1, c=2))\nown.update(dict(a=dict(b=3)))\n")
    assert load_config(path) == {"own": {"a": {"b": 3}}}


REFUSED = [
    ("from mmaction.configs.base import *", "a base beside this config"),
    ("from .missing import *", "expected each base to be a config"),
    ("from . import base", "a base beside this config"),
    ("from .base import nothing", "`nothing`"),
    ("import os", "an import"),
    ("a = 1", "the construct Assign"),
]


@pytest.mark.parametrize(("source", "said"), REFUSED)
def test_only_files_beside_it_are_inherited(tmp_path: Path, source: str, said: str) -> None:
    write(tmp_path, "base.py", "a = 1\n")
    path = write(tmp_path, "config.py", f"with read_base():\n    {source}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.where == f"{path}:2"
    assert said in str(caught.value)


NOT_RUN = [
    "import os\nos.system('x')",
    "import os\na = os.system('x')",
    "import os\na = os.path.join('a', 'b')",
    "from os import system\nsystem('x')",
    "from os import system\na = [system for _ in system()]",
    "import os\na = os.environ.get('HOME')",
    "import torch\na = x.__class__.__mro__[0]()",
    "import torch\na = dict(b=1)\nc = a.b",
    "import torch\n_base_ = ['other.py']",
    "import torch\nwith open('y') as file:\n    pass",
    "import torch\na = [1]\na.append(2)",
]


@pytest.mark.parametrize("source", NOT_RUN)
def test_imports_are_names_only(tmp_path: Path, source: str) -> None:
    path = write(tmp_path, "config.py", source)
    with pytest.raises(ConfigError):
        load_config(path)


def test_a_circle_is_found(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "with read_base():\n    from .b import *\n")
    path = write(tmp_path, "b.py", "with read_base():\n    from .a import *\n")
    with pytest.raises(ConfigError, match="a cycle"):
        load_config(path)


def test_what_doubles_is_stopped(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "import torch\nmodel = dict(a=1)\n")
    doubling = "model.update(dict(a=dict(model), b=dict(model)))\n" * 60
    path = write(tmp_path, "b.py", f"with read_base():\n    from .a import *\n{doubling}")
    with pytest.raises(ConfigError, match=r"nested|cheap"):
        load_config(path)
    path = write(tmp_path, "c.py", "with read_base():\n    from .a import *\nmodel['b'] = model\nmodel.update(model)\n")
    with pytest.raises(ConfigError, match=r"nested|cheap"):
        load_config(path)
