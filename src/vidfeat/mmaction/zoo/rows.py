"""The recipe of each released model: one row for all models with the same network, frames, crops and pixel scale.

Values are those of the model's config in MMAction2, unless a comment gives another source. Rows do not depend on the
line of a model: the same row describes a config of either line.
"""

from __future__ import annotations

from vidfeat.mmaction.zoo import networks as n
from vidfeat.mmaction.zoo.recipes import Crop, ModelRow, center, clips, dense, frames, frames_twice, spread, ten, three
from vidfeat.recipe import Normalize

IMAGENET = Normalize(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
IMAGENET_ROUNDED = Normalize(mean=(123.675, 116.28, 103.5), std=(58.395, 57.12, 57.375))  # TANet in 1.x
VMZ = Normalize(mean=(110.2008, 100.63983, 95.99475), std=(58.14765, 56.46975, 55.332195))
SPORTS_1M = Normalize(mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0))
SLOWFAST = Normalize(mean=(114.75, 114.75, 114.75), std=(57.375, 57.375, 57.375))
X3D = Normalize(mean=(114.75, 114.75, 114.75), std=(57.38, 57.38, 57.38))
HALF = Normalize(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))


# fmt: off
ROWS = (
    # frame by frame ---------------------------------------------------------------------------------------------------
    ModelRow(n.RESNET_50, frames(25), three(256), IMAGENET, """
        tsn_r50_1x1x8_100e_minikinetics_rgb
        tsn_r50_1x1x8_100e_minikinetics_googleimage_rgb
        tsn_r50_1x1x8_100e_minikinetics_webimage_rgb
        tsn_r50_1x1x8_100e_minikinetics_insvideo_rgb
        tsn_r50_1x1x8_100e_minikinetics_kineticsraw_rgb
        tsn_r50_1x1x8_100e_minikinetics_omnisource_rgb
        tsn_r50_1x1x3_75e_ucf101_rgb
        tsn_r50_320p_1x1x3_100e_kinetics400_rgb
        tsn_r50_1x1x8_100e_kinetics400_rgb
        tsn_r50_320p_1x1x8_100e_kinetics400_rgb
        tsn_r50_video_320p_1x1x3_100e_kinetics400_rgb
        tsn_r50_video_1x1x8_100e_kinetics600_rgb
        tsn_r50_video_1x1x8_100e_kinetics700_rgb
        tsn_r50_320p_1x1x8_50e_activitynet_video_rgb
        tsn_r50_320p_1x1x8_50e_activitynet_clip_rgb
    """),
    ModelRow(n.RESNET_50, frames(25), ten(224, short=256), IMAGENET, """
        tsn_omnisource_r50_1x1x3_100e_kinetics_rgb
        tsn_IG1B_pretrained_omnisource_r50_1x1x3_100e_kinetics_rgb
        tsn_r50_1x1x3_100e_kinetics400_rgb
        tsn_r50_video_1x1x8_100e_kinetics400_rgb
        tsn_IG1B_pretrained_r50_1x1x3_100e_kinetics_rgb
        tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb
        tsn_imagenet-pretrained-r50_8xb32-1x1x5-100e_kinetics400-rgb
        tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb
        tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb
        tsn_imagenet-pretrained-r50_8xb32-1x1x16-50e_sthv2-rgb
    """),
    ModelRow(n.TRN_R50, frames_twice(8), three(256), IMAGENET, """
        trn_r50_1x1x8_50e_sthv1_rgb
        trn_r50_1x1x8_50e_sthv2_rgb
        trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv1-rgb
        trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb
    """),
    ModelRow(n.RESNET_50, frames(8), center(224, short=256), IMAGENET, """
        tsn_r50_video_1x1x8_100e_diving48_rgb
        tsn_r50_1x1x16_50e_sthv1_rgb
    """),
    ModelRow(n.RESNET_50, frames(16), center(224, short=256), IMAGENET, """
        tsn_r50_video_1x1x16_100e_diving48_rgb
    """),
    ModelRow(n.RESNET_50, frames(8), center(256, short=256), IMAGENET, """
        tsn_r50_1x1x8_50e_hmdb51_imagenet_rgb
        tsn_r50_1x1x8_50e_hmdb51_kinetics400_rgb
        tsn_r50_1x1x8_50e_hmdb51_mit_rgb
    """),
    ModelRow(n.RESNET_50, dense(1, 1, 8), center(224, short=256), IMAGENET, """
        tsn_r50_dense_1x1x5_50e_kinetics400_rgb
        tsn_r50_dense_1x1x8_100e_kinetics400_rgb
    """),
    ModelRow(n.RESNET_50, dense(1, 1, 8), ten(224, short=256), IMAGENET, """
        tsn_r50_video_dense_1x1x8_100e_kinetics400_rgb
    """),
    ModelRow(n.RESNET_50, frames(8), ten(224, short=256), IMAGENET, """
        tsn_r50_1x1x8_50e_sthv1_rgb
    """),
    ModelRow(n.RESNET_50, frames(8), three(256), IMAGENET, """
        tsn_r50_1x1x8_50e_sthv2_rgb
    """),
    ModelRow(n.RESNET_50, frames(16), three(256), IMAGENET, """
        tsn_r50_1x1x16_50e_sthv2_rgb
    """),
    # MMAction2's own config names no input layout and does not run.
    ModelRow(n.RESNET_50, frames(6), three(256), IMAGENET, """
        tsn_r50_1x1x6_100e_mit_rgb
    """),
    ModelRow(n.RESNET_50, clips(8, 8, 10), three(224), IMAGENET, """
        c2d_r50-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb
    """),
    ModelRow(n.RESNET_50, dense(1, 1, 25), center(224, short=256), IMAGENET, """
        tsn_imagenet-pretrained-r50_8xb32-dense-1x1x5-100e_kinetics400-rgb
    """),
    ModelRow(n.RESNET_18, frames(25), three(256), IMAGENET, """
        tsn_r18_1x1x8_100e_hvu_action_rgb
        tsn_r18_1x1x8_100e_hvu_scene_rgb
        tsn_r18_1x1x8_100e_hvu_object_rgb
        tsn_r18_1x1x8_100e_hvu_event_rgb
        tsn_r18_1x1x8_100e_hvu_concept_rgb
        tsn_r18_1x1x8_100e_hvu_attribute_rgb
    """),
    ModelRow(n.RESNET_101, frames(5), center(256, short=256), IMAGENET, """
        tsn_r101_1x1x5_50e_mmit_rgb
    """),
    ModelRow(n.RESNET_101, clips(8, 8, 10), three(224), IMAGENET, """
        c2d_r101-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb
    """),
    ModelRow(n.RESNET_101, frames(25), ten(224, short=256), IMAGENET, """
        tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_kinetics400-rgb
    """),
    ModelRow(n.RESNEXT_101, frames(25), three(256), IMAGENET, """
        tsn_rn101_32x4d_320p_1x1x3_100e_kinetics400_rgb
    """),
    ModelRow(n.RESNEXT_101, frames(25), ten(224, short=256), IMAGENET, """
        tsn_imagenet-pretrained-rn101-32x4d_8xb32-1x1x3-100e_kinetics400-rgb
    """),
    ModelRow(n.DENSENET_161, frames(25), three(256), IMAGENET, """
        tsn_dense161_320p_1x1x3_100e_kinetics400_rgb
    """),
    ModelRow(n.DENSENET_161, frames(25), ten(224, short=256), IMAGENET, """
        tsn_imagenet-pretrained-dense161_8xb32-1x1x3-100e_kinetics400-rgb
    """),
    ModelRow(n.SWIN_2D, frames(25), ten(224, short=256), IMAGENET, """
        tsn_swin_transformer_video_320p_1x1x3_100e_kinetics400_rgb
        tsn_imagenet-pretrained-swin-transformer_32xb8-1x1x8-50e_kinetics400-rgb
    """),
    ModelRow(n.SWIN_2D_NHWC, frames(25), ten(224, short=256), IMAGENET, """
        tsn_imagenet-pretrained-swin-transformer_8xb32-1x1x3-100e_kinetics400-rgb
    """),
    ModelRow(n.MOBILEONE_S4, frames(25), ten(224, short=256), IMAGENET, """
        tsn_imagenet-pretrained-mobileone-s4_8xb32-1x1x8-100e_kinetics400-rgb
    """),
    # frame by frame, with an exchange between neighbours --------------------------------------------------------------
    ModelRow(n.TSM_R50, frames(8), center(224, short=256), IMAGENET, """
        tsm_r50_1x1x8_50e_kinetics400_rgb
        tsm_r50_1x1x8_100e_kinetics400_rgb
        tsm_r50_video_1x1x8_50e_kinetics400_rgb
        tsm_r50_video_1x1x8_50e_diving48_rgb
        tsm_k400_pretrained_r50_1x1x8_25e_hmdb51_rgb
        tsm_k400_pretrained_r50_1x1x8_25e_ucf101_rgb
    """),
    ModelRow(n.TSM_R50, dense(1, 1, 8), ten(224, short=256), IMAGENET, """
        tsm_r50_dense_1x1x8_50e_kinetics400_rgb
        tsm_r50_dense_1x1x8_100e_kinetics400_rgb
        tsm_imagenet-pretrained-r50_8xb16-dense-1x1x8-50e_kinetics400-rgb
    """),
    ModelRow(n.TSM_R50, frames_twice(8), three(256), IMAGENET, """
        tsm_r50_1x1x8_50e_sthv1_rgb
        tsm_r50_flip_1x1x8_50e_sthv1_rgb
        tsm_r50_randaugment_1x1x8_50e_sthv1_rgb
        tsm_r50_flip_randaugment_1x1x8_50e_sthv1_rgb
        tsm_r50_1x1x8_50e_sthv2_rgb
        tsm_r50_mixup_1x1x8_50e_sthv1_rgb
        tsm_r50_cutmix_1x1x8_50e_sthv1_rgb
        tsm_r50_1x1x8_50e_jester_rgb
        tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb
    """),
    ModelRow(n.TSM_R50, frames(8), ten(224, short=256), IMAGENET, """
        tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb
        tsm_imagenet-pretrained-r50_8xb16-1x1x8-100e_kinetics400-rgb
    """),
    # Its config normalises in a hook on the GPU.
    ModelRow(n.TSM_R50, frames(8), center(224, short=256), IMAGENET, """
        tsm_r50_gpu_normalize_1x1x8_50e_kinetics400_rgb
    """),
    ModelRow(n.TSM_R50_16, frames(16), ten(224, short=256), IMAGENET, """
        tsm_r50_1x1x16_50e_kinetics400_rgb
        tsm_r50_1x1x16_100e_kinetics400_rgb
        tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb
    """),
    ModelRow(n.TSM_R50_16, frames(16), center(224, short=256), IMAGENET, """
        tsm_r50_video_1x1x16_50e_diving48_rgb
        tsm_k400_pretrained_r50_1x1x16_25e_hmdb51_rgb
        tsm_k400_pretrained_r50_1x1x16_25e_ucf101_rgb
    """),
    ModelRow(n.TSM_R50_16, frames_twice(16), three(256), IMAGENET, """
        tsm_r50_1x1x16_50e_sthv1_rgb
        tsm_r50_1x1x16_50e_sthv2_rgb
    """),
    # Its config puts a pipeline with 16 clips where nothing reads it; the one that counts takes 8, twice.
    ModelRow(n.TSM_R50_16, frames_twice(8), three(256), IMAGENET, """
        tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_sthv2-rgb
    """),
    ModelRow(n.TSM_R101, frames_twice(8), three(256), IMAGENET, """
        tsm_r101_1x1x8_50e_sthv1_rgb
        tsm_r101_1x1x8_50e_sthv2_rgb
        tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb
    """),
    ModelRow(n.TSM_NL_EMBEDDED_GAUSSIAN, frames(8), center(224, short=256), IMAGENET, """
        tsm_nl_embedded_gaussian_r50_1x1x8_50e_kinetics400_rgb
    """),
    ModelRow(n.TSM_NL_EMBEDDED_GAUSSIAN, frames(8), ten(224, short=256), IMAGENET, """
        tsm_imagenet-pretrained-r50-nl-embedded-gaussian_8xb16-1x1x8-50e_kinetics400-rgb
    """),
    ModelRow(n.TSM_NL_GAUSSIAN, frames(8), center(224, short=256), IMAGENET, """
        tsm_nl_gaussian_r50_1x1x8_50e_kinetics400_rgb
    """),
    ModelRow(n.TSM_NL_GAUSSIAN, frames(8), ten(224, short=256), IMAGENET, """
        tsm_imagenet-pretrained-r50-nl-gaussian_8xb16-1x1x8-50e_kinetics400-rgb
    """),
    ModelRow(n.TSM_NL_DOT_PRODUCT, frames(8), center(224, short=256), IMAGENET, """
        tsm_nl_dot_product_r50_1x1x8_50e_kinetics400_rgb
    """),
    ModelRow(n.TSM_NL_DOT_PRODUCT, frames(8), ten(224, short=256), IMAGENET, """
        tsm_imagenet-pretrained-r50-nl-dot-product_8xb16-1x1x8-50e_kinetics400-rgb
    """),
    ModelRow(n.TSM_MOBILENET_V2, dense(1, 1, 8), three(256), IMAGENET, """
        tsm_mobilenetv2_dense_1x1x8_100e_kinetics400_rgb
        tsm_mobilenetv2_dense_1x1x8_kinetics400_rgb_port
    """),
    ModelRow(n.TSM_MOBILENET_V2, frames(8), three(256), IMAGENET, """
        tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb
    """),
    ModelRow(n.TSM_MOBILEONE_S4, frames(16), three(256), IMAGENET, """
        tsm_imagenet-pretrained-mobileone-s4_8xb16-1x1x16-50e_kinetics400-rgb
    """),
    ModelRow(n.TIN_R50, frames(8), center(224, short=256), IMAGENET, """
        tin_r50_1x1x8_40e_sthv1_rgb
        tin_r50_1x1x8_40e_sthv2_rgb
        tin_tsm_finetune_r50_1x1x8_50e_kinetics400_rgb
        tin_imagenet-pretrained-r50_8xb6-1x1x8-40e_sthv1-rgb
        tin_imagenet-pretrained-r50_8xb6-1x1x8-40e_sthv2-rgb
        tin_kinetics400-pretrained-tsm-r50_1x1x8-50e_kinetics400-rgb
    """),
    ModelRow(n.TANET_R50, dense(1, 1, 8), three(256), IMAGENET, """
        tanet_r50_dense_1x1x8_100e_kinetics400_rgb
    """),
    ModelRow(n.TANET_R50, frames_twice(8), three(256), IMAGENET, """
        tanet_r50_1x1x8_50e_sthv1_rgb
    """),
    ModelRow(n.TANET_R50, dense(1, 1, 8), three(256), IMAGENET_ROUNDED, """
        tanet_imagenet-pretrained-r50_8xb8-dense-1x1x8-100e_kinetics400-rgb
    """),
    ModelRow(n.TANET_R50, frames_twice(8), three(256), IMAGENET_ROUNDED, """
        tanet_imagenet-pretrained-r50_8xb8-1x1x8-50e_sthv1-rgb
    """),
    ModelRow(n.TANET_R50_16, frames_twice(16), three(256), IMAGENET, """
        tanet_r50_1x1x16_50e_sthv1_rgb
    """),
    ModelRow(n.TANET_R50_16, frames(16), center(224, short=256), IMAGENET_ROUNDED, """
        tanet_imagenet-pretrained-r50_8xb6-1x1x16-50e_sthv1-rgb
    """),
    # convolutions over clips ------------------------------------------------------------------------------------------
    ModelRow(n.C2D_R50, clips(8, 8, 10), three(224), IMAGENET, """
        c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb
    """),
    ModelRow(n.C2D_R50, clips(16, 4, 10), three(224), IMAGENET, """
        c2d_r50-in1k-pre_8xb32-16x4x1-100e_kinetics400-rgb
    """),
    ModelRow(n.C3D, clips(16, 1, 10), Crop("CenterCrop", 112, (128, 171)), SPORTS_1M, """
        c3d_sports1m_16x1x1_45e_ucf101_rgb
    """),
    ModelRow(n.C3D, clips(16, 1, 10), center(112, short=128), SPORTS_1M, """
        c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb
    """),
    ModelRow(n.I3D_R50, clips(32, 2, 10), three(256), IMAGENET, """
        i3d_r50_32x2x1_100e_kinetics400_rgb
        i3d_r50_video_32x2x1_100e_kinetics400_rgb
        i3d_r50_lazy_32x2x1_100e_kinetics400_rgb
        i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb
    """),
    ModelRow(n.I3D_R50, dense(32, 2, 1), three(256), IMAGENET, """
        i3d_r50_dense_32x2x1_100e_kinetics400_rgb
        i3d_imagenet-pretrained-r50_8xb8-dense-32x2x1-100e_kinetics400-rgb
    """),
    ModelRow(n.I3D_NL_EMBEDDED_GAUSSIAN, clips(32, 2, 10), three(256), IMAGENET, """
        i3d_nl_embedded_gaussian_r50_32x2x1_100e_kinetics400_rgb
        i3d_imagenet-pretrained-r50-nl-embedded-gaussian_8xb8-32x2x1-100e_kinetics400-rgb
    """),
    ModelRow(n.I3D_NL_GAUSSIAN, clips(32, 2, 10), three(256), IMAGENET, """
        i3d_nl_gaussian_r50_32x2x1_100e_kinetics400_rgb
        i3d_imagenet-pretrained-r50-nl-gaussian_8xb8-32x2x1-100e_kinetics400-rgb
    """),
    ModelRow(n.I3D_NL_DOT_PRODUCT, clips(32, 2, 10), three(256), IMAGENET, """
        i3d_nl_dot_product_r50_32x2x1_100e_kinetics400_rgb
        i3d_imagenet-pretrained-r50-nl-dot-product_8xb8-32x2x1-100e_kinetics400-rgb
    """),
    ModelRow(n.I3D_R50_HEAVY, clips(32, 2, 10), three(256), IMAGENET, """
        i3d_imagenet-pretrained-r50-heavy_8xb8-32x2x1-100e_kinetics400-rgb
    """),
    ModelRow(n.SLOWONLY_R50, clips(8, 8, 10), three(256), IMAGENET, """
        slowonly_r50_8x8x1_256e_minikinetics_rgb
        slowonly_r50_8x8x1_256e_minikinetics_googleimage_rgb
        slowonly_r50_8x8x1_256e_minikinetics_webimage_rgb
        slowonly_r50_8x8x1_256e_minikinetics_insvideo_rgb
        slowonly_r50_8x8x1_256e_minikinetics_kineticsraw_rgb
        slowonly_r50_8x8x1_256e_minikinetics_omnisource_rgb
        slowonly_r50_8x8x1_256e_kinetics400_rgb
        slowonly_imagenet_pretrained_r50_8x8x1_150e_kinetics400_rgb
        slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb
        slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb
        slowonly_imagenet-pretrained-r50_16xb16-8x8x1-steplr-150e_kinetics700-rgb
        slowonly_imagenet-pretrained-r50_32xb8-8x8x1-steplr-150e_kinetics710-rgb
    """),
    ModelRow(n.SLOWONLY_R50, clips(4, 16, 10), three(256), IMAGENET, """
        slowonly_r50_omnisource_4x16x1_256e_kinetics400_rgb
        slowonly_r50_4x16x1_256e_kinetics400_rgb
        slowonly_r50_video_4x16x1_256e_kinetics400_rgb
        slowonly_imagenet_pretrained_r50_4x16x1_150e_kinetics400_rgb
        slowonly_imagenet_pretrained_r50_4x16x1_120e_gym99_rgb
        slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb
        slowonly_imagenet-pretrained-r50_8xb16-4x16x1-steplr-150e_kinetics400-rgb
        slowonly_imagenet-pretrained-r50_16xb16-4x16x1-steplr-150e_kinetics700-rgb
    """),
    ModelRow(n.SLOWONLY_R50, clips(8, 4, 10), three(256), IMAGENET, """
        slowonly_imagenet_pretrained_r50_8x8x1_64e_jester_rgb
        slowonly_imagenet_pretrained_r50_8x4x1_64e_hmdb51_rgb
        slowonly_imagenet_pretrained_r50_8x4x1_64e_ucf101_rgb
        slowonly_k400_pretrained_r50_8x4x1_40e_ucf101_rgb
        slowonly_k400_pretrained_r50_8x4x1_40e_hmdb51_rgb
    """),
    # Their configs do not resize, for videos stored with a short edge of 256; others would not fit.
    ModelRow(n.SLOWONLY_R50, clips(8, 8, 10), three(256), IMAGENET, """
        slowonly_r50_video_8x8x1_256e_kinetics600_rgb
        slowonly_r50_video_8x8x1_256e_kinetics700_rgb
    """),
    ModelRow(n.SLOWONLY_R101, clips(8, 8, 10), three(256), IMAGENET, """
        slowonly_r101_omnisource_8x8x1_196e_kinetics400_rgb
        slowonly_r101_8x8x1_196e_kinetics400_rgb
        slowonly_r101_8xb16-8x8x1-196e_kinetics400-rgb
    """),
    ModelRow(n.SLOWONLY_R50_NO_POOL1, clips(8, 4, 10), three(128), IMAGENET, """
        slowonly_imagenet_pretrained_r50_8x4x1_64e_sthv1_rgb
    """),
    ModelRow(n.SLOWONLY_NL_EMBEDDED_GAUSSIAN, clips(4, 16, 10), three(256), IMAGENET, """
        slowonly_nl_embedded_gaussian_r50_4x16x1_150e_kinetics400_rgb
        slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-4x16x1-steplr-150e_kinetics400-rgb
    """),
    ModelRow(n.SLOWONLY_NL_EMBEDDED_GAUSSIAN, clips(8, 8, 10), three(256), IMAGENET, """
        slowonly_nl_embedded_gaussian_r50_8x8x1_150e_kinetics400_rgb
        slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-8x8x1-steplr-150e_kinetics400-rgb
    """),
    ModelRow(n.SLOWONLY_OMNI, clips(8, 8, 10), three(256), IMAGENET, """
        slowonly_r50_8xb16-8x8x1-256e_imagenet-kinetics400-rgb
    """),
    ModelRow(n.SLOWFAST_R50_4X16, clips(32, 2, 10), three(256), IMAGENET, """
        slowfast_r50_4x16x1_256e_kinetics400_rgb
        slowfast_r50_video_4x16x1_256e_kinetics400_rgb
        slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb
    """),
    ModelRow(n.SLOWFAST_R50_8X8, clips(32, 2, 10), three(256), IMAGENET, """
        slowfast_r50_8x8x1_256e_kinetics400_rgb
        slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb
    """),
    ModelRow(n.SLOWFAST_R50_8X8, clips(64, 2, 1), center(256, short=256), IMAGENET, """
        slowfast_r50_16x8x1_22e_sthv1_rgb
    """),
    ModelRow(n.SLOWFAST_R50_8X8_NORMED, clips(32, 2, 10), three(256), IMAGENET, """
        slowfast_r50_8x8x1_256e_kinetics400_rgb_steplr
        slowfast_multigrid_r50_8x8x1_358e_kinetics400_rgb
        slowfast_prebn_r50_8x8x1_256e_kinetics400_rgb_steplr
        slowfast_r50_8xb8-8x8x1-steplr-256e_kinetics400-rgb
    """),
    ModelRow(n.SLOWFAST_R101_R50_4X16, clips(32, 2, 10), three(256), IMAGENET, """
        slowfast_r101_r50_4x16x1_256e_kinetics400_rgb
        slowfast_r101-r50_32xb8-4x16x1-256e_kinetics400-rgb
    """),
    ModelRow(n.SLOWFAST_R152_R50_4X16, clips(32, 2, 10), three(256), IMAGENET, """
        slowfast_r152_r50_4x16x1_256e_kinetics400_rgb
    """),
    ModelRow(n.SLOWFAST_R101_8X8, clips(32, 2, 10), three(256), IMAGENET, """
        slowfast_r101_8x8x1_256e_kinetics400_rgb
        slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb
    """),
    ModelRow(n.IR_CSN_R152, clips(32, 2, 10), three(256), IMAGENET, """
        ircsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb
        ircsn_ig65m_pretrained_bnfrozen_r152_32x2x1_58e_kinetics400_rgb
        ircsn_ig65m-pretrained-r152_8xb12-32x2x1-58e_kinetics400-rgb
        ircsn_ig65m-pretrained-r152-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb
    """),
    ModelRow(n.IR_CSN_R152, clips(32, 2, 10), three(256), VMZ, """
        ircsn_bnfrozen_r152_32x2x1_180e_kinetics400_rgb
        ircsn_sports1m_pretrained_bnfrozen_r152_32x2x1_58e_kinetics400_rgb
        ircsn_r152_32x2x1-180e_kinetics400-rgb
        ircsn_sports1m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb
    """),
    ModelRow(n.IR_CSN_R50, clips(32, 2, 10), three(256), IMAGENET, """
        ircsn_ig65m_pretrained_bnfrozen_r50_32x2x1_58e_kinetics400_rgb
        ircsn_bnfrozen_r50_32x2x1_180e_kinetics400_rgb
        ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb
    """),
    ModelRow(n.IP_CSN_R152, clips(32, 2, 10), three(256), VMZ, """
        ipcsn_bnfrozen_r152_32x2x1_180e_kinetics400_rgb
        ipcsn_sports1m_pretrained_bnfrozen_r152_32x2x1_58e_kinetics400_rgb
        ipcsn_r152_32x2x1-180e_kinetics400-rgb
        ipcsn_sports1m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb
    """),
    ModelRow(n.IP_CSN_R152, clips(32, 2, 10), three(256), IMAGENET, """
        ipcsn_ig65m_pretrained_bnfrozen_r152_32x2x1_58e_kinetics400_rgb
        ipcsn_ig65m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb
    """),
    ModelRow(n.R2PLUS1D_R34, clips(8, 8, 10), three(256), IMAGENET, """
        r2plus1d_r34_8x8x1_180e_kinetics400_rgb
        r2plus1d_r34_video_8x8x1_180e_kinetics400_rgb
        r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb
    """),
    ModelRow(n.R2PLUS1D_R34, clips(32, 2, 10), three(256), IMAGENET, """
        r2plus1d_r34_32x2x1_180e_kinetics400_rgb
        r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb
    """),
    ModelRow(n.X3D, clips(13, 6, 10), three(192), X3D, """
        x3d_s_13x6x1_facebook_kinetics400_rgb
    """),
    ModelRow(n.X3D, clips(16, 5, 10), three(256), X3D, """
        x3d_m_16x5x1_facebook_kinetics400_rgb
    """),
    ModelRow(n.X3D, clips(13, 6, 10, target_fps=30), three(182), X3D, """
        x3d_s_13x6x1_facebook-kinetics400-rgb
    """),
    ModelRow(n.X3D, clips(16, 5, 10, target_fps=30), three(256), X3D, """
        x3d_m_16x5x1_facebook-kinetics400-rgb
    """),
    ModelRow(n.TPN_SLOWONLY, clips(8, 8, 10), three(256), IMAGENET, """
        tpn_slowonly_r50_8x8x1_150e_kinetics_rgb
        tpn_imagenet_pretrained_slowonly_r50_8x8x1_150e_kinetics_rgb
        tpn-slowonly_r50_8xb8-8x8x1-150e_kinetics400-rgb
        tpn-slowonly_imagenet-pretrained-r50_8xb8-8x8x1-150e_kinetics400-rgb
    """),
    ModelRow(n.TPN_TSM, frames_twice(8), three(256), IMAGENET, """
        tpn_tsm_r50_1x1x8_150e_sthv1_rgb
        tpn-tsm_imagenet-pretrained-r50_8xb8-1x1x8-150e_sthv1-rgb
    """),
    # transformers over clips ------------------------------------------------------------------------------------------
    ModelRow(n.TIMESFORMER, clips(8, 32, 1), three(224), HALF, """
        timesformer_divST_8x32x1_15e_kinetics400_rgb
        timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb
    """),
    ModelRow(n.TIMESFORMER_JOINT, clips(8, 32, 1), three(224), HALF, """
        timesformer_jointST_8x32x1_15e_kinetics400_rgb
        timesformer_jointST_8xb8-8x32x1-15e_kinetics400-rgb
    """),
    ModelRow(n.TIMESFORMER_SPACE, clips(8, 32, 1), three(224), HALF, """
        timesformer_spaceOnly_8x32x1_15e_kinetics400_rgb
        timesformer_spaceOnly_8xb8-8x32x1-15e_kinetics400-rgb
    """),
    ModelRow(n.MVIT_S, clips(16, 4, 5), center(224, short=224), SLOWFAST, """
        mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb_infer
        mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb
    """),
    ModelRow(n.MVIT_S, spread(16), three(224), IMAGENET, """
        mvit-small-p244_k400-pre_16xb16-u16-100e_sthv2-rgb_infer
        mvit-small-p244_k400-pre_16xb16-u16-100e_sthv2-rgb
    """),
    ModelRow(n.MVIT_S_MASKFEAT, clips(16, 4, 10), center(224, short=224), SLOWFAST, """
        mvit-small-p244_k400-maskfeat-pre_8xb32-16x4x1-100e_kinetics400-rgb
    """),
    ModelRow(n.MVIT_B, clips(32, 3, 5), center(224, short=224), SLOWFAST, """
        mvit-base-p244_32x3x1_kinetics400-rgb
    """),
    ModelRow(n.MVIT_B, spread(32), three(224), SLOWFAST, """
        mvit-base-p244_u32_sthv2-rgb
    """),
    ModelRow(n.MVIT_L, clips(40, 3, 5), three(312), SLOWFAST, """
        mvit-large-p244_40x3x1_kinetics400-rgb
    """),
    ModelRow(n.MVIT_L, spread(40), three(224), SLOWFAST, """
        mvit-large-p244_u40_sthv2-rgb
    """),
    ModelRow(n.SWIN_3D_T, clips(32, 2, 4), three(224), IMAGENET, """
        swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb
    """),
    ModelRow(n.SWIN_3D_S, clips(32, 2, 4), three(224), IMAGENET, """
        swin-small-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb
        swin-small-p244-w877_in1k-pre_32xb4-amp-32x2x1-30e_kinetics710-rgb
    """),
    ModelRow(n.SWIN_3D_B, clips(32, 2, 4), three(224), IMAGENET, """
        swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb
    """),
    ModelRow(n.SWIN_3D_L, clips(32, 2, 4), three(224), IMAGENET, """
        swin-large-p244-w877_in22k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb
        swin-large-p244-w877_in22k-pre_16xb8-amp-32x2x1-30e_kinetics700-rgb
    """),
    ModelRow(n.UNIFORMER_S, clips(16, 4, 4), center(224, short=224), SLOWFAST, """
        uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb
    """),
    ModelRow(n.UNIFORMER_B, clips(16, 4, 4), center(224, short=224), SLOWFAST, """
        uniformer-base_imagenet1k-pre_16x4x1_kinetics400-rgb
    """),
    ModelRow(n.UNIFORMER_B, clips(32, 4, 4), center(224, short=224), SLOWFAST, """
        uniformer-base_imagenet1k-pre_32x4x1_kinetics400-rgb
    """),
    ModelRow(n.UNIFORMER_V2_B, spread(8, 4), three(224), SLOWFAST, """
        uniformerv2-base-p16-res224_clip_8xb32-u8_kinetics400-rgb
        uniformerv2-base-p16-res224_clip-kinetics710-pre_8xb32-u8_kinetics400-rgb
        uniformerv2-base-p16-res224_clip-kinetics710-pre_8xb32-u8_kinetics600-rgb
        uniformerv2-base-p16-res224_clip-kinetics710-pre_8xb32-u8_kinetics700-rgb
        uniformerv2-base-p16-res224_clip-kinetics710-kinetics-k400-pre_16xb32-u8_mitv1-rgb
        uniformerv2-base-p16-res224_clip-pre_8xb32-u8_kinetics700-rgb
    """),
    ModelRow(n.UNIFORMER_V2_L, spread(8, 4), three(224), SLOWFAST, """
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u8_kinetics400-rgb
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u8_kinetics600-rgb
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u8_kinetics700-rgb
        uniformerv2-large-p16-res224_clip-kinetics710-kinetics-k400-pre_u8_mitv1-rgb
    """),
    ModelRow(n.UNIFORMER_V2_L_16, spread(16, 4), three(224), SLOWFAST, """
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u16_kinetics400-rgb
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u16_kinetics600-rgb
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u16_kinetics700-rgb
    """),
    ModelRow(n.UNIFORMER_V2_L_32, spread(32, 4), three(224), SLOWFAST, """
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u32_kinetics400-rgb
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u32_kinetics600-rgb
        uniformerv2-large-p14-res224_clip-kinetics710-pre_u32_kinetics700-rgb
    """),
    ModelRow(n.UNIFORMER_V2_L_336, spread(8, 4), three(336), SLOWFAST, """
        uniformerv2-large-p16-res336_clip-kinetics710-kinetics-k400-pre_u8_mitv1-rgb
    """),
    ModelRow(n.UNIFORMER_V2_L_336_32, spread(32, 2), three(336), SLOWFAST, """
        uniformerv2-large-p14-res336_clip-kinetics710-pre_u32_kinetics400-rgb
        uniformerv2-large-p14-res336_clip-kinetics710-pre_u32_kinetics600-rgb
        uniformerv2-large-p14-res336_clip-kinetics710-pre_u32_kinetics700-rgb
    """),
    ModelRow(n.VIT_B, clips(16, 4, 5), three(224), IMAGENET, """
        vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400
        vit-base-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400
    """),
    ModelRow(n.VIT_S, clips(16, 4, 5), three(224), IMAGENET, """
        vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400
    """),
    ModelRow(n.VIT_L, clips(16, 4, 5), three(224), IMAGENET, """
        vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400
    """),
    # Published as a pretrained model, without a test pipeline: this is that of the models made from it.
    ModelRow(n.UNIFORMER_V2_B, spread(8, 4), three(224), SLOWFAST, """
        uniformerv2-base-p16-res224_clip-pre_u8_kinetics710-rgb
    """),
    ModelRow(n.UNIFORMER_V2_L, spread(8, 4), three(224), SLOWFAST, """
        uniformerv2-large-p14-res224_clip-pre_u8_kinetics710-rgb
    """),
    ModelRow(n.UNIFORMER_V2_L_336_32, spread(32, 2), three(336), SLOWFAST, """
        uniformerv2-large-p14-res336_clip-pre_u8_kinetics710-rgb
    """),
)
# fmt: on
"""Grouped by network, in the order of `networks`."""
