"""Class scores: MMAction2's own scores of our own videos, and what is refused."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import vidfeat
from derived_weights import state_of
from tiny_transformers import write
from vidfeat.checkpoint import load_into
from vidfeat.errors import CheckpointError, ConfigError, UsageError
from vidfeat.mmaction import FeatureRequest, compile_config, compile_file
from vidfeat.mmaction.zoo import find_model, released
from vidfeat.mmaction.zoo.labels import DOWNLOADED, LISTS, LabelList, data_set_of, labels_of, packed
from vidfeat.models import Recognizer, build
from vidfeat.models.heads import HEADS
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.recipe import Pooling, Recipe
from vidfeat.tools.predict import best

GOLDEN = Path(__file__).parent / "golden"
CONFIG = "examples/tiny_slowonly.py"
SCORES = FeatureRequest(scores=True)
with gzip.open(GOLDEN / "scores.jsonl.gz", "rt") as lines:
    RECORDS = [json.loads(line) for line in lines]


def head_of(record: dict) -> str:
    return record["model"]["cls_head"]["type"]


# --- the numbers are MMAction2's --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record", RECORDS, ids=lambda record: "-".join((head_of(record), record["model"]["backbone"]["type"]))
)
def test_scores_of_a_record(record: dict, fidelity: ModuleType) -> None:
    result = fidelity.compare(record, GOLDEN / "clips")
    assert "error" not in result
    assert result["names_equal"]
    assert result["indices_equal"]
    assert 0 < result["distance"] <= 1e-5


def test_what_is_recorded() -> None:
    assert Counter(head_of(record) for record in RECORDS) == {
        "I3DHead": 4,
        "MViTHead": 1,
        "OmniHead": 1,
        "SlowFastHead": 1,
        "TPNHead": 2,
        "TRNHead": 2,
        "TSMHead": 2,
        "TSNHead": 1,
        "TimeSformerHead": 2,
        "UniFormerHead": 1,
        "X3DHead": 1,
    }
    assert {record["model"]["cls_head"]["average_clips"] for record in RECORDS} == {"prob", "score", None}


# --- configs ----------------------------------------------------------------------------------------------------------

HEAD: dict[str, Any] = {"model.cls_head": {"type": "I3DHead", "num_classes": 5, "in_channels": 32}}
PROB = {"model.test_cfg.average_clips": "prob"}


def compiled(repository: Path, overrides: dict[str, Any]) -> Recipe:
    return compile_file(repository / CONFIG, overrides, SCORES)


def test_a_recipe_of_scores_is_another_recipe(repository: Path) -> None:
    """Its head is in the digest; that of features does not depend on the head, nor on its settings."""
    features, scores = compile_file(repository / CONFIG), compiled(repository, {**HEAD, **PROB})
    assert compile_file(repository / CONFIG, {**HEAD, **PROB}).digest == features.digest != scores.digest
    assert "head" not in features.to_json()["model"]
    assert "softmax" not in features.to_json()["pooling"]
    assert Recipe.from_json(scores.to_json()) == scores
    assert (features.feature_size, scores.feature_size) == (32, 5)
    assert scores.pooling == Pooling(softmax="view")


@pytest.mark.parametrize(
    ("average_clips", "pooling"),
    [("prob", Pooling(softmax="view")), ("score", Pooling()), (None, Pooling(views="keep"))],
)
def test_average_clips(average_clips: str | None, pooling: Pooling, repository: Path) -> None:
    """0.x has it in `test_cfg`, 1.x in the head; None keeps the views, where there are several."""
    old = compiled(repository, {**HEAD, "model.test_cfg.average_clips": average_clips})
    assert old.pooling == pooling
    one = {**HEAD, "model.test_cfg.average_clips": average_clips, "data.test.pipeline.1.num_clips": 1}
    assert compiled(repository, one).pooling.views == "mean"
    entry = find_model("slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb")
    assert entry.recipe({"model.cls_head.average_clips": average_clips}, scores=True).pooling == pooling


def test_average_clips_beside_the_model() -> None:
    """Configs of 0.x from before 2021 have `test_cfg` at the top."""
    config = find_model("trn_r50_1x1x8_50e_sthv1_rgb").config
    top = {**config, "model": {**config["model"], "test_cfg": None}, "test_cfg": {"average_clips": "score"}}
    recipe = compile_config(top, file="old.py", scores=True)
    assert recipe.pooling == Pooling()
    assert (recipe.model.segments, compile_config(top, file="old.py").model.segments) == (8, 1)


def test_a_neck_that_is_tested_clip_by_clip() -> None:
    """0.x tests TPN on TSM like this, and takes its features from all frames of a video at once."""
    entry = find_model("tpn_tsm_r50_1x1x8_150e_sthv1_rgb")
    assert entry.recipe().model.neck_joins_video
    scores = entry.recipe(scores=True)
    assert (scores.model.neck_joins_video, scores.pooling) == (False, Pooling(softmax="view"))
    with pytest.raises(ConfigError, match=r"model\.test_cfg\.flip: expected False"):
        entry.recipe({"model.test_cfg.flip": True}, scores=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, r"model\.cls_head: expected a classification head, which gives the scores; found none\. Configs for"),
        ({"model.cls_head": {**HEAD["model.cls_head"], "type": "BBoxHeadAVA"}}, "cls_head.type: expected one of 'I3D"),
        ({"model.cls_head": {**HEAD["model.cls_head"], "type": "TSMHead"}}, "cls_head.type: expected one of 'I3D"),
        ({**HEAD, "model.cls_head.in_channels": 64}, "in_channels: expected 32, the channels that .*; found 64"),
        ({**HEAD, "model.cls_head.num_class": 5}, "num_class: .* Did you mean 'num_classes'"),
        ({**HEAD, "model.cls_head.spatial_type": "max"}, r"cls_head\.spatial_type: expected 'avg'; found 'max'"),
        (HEAD, r"model\.test_cfg\.average_clips: expected a value; found no such key"),
        ({**HEAD, "model.test_cfg.average_clips": "mean"}, "expected 'prob', 'score' or None; found 'mean'"),
        (
            {"model.cls_head": {"type": "TPNHead", "num_classes": 5, "consensus": {"type": "AvgConsensus", "dim": 2}}},
            r"consensus\.dim: expected 1; found 2",
        ),
    ],
)
def test_heads_that_are_refused(overrides: dict[str, Any], message: str, repository: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        compiled(repository, overrides)


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        ("tsm_r50_1x1x8_50e_kinetics400_rgb", {"num_segments": 4}, "expected a multiple of the 8 frames"),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb", {"temporal_pool": True}, "expected False, as in the backbone"),
        ("trn_r50_1x1x8_50e_sthv1_rgb", {"num_segments": 1}, "a relation needs two frames"),
        ("trn_r50_1x1x8_50e_sthv1_rgb", {"relation_type": "TRNX"}, "Did you mean 'TRN'"),
        ("mvit-base-p244_32x3x1_kinetics400-rgb", {"with_cls_token": False}, "expected True, as in the backbone"),
    ],
)
def test_heads_that_do_not_fit(model: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_model(model).recipe({f"model.cls_head.{name}": value for name, value in overrides.items()}, scores=True)


def test_every_released_model_has_a_head() -> None:
    """But for backbones of libraries that are not installed. Each head takes rows of its network's features."""
    heads = set()
    for entry in released():
        try:
            features, scores = entry.recipe(), entry.recipe(scores=True)
        except ConfigError as error:
            assert "to be installed" in str(error)  # noqa: PT017
            continue
        assert scores.feature_size == entry.classes
        assert Recipe.from_json(scores.to_json()) == scores
        heads.add((scores.model.head, features.model.feature_size, scores.model.segments))
    for config, channels, segments in heads:
        with torch.device("meta"):
            head = HEADS[type(config)](config).eval()
        assert head(torch.empty(2 * segments, channels, device="meta")).shape[1:] == (config.classes,)


