"""MMAction2's backbones: the options of each type, compiled into the config dataclass of its family.

`BACKBONES`, at the end, lists the types. A family's function reads every option that affects features, refuses values
that its network does not support, and ignores options that only affect training.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

from vidfeat.lazy_import import install_command
from vidfeat.mmaction.config import Node
from vidfeat.models import mobileone as mobileone_family
from vidfeat.models import mvit as mvit_family
from vidfeat.models.c2d import C2DConfig
from vidfeat.models.c3d import C3DConfig
from vidfeat.models.csn import CSNConfig
from vidfeat.models.mobilenet_v2 import MobileNetV2Config, MobileNetV2TSMConfig
from vidfeat.models.mobileone import MobileOneConfig, MobileOneTSMConfig
from vidfeat.models.mvit import MViTConfig
from vidfeat.models.nonlocal3d import NonLocalConfig
from vidfeat.models.omni_resnet import OmniResNetConfig
from vidfeat.models.r2plus1d import ResNet2Plus1dConfig
from vidfeat.models.resnet import ResNetConfig
from vidfeat.models.resnet3d import ResNet3dConfig
from vidfeat.models.resnext import ResNeXtConfig
from vidfeat.models.slowfast import LateralConfig, SlowFastConfig
from vidfeat.models.swin3d import SwinConfig
from vidfeat.models.tanet import TAMConfig, TANetConfig
from vidfeat.models.timesformer import TimeSformerConfig
from vidfeat.models.timm_torchvision import LibraryConfig
from vidfeat.models.tin import TINConfig
from vidfeat.models.tsm import TSMConfig
from vidfeat.models.uniformer import UniFormerConfig
from vidfeat.models.uniformerv2 import UniFormerV2Config
from vidfeat.models.vit import VisionTransformerConfig
from vidfeat.models.x3d import X3DConfig
from vidfeat.recipe import BackboneConfig

T = TypeVar("T")

TRAINING_OPTIONS = frozenset(
    """
    frozen_stages init_cfg norm_eval partial_bn pretrained pretrained2d torchvision_pretrain with_cp
    zero_init_residual
    """.split()
)
"""Options that determine initial weights or which of them are trained."""

ACROSS_FRAMES = (TSMConfig, TINConfig, TANetConfig, MobileNetV2TSMConfig, MobileOneTSMConfig)
"""Image networks that combine neighbouring frames."""


def compile_backbone(node: Node, dims: Literal[2, 3]) -> BackboneConfig:
    """The config dataclass of a backbone.

    Args:
        node: the dict `model.backbone`.
        dims: 2 in a Recognizer2D, 3 in a Recognizer3D.

    Raises:
        ConfigError: an unknown type or option, or a value that is not valid for the network.
    """
    name = node.value("type")
    library = _LIBRARIES.get(name.partition(".")[0]) if dims == 2 and isinstance(name, str) else None
    compile_one = library or node.choice("type", BACKBONES[dims])
    node.ignore(TRAINING_OPTIONS)
    config = compile_one(node)
    node.refuse_rest("the options of this backbone")
    return config


def segments_of(config: BackboneConfig) -> int:
    """The number of neighbouring frames that an image network combines; 1 for all others."""
    return config.segments if isinstance(config, ACROSS_FRAMES) else 1


def map_channels(backbone: BackboneConfig) -> tuple[int, ...]:
    """Channels of each map that a backbone returns; one entry for families that return vectors, or one map."""
    if isinstance(backbone, TSMConfig | TINConfig | TANetConfig):
        return map_channels(backbone.resnet)
    if isinstance(backbone, MobileNetV2TSMConfig):
        return map_channels(backbone.mobilenet)
    if isinstance(backbone, MobileNetV2Config):
        return tuple(backbone.layer_channels[layer] for layer in backbone.out_indices)
    if isinstance(backbone, ResNetConfig | ResNet3dConfig):
        return tuple(backbone.stage_channels[stage] for stage in backbone.out_indices)
    return (backbone.feature_size,)


# --- options that several families have -------------------------------------------------------------------------------


def _norm_eps(
    node: Node,
    default: float = 1e-5,
    *,
    types: Collection[str] = ("BN", "BN2d", "BN3d", "SyncBN"),
    ignored: Collection[str] = ("requires_grad", "momentum"),
) -> float:
    """Epsilon of the batch normalisation; synchronised ones are the same in inference.

    `default` is that of the family, without `norm_cfg`.
    """
    if "norm_cfg" not in node.data:
        return default
    norm = node.dict("norm_cfg")
    norm.choice("type", dict.fromkeys(types))
    norm.ignore(ignored)
    eps = norm.value("eps", 1e-5)
    if type(eps) is not float or not 0 < eps < 1:
        raise norm.error("eps", expected="a small number above 0", found=f"{eps!r}")
    norm.refuse_rest(f"type, eps, {' and '.join(ignored)}")
    return eps


def _layer_norm_eps(node: Node, default: float) -> float:
    return _norm_eps(node, default, types=("LN",), ignored=("requires_grad",))


def _plain_layers(
    node: Node, conv_types: Collection[str] = ("Conv3d",), activations: Collection[str] = ("ReLU",)
) -> None:
    """Only ordinary convolutions and the activation of the family are supported."""
    if node.value("conv_cfg", None) is not None:
        conv = node.dict("conv_cfg")
        conv.choice("type", dict.fromkeys(conv_types))
        conv.refuse_rest("type")
    if node.value("act_cfg", None) is not None:
        activation = node.dict("act_cfg")
        activation.choice("type", dict.fromkeys(activations))
        activation.ignore({"inplace"})
        activation.refuse_rest("type and inplace")


_CONV_2D = ("Conv", "Conv2d")


def _rgb(node: Node, config: T, in_channels: int) -> T:
    """The config, after a check that the network takes RGB frames."""
    if in_channels != 3:
        raise node.error(
            "in_channels",
            expected="3 (RGB)",
            found=f"{in_channels}",
            hint="Optical-flow models are not supported: their input is not a video.",
        )
    return config


def _factors(node: Node, *names: str) -> dict[str, float]:
    """Those of the options that are present and not None, each a number above 0."""
    return node.given([name for name in names if node.value(name, None) is not None], node.factor)


def _one_stage(node: Node, out_indices: tuple[int, ...]) -> None:
    if len(out_indices) != 1:
        raise node.error("out_indices", expected="one stage", found=f"{out_indices}")


# --- ResNet, C2D, I3D, SlowOnly ---------------------------------------------------------------------------------------


def _resnet(node: Node) -> ResNetConfig:
    _plain_layers(node, _CONV_2D)
    given = node.given("depth in_channels num_stages out_indices strides dilations style".split())
    config = node.build(ResNetConfig, {**given, "norm_eps": _norm_eps(node)})
    return _rgb(node, config, config.in_channels)


def _c2d(node: Node) -> C2DConfig:
    return node.build(C2DConfig, {"net": _resnet(node)})


_I3D_DEFAULTS: dict[str, Any] = {"depth": 50, "conv1_kernel": (3, 7, 7), "inflate": 1, "with_pool2": True}
"""The defaults of MMAction2's `ResNet3d` that differ from SlowOnly's."""


def _i3d(node: Node) -> ResNet3dConfig:
    config = node.build(ResNet3dConfig, {**_I3D_DEFAULTS, **_resnet3d_options(node)})
    return _rgb(node, config, config.in_channels)


_LATERAL_OPTIONS = frozenset(
    "channel_ratio fusion_kernel lateral_activate lateral_infl lateral_inv lateral_norm speed_ratio".split()
)
"""Options of a pathway that concern its connections to another one."""


def _slowonly(node: Node) -> ResNet3dConfig:
    if node.flag("lateral", False):
        raise node.error("lateral", expected="False: SlowOnly has one pathway", found="True")
    node.ignore(_LATERAL_OPTIONS)
    config = node.build(ResNet3dConfig, {"depth": 50, **_resnet3d_options(node)})
    return _rgb(node, config, config.in_channels)


def _resnet3d_options(node: Node, conv: str = "Conv3d", eps: float = 1e-5) -> dict[str, Any]:
    """The options that `ResNet3d` and all that derive from it share.

    Args:
        node: the backbone.
        conv: the type of its convolutions.
        eps: the family's default epsilon.
    """
    _plain_layers(node, {conv})
    names = """
    depth stage_blocks in_channels num_stages base_channels out_indices spatial_strides temporal_strides
    dilations conv1_kernel conv1_stride_s conv1_stride_t pool1_stride_s pool1_stride_t with_pool1 with_pool2
    style inflate inflate_style non_local
    """
    given = node.given(names.split())
    if node.value("non_local_cfg", None):
        given["non_local_block"] = _non_local_block(node.dict("non_local_cfg"))
    return {**given, "norm_eps": _norm_eps(node, eps)}


def _non_local_block(node: Node) -> NonLocalConfig:
    given = node.given(("mode", "sub_sample", "use_scale", "reduction"))
    given["norm_eps"] = _norm_eps(node) if node.value("norm_cfg", None) is not None else None
    config = node.build(NonLocalConfig, given)
    _plain_layers(node)
    node.ignore({"zeros_init"})
    node.refuse_rest("the options of a non-local block")
    return config


# --- image networks that combine neighbouring frames ------------------------------------------------------------------


def _resnet_tsm(node: Node) -> TSMConfig:
    given = node.given(("shift_div", "is_shift", "shift_place", "temporal_pool"))
    return _across(TSMConfig, node, {"resnet": _resnet(node), **given, **_non_local(node)})


def _resnet_tin(node: Node) -> TINConfig:
    # Options of TSM, from which MMAction2 derives TIN; TIN's own shift replaces that of TSM.
    node.ignore({"is_shift", "shift_place", "temporal_pool"})
    given = node.given(("shift_div", "is_tin"))
    return _across(TINConfig, node, {"resnet": _resnet(node), **given, **_non_local(node)})


def _tanet(node: Node) -> TANetConfig:
    tam = TAMConfig()
    if node.value("tam_cfg", None):
        inner = node.dict("tam_cfg")
        names = ("alpha", "adaptive_kernel_size", "beta", "conv1d_kernel_size")
        tam = inner.build(TAMConfig, inner.given(names))
        # The adaptive convolution must keep the number of frames, which MMAction2 does not check.
        padding = tam.adaptive_kernel_size // 2
        for key, wanted in (("adaptive_convolution_stride", 1), ("adaptive_convolution_padding", padding)):
            if inner.value(key, 1) != wanted:
                found = f"{inner.value(key, 1)!r}"
                raise inner.error(key, expected=f"{wanted}, which keeps the number of frames", found=found)
        inner.ignore({"init_std"})
        inner.refuse_rest("the options of a temporal adaptive module")
    return _across(TANetConfig, node, {"resnet": _resnet(node), "tam": tam})


def _mobilenet_v2(node: Node) -> MobileNetV2Config:
    _plain_layers(node, _CONV_2D, ("ReLU6",))
    given = node.given(("widen_factor", "out_indices"))
    return node.build(MobileNetV2Config, {**given, "norm_eps": _norm_eps(node)})


def _mobilenet_v2_tsm(node: Node) -> MobileNetV2TSMConfig:
    given = node.given(("is_shift", "shift_div"))
    return _across(MobileNetV2TSMConfig, node, {"mobilenet": _mobilenet_v2(node), **given})


def _mobileone_tsm(node: Node) -> MobileOneTSMConfig:
    given = node.given(("is_shift", "shift_div"))
    return _across(MobileOneTSMConfig, node, {"mobileone": _mobileone(node), **given})


def _across(config_class: Callable[..., T], node: Node, given: dict[str, Any]) -> T:
    if "num_segments" in node.data:
        given["segments"] = node.positive("num_segments")
    return node.build(config_class, given)


def _non_local(node: Node) -> dict[str, Any]:
    """Flags and options of non-local blocks; without options there are none, whatever the flags are."""
    flags = node.frozen("non_local", ())
    if not node.value("non_local_cfg", None):
        return {}
    return {"non_local": flags, "non_local_block": _non_local_block(node.dict("non_local_cfg"))}


# --- mmpretrain's MobileOne and ResNeXt; timm and torchvision ---------------------------------------------------------


def _mobileone(node: Node) -> MobileOneConfig:
    _plain_layers(node, _CONV_2D)
    arch = _rgb(node, _mobileone_architecture(node), node.value("in_channels", 3))
    given = node.given(("deploy",))
    if "out_indices" in node.data:
        given["out_indices"] = _mobileone_stages(node)
    if node.value("se_cfg", None) is not None:
        squeeze = node.dict("se_cfg")
        given["se_ratio"] = squeeze.positive("ratio", 16)
        squeeze.refuse_rest("ratio")
    config = node.build(partial(replace, arch), {**given, "norm_eps": _norm_eps(node)})
    _one_stage(node, config.out_indices)
    return config


def _mobileone_architecture(node: Node) -> MobileOneConfig:
    """A size of the paper by name, or its four lists."""
    if isinstance(node.value("arch", "s0"), str):
        return node.choice("arch", mobileone_family.ARCHS, default="s0")
    inner = node.dict("arch")
    names = ("num_blocks", "width_factor", "num_conv_branches", "num_se_blocks")
    arch = inner.build(MobileOneConfig, {name: inner.frozen(name) for name in names})
    inner.refuse_rest("the options of an architecture")
    return arch


def _mobileone_stages(node: Node) -> tuple[int, ...]:
    """The stages that are returned; a single one may stand without a list, and negative ones count from the end."""
    value = node.frozen("out_indices")
    stages = (value,) if isinstance(value, int) else value
    if not isinstance(stages, tuple) or not all(type(stage) is int for stage in stages):
        raise node.error("out_indices", expected="stages, counted from 0", found=f"{value!r}")
    return tuple(stage + 4 if stage < 0 else stage for stage in stages)


def _resnext(node: Node) -> ResNeXtConfig:
    for key in ("deep_stem", "avg_down"):
        if node.flag(key, False):
            raise node.error(key, expected="False", found="True", hint="Other stems and shortcuts are not supported.")
    node.ignore({"drop_path_rate"})
    for key, only in (("stem_channels", 64), ("base_channels", 64), ("expansion", 4)):
        if node.value(key, None) not in (only, None):
            raise node.error(key, expected=f"{only}", found=f"{node.value(key)!r}")
    resnet = _resnet(node)
    config = node.build(ResNeXtConfig, {"resnet": resnet, **node.given(("groups", "width_per_group"), node.positive)})
    _one_stage(node, resnet.out_indices)
    return config


def _library_network(node: Node) -> LibraryConfig:
    """`timm.NAME` or `torchvision.NAME`: options that are not MMAction2's are passed to the library."""
    library, _, name = node.text("type").partition(".")
    if importlib.util.find_spec(library) is None:
        raise node.error(
            "type",
            expected=f"{library} to be installed, which has the backbone {name!r}",
            found=f"no {library}",
            hint=f"Install it with: {install_command(library)}",
        )
    # MMAction2 sets the number of classes itself; weights come from the checkpoint.
    node.ignore({"num_classes"} if library == "timm" else {"weights", "progress"})
    shape = node.value("feature_shape", None)
    not_passed = {"type", "feature_shape", "pretrained", "init_cfg", "num_classes", "weights", "progress"}
    passed = tuple((key, node.frozen(key)) for key in node.data if key not in not_passed)
    config = node.build(LibraryConfig, {"library": library, "name": name, "options": passed, "feature_shape": shape})
    try:
        config.feature_size  # noqa: B018  (builds the network once, so that the library's errors are raised here)
    except Exception as error:
        raise node.error(
            "type",
            expected=f"a backbone and options that {library} can build",
            found=f"{type(error).__name__}: {error}",
        ) from error
    return config


