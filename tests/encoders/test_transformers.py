"""Encoders of transformers: networks against the library's own forward pass, weights, processors, bad repositories."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

import vidfeat
import vidfeat.models.transformers
from tiny_transformers import TINY, frame, make, write
from video.video_files import write_video
from vidfeat.cli import main
from vidfeat.encoders import compile_recipe, encoder, encoder_from_json
from vidfeat.errors import CheckpointError, ConfigError, UsageError, VidfeatError
from vidfeat.models import pack
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import Pooling, Recipe
from vidfeat.tools.describe import describe

CPU = torch.device("cpu")


def siglip2_inputs(images: torch.Tensor, most: int = 20) -> dict[str, torch.Tensor]:
    """Pictures of one size as the library takes them: patches, filled up with zeros, which are masked."""
    rows, columns = images.shape[2] // 8, images.shape[3] // 8
    cut = [images[:, :, y * 8 : y * 8 + 8, x * 8 : x * 8 + 8] for y in range(rows) for x in range(columns)]
    patches = torch.stack([patch.permute(0, 2, 3, 1).flatten(1) for patch in cut], dim=1)
    mask = torch.tensor([1] * len(cut) + [0] * (most - len(cut)), dtype=torch.int32)
    return {
        "pixel_values": torch.nn.functional.pad(patches, (0, 0, 0, most - len(cut))),
        "pixel_attention_mask": mask.expand(len(images), -1),
        "spatial_shapes": torch.tensor([[rows, columns]] * len(images)),
    }


OWN: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "videomae-pretraining": lambda m, x: m.videomae(x).last_hidden_state.mean(1),
    "vjepa2": lambda m, x: m.get_vision_features(x).mean(1),
    "xclip": lambda m, x: m.get_video_features(x).pooler_output,
    "clip": lambda m, x: m.get_image_features(x).pooler_output,
    "siglip": lambda m, x: m.get_image_features(x).pooler_output,
    "siglip2": lambda m, x: m.get_image_features(**siglip2_inputs(x)).pooler_output,
    "siglip2-vision": lambda m, x: m(**siglip2_inputs(x)).pooler_output,
    "ijepa": lambda m, x: m(x).last_hidden_state.mean(1),
    **dict.fromkeys(
        ("metaclip2", "chinese-clip", "altclip", "aimv2", "groupvit", "align", "tipsv2"),
        lambda m, x: m.get_image_features(x).pooler_output,
    ),
    "blip": lambda m, x: m.vision_proj(m.vision_model(x).last_hidden_state[:, 0]),
    "blip-captioning": lambda m, x: m.vision_model(x).pooler_output,
    "radio": lambda m, x: m(x).summary,
    "deit-teacher": lambda m, x: m.deit(x).last_hidden_state[:, 0],
}
"""The library's own features of a network, where they are not what its classifier or pooler gives."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tiny")

    def of(name: str) -> Path:
        if not (folder / name).exists():
            write(name, folder / name)
        return folder / name

    return of


def library_features(name: str, inputs: torch.Tensor) -> torch.Tensor:
    """What the library itself computes; for a classifier, what its last layer reads."""
    model = make(name)
    if name in OWN:
        return OWN[name](model, inputs)
    if not hasattr(model, "classifier"):
        return model(inputs).pooler_output.flatten(1)
    read: list[torch.Tensor] = []
    model.classifier.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    model(inputs)
    return read[0]


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", TINY)
def test_a_network_gives_the_librarys_own_features(name: str, tiny: Callable[[str], Path]) -> None:
    compiled = encoder(f"hf:{tiny(name)}")
    assert compiled.name == name
    loaded = compiled.load(CPU)
    steps = compiled.preprocess.transforms
    (shown,) = FrameTransformer(steps)(frame(60, 80), where="")
    pixels = np.random.default_rng(0).integers(0, 256, (3, compiled.clip.length, *shown.shape), dtype=np.uint8)
    normalize = compiled.description()["recipe"]["normalize"]
    ordered = pixels[..., ::-1] if normalize["to_bgr"] else pixels
    values = (ordered.astype(np.float64) - normalize["mean"]) / normalize["std"]
    inputs = torch.from_numpy(values).float().permute(0, 1, 4, 2, 3)
    with torch.inference_mode():
        expected = library_features(name, inputs if loaded.network.recipe.model.dims == 3 else inputs.flatten(0, 1))
        plain = loaded.network(torch.from_numpy(pixels)).numpy()
        pack(loaded.network, torch.float32, one_shape=True)
        with ThreadPoolExecutor(2) as threads:  # as the inference threads of a run
            packed = list(threads.map(loaded.network, [torch.from_numpy(pixels)] * 4))
    assert plain.shape == (3, compiled.feature_size)
    assert relative(plain, expected.numpy()) < 1e-5
    assert max(relative(rows.numpy(), expected.numpy()) for rows in packed) < 1e-5