def test_parameter_names_of_heads(shared: Path) -> None:
    """Names, shapes and order of all weights are those of MMAction2's models, of their full size."""
    heads = set()
    with gzip.open(shared / "reference" / "mm0.jsonl.gz", "rt") as lines:
        for record in map(json.loads, lines):
            if "cls_head" not in record["model"]:
                continue
            test = {"type": "VideoDataset", "pipeline": record["pipeline"]}
            config = {"model": record["model"], "data": {"test": test}}
            with torch.device("meta"):
                model = Recognizer(compile_config(config, file=record["config"], scores=True).model)
            ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
            assert list(ours.items()) == list(record["state"].items()), record["config"]
            heads.add(head_of(record))
    assert heads == {
        "I3DHead",
        "SlowFastHead",
        "TimeSformerHead",
        "TPNHead",
        "TRNHead",
        "TSMHead",
        "TSNHead",
        "X3DHead",
    }


@pytest.mark.skipif(os.environ.get("VIDFEAT_SLOW") != "1", reason="takes minutes; set VIDFEAT_SLOW=1")
def test_derived_weights_of_every_released_model() -> None:
    """A checkpoint with the head is taken to the last tensor, and gives a finite score for each class."""
    recipes = {}
    for entry in released():
        with contextlib.suppress(ConfigError):  # of a library that is not installed
            recipes[entry.recipe(scores=True).model] = entry
    for spec, entry in recipes.items():
        model = build(spec)
        match = load_into(model, state_of(model), source=entry.name, computed=model.computed)
        assert match.ignored_heads == 0
        scores = model.cls_head(torch.rand(3 * spec.segments, entry.recipe().feature_size))
        assert scores.shape[1] == entry.classes
        assert scores.isfinite().all(), entry.name