_LIBRARIES = {"timm": _library_network, "torchvision": _library_network}


# --- other convolutional networks over clips --------------------------------------------------------------------------


def _r2plus1d(node: Node) -> ResNet2Plus1dConfig:
    # MMAction2 requires the key, with this value.
    node.dict("conv_cfg").choice("type", {"Conv2plus1d": None})
    config = node.build(ResNet2Plus1dConfig, {"net": _whole_net(node, "Conv2plus1d")})
    return _rgb(node, config, config.net.in_channels)


def _csn(node: Node) -> CSNConfig:
    modes: dict[str, Any] = {"ip": "ip", "ir": "ir"}
    mode = node.choice("bottleneck_mode", modes, default="ir")
    node.ignore({"bn_frozen"})
    defaults = {**_I3D_DEFAULTS, "temporal_strides": (1, 2, 2, 2), "inflate_style": "3x3x3"}
    net = node.build(ResNet3dConfig, {**defaults, **_resnet3d_options(node, eps=1e-3)})
    return _rgb(node, node.build(CSNConfig, {"net": net, "mode": mode}), net.in_channels)


def _whole_net(node: Node, conv: str) -> ResNet3dConfig:
    """A `ResNet3d` whose forward pass always pools in space, never over time, and returns the last stage."""
    fixed = {"with_pool1": True, "with_pool2": False, "out_indices": (node.positive("num_stages", 4) - 1,)}
    return node.build(ResNet3dConfig, {**_I3D_DEFAULTS, **_resnet3d_options(node, conv), **fixed})