def test_a_network_that_keeps_biases_changes_their_format(tiny: Callable[[str], Path]) -> None:
    network = encoder(f"hf:{tiny('levit')}").load(CPU).network
    pixels = torch.randint(0, 256, (2, 1, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(pixels)
        network.convert(torch.bfloat16)
        assert relative(network(pixels).numpy(), expected.numpy()) < 0.05


@pytest.mark.parametrize("name", TINY)
def test_no_weight_is_what_was_in_memory_before(name: str, tiny: Callable[[str], Path]) -> None:
    """Of parts that are dropped weights are not read: whatever numbers they have is no reason to refuse the file."""
    torch.use_deterministic_algorithms(True)  # uninitialised memory is NaN
    try:
        loaded = encoder(f"hf:{tiny(name)}").load(CPU)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(tensor.isfinite().all() for tensor in loaded.network.state_dict().values())


@pytest.mark.parametrize(
    "name", ["videomae", "vjepa2", "vivit", "clip", "siglip", "siglip2", "dinov2", "dinov3", "vit"]
)
def test_attention_in_tiles_gives_the_librarys_own_features(
    name: str, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled: list[torch.Size] = []
    monkeypatch.setattr(vidfeat.models.transformers, "in_tiles", lambda query: not tiled.append(query.shape))
    monkeypatch.setattr(vidfeat.models.attention, "in_tiles", lambda query: True)  # which depends on the processor
    loaded = encoder(f"hf:{tiny(name)}").load(CPU)
    shape = (2, 3, 4, 32, 32) if loaded.network.recipe.model.dims == 3 else (2, 3, 32, 32)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = loaded.network.model.forward_features(inputs)
        assert len(tiled) >= 2  # layers
        expected = library_features(name, inputs.transpose(1, 2) if len(shape) == 5 else inputs)
    assert relative(found.numpy(), expected.numpy()) < 1e-5


def test_a_video_gives_the_librarys_features_of_its_frames(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=40, size=(80, 60))
    frames = list(decoded(str(video)))
    for name in ("clip", "videomae", "dinov3"):  # the last one's pixels are not rounded to uint8
        compiled = encoder(f"hf:{tiny(name)}")
        index = compiled.grid.frame_index(40)
        steps, normalize = compiled.preprocess.transforms, compiled.description()["recipe"]["normalize"]
        transform = FrameTransformer(steps)  # whose pixels are those of the library: see test_processors
        pixels = np.stack([transform(frames[i], where="")[0] for i in index.ravel()]).reshape(*index.shape, 32, 32, 3)
        inputs = torch.from_numpy((pixels - normalize["mean"]) / normalize["std"]).float().permute(0, 1, 4, 2, 3)
        with torch.inference_mode():
            expected = library_features(name, inputs if name == "videomae" else inputs.flatten(0, 1)).mean(0).numpy()
        with vidfeat.Extractor(compiled) as extractor:
            assert relative(extractor.extract(video).values, expected) < 1e-5
        (streamed,) = vidfeat.stream(vidfeat.Job(videos=[video], encoders=compiled))  # through a decode process
        assert relative(np.asarray(streamed), expected) < 1e-5


@pytest.mark.parametrize(
    ("height", "width", "patches"),
    [(61, 83, (4, 5)), (83, 61, (5, 4)), (64, 64, (4, 4)), (11, 40, (2, 8)), (5, 7, (4, 5)), (6, 400, (1, 20))],
)
def test_siglip2_takes_pictures_of_any_ratio(
    height: int, width: int, patches: tuple[int, int], tiny: Callable[[str], Path]
) -> None:
    compiled = encoder(f"hf:{tiny('siglip2')}")
    assert not compiled.recipe.frames_are_alike
    pixels = FrameTransformer(compiled.preprocess.transforms)(frame(height, width), where="")
    assert pixels.shape == (1, patches[0] * 8, patches[1] * 8, 3)
    network = compiled.load(CPU).network
    with torch.inference_mode():
        expected = library_features("siglip2", torch.from_numpy(pixels / 127.5 - 1).float().permute(0, 3, 1, 2)).numpy()
        assert relative(network(torch.from_numpy(pixels[:, None])).numpy(), expected) < 1e-5
        network.convert(torch.bfloat16)
        pack(network, torch.bfloat16, one_shape=False)
        assert relative(network(torch.from_numpy(pixels[:, None])).numpy(), expected) < 0.05


def test_videos_of_several_sizes_in_one_run(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    sizes = {"wide": (80, 60), "tall": (48, 96), "small": (20, 16)}
    videos = [str(write_video(tmp_path / f"{name}.mp4", frames=20, size=size)) for name, size in sizes.items()]
    compiled, out = encoder(f"hf:{tiny('siglip2')}"), tmp_path / "out.npz"
    assert Recipe.from_json(compiled.description()["recipe"]).digest == compiled.recipe_digest
    assert "at most 20 patches of 8x8, ratio kept" in describe(compiled.recipe)
    assert main.main(["extract", f"hf:{tiny('siglip2')}", *videos, "-o", str(out)]) == 0
    with np.load(out) as written:
        for video in videos:
            frames = decoded(video)
            chosen = [frames[index] for index in compiled.grid.frame_index(20).ravel()]
            pixels = np.concatenate([FrameTransformer(compiled.preprocess.transforms)(f, where="") for f in chosen])
            with torch.inference_mode():
                inputs = torch.from_numpy(pixels / 127.5 - 1).float().permute(0, 3, 1, 2)
                expected = library_features("siglip2", inputs).mean(0).numpy()
            assert relative(written[Path(video).name], expected) < 1e-5


def decoded(path: str) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_an_encoder_travels(tiny: Callable[[str], Path]) -> None:
    compiled = encoder(tiny("clip"))  # a path alone, as it holds a config.json
    assert pickle.loads(pickle.dumps(compiled)) == compiled
    assert repr(compiled).startswith("<RecipeEncoder clip of hf: 24 numbers, recipe ")
    assert len(repr(vidfeat.Job(videos=["a.mp4"], encoders=compiled))) < 1000
    assert encoder_from_json(json.loads(json.dumps(compiled.to_json()))) == compiled
    assert Recipe.from_json(compiled.description()["recipe"]).digest == compiled.recipe_digest
    assert compile_recipe(f"hf:{tiny('clip')}")[0].digest == compiled.recipe_digest
    assert "clip of transformers, projection" in describe(Recipe.from_json(compiled.description()["recipe"]))


def test_the_recipe_depends_on_the_config_and_the_processor(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("clip"), tmp_path / "clip"))
    digest = encoder(folder).recipe_digest
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_version": "9.9.9", "architectures": []}))
    assert encoder(folder).recipe_digest == digest
    config["vision_config"]["hidden_act"] = "gelu"
    (folder / "config.json").write_text(json.dumps(config))
    assert encoder(folder).recipe_digest != digest


def test_vectors_have_nothing_to_pool(tiny: Callable[[str], Path]) -> None:
    """Over space, nor over the time of a clip; the time of a network of images is that of its frames."""
    clips, images = encoder(tiny("videomae")), encoder(tiny("clip"))
    with pytest.raises(UsageError, match=r"pooling\.time: expected avg, as .* one vector for each clip; found keep"):
        clips.with_pooling(Pooling(time="keep"))
    with pytest.raises(UsageError, match=r"pooling\.space: expected avg, as .* one vector for each frame; found max"):
        encoder(tiny("clip"), request=vidfeat.FeatureRequest(Pooling(space="max")))
    assert images.with_pooling(Pooling(time="max")).recipe.pooling.time == "max"
    assert clips.with_pooling(Pooling(space="mean", views="max")).recipe.pooling.views == "max"


def test_other_grids(tiny: Callable[[str], Path]) -> None:
    images, clips = encoder(tiny("clip")), encoder(tiny("videomae"))
    assert images.with_grid(WindowSampling(5, 5)).grid == WindowSampling(5, 5)
    assert clips.with_grid(WindowSampling(4, 8)).grid == WindowSampling(4, 8)
    with pytest.raises(UsageError, match=r"^grid: expected clips of .* such as its own 4"):
        clips.with_grid(WindowSampling(8, 8))
    assert encoder(tiny("vjepa2")).with_grid(WindowSampling(8, 8)).clip.length == 8  # its positions are computed


# --- weights ----------------------------------------------------------------------------------------------------------


def test_former_names_of_videomaes_biases(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("videomae"), tmp_path / "videomae"))
    state = load_file(folder / "model.safetensors")
    former = {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): tensor for name, tensor in state.items()
    }
    assert sum(name.endswith(("q_bias", "v_bias")) for name in former) == 4
    save_file(former, folder / "model.safetensors", {"format": "pt"})
    pixels = torch.randint(0, 256, (1, 4, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        rows = [encoder(path).load(CPU).network(pixels) for path in (tiny("videomae"), folder)]
    torch.testing.assert_close(rows[0], rows[1], rtol=0, atol=0)


def test_weights_in_several_files(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("dinov2"), tmp_path / "dinov2"))
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(state)}
    for shard in set(where.values()):
        save_file({name: state[name] for name in where if where[name] == shard}, folder / shard, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    pixels = torch.randint(0, 256, (2, 1, 32, 32, 3), dtype=torch.uint8)
    sharded = encoder(folder)
    with torch.inference_mode():
        expected = encoder(tiny("dinov2")).load(CPU).network(pixels)
        torch.testing.assert_close(sharded.load(CPU).network(pixels), expected, rtol=0, atol=0)
    save_file(dict.fromkeys(["layernorm.bias"], torch.ones(32)), folder / "model-0.safetensors", {"format": "pt"})
    assert encoder(folder).weights.sha256 != sharded.weights.sha256
    for names in ({"a": "../model.safetensors"}, {"a": "model.bin"}, {}, []):
        index.write_text(json.dumps({"weight_map": names}))
        with pytest.raises(CheckpointError, match="expected a `weight_map` from names"):
            encoder(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("layernorm.weight"), "found tensors that do not match: 1 missing: layernorm.weight"),
        (lambda s: s.update(adapter=torch.zeros(2)), "do not match: 1 unexpected: adapter"),
        (lambda s: s.update({"layernorm.bias": torch.zeros(3)}), "do not match: .*of another shape.*layernorm.bias"),
        (lambda s: s["layernorm.bias"].fill_(torch.nan), "expected finite numbers.*32 of 32 values of layernorm.bias"),
    ],
)
def test_weights_that_do_not_fit(
    change: Callable[[dict[str, torch.Tensor]], Any], words: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny("dinov2"), tmp_path / "dinov2"))
    state = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"^hf:{folder}: .*{words}"):
        encoder(folder).load(CPU)


