# TSN with a backbone of timm, which `pip install '.[timm]'` installs. One 512-d vector per clip. The checkpoint is one that
# was trained with this backbone in MMAction2.
_base_ = ['./tsn_r50_clip_feature_extraction_1x1x3_rgb.py']

model = dict(
    backbone=dict(_delete_=True, type='timm.resnet18', pretrained=False))