def _c3d(node: Node) -> C3DConfig:
    _plain_layers(node)
    # MMAction2 does not use `style`; the other two affect training.
    node.ignore({"style", "dropout_ratio", "init_std"})
    given: dict[str, Any] = {"flat_size": node.positive("out_dim", 8192)}
    if node.value("norm_cfg", None) is not None:
        given["norm_eps"] = _norm_eps(node)
    return node.build(C3DConfig, given)


def _slowfast(node: Node) -> SlowFastConfig:
    rates = {name: node.positive(name, 8) for name in ("resample_rate", "speed_ratio", "channel_ratio")}
    slow = _pathway(node, "slow_pathway", _SLOW_DEFAULTS)
    fast = _pathway(node, "fast_pathway", _FAST_DEFAULTS)
    lateral = _lateral(slow)
    if fast.flag("lateral", False):
        raise fast.error("lateral", expected="False: connections lead into the slow pathway only", found="True")
    fast.ignore(_LATERAL_OPTIONS)
    nets = {"slow": _whole_net(slow, "Conv3d"), "fast": _whole_net(fast, "Conv3d")}
    for pathway, net in zip((slow, fast), nets.values(), strict=True):
        _rgb(pathway, net, net.in_channels)
        pathway.refuse_rest("the options of a pathway")
    return node.build(SlowFastConfig, {**rates, **nets, "lateral": lateral})