# --- repositories that are refused ------------------------------------------------------------------------------------


def without(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def with_config(**values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (without("config.json"), CheckpointError, "expected config.json, as in a transformers repository"),
        (without("model.safetensors"), CheckpointError, "expected weights as model.safetensors .*; found no weights"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            CheckpointError,
            "found pickles only: pytorch_model.bin. Pickles can run code",
        ),
        (without("preprocessor_config.json"), ConfigError, "a processor: preprocessor_config.json; found none"),
        (
            lambda f: (f / "preprocessor_config.json").write_text('{"image_processor_type": "OursImageProcessor"}'),
            ConfigError,
            "preprocessor_config.json: image_processor_type: expected a processor of Beit",
        ),
        (lambda f: (f / "config.json").write_text("[1]"), CheckpointError, "expected a JSON object; found a list"),
        (lambda f: (f / "config.json").write_text("{"), CheckpointError, "config.json: expected a JSON object"),
        (with_config(model_type="bert"), ConfigError, "found bert, which fails with .*BertModel takes input_ids"),
        (with_config(model_type="clip_text_model"), ConfigError, "ValueError: CLIPTextModel takes input_ids"),
        (with_config(model_type="git_vision_model"), ConfigError, "AutoModel has no such network"),
        (with_config(model_type="siglip2"), ConfigError, "the processor: expected one that cuts pictures into "
         "patches of 8x8 pixels, as siglip2 takes them; found one that gives whole pictures"),
        (
            lambda f: (f / "preprocessor_config.json").write_text('{"image_processor_type": "Siglip2ImageProcessor"}'),
            ConfigError,
            "one that gives whole pictures, as dinov2 takes them; found one that cuts pictures into patches of 16x16",
        ),
        (with_config(model_type=None, architecture="resnet18", pretrained_cfg={}), ConfigError, "use timm:resnet18"),
        (with_config(model_type="detr"), ConfigError, "expected a vision network with a pooled output"),
        (with_config(model_type=None), ConfigError, "model_type: expected an architecture of the .*; found None"),
        (with_config(model_type="ours", auto_map={"AutoModel": "m.Ours"}), ConfigError,
         "found 'ours', which is Python code of the repository. Pass `trust_remote_code=True`"),
        (with_config(hidden_size="wide"), ConfigError, "expected a vision network with a pooled output"),
        (with_config(image_size=64), CheckpointError, "do not match: .*position_embeddings"),
    ],
)  # fmt: skip
def test_repositories_that_are_refused(
    change: Callable[[Path], object],
    error: type[VidfeatError],
    words: str,
    tiny: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(tiny("dinov2"), tmp_path / "dinov2"))
    change(folder)
    with pytest.raises(error, match=words):
        encoder(f"hf:{folder}").load(CPU)


