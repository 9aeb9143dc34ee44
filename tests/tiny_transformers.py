"""Tiny random repositories in the layout of the Hugging Face hub, written with the library. Also a script:

python tests/tiny_transformers.py FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    **VIT,
    "vocab_size": 64,
    "max_position_embeddings": 16,
    "eos_token_id": 63,
    "bos_token_id": 62,
    "pad_token_id": 1,
}
HALVES: dict[str, Any] = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
CLIP_MEAN: dict[str, Any] = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
IMAGENET: dict[str, Any] = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CROP = {"do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True}


@dataclass(frozen=True)
class Tiny:
    """One repository.

    Attributes:
        config, options: the library's configuration class and its arguments.
        model: the class whose weights are written.
        processor: the content of `file`.
    """

    config: str
    options: dict[str, Any]
    model: str
    processor: dict[str, Any]
    file: str = "preprocessor_config.json"


VIDEOMAE = Tiny(
    "VideoMAEConfig",
    {**VIT, "num_frames": 4, "tubelet_size": 2, "num_labels": 5},
    "VideoMAEForVideoClassification",
    # as the repositories of 2022 have it
    {
        **CROP,
        **HALVES,
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        "resample": 2,
        "size": 40,
        "crop_size": 32,
    },
)

TINY: dict[str, Tiny] = {
    "videomae": VIDEOMAE,
    "videomae-pretraining": Tiny(
        VIDEOMAE.config,
        {**VIDEOMAE.options, "use_mean_pooling": False, "decoder_num_hidden_layers": 1, "decoder_hidden_size": 16,
         "decoder_num_attention_heads": 2, "decoder_intermediate_size": 16},
        "VideoMAEForPreTraining",
        VIDEOMAE.processor,
    ),
    "vjepa2": Tiny(
        "VJEPA2Config",
        {"crop_size": 32, "patch_size": 8, "frames_per_clip": 4, "tubelet_size": 2, "hidden_size": 48,
         "num_attention_heads": 2, "num_hidden_layers": 2, "mlp_ratio": 2, "pred_hidden_size": 24,
         "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1, "pred_num_mask_tokens": 1},
        "VJEPA2Model",
        {**IMAGENET, "video_processor_type": "VJEPA2VideoProcessor", "crop_size": {"height": 32, "width": 32},
         "size": {"shortest_edge": 292}, "do_center_crop": True, "resample": 2},
        "video_preprocessor_config.json",
    ),
    "timesformer": Tiny(
        "TimesformerConfig",
        {**VIT, "num_frames": 4, "num_labels": 5},
        "TimesformerForVideoClassification",
        {**CROP, "image_mean": [0.45, 0.45, 0.45], "image_std": [0.225, 0.225, 0.225], "resample": 2,
         "image_processor_type": "VideoMAEImageProcessor", "rescale_factor": 1 / 255,
         "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    ),
    "vivit": Tiny(
        "VivitConfig",
        {**VIT, "num_frames": 4, "tubelet_size": [2, 8, 8], "num_labels": 5},
        "VivitForVideoClassification",
        {**CROP, **HALVES, "image_processor_type": "VivitImageProcessor", "resample": 2, "offset": True,
         "rescale_factor": 1 / 127.5, "size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}},
    ),
    "xclip": Tiny(
        "XCLIPConfig",
        {"text_config": TEXT, "projection_dim": 24,
         "vision_config": {**VIT, "num_frames": 4, "mit_hidden_size": 24, "mit_intermediate_size": 32,
                           "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2}},
        "XCLIPModel",
        {**CROP, **CLIP_MEAN, "feature_extractor_type": "VideoMAEFeatureExtractor", "resample": 2, "size": 32,
         "crop_size": 32},
    ),
    "clip": Tiny(
        "CLIPConfig",
        {"text_config": TEXT, "vision_config": VIT, "projection_dim": 24},
        "CLIPModel",
        {**CROP, **CLIP_MEAN, "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 32,
         "crop_size": 32},
    ),
    "siglip": Tiny(
        "SiglipConfig",
        {"text_config": {**TEXT, "projection_size": 32}, "vision_config": VIT},
        "SiglipModel",
        {**HALVES, "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 3,
         "image_processor_type": "SiglipImageProcessor", "rescale_factor": 1 / 255,
         "size": {"height": 32, "width": 32}},
    ),
    "siglip2": Tiny(
        "Siglip2Config",
        {"text_config": {**TEXT, "projection_size": 32},
         "vision_config": {**VIT, "num_patches": 16}},
        "Siglip2Model",
        {**HALVES, "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2,
         "image_processor_type": "Siglip2ImageProcessor", "rescale_factor": 1 / 255, "patch_size": 8,
         "max_num_patches": 20},
    ),
    "dinov2": Tiny(
        "Dinov2Config",
        {**VIT, "mlp_ratio": 2},
        "Dinov2Model",
        {**CROP, **IMAGENET, "image_processor_type": "BitImageProcessor", "resample": 3, "do_convert_rgb": True,
         "rescale_factor": 1 / 255, "size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}},
    ),
    "dinov3": Tiny(
        "DINOv3ViTConfig",
        {**VIT, "num_register_tokens": 2},
        "DINOv3ViTModel",
        {**IMAGENET, "image_processor_type": "DINOv3ViTImageProcessorFast", "do_resize": True, "do_rescale": True,
         "do_normalize": True, "resample": 2, "rescale_factor": 1 / 255, "size": {"height": 32, "width": 32}},
    ),
    "dinov3-convnext": Tiny(
        "DINOv3ConvNextConfig",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        "DINOv3ConvNextModel",
        {**IMAGENET, "image_processor_type": "DINOv3ViTImageProcessorFast", "do_resize": True, "do_rescale": True,
         "do_normalize": True, "resample": 2, "rescale_factor": 1 / 255, "size": {"height": 64, "width": 64}},
    ),
    "vit": Tiny(
        "ViTConfig",
        VIT,
        "ViTModel",
        {**HALVES, "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2,
         "image_processor_type": "ViTImageProcessor", "size": 32},
    ),
}  # fmt: skip
TINY["vjepa2-classifier"] = Tiny(
    TINY["vjepa2"].config,
    {**TINY["vjepa2"].options, "num_labels": 5, "num_pooler_layers": 1},
    "VJEPA2ForVideoClassification",
    TINY["vjepa2"].processor,
    TINY["vjepa2"].file,
)


TINY["siglip2-vision"] = Tiny(
    "Siglip2VisionConfig",
    TINY["siglip2"].options["vision_config"],
    "Siglip2VisionModel",
    TINY["siglip2"].processor,
)
TINY["vit-classifier"] = replace(TINY["vit"], model="ViTForImageClassification")
TINY["ijepa"] = Tiny("IJepaConfig", VIT, "IJepaModel", TINY["vit"].processor)
TINY["convnext"] = Tiny(
    "ConvNextConfig",
    {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "ConvNextModel",
    {**IMAGENET, "feature_extractor_type": "ConvNextFeatureExtractor", "do_resize": True, "do_normalize": True,
     "resample": 3, "size": 64, "crop_pct": 0.875},
)  # fmt: skip
SQUARE: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "size": {"height": 32, "width": 32},
}
TOWERS: dict[str, Any] = {"text_config": TEXT, "vision_config": VIT, "projection_dim": 24}
EFFICIENTNET: dict[str, Any] = {
    "in_channels": [16, 8],
    "out_channels": [8, 16],
    "kernel_sizes": [3, 3],
    "depthwise_padding": [],
    "strides": [1, 2],
    "num_block_repeats": [1, 1],
    "expand_ratios": [1, 2],
    "width_coefficient": 0.25,
    "depth_coefficient": 0.1,
    "image_size": 32,
}
TINY |= {
    "metaclip2": Tiny(
        "MetaClip2Config",
        {**TOWERS, "text_config": {**TEXT, "vocab_size": 80}},
        "MetaClip2Model",
        {**CROP, **CLIP_MEAN, "image_processor_type": "CLIPImageProcessorFast", "resample": 3,
         "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    ),
    "chinese-clip": Tiny(
        "ChineseCLIPConfig",
        TOWERS,
        "ChineseCLIPModel",
        {**SQUARE, **CLIP_MEAN, "image_processor_type": "ChineseCLIPImageProcessor", "do_center_crop": False,
         "resample": 3},
    ),
    "altclip": Tiny(
        "AltCLIPConfig",
        {**TOWERS, "text_config": {**TEXT, "project_dim": 20}},
        "AltCLIPModel",
        TINY["clip"].processor,
    ),
    "aimv2": Tiny("Aimv2Config", TOWERS, "Aimv2Model", TINY["clip"].processor),
    "groupvit": Tiny(
        "GroupViTConfig",
        {**TOWERS, "projection_intermediate_dim": 32,
         "vision_config": {**VIT, "depths": [1, 1, 1], "num_group_tokens": [8, 4, 0], "num_output_groups": [8, 4, 0]}},
        "GroupViTModel",
        TINY["clip"].processor,
    ),
    "blip": Tiny(
        "BlipConfig",
        {**TOWERS, "text_config": {**TEXT, "encoder_hidden_size": 32}, "image_text_hidden_size": 24},
        "BlipForImageTextRetrieval",
        {**SQUARE, **CLIP_MEAN, "image_processor_type": "BlipImageProcessor", "resample": 3},
    ),
    "align": Tiny(
        "AlignConfig",
        {"text_config": TEXT, "vision_config": {**EFFICIENTNET, "hidden_dim": 16}, "projection_dim": 8},
        "AlignModel",
        {**CROP, **IMAGENET, "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 40, "width": 40},
         "crop_size": {"height": 32, "width": 32}, "do_normalize": False, "include_top": False,
         "rescale_factor": 1 / 127.5, "rescale_offset": True, "resample": 2},
    ),
    "efficientnet": Tiny(
        "EfficientNetConfig",
        {**EFFICIENTNET, "hidden_dim": 320, "num_labels": 5},
        "EfficientNetForImageClassification",
        {**SQUARE, "image_processor_type": "EfficientNetImageProcessor", "do_center_crop": False, "include_top": True,
         "image_mean": [0.485, 0.456, 0.406], "image_std": [0.47853944, 0.4732864, 0.47434163],
         "rescale_factor": 1 / 255, "rescale_offset": False, "resample": 0},
    ),
    "levit": Tiny(
        "LevitConfig",
        {"image_size": 64, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1],
         "key_dim": [8, 8, 8]},
        "LevitModel",
        {**CROP, **IMAGENET, "feature_extractor_type": "LevitFeatureExtractor", "resample": 3, "size": 64,
         "crop_size": 64},
    ),
    "mobilenet-v2": Tiny(
        "MobileNetV2Config",
        {"image_size": 32, "depth_multiplier": 0.1},
        "MobileNetV2Model",
        {**CROP, **HALVES, "image_processor_type": "MobileNetV2ImageProcessor", "resample": 2,
         "size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}},
    ),
    "mobilevit": Tiny(
        "MobileViTConfig",
        {"image_size": 32, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [4, 8, 8, 12, 12, 16, 24],
         "num_attention_heads": 2, "num_labels": 5},
        "MobileViTForImageClassification",
        {"feature_extractor_type": "MobileViTFeatureExtractor", "do_resize": True, "do_center_crop": True,
         "do_flip_channel_order": True, "resample": 2, "size": 36, "crop_size": 32},
    ),
    "tipsv2": Tiny(
        "Tipsv2Config",
        {"text_config": TEXT, "vision_config": {**VIT, "mlp_ratio": 2}},
        "Tipsv2Model",
        {**SQUARE, "image_processor_type": "Tipsv2ImageProcessor", "do_normalize": False, "resample": 2},
    ),
    "radio": Tiny(
        "RadioConfig",
        {**VIT, "mlp_ratio": 2.0, "max_img_size": 64},
        "RadioModel",
        {**SQUARE, "image_processor_type": "CLIPImageProcessor", "do_normalize": False, "do_center_crop": False,
         "resample": 3},
    ),
    "data2vec": Tiny(
        "Data2VecVisionConfig",
        {**VIT, "num_labels": 5},
        "Data2VecVisionForImageClassification",
        {**HALVES, "feature_extractor_type": "BeitFeatureExtractor", "do_resize": True, "do_center_crop": False,
         "do_normalize": True, "resample": 2, "size": 32},
    ),
    "deit-teacher": Tiny(
        "DeiTConfig",
        {**VIT, "num_labels": 5},
        "DeiTForImageClassificationWithTeacher",
        {**CROP, **IMAGENET, "feature_extractor_type": "DeiTFeatureExtractor", "resample": 3, "size": 36,
         "crop_size": 32},
    ),
}  # fmt: skip
TINY["blip-captioning"] = replace(TINY["blip"], model="BlipForConditionalGeneration")


def frame(height: int, width: int) -> np.ndarray:
    """A picture with waves and noise, uint8 `[height, width, 3]`."""
    rows, columns, channels = np.ogrid[:height, :width, :3]
    waves = 128 + 90 * np.sin(rows / 5 + channels) * np.cos(columns / 7 - channels)
    noise = np.random.default_rng(height).integers(-30, 31, waves.shape)
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def make(name: str, seed: int = 0, tiny: Tiny | None = None) -> Any:
    """A network of the library with random weights, in eval mode: that of `TINY`, or another."""
    import transformers

    tiny = tiny or TINY[name]
    torch.manual_seed(seed)
    model = getattr(transformers, tiny.model)(getattr(transformers, tiny.config)(**tiny.options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases, norms and tokens too, which would be zeros and ones
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def write(name: str, folder: Path, tiny: Tiny | None = None) -> Any:
    """Write a repository into a folder; returns its network."""
    tiny = tiny or TINY[name]
    model = make(name, tiny=tiny)
    model.save_pretrained(folder)
    (folder / tiny.file).write_text(json.dumps(tiny.processor))
    return model


if __name__ == "__main__":
    for each in TINY:
        write(each, Path(sys.argv[1]) / each)