_SLOW_DEFAULTS = {"type": "resnet3d", "lateral": True, "conv1_kernel": (1, 7, 7), "inflate": (0, 0, 1, 1)}
_FAST_DEFAULTS = {"type": "resnet3d", "lateral": False, "base_channels": 8, "conv1_kernel": (5, 7, 7)}
"""The pathways of a config that does not describe them; one that it does describe has the defaults of `ResNet3d`."""


def _pathway(node: Node, key: str, default: dict[str, Any]) -> Node:
    node.value(key, None)
    pathway = node.dict(key) if key in node.data else Node.of(default, node.file, f"{node.path}.{key}")
    pathway.choice("type", {"resnet3d": None})
    # The ratios of the whole backbone override a pathway's own.
    pathway.ignore(TRAINING_OPTIONS | {"speed_ratio", "channel_ratio"})
    return pathway


def _lateral(slow: Node) -> LateralConfig | None:
    """The connections into the slow pathway."""
    if slow.flag("lateral_inv", False):
        raise slow.error("lateral_inv", expected="False: the fast pathway has more frames already", found="True")
    active = slow.value("lateral_activate", (1, 1, 1, 1))
    if not isinstance(active, list | tuple) or not all(flag == 1 for flag in active):
        raise slow.error("lateral_activate", expected="1 for every stage", found=f"{active!r}")
    kernel, factor = slow.positive("fusion_kernel", 5), slow.positive("lateral_infl", 2)
    eps = _norm_eps(slow) if slow.flag("lateral_norm", False) else None
    config = slow.build(LateralConfig, {"kernel": kernel, "channel_factor": factor, "norm_eps": eps})
    return config if slow.flag("lateral", False) else None