# --- encoders ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "with_head.safetensors"
    save_file(state_of(build(compiled(repository, {**HEAD, **PROB}).model)), path)
    return path


def encoder_of(repository: Path, checkpoint: Path, request: FeatureRequest = SCORES, **overrides: Any) -> Any:
    options = {**HEAD, **PROB, **overrides}
    return vidfeat.encoder(repository / CONFIG, checkpoint=checkpoint, cfg_options=options, request=request)


def test_rows_of_windows_are_scores(repository: Path, checkpoint: Path) -> None:
    """Each is the softmax of the head's layer on that window's feature, which takes the same checkpoint."""
    grid = WindowSampling(clip_len=8, clip_interval=16, frame_interval=2)
    per_clip = Pooling(views="per_clip")
    clip = GOLDEN / "clips" / "landscape.mp4"
    scores, features = (
        encoder_of(repository, checkpoint, request).with_grid(grid).with_pooling(per_clip)
        for request in (SCORES, FeatureRequest())
    )
    assert scores.recipe.pooling == dataclasses.replace(per_clip, softmax="view")
    rows, vectors = (
        vidfeat.Extractor(encoder, device="cpu").extract(clip).values.astype(np.float64)
        for encoder in (scores, features)
    )
    weights = state_of(build(scores.recipe.model))
    logits = vectors @ weights["cls_head.fc_cls.weight"].double().numpy().T
    exponents = np.exp(logits + weights["cls_head.fc_cls.bias"].double().numpy())
    assert rows.shape == (4, 5)
    np.testing.assert_allclose(rows, exponents / exponents.sum(1, keepdims=True), atol=1e-6)


def test_poolings_that_scores_refuse(repository: Path, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"pooling\.time: expected avg, on which the head .*; found max"):
        encoder_of(repository, checkpoint, dataclasses.replace(SCORES, pooling=Pooling(time="max")))
    with pytest.raises(UsageError, match=r"pooling\.space: expected avg"):
        encoder_of(repository, checkpoint).with_pooling(Pooling(space="keep"))
    with pytest.raises(UsageError, match=r"request\.scores: expected a model of MMAction2, .*; found a recipe of"):
        vidfeat.encoder(compile_file(repository / CONFIG), checkpoint=checkpoint, request=SCORES)


@pytest.mark.parametrize(
    ("drop", "classes", "hint"),
    [
        ("cls_head", 5, r"holds the backbone only, without a head: it gives features, and no scores\."),
        ("nothing", 7, r"The checkpoint has 5 classes, the config 7\."),
    ],
)
def test_checkpoints_that_do_not_fit(
    drop: str, classes: int, hint: str, repository: Path, checkpoint: Path, tmp_path: Path
) -> None:
    state = {name: tensor for name, tensor in load_file(checkpoint).items() if not name.startswith(drop)}
    save_file(state, tmp_path / "other.safetensors")
    options = {"model.cls_head.num_classes": classes}
    encoder = encoder_of(repository, tmp_path / "other.safetensors", **options)
    with pytest.raises(CheckpointError, match=hint):
        encoder.load(torch.device("cpu"))


def test_the_best_classes(repository: Path, checkpoint: Path) -> None:
    """Scores that are no probabilities yet become some, of the mean over views where those are kept."""
    scores = np.log(np.array([[1, 6, 3], [4, 6, 0.1]], np.float32))
    raw = encoder_of(repository, checkpoint, **{"model.test_cfg.average_clips": None})
    expected = np.sqrt([4, 36, 0.3]) / np.sqrt([4, 36, 0.3]).sum()
    assert best(vidfeat.VideoFeatures("a", "b", scores), raw, top=2) == [
        (1, pytest.approx(expected[1])),
        (0, pytest.approx(expected[0])),
    ]
    shares = np.array([0.25, 0.5, 0.25], np.float32)
    assert best(vidfeat.VideoFeatures("a", "b", shares), encoder_of(repository, checkpoint)) == [
        (1, 0.5),
        (0, 0.25),
        (2, 0.25),
    ]


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "classes", "some"),
    [
        ("tsn_r50_320p_1x1x3_100e_kinetics400_rgb", 400, {0: "abseiling", 399: "zumba"}),
        ("configs/tsn_r50_1x1x8_50e_hmdb51_kinetics400_rgb.py", 51, {0: "brush_hair", 50: "wave"}),
        ("slowonly_imagenet-pretrained-r50_16xb16-8x8x1-steplr-150e_kinetics700-rgb", 700, {19: "backflip (human)"}),
        ("trn_r50_1x1x8_50e_sthv2_rgb", 174, {0: "Approaching something with your camera"}),
        ("c3d_sports1m_16x1x1_45e_ucf101_rgb", 101, {34: "Hammering", 35: "HammerThrow"}),
    ],
)
def test_labels_of_a_data_set(model: str, classes: int, some: dict[int, str]) -> None:
    labels = labels_of(model, classes)
    assert labels is not None
    assert len(set(labels)) == classes
    assert {number: labels[number] for number in some} == some