def test_configs_of_siglip2_that_are_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("siglip2-vision"), tmp_path / "siglip2"))
    with_config(vision_use_head=False)(folder)
    with pytest.raises(ConfigError, match=r"expected a vision network .*without a pooled output"):
        encoder(f"hf:{folder}")
    with_config(vision_use_head=True, num_patches="many")(folder)
    with pytest.raises(ConfigError, match="expected a vision network with a pooled output"):
        encoder(f"hf:{folder}")
    with_config(patch_size=4)(folder)
    with pytest.raises(
        ConfigError, match=r"of 4x4 pixels, as siglip2_vision_model takes them; .* patches of 8x8 pixels"
    ):
        encoder(f"hf:{folder}")


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain install has neither of the two libraries."""
    for name in ("transformers", "huggingface_hub", "huggingface_hub.utils"):
        monkeypatch.setitem(sys.modules, name, None)
    for make_it in (encoder, compile_recipe):
        with pytest.raises(UsageError, match=r"the package transformers for hf:a/b; found none\. Install it with"):
            make_it("hf:a/b")


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("hf:a b", {}, "model: expected hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:FOLDER; found 'hf:a b'"),
        ("hf:a/b/c", {}, "model: expected hf:ORG/NAME"),
        ("hf:", {}, "model: expected hf:ORG/NAME"),
        ("hf:/no/such/folder", {}, "model: expected hf:ORG/NAME.*found 'hf:/no/such/folder', which is no folder"),
        ("hf:a/b", {"checkpoint": "x.pth"}, "checkpoint: expected none with hf:"),
        ("hf:a/b", {"cfg_options": {"a": 1}}, "cfg_options: expected none with hf:"),
        ("tsn_r50_320p_1x1x3_100e_kinetics400_rgb", {"trust_remote_code": True}, "trust_remote_code: expected none"),
    ],
)
def test_arguments_that_are_wrong(model: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        encoder(model, **options)


CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

class OursConfig(PretrainedConfig):
    model_type = "ours"

class Ours(PreTrainedModel):
    config_class = OursConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.patches = torch.nn.Conv2d(3, config.width, 8, 8)
        self.post_init()

    def forward(self, pixel_values):
        return BaseModelOutputWithPooling(pooler_output=self.patches(pixel_values).mean((2, 3)))
"""