def _x3d(node: Node) -> X3DConfig:
    _plain_layers(node)
    # MMAction2 has a swish in every block, whatever the value.
    node.ignore({"use_swish"})
    given = node.given(("in_channels", "num_stages", "spatial_strides", "se_style", "se_ratio"))
    for name in ("gamma_w", "gamma_b", "gamma_d"):
        given[name] = node.factor(name, 1.0)
        if given[name] >= 100:
            raise node.error(name, expected="a number above 0 and below 100", found=f"{given[name]!r}")
    config = node.build(X3DConfig, {**given, "norm_eps": _norm_eps(node)})
    return _rgb(node, config, config.in_channels)


def _omni_resnet(node: Node) -> OmniResNetConfig:
    node.ignore({"pretrain_2d"})
    return node.build(OmniResNetConfig, node.given(("layers",)))


# --- transformers -----------------------------------------------------------------------------------------------------


def _timesformer(node: Node) -> TimeSformerConfig:
    if node.value("transformer_layers", None) is not None:
        raise node.error("transformer_layers", expected="None: the blocks of the paper", found="other blocks")
    node.ignore({"dropout_ratio"})
    given = {
        **node.given(("embed_dims", "num_heads", "num_transformer_layers", "in_channels"), node.positive),
        **node.given(("attention_type",), node.text),
        "num_frames": node.positive("num_frames"),
        "img_size": node.pair("img_size"),
        "patch_size": node.positive("patch_size"),
        "norm_eps": _layer_norm_eps(node, 1e-6),
    }
    config = node.build(TimeSformerConfig, given)
    return _rgb(node, config, config.in_channels)


