# The network of `vidfeat demo`: an I3D (MMAction2's ResNet3d) with one block a stage and 16 base channels, which takes
# 16 frames of a two-second clip at 80x60. It is trained on motions of rendered shapes, not on actions: see README.md beside it.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3d',
        depth=18,
        stage_blocks=(1, 1, 1, 1),
        pretrained=None,
        base_channels=16,
        conv1_kernel=(3, 5, 5),
        conv1_stride_t=2,
        pool1_stride_t=1,
        with_pool2=False,
        temporal_strides=(1, 2, 1, 1),
        inflate=(1, 1, 1, 0),
        norm_eval=False,
    ),
    cls_head=dict(type='I3DHead', in_channels=128, num_classes=16, spatial_type='avg', dropout_ratio=0),
    train_cfg=None,
    test_cfg=dict(average_clips='prob'),
)

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_bgr=False)
test_pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=16, frame_interval=3, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 60)),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='Collect', keys=['imgs'], meta_keys=[]),
    dict(type='ToTensor', keys=['imgs']),
]
data = dict(
    videos_per_gpu=1,
    workers_per_gpu=2,
    test=dict(type='VideoDataset', ann_file=None, data_prefix=None, pipeline=test_pipeline),
)