def test_classes_without_known_names() -> None:
    assert labels_of("slowonly_imagenet_pretrained_r50_4x16x1_120e_gym99_rgb", 400) is None
    assert labels_of("my_kinetics400_finetuned.py", 12) is None


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a server that stands in for the one of MMAction2's lists, of which one, Jester's, is made up."""
    folder = tmp_path / "server"
    file = folder / urlsplit(LISTS).path.strip("/") / "jester" / "label_map.txt"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"gesture {number}\n" for number in range(27)))
    listed = LabelList("jester/label_map.txt", 27, hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setitem(DOWNLOADED, "jester", listed)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("VIDFEAT_MIRROR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
        yield file
        server.shutdown()


def test_labels_are_downloaded_once(lists: Path, tmp_path: Path) -> None:
    expected = tuple(f"gesture {number}" for number in range(27))
    assert labels_of("slowonly_imagenet_pretrained_r50_8x8x1_64e_jester_rgb", 27) == expected
    lists.unlink()
    assert labels_of("config.py", 27, "Jester") == expected
    (kept,) = (tmp_path / "cache").rglob("label_map.txt")
    kept.write_text("damaged")  # is replaced, which fails without the server's file
    with pytest.raises(CheckpointError, match=r"jester/label_map.txt: expected the file; found HTTP 404"):
        labels_of("config.py", 27, "Jester")


def test_a_list_with_other_content_is_refused(lists: Path) -> None:
    lists.write_text("".join(f"another {number}\n" for number in range(27)))
    with pytest.raises(CheckpointError, match=r"expected content whose SHA-256 begins with [0-9a-f]{64}; found "):
        labels_of("config_jester.py", 27)


def test_every_data_set_has_one_list_of_names() -> None:
    assert not set(DOWNLOADED) & set(packed())
    assert len({listed.sha256 for listed in DOWNLOADED.values()}) == len(DOWNLOADED)
    named = {(entry.dataset, data_set_of(entry.name, entry.classes)) for entry in released()}
    without = {dataset for dataset, name in named if name is None}
    assert without == {"GYM99", "HVU", "MiniKinetics"}
    assert data_set_of("tsn_r50_1x1x6_100e_mit_rgb.py", 339) == "momentsintime"


def test_labels_that_are_given(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("walk\n\nrun fast \n")
    assert labels_of("config.py", 2, str(file)) == ("walk", "run fast")
    assert len(labels_of("config.py", 400, "Kinetics-400") or ()) == 400
    with pytest.raises(UsageError, match=r"class_names: expected 5 labels, one for each class; found 2 in "):
        labels_of("config.py", 5, str(file))
    for gone in (str(tmp_path / "gone.txt"), "/dev/zero", "x" * 5000, "a\0b"):
        with pytest.raises(UsageError, match=r"class_names: expected a text file of labels, or one of kinetics400, "):
            labels_of("config.py", 5, gone)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="class_names: expected a text file"):
        labels_of("config.py", 5, str(file))


# --- commands ---------------------------------------------------------------------------------------------------------


def vidfeat_command(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vidfeat", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


OPTIONS = ["--cfg-options", "model.cls_head.type=I3DHead", "model.cls_head.num_classes=5"]
OPTIONS += ["model.test_cfg.average_clips=prob", "--device", "cpu"]


def test_predict_prints_a_line_per_video(repository: Path, checkpoint: Path, tmp_path: Path) -> None:
    names = ["walk", "run", "jump", "sit", "stand"]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    videos = [GOLDEN / "clips" / "short.mp4", tmp_path / "broken.mp4"]
    given = [repository / CONFIG, *videos, "--checkpoint", checkpoint, *OPTIONS]
    done = vidfeat_command("predict", *given, "--class-names", tmp_path / "labels.txt", "--top", 2)
    scores = vidfeat.Extractor(encoder_of(repository, checkpoint), device="cpu").extract(videos[0]).values
    (first, second), shares = np.argsort(-scores)[:2], np.sort(scores)[::-1]
    assert done.stdout == f"short.mp4: {names[first]} {shares[0]:.1%}, {names[second]} {shares[1]:.1%}\n"
    assert done.stderr.startswith("broken.mp4: ")
    assert done.returncode == 3

    done = vidfeat_command("predict", *given, "--json")
    lines = {line["video"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert "error" in lines["broken.mp4"]
    top = lines["short.mp4"]["top"]
    assert [one["class"] for one in top] == np.argsort(-scores).tolist()
    assert top[0] == {"class": first, "label": None, "probability": pytest.approx(float(shares[0]))}
    assert (done.stderr, done.returncode) == ("", 3)


def test_predict_shows_numbers_where_the_names_cannot_be_had(
    lists: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "tiny_jester.py"
    shutil.copyfile(repository / CONFIG, config)
    classes = {**HEAD, **PROB, "model.cls_head.num_classes": 27}
    save_file(state_of(build(compiled(repository, classes).model)), tmp_path / "weights.safetensors")
    given = [config, GOLDEN / "clips" / "short.mp4", "--checkpoint", tmp_path / "weights.safetensors", "--top", 1]
    given += [option.replace("num_classes=5", "num_classes=27") for option in OPTIONS]
    monkeypatch.setenv("VIDFEAT_DOWNLOAD_TIMEOUT", "20")
    shown = vidfeat_command("predict", *given)  # the server's list is another one than MMAction2's
    assert re.fullmatch(r"short\.mp4: \d+ [\d.]+%\n", shown.stdout)
    assert shown.stderr.startswith("vidfeat: note: classes are shown as numbers; --class-names gives them names: ")
    assert "jester/label_map.txt: expected content whose SHA-256 begins with e276b017" in shown.stderr
    refused = vidfeat_command("predict", *given, "--class-names", "jester")
    assert (refused.returncode, refused.stdout) == (2, "")
    named = vidfeat_command("predict", *given, "--class-names", lists)
    assert named.stdout == "short.mp4: gesture " + shown.stdout.removeprefix("short.mp4: ")


def test_predict_names_the_model_that_has_no_scores(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    write("clip", tmp_path / "clip")
    done = vidfeat_command("predict", f"hf:{tmp_path / 'clip'}", GOLDEN / "clips" / "short.mp4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vidfeat: error: MODEL: expected a model of MMAction2")


def test_extract_writes_scores(repository: Path, checkpoint: Path, tmp_path: Path) -> None:
    out, clip = tmp_path / "scores.npz", GOLDEN / "clips" / "short.mp4"
    given = [repository / CONFIG, clip, "--checkpoint", checkpoint, *OPTIONS, "-o", out, "-q"]
    done = vidfeat_command("extract", *given, "--scores")
    assert (done.returncode, done.stderr) == (0, "")
    scores = vidfeat.load(out)["short.mp4"].values
    assert scores.shape == (5,)
    assert scores.sum() == pytest.approx(1)
    assert vidfeat.verify(out) == []
    refused = vidfeat_command("extract", *given, "--scores", "--temporal-type", "max", "--restart")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--temporal-type: expected avg, on which the head" in refused.stderr


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_is_true(
    repository: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Its table is the one that the script makes, and its example runs."""
    text = (repository / "docs" / "scores.md").read_text(encoding="utf-8")
    spec = importlib.util.spec_from_file_location("heads_table", repository / "scripts" / "make_heads_table.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page(text) == text
    assert sum(int(line.split("|")[3]) for line in script.table().splitlines()[2:]) == len(released())

    monkeypatch.chdir(tmp_path)
    config = (
        (repository / CONFIG).read_text(encoding="utf-8").replace("feature_extraction=True", "average_clips='prob'")
    )
    head = "    cls_head=dict(type='I3DHead', num_classes=5, in_channels=32),\n    train_cfg=None,"
    Path("with_head.py").write_text(config.replace("    train_cfg=None,", head), encoding="utf-8")
    shutil.copy(checkpoint, "with_head.pth")
    Path("my_videos").mkdir()
    shutil.copy(GOLDEN / "clips" / "short.mp4", "my_videos/clip.mp4")
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(example, "scores.md", "exec"), {})
    number, share = capsys.readouterr().out.split()
    assert 0 <= int(number) < 5
    assert 0.2 <= float(share) <= 1