def _vision_transformer(node: Node) -> VisionTransformerConfig:
    if node.flag("return_feat_map", False):
        raise node.error("return_feat_map", expected="False: maps are for detection", found="True")
    node.ignore({"attn_drop_rate", "drop_path_rate", "drop_rate"})
    numbers = "img_size patch_size in_channels embed_dims depth num_heads num_frames tubelet_size"
    # MMAction2 reads any other value, even the integer 1, as "no layer scale"; the value itself is only an initial one.
    layer_scale = node.value("init_values", 0.0)
    given = {
        **node.given(numbers.split(), node.positive),
        **node.given(("qkv_bias", "use_learnable_pos_emb", "use_mean_pooling"), node.flag),
        "mlp_ratio": node.factor("mlp_ratio", 4.0),
        "qk_scale": node.factor("qk_scale") if node.value("qk_scale", None) else None,
        "layer_scale": type(layer_scale) is float and layer_scale > 0,
        "norm_eps": _layer_norm_eps(node, 1e-6),
    }
    config = node.build(VisionTransformerConfig, given)
    return _rgb(node, config, config.in_channels)


def _mvit(node: Node) -> MViTConfig:
    # The first two affect initial weights; the third drops layers in training.
    node.ignore({"pretrained_type", "rel_pos_zero_init", "drop_path_rate"})
    switches = """
    use_abs_pos_embed rel_pos_embed residual_pooling dim_mul_in_attention with_cls_token output_cls_token qkv_bias
    """
    given = {
        **_mvit_architecture(node),
        **node.given("spatial_size temporal_size in_channels dim_mul head_mul".split(), node.positive),
        **node.given(switches.split(), node.flag),
        **node.given(("pool_kernel", "adaptive_kv_stride"), partial(_three, node)),
        **(_mvit_patches(node.dict("patch_cfg")) if "patch_cfg" in node.data else {}),
        **node.given(("interpolate_mode",), node.text),
        "mlp_ratio": node.factor("mlp_ratio", 4.0),
        "norm_eps": _layer_norm_eps(node, 1e-6),
    }
    config = node.build(MViTConfig, given)
    last = len(config.downscale_indices)
    if node.frozen("out_scales", -1) not in (-1, (-1,), last, (last,)):
        raise node.error("out_scales", expected="-1: the head reads the last one", found=f"{node.value('out_scales')}")
    return _rgb(node, config, config.in_channels)


