"""The networks of the released models: each architecture once, its variants as differences from it.

Options are MMAction2's, so that one compiler reads both config files and this table. Most options that equal
MMAction2's defaults are omitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Network:
    """A network as a config describes it.

    Attributes:
        recognizer: MMAction2's name for the kind of network around the backbone.
        backbone: the backbone's `type` and options.
        neck: the same for the neck, where there is one.
        head: the same for the classification head, without the number of classes.
        fcn_test: whether the neck of an image network in 1.x takes the clips of a video one by one.
        average_clips: what becomes of the scores of several views in 0.x; in 1.x it is "prob" everywhere.
    """

    recognizer: Literal["Recognizer2D", "Recognizer3D"]
    backbone: Mapping[str, Any]
    neck: Mapping[str, Any] | None = None
    head: Mapping[str, Any] = field(default_factory=dict)
    fcn_test: bool = False
    average_clips: Literal["prob", "score"] | None = "prob"

    @property
    def layout(self) -> str:
        """The order of axes of an input, as `FormatShape` spells it."""
        return "NCHW" if self.recognizer == "Recognizer2D" else "NCTHW"

    def but(self, **options: Any) -> Network:
        """The same network with other backbone options."""
        return replace(self, backbone={**self.backbone, **options})

    def with_head(self, **options: Any) -> Network:
        """The same network with other options of its head."""
        return replace(self, head={**self.head, **options})


def _images(backbone: str, *, head: str = "TSNHead", **options: Any) -> Network:
    averaged: Literal["prob"] | None = "prob" if head == "TSMHead" else None
    return Network("Recognizer2D", {"type": backbone, **options}, head={"type": head}, average_clips=averaged)


def _clips(backbone: str, *, head: str = "I3DHead", **options: Any) -> Network:
    return Network("Recognizer3D", {"type": backbone, **options}, head={"type": head})


def _non_local(mode: str, *, use_scale: bool = False) -> dict[str, Any]:
    return {"sub_sample": True, "use_scale": use_scale, "norm_cfg": {"type": "BN3d"}, "mode": mode}


# --- frame by frame ---------------------------------------------------------------------------------------------------

RESNET_50 = _images("ResNet", depth=50)
TRN_R50 = replace(RESNET_50, head={"type": "TRNHead"}, average_clips="prob")
RESNET_18 = RESNET_50.but(depth=18)
RESNET_101 = RESNET_50.but(depth=101)
RESNEXT_101 = _images("mmcls.ResNeXt", depth=101, groups=32, width_per_group=4)
DENSENET_161 = _images("torchvision.densenet161")
SWIN_2D = _images("timm.swin_base_patch4_window7_224")
SWIN_2D_NHWC = SWIN_2D.but(feature_shape="NHWC")
MOBILEONE_S4 = _images("mmpretrain.MobileOne", arch="s4", out_indices=(3,))

# --- image networks that combine neighbouring frames ------------------------------------------------------------------

TSM_R50 = _images("ResNetTSM", head="TSMHead", depth=50, shift_div=8)
TSM_R50_16 = TSM_R50.but(num_segments=16).with_head(num_segments=16)
TSM_R101 = TSM_R50.but(depth=101)

_TSM_NON_LOCAL = ((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0))
TSM_NL_EMBEDDED_GAUSSIAN = TSM_R50.but(non_local=_TSM_NON_LOCAL, non_local_cfg=_non_local("embedded_gaussian"))
TSM_NL_GAUSSIAN = TSM_R50.but(non_local=_TSM_NON_LOCAL, non_local_cfg=_non_local("gaussian"))
TSM_NL_DOT_PRODUCT = TSM_R50.but(non_local=_TSM_NON_LOCAL, non_local_cfg=_non_local("dot_product"))
TSM_MOBILENET_V2 = _images("MobileNetV2TSM", head="TSMHead", shift_div=8)
# The head averages all 16 frames; its config leaves the backbone at 8 segments.
TSM_MOBILEONE_S4 = _images("MobileOneTSM", head="TSMHead", arch="s4", shift_div=8).with_head(num_segments=16)

TIN_R50 = replace(_images("ResNetTIN", head="TSMHead", depth=50, shift_div=4), average_clips=None)
TANET_R50 = _images("TANet", head="TSMHead", depth=50, num_segments=8)
TANET_R50_16 = TANET_R50.but(num_segments=16).with_head(num_segments=16)

# --- convolutions over clips ------------------------------------------------------------------------------------------

C2D_R50 = _clips("C2D", depth=50)
C3D = replace(_clips("C3D").with_head(spatial_type=None), average_clips="score")

I3D_R50 = _clips(
    "ResNet3d",
    depth=50,
    conv1_kernel=(5, 7, 7),
    conv1_stride_t=2,
    pool1_stride_t=2,
    inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)),
)
_I3D_NON_LOCAL = ((0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 0, 0))
I3D_NL_EMBEDDED_GAUSSIAN = I3D_R50.but(non_local=_I3D_NON_LOCAL, non_local_cfg=_non_local("embedded_gaussian"))
I3D_NL_GAUSSIAN = I3D_R50.but(non_local=_I3D_NON_LOCAL, non_local_cfg=_non_local("gaussian"))
I3D_NL_DOT_PRODUCT = I3D_R50.but(non_local=_I3D_NON_LOCAL, non_local_cfg=_non_local("dot_product"))
I3D_R50_HEAVY = I3D_R50.but(conv1_stride_t=1, pool1_stride_t=1, inflate=(1, 1, 1, 1))

SLOWONLY_R50 = _clips("ResNet3dSlowOnly", depth=50)
SLOWONLY_R101 = SLOWONLY_R50.but(depth=101)
SLOWONLY_R50_NO_POOL1 = SLOWONLY_R50.but(with_pool1=False)
SLOWONLY_NL_EMBEDDED_GAUSSIAN = SLOWONLY_R50.but(
    non_local=((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0)),
    non_local_cfg=_non_local("embedded_gaussian", use_scale=True),
)
# Its own recognizer takes images as well as videos; for videos it is the same as Recognizer3D.
SLOWONLY_OMNI = _clips("OmniResNet", head="OmniHead").with_head(image_classes=1000)


def _slowfast(*, every: int, slow_depth: int, fast_depth: int = 50, **slow_options: Any) -> Network:
    """SlowFast whose slow pathway takes one frame of every `every` frames of the clip."""
    shared = {"type": "resnet3d", "conv1_stride_t": 1, "pool1_stride_t": 1}
    return _clips(
        "ResNet3dSlowFast",
        head="SlowFastHead",
        resample_rate=every,
        speed_ratio=every,
        channel_ratio=8,
        slow_pathway={
            **shared,
            "depth": slow_depth,
            "lateral": True,
            "conv1_kernel": (1, 7, 7),
            "dilations": (1, 1, 1, 1),
            "inflate": (0, 0, 1, 1),
            **slow_options,
        },
        fast_pathway={**shared, "depth": fast_depth, "lateral": False, "base_channels": 8, "conv1_kernel": (5, 7, 7)},
    )


SLOWFAST_R50_4X16 = _slowfast(every=8, slow_depth=50)
SLOWFAST_R50_8X8 = _slowfast(every=4, slow_depth=50, fusion_kernel=7)
SLOWFAST_R50_8X8_NORMED = _slowfast(every=4, slow_depth=50, fusion_kernel=7, lateral_norm=True)
SLOWFAST_R101_R50_4X16 = _slowfast(every=8, slow_depth=101)
SLOWFAST_R152_R50_4X16 = _slowfast(every=8, slow_depth=152)
SLOWFAST_R101_8X8 = _slowfast(every=4, slow_depth=101, fast_depth=101, fusion_kernel=7)

IR_CSN_R152 = _clips("ResNet3dCSN", depth=152, with_pool2=False, bottleneck_mode="ir")
IR_CSN_R50 = IR_CSN_R152.but(depth=50)
IP_CSN_R152 = IR_CSN_R152.but(bottleneck_mode="ip")

R2PLUS1D_R34 = _clips(
    "ResNet2Plus1d",
    depth=34,
    conv_cfg={"type": "Conv2plus1d"},
    norm_cfg={"type": "SyncBN", "eps": 1e-3},
    inflate=(1, 1, 1, 1),
    temporal_strides=(1, 2, 2, 2),
)
X3D = _clips("X3D", head="X3DHead", gamma_w=1, gamma_b=2.25, gamma_d=2.2)


def _pyramid(classes: int) -> dict[str, Any]:
    """TPN over the last two stages of a ResNet-50."""
    return {
        "type": "TPN",
        "in_channels": (1024, 2048),
        "out_channels": 1024,
        "spatial_modulation_cfg": {"in_channels": (1024, 2048), "out_channels": 2048},
        "temporal_modulation_cfg": {"downsample_scales": (8, 8)},
        "upsample_cfg": {"scale_factor": (1, 1, 1)},
        "downsample_cfg": {"downsample_scale": (1, 1, 1)},
        "level_fusion_cfg": {
            "in_channels": (1024, 1024),
            "mid_channels": (1024, 1024),
            "out_channels": 2048,
            "downsample_scales": ((1, 1, 1), (1, 1, 1)),
        },
        # Used in training only, but its weights are in the checkpoints.
        "aux_head_cfg": {"out_channels": classes, "loss_weight": 0.5},
    }


_TPN_HEAD = {"type": "TPNHead"}
TPN_SLOWONLY = replace(SLOWONLY_R50.but(out_indices=(2, 3)), neck=_pyramid(classes=400), head=_TPN_HEAD)
TPN_TSM = replace(TSM_R50.but(out_indices=(2, 3)), neck=_pyramid(classes=174), head=_TPN_HEAD, fcn_test=True)

# --- transformers over clips ------------------------------------------------------------------------------------------

TIMESFORMER = _clips(
    "TimeSformer",
    head="TimeSformerHead",
    num_frames=8,
    img_size=224,
    patch_size=16,
    attention_type="divided_space_time",
)
TIMESFORMER_JOINT = TIMESFORMER.but(attention_type="joint_space_time")
TIMESFORMER_SPACE = TIMESFORMER.but(attention_type="space_only")

MVIT_S = _clips("MViT", head="MViTHead", arch="small")
MVIT_S_MASKFEAT = MVIT_S.but(dim_mul_in_attention=False)
MVIT_B = MVIT_S.but(arch="base", temporal_size=32)
MVIT_L = MVIT_S.but(arch="large", temporal_size=40, spatial_size=312)

SWIN_3D_T = _clips("SwinTransformer3D", arch="tiny")
SWIN_3D_S = SWIN_3D_T.but(arch="small")
SWIN_3D_B = SWIN_3D_T.but(arch="base")
SWIN_3D_L = SWIN_3D_T.but(arch="large")

UNIFORMER_S = _clips("UniFormer", depth=(3, 4, 8, 3), embed_dim=(64, 128, 320, 512), head_dim=64)
UNIFORMER_B = UNIFORMER_S.but(depth=(5, 8, 20, 7))

UNIFORMER_V2_B = _clips(
    "UniFormerV2",
    head="TimeSformerHead",
    input_resolution=224,
    patch_size=16,
    width=768,
    layers=12,
    heads=12,
    t_size=8,
    double_lmhra=True,
    return_list=(8, 9, 10, 11),
    n_dim=768,
    n_head=12,
)
UNIFORMER_V2_L = UNIFORMER_V2_B.but(
    patch_size=14, width=1024, layers=24, heads=16, return_list=(20, 21, 22, 23), n_dim=1024, n_head=16
)
UNIFORMER_V2_L_16 = UNIFORMER_V2_L.but(t_size=16)
UNIFORMER_V2_L_32 = UNIFORMER_V2_L.but(t_size=32)
UNIFORMER_V2_L_336 = UNIFORMER_V2_L.but(input_resolution=336)
UNIFORMER_V2_L_336_32 = UNIFORMER_V2_L_336.but(t_size=32)

VIT_B = _clips("VisionTransformer", head="TimeSformerHead", embed_dims=768, depth=12, num_heads=12)
VIT_S = VIT_B.but(embed_dims=384, num_heads=6)
VIT_L = VIT_B.but(embed_dims=1024, depth=24, num_heads=16)
