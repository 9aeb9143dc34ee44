"""Backbones of other libraries: two of mmpretrain's built here, those of timm and torchvision built by them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from vidfeat.mmaction.backbones.options import frozen, make, norm_eps, options, plain_conv, rgb
from vidfeat.mmaction.backbones.resnets import resnet_config
from vidfeat.mmaction.node import Node
from vidfeat.models.mobileone import ARCHS, MobileOneConfig
from vidfeat.models.resnext import ResNeXtConfig
from vidfeat.models.timm_torchvision import LibraryConfig
from vidfeat.recipe import BackboneConfig

Library = Literal["timm", "torchvision"]


def by_library(name: object) -> Callable[[Node], BackboneConfig] | None:
    """What compiles a backbone named after a library, as in `timm.swin_base_patch4_window7_224`; else None."""
    prefix = name.partition(".")[0] if isinstance(name, str) else ""
    return {"timm": timm, "torchvision": torchvision}.get(prefix)


def timm(node: Node) -> BackboneConfig:
    # MMAction2 overrides the number of classes, too.
    node.ignore({"num_classes"})
    return _built_there(node, "timm")


def torchvision(node: Node) -> BackboneConfig:
    # The weights come from the checkpoint.
    node.ignore({"weights", "progress"})
    return _built_there(node, "torchvision")


def _built_there(node: Node, library: Library) -> BackboneConfig:
    """A network that the library knows by name; options that are not ours are passed on to it."""
    name = node.text("type").partition(".")[2]
    if importlib.util.find_spec(library) is None:
        raise node.error(
            "type",
            expected=f"{library} to be installed, which has the backbone {name!r}",
            found=f"no {library}",
            hint=f'Run pip install "vidfeat[{library}]".',
        )
    shape = node.value("feature_shape", None)
    ours = {"type", "feature_shape", "pretrained", "init_cfg", "num_classes", "weights", "progress"}
    passed = tuple((key, frozen(node.value(key))) for key in node.data if key not in ours)
    config: LibraryConfig = make(
        LibraryConfig, node, {"library": library, "name": name, "options": passed, "feature_shape": shape}
    )
    try:
        config.feature_size  # noqa: B018  (builds the network once, so that the library's complaints come here)
    except Exception as error:
        raise node.error(
            "type",
            expected=f"a backbone and options that {library} can build",
            found=f"{type(error).__name__}: {error}",
        ) from error
    return config


def mobileone(node: Node) -> BackboneConfig:
    return mobileone_config(node)


def mobileone_config(node: Node) -> MobileOneConfig:
    plain_conv(node, {"Conv", "Conv2d"})
    rgb(node, node.value("in_channels", 3))
    arch = _arch(node)
    given = options(node, ("deploy",))
    if "out_indices" in node.data:
        given["out_indices"] = _stages(node)
    if node.value("se_cfg", None) is not None:
        squeeze = node.dict("se_cfg")
        given["se_ratio"] = squeeze.positive("ratio", 16)
        squeeze.refuse_rest("ratio")
    config: MobileOneConfig = make(partial(replace, arch), node, {**given, "norm_eps": norm_eps(node)})
    if len(config.out_indices) != 1:
        raise node.error("out_indices", expected="one stage", found=f"{config.out_indices}")
    return config


def _arch(node: Node) -> MobileOneConfig:
    """A size of the paper by name, or its four lists spelled out."""
    if isinstance(node.value("arch", "s0"), str):
        return node.choice("arch", ARCHS, default="s0")
    inner = node.dict("arch")
    names = ("num_blocks", "width_factor", "num_conv_branches", "num_se_blocks")
    arch: MobileOneConfig = make(MobileOneConfig, inner, {name: frozen(inner.value(name)) for name in names})
    inner.refuse_rest("the options of an architecture")
    return arch


def _stages(node: Node) -> tuple[int, ...]:
    """The stages that are returned; one alone may stand without a list, and negative ones count from the end."""
    value = frozen(node.value("out_indices"))
    stages = (value,) if isinstance(value, int) else value
    if not isinstance(stages, tuple) or not all(type(stage) is int for stage in stages):
        raise node.error("out_indices", expected="stages, counted from 0", found=f"{value!r}")
    return tuple(stage + 4 if stage < 0 else stage for stage in stages)


def resnext(node: Node) -> BackboneConfig:
    for key in ("deep_stem", "avg_down"):
        if node.flag(key, False):
            raise node.error(key, expected="False", found="True", hint="Other stems and shortcuts are not supported.")
    node.ignore({"drop_path_rate"})
    for key, only in (("stem_channels", 64), ("base_channels", 64), ("expansion", 4)):
        if node.value(key, None) not in (only, None):
            raise node.error(key, expected=f"{only}", found=f"{node.value(key)!r}")
    resnet = resnet_config(node)
    given = {name: node.positive(name) for name in ("groups", "width_per_group") if name in node.data}
    config: ResNeXtConfig = make(ResNeXtConfig, node, {"resnet": resnet, **given})
    if len(resnet.out_indices) != 1:
        raise node.error("out_indices", expected="one stage", found=f"{resnet.out_indices}")
    return config