def _mvit_architecture(node: Node) -> dict[str, Any]:
    name = node.value("arch", "base")
    if isinstance(name, str):
        if name.lower() not in mvit_family.ARCHITECTURES:
            known = ", ".join(mvit_family.ARCHITECTURES)
            raise node.error("arch", expected=f"one of {known}, or a dict", found=f"{name!r}")
        return dict(mvit_family.ARCHITECTURES[name.lower()])
    arch = node.dict("arch")
    given: dict[str, Any] = {name: arch.positive(name) for name in ("embed_dims", "num_layers", "num_heads")}
    given["downscale_indices"] = arch.frozen("downscale_indices")
    given |= arch.given(("dim_mul_indices",))
    arch.refuse_rest("embed_dims, num_layers, num_heads, downscale_indices and dim_mul_indices")
    return given


def _mvit_patches(node: Node) -> dict[str, Any]:
    given = {
        "patch_kernel": _three(node, "kernel_size"),
        "patch_stride": _three(node, "stride"),
        "patch_padding": _three(node, "padding", least=0),
    }
    node.refuse_rest("kernel_size, stride and padding")
    return given


def _three(node: Node, key: str, least: int = 1) -> tuple[int, ...]:
    """An integer for each of time, height and width, or one for all."""
    value = node.frozen(key)
    three = (value,) * 3 if type(value) is int else value
    if not (isinstance(three, tuple) and len(three) == 3 and all(type(x) is int and x >= least for x in three)):
        raise node.error(key, expected=f"three integers from {least} up, or one for all", found=f"{value!r}")
    return three


_SWIN_T = {"embed_dims": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)}
_SWIN_S = {"embed_dims": 96, "depths": (2, 2, 18, 2), "num_heads": (3, 6, 12, 24)}
_SWIN_B = {"embed_dims": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32)}
_SWIN_L = {"embed_dims": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48)}
_SWIN: dict[str, dict[str, Any]] = {
    "t": _SWIN_T, "tiny": _SWIN_T, "s": _SWIN_S, "small": _SWIN_S,
    "b": _SWIN_B, "base": _SWIN_B, "l": _SWIN_L, "large": _SWIN_L,
}  # fmt: skip
"""The sizes of the Video Swin paper, by the names that configs use."""