def test_code_of_a_repository_runs_only_where_it_is_trusted(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "ours"
    folder.mkdir()
    shutil.copy(tiny("dinov2") / "preprocessor_config.json", folder)
    (folder / "code_of_ours.py").write_text(CODE)
    auto_map = {"AutoConfig": "code_of_ours.OursConfig", "AutoModel": "code_of_ours.Ours"}
    (folder / "config.json").write_text(json.dumps({"model_type": "ours", "width": 6, "auto_map": auto_map}))
    conv = torch.nn.Conv2d(3, 6, 8, 8)
    weights = {f"patches.{name}": tensor.detach() for name, tensor in conv.named_parameters()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="trust_remote_code=True"):
        encoder(folder)
    loaded = encoder(folder, trust_remote_code=True).load(CPU)
    pixels = torch.randint(0, 256, (2, 1, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        inputs = loaded.network.normalize(pixels.flatten(0, 1))
        torch.testing.assert_close(loaded.network(pixels), conv(inputs).mean((2, 3)))


# --- the hub ----------------------------------------------------------------------------------------------------------


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does: one repository in the folder of the server, one gated, and no other."""

    folder: Path
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/ours/tiny/resolve/"):
            revision, _, name = path.removeprefix("/ours/tiny/resolve/").partition("/")
            if revision not in ("main", self.commit):
                self.answer(404, {"X-Error-Code": "RevisionNotFound"})
            elif (self.folder / name).is_file():
                body = (self.folder / name).read_bytes()
                etag = hashlib.sha256(body).hexdigest()
                self.answer(200, {"X-Repo-Commit": self.commit, "ETag": f'"{etag}"'}, body)
            else:
                self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.commit})
        elif path.startswith("/ours/gated/"):
            self.answer(403, {"X-Error-Code": "GatedRepo"})
        else:
            self.answer(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    do_GET = do_HEAD

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


HUB_SCRIPT = """
import sys
from vidfeat.checkpoint.hub import Repository
from vidfeat.errors import VidfeatError
for reference in sys.argv[1:]:
    try:
        print(Repository.open(reference).weights().source)
    except VidfeatError as error:
        print(type(error).__name__, error)
"""


def test_the_hub(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    handler = type("Here", (Hub,), {"folder": tiny("vit")})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        online = {
            **os.environ,
            "HF_HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "no_proxy": "127.0.0.1",
        }

        def ask(models: dict[str, str], environment: dict[str, str]) -> None:
            command = [sys.executable, "-c", HUB_SCRIPT, *models]
            asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            for line, words in zip(asked.stdout.splitlines(), models.values(), strict=True):
                assert re.search(words, line), (line, asked.stderr)

        found = f"^hf:ours/tiny@{Hub.commit}$"
        ask(
            {
                "ours/tiny": found,
                "ours/gated": "CheckpointError hf:ours/gated@main: expected access to it; .*set HF_TOKEN",
                "ours/absent": "CheckpointError hf:ours/absent@main: expected a repository of that name; found none",
                "ours/tiny@v2": "CheckpointError hf:ours/tiny@v2: expected the revision v2; found no such revision",
            },
            online,
        )
        server.shutdown()
    offline = "config.json from the hub, or in .*home/hub; found it is not in that folder, and offline mode is on"
    ask({"ours/tiny": found, "ours/absent": offline}, {**online, "HF_HUB_OFFLINE": "1"})


# --- texts ------------------------------------------------------------------------------------------------------------


WITH_TEXTS = ["clip", "siglip", "xclip", "metaclip2", "chinese-clip", "altclip", "aimv2", "groupvit", "align", "blip"]
WITH_TEXTS += ["tipsv2"]


@pytest.fixture(params=WITH_TEXTS)
def with_tokenizer(request: pytest.FixtureRequest, tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    """A repository with a tokenizer of some words."""
    folder = Path(shutil.copytree(tiny(request.param), tmp_path / request.param))
    words = ["<start>", "<pad>", "<unk>", "a", "person", "opens", "door", "dog", "barks"]
    vocabulary = {word: number for number, word in enumerate(words)} | {"<end>": 63}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 63)]
    )
    special = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def test_texts_are_in_the_space_of_the_features(with_tokenizer: Path, tmp_path: Path) -> None:
    texts = ["a person opens a door", "a dog"]
    full = 16 if with_tokenizer.name == "siglip" else 7
    ids = [[0, 3, 4, 5, 3, 6, 63], [0, 3, 7, 63]]
    inputs = {
        "input_ids": torch.tensor([row + [1] * (full - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (full - len(row)) for row in ids]),
    }
    with torch.inference_mode():
        model = make(with_tokenizer.name)
        if with_tokenizer.name == "blip":
            expected = model.text_proj(model.text_encoder(**inputs).last_hidden_state[:, 0])
        else:
            expected = model.get_text_features(**inputs).pooler_output
    expected = torch.nn.functional.normalize(expected)
    vectors = vidfeat.embed_text(f"hf:{with_tokenizer}", texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, encoder(with_tokenizer).feature_size)
    np.testing.assert_allclose(vectors, expected.numpy(), rtol=1e-4, atol=1e-6)
    out = tmp_path / "words.npz"
    assert main.main(["embed-text", f"hf:{with_tokenizer}", *texts, "-o", str(out)]) == 0
    with np.load(out, allow_pickle=False) as written:
        assert written["words"].tolist() == texts
        np.testing.assert_array_equal(written["vectors"], vectors)


def test_texts_of_siglip2_are_in_lower_case_and_filled_up(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("siglip2"), tmp_path / "siglip2"))
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581", *"adgo"]  # as Gemma's, whose spaces are U+2581
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    how: dict[str, Any] = {"padding_side": "right", "model_input_names": ["input_ids"]}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special, **how).save_pretrained(folder)
    saved = folder / "tokenizer_config.json"
    saved.write_text(json.dumps(json.loads(saved.read_text()) | {"tokenizer_class": "GemmaTokenizer"}))
    ids = torch.tensor([[6, 5, 7, 9, 8, 1, *[0] * 10]])
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(make("siglip2").get_text_features(ids).pooler_output).numpy()
    vectors = vidfeat.embed_text(f"hf:{folder}", ["a dog", "A Dog"])
    assert vectors.shape[1] == encoder(folder).feature_size
    np.testing.assert_allclose(vectors, np.concatenate([expected] * 2), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["chinese-clip", "align", "blip"])
def test_a_text_of_bert_is_cut_where_training_cut_it(name: str, tmp_path: Path) -> None:
    """With BERT's vocabulary alone, as many of these repositories are; the network has positions for longer texts."""
    trained = {"chinese-clip": 52, "align": 64, "blip": 35}[name]
    tiny = TINY[name]
    longer = {**tiny.options["text_config"], "max_position_embeddings": 512}
    model = write(name, tmp_path / name, replace(tiny, options={**tiny.options, "text_config": longer}))
    (tmp_path / name / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog"]))
    ids = torch.tensor([[2, *([5, 6] * 40)[: trained - 2], 3]])
    with torch.inference_mode():
        if name == "blip":
            expected = model.text_proj(model.text_encoder(ids).last_hidden_state[:, 0])
        else:
            expected = model.get_text_features(ids).pooler_output
    expected = torch.nn.functional.normalize(expected)
    found = vidfeat.embed_text(f"hf:{tmp_path / name}", ["a dog " * 40])
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "texts", "error", "words"),
    [
        ("dinov2", ["a"], ConfigError, "expected a model with a text tower: clip, .*, xclip; found 'dinov2'"),
        ("clip", ["a"], ConfigError, "expected a tokenizer of the transformers library; found no tokenizer.json"),
        ("clip", [], UsageError, "texts: expected texts"),
        ("clip", ["a", " "], UsageError, "texts: expected texts"),
        ("clip", "a", UsageError, "texts: expected texts"),
    ],
)
def test_texts_that_are_refused(
    name: str, texts: Any, error: type[VidfeatError], words: str, tiny: Callable[[str], Path]
) -> None:
    with pytest.raises(error, match=words):
        vidfeat.embed_text(f"hf:{tiny(name)}", texts)


@pytest.mark.parametrize("model", ["timm:resnet50", "tsn_r50_320p_1x1x3_100e_kinetics400_rgb"])
def test_texts_of_other_origins(model: str) -> None:
    """They are not looked up on the hub."""
    with pytest.raises(UsageError, match=f"model: expected hf:ORG/NAME, .*; found '{model}'"):
        vidfeat.embed_text(model, ["a"])