def _swin(node: Node) -> SwinConfig:
    node.ignore({"attn_drop_rate", "drop_path_rate", "drop_rate"})
    if "act_cfg" in node.data:
        activation = node.dict("act_cfg")
        activation.choice("type", {"GELU": None})
        activation.refuse_rest("type")
    given = {
        **_swin_architecture(node),
        **node.given(("in_channels",), node.positive),
        **node.given(("patch_size", "window_size"), node.series),
        **node.given(("out_indices",), partial(node.series, least=0)),
        **_factors(node, "mlp_ratio", "qk_scale"),
        **node.given(("qkv_bias", "patch_norm", "out_after_downsample"), node.flag),
        "norm_eps": _layer_norm_eps(node, 1e-5),
    }
    config = node.build(SwinConfig, given)
    return _rgb(node, config, config.in_channels)


def _swin_architecture(node: Node) -> dict[str, Any]:
    arch = node.value("arch")
    if isinstance(arch, str):  # in any letter case
        return Node.of({"arch": arch.lower()}, node.file, node.path).choice("arch", _SWIN)
    custom = node.dict("arch")
    given = {
        "embed_dims": custom.positive("embed_dims"),
        "depths": custom.series("depths"),
        "num_heads": custom.series("num_heads"),
    }
    custom.refuse_rest("embed_dims, depths and num_heads")
    return given


def _uniformer(node: Node) -> UniFormerConfig:
    # The image size has no effect: there is no absolute position embedding.
    node.ignore({"attn_drop_rate", "drop_path_rate", "drop_rate", "img_size"})
    given = {
        **node.given(("depth", "embed_dim"), node.series),
        **node.given(("head_dim", "in_chans"), node.positive),
        **_factors(node, "mlp_ratio", "qk_scale"),
        **node.given(("qkv_bias",), node.flag),
    }
    config = node.build(UniFormerConfig, given)
    return _rgb(node, config, config.in_chans)


def _uniformerv2(node: Node) -> UniFormerV2Config:
    node.ignore({"backbone_drop_path_rate", "clip_pretrained", "drop_path_rate", "mlp_dropout"})
    sizes = "input_resolution patch_size width layers heads t_size kernel_size n_layers n_dim n_head"
    given = {
        **node.given(sizes.split(), node.positive),
        **_factors(node, "dw_reduction", "mlp_factor"),
        **node.given(("temporal_downsample", "no_lmhra", "double_lmhra"), node.flag),
        **node.given(("return_list",), partial(node.series, least=0)),
    }
    return node.build(UniFormerV2Config, given)


# --- the table --------------------------------------------------------------------------------------------------------

BACKBONES: dict[int, dict[str, Callable[[Node], BackboneConfig]]] = {
    2: {
        "ResNet": _resnet,
        "ResNetTSM": _resnet_tsm,
        "ResNetTIN": _resnet_tin,
        "TANet": _tanet,
        "MobileNetV2": _mobilenet_v2,
        "MobileNetV2TSM": _mobilenet_v2_tsm,
        "MobileOneTSM": _mobileone_tsm,
        "mmcls.MobileOne": _mobileone,
        "mmcls.ResNeXt": _resnext,
        "mmpretrain.MobileOne": _mobileone,
        "mmpretrain.ResNeXt": _resnext,
    },
    3: {
        "C2D": _c2d,
        "C3D": _c3d,
        "OmniResNet": _omni_resnet,
        "ResNet2Plus1d": _r2plus1d,
        "ResNet3d": _i3d,
        "ResNet3dCSN": _csn,
        "ResNet3dSlowFast": _slowfast,
        "ResNet3dSlowOnly": _slowonly,
        "X3D": _x3d,
        "SwinTransformer3D": _swin,
        "UniFormer": _uniformer,
        "UniFormerV2": _uniformerv2,
        "MViT": _mvit,
        "TimeSformer": _timesformer,
        "VisionTransformer": _vision_transformer,
    },
}
"""The backbones of each kind of recognizer, 2D and 3D, by their type in a config."""
