"""Released models by name, against the reference records and the data that MMAction2 published."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vidfeat.errors import ConfigError, UsageError
from vidfeat.mmaction import compile_config, compile_file
from vidfeat.mmaction.compile import is_name
from vidfeat.mmaction.feature_script import FeatureRequest, apply_request
from vidfeat.mmaction.zoo import ZooEntry, find_model, released, render, table, to_json
from vidfeat.mmaction.zoo.rows import ROWS
from vidfeat.preprocessing.sampling import SegmentSampling, SpreadSampling, UniformSampling
from vidfeat.recipe import CenterCrop, Recipe, ResizeShortEdge, TenCrop, ThreeCrop

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("VIDFEAT_SHARED", ROOT.parent / "shared")) / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference records are not on this machine")

MAY_BE_MISSING = {
    "timm.swin_base_patch4_window7_224",  # where timm is not installed
    "torchvision.densenet161",  # where torchvision is not installed
    "mmpretrain.MobileOne",
    "MobileOneTSM",
}
"""Backbones of released models that need not compile."""


# --- the table is whole -----------------------------------------------------------------------------------------------


def test_every_name_has_one_recipe_and_every_recipe_a_model() -> None:
    rows = Counter(name for row in ROWS for name in row.names.split())
    assert set(rows.values()) == {1}
    assert set(rows) == {entry.name.partition("@")[0] for entry in released()}


def test_the_number_of_models() -> None:
    # 289 in both lines, less 4 that are listed twice and 7 for optical flow.
    assert len(released()) == 278
    assert Counter(entry.line for entry in released()) == {"0.x": 156, "1.x": 122}


def test_every_model_is_reachable_by_name_and_by_name_with_hash() -> None:
    assert len({entry.name for entry in released()}) == len(released())
    for entry in released():
        match = re.fullmatch(r"https://download\.openmmlab\.com/mmaction/[\w./-]+-([0-9a-f]{8})\.pth", entry.checkpoint)
        assert match, entry.checkpoint
        assert find_model(entry.name) is entry
        assert find_model(f"{entry.name.partition('@')[0]}@{match[1]}") is entry


def test_no_checkpoint_belongs_to_two_models_of_one_line() -> None:
    used = Counter((entry.line, entry.checkpoint) for entry in released())
    assert set(used.values()) == {1}


def test_only_listed_backbones_do_not_compile() -> None:
    missing = {entry.config["model"]["backbone"]["type"] for entry in released() if _recipe(entry) is None}
    assert missing <= MAY_BE_MISSING, f"no translator for {sorted(missing - MAY_BE_MISSING)}"


def _recipe(entry: ZooEntry) -> Recipe | None:
    try:
        return entry.recipe()
    except ConfigError:
        return None


# --- the recipes are MMAction2's --------------------------------------------------------------------------------------


def _records() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name of a released model, its line, and the record of its config; the config's file bears the model's name."""
    names = {entry.name for entry in released()}
    for line, file in (("0.x", "mm0.jsonl.gz"), ("1.x", "mm1.jsonl.gz")):
        with gzip.open(REFERENCE / file, "rt", encoding="utf-8") as records:
            for record in map(json.loads, records):
                if record.get("mode", "default") == "long":
                    continue
                for config in (record["config"], *record["same_as"]):
                    if Path(config).stem in names:
                        yield Path(config).stem, line, record


def _compiled(line: str, record: dict[str, Any], *, scores: bool = False) -> Recipe:
    dataset = {"type": "VideoDataset", "pipeline": record["pipeline"]}
    if line == "0.x":
        config = {"model": record["model"], "data": {"test": dataset}}
    else:
        config = {"model": record["model"], "test_dataloader": {"dataset": dataset}}
    return compile_config(config, file=record["config"], scores=scores)


@needs_reference
def test_recipes_equal_those_of_the_reference_records() -> None:
    compared = 0
    for name, line, record in _records():
        entry = find_model(name)
        assert entry.line == line
        ours = _recipe(entry)
        if ours is None:
            continue
        theirs = _compiled(line, record)
        if record["reduced"]:  # to fewer clips, to keep the run short
            number = {"num_clips": theirs.sampling.num_clips}
            ours = dataclasses.replace(ours, sampling=dataclasses.replace(ours.sampling, **number))
        if record.get("mode") == "default":  # the script of 1.x takes fewer views, and the record shows which
            ours, theirs = (apply_request(recipe, FeatureRequest(views="few")) for recipe in (ours, theirs))
        assert ours == theirs, name
        mine, recorded = entry.recipe(scores=True), _compiled(line, record, scores=True)
        if name.startswith("tpn_tsm"):  # 0.x cannot give features with `fcn_test`, which the record lacks
            recorded = dataclasses.replace(recorded, model=dataclasses.replace(recorded.model, neck_joins_video=False))
        assert (mine.model, mine.pooling) == (recorded.model, recorded.pooling), name
        compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    ("name", "config"),
    [
        (
            "slowonly_r50_video_4x16x1_256e_kinetics400_rgb",
            "configs/recognition/slowonly/slowonly_r50_video_4x16x1_256e_kinetics400_rgb.py",
        ),
    ],
)
def test_a_name_and_its_config_file_are_the_same_run(name: str, config: str) -> None:
    assert find_model(name).recipe().digest == compile_file(ROOT / config).digest


def test_each_line_samples_by_its_own_rules() -> None:
    old = find_model("slowonly_r50_8x8x1_256e_kinetics400_rgb").recipe()
    new = find_model("slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb").recipe()
    assert old.sampling == SegmentSampling(clip_len=8, frame_interval=8, num_clips=10)
    assert new.sampling == SpreadSampling(clip_len=8, frame_interval=8, num_clips=10)
    assert (old.transforms, old.normalize, old.model) == (new.transforms, new.normalize, new.model)
    assert old.transforms == (ResizeShortEdge(256), ThreeCrop(256, 256))


@pytest.mark.parametrize(
    ("name", "sampling", "transforms", "mean", "size"),
    [
        (
            "tsn_r50_1x1x3_100e_kinetics400_rgb",
            SegmentSampling(clip_len=1, num_clips=25),
            (ResizeShortEdge(256), TenCrop(224, 224)),
            (123.675, 116.28, 103.53),
            2048,
        ),
        (
            "x3d_m_16x5x1_facebook-kinetics400-rgb",
            SpreadSampling(clip_len=16, frame_interval=5, num_clips=10, target_fps=30.0),
            (ResizeShortEdge(256), ThreeCrop(256, 256)),
            (114.75, 114.75, 114.75),
            432,
        ),
        (
            "uniformerv2-base-p16-res224_clip-pre_u8_kinetics710-rgb",
            UniformSampling(clip_len=8, num_clips=4),
            (ResizeShortEdge(224), ThreeCrop(224, 224)),
            (114.75, 114.75, 114.75),
            768,
        ),
        (
            "uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb",
            SpreadSampling(clip_len=16, frame_interval=4, num_clips=4),
            (ResizeShortEdge(224), CenterCrop(224, 224)),
            (114.75, 114.75, 114.75),
            512,
        ),
    ],
)
def test_some_recipes_spelled_out(name: str, sampling: object, transforms: object, mean: object, size: int) -> None:
    recipe = find_model(name).recipe()
    assert recipe.sampling == sampling
    assert recipe.transforms == transforms
    assert recipe.normalize.mean == mean
    assert recipe.model.feature_size == size


def test_overrides_reach_into_the_config() -> None:
    entry = find_model("slowonly_r50_8x8x1_256e_kinetics400_rgb")
    recipe = entry.recipe({"data.test.pipeline.1.num_clips": 3, "model.backbone.depth": 101})
    assert recipe.sampling == SegmentSampling(clip_len=8, frame_interval=8, num_clips=3)
    assert entry.recipe({"model.backbone.depth": 101}).model != entry.recipe().model


def test_an_override_that_means_nothing_is_an_error_that_names_the_model() -> None:
    with pytest.raises(ConfigError, match=r"slowonly_r50_8x8x1_256e_kinetics400_rgb: model\.backbone\.dept"):
        find_model("slowonly_r50_8x8x1_256e_kinetics400_rgb").recipe({"model.backbone.dept": 50})


@pytest.mark.parametrize("key", ["test_pipeline.4.crop_size", "crop_size", "optimizer.lr"])
def test_an_override_of_what_released_models_do_not_have_is_an_error(key: str) -> None:
    with pytest.raises(ConfigError, match=f"override `{key}`: expected a key below one of data, model"):
        find_model("slowonly_r50_8x8x1_256e_kinetics400_rgb").recipe({key: 96})


def test_a_config_is_the_callers_own() -> None:
    entry = find_model("i3d_r50_32x2x1_100e_kinetics400_rgb")
    before = entry.recipe().digest
    config = entry.config
    config["model"]["backbone"]["inflate"][1][0] = 0
    config["model"]["backbone"]["depth"] = 18
    config["data"]["test"]["pipeline"][1]["num_clips"] = 1
    assert entry.recipe().digest == before


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_of_several_checkpoints_means_the_most_accurate() -> None:
    plain = find_model("tsm_r50_1x1x8_50e_kinetics400_rgb")
    others = [find_model(f"tsm_r50_1x1x8_50e_kinetics400_rgb@{end}") for end in ("af7fb746", "020785e2")]
    assert (plain.top1, plain.resolution) == (70.73, "short-side 320")
    assert plain is find_model("tsm_r50_1x1x8_50e_kinetics400_rgb@68d582b4")
    assert [(other.top1, other.resolution) for other in others] == [(70.24, "340x256"), (70.59, "short-side 256")]
    assert len({entry.recipe().digest for entry in (plain, *others)}) == 1


def test_the_nearest_names_are_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        find_model("slowonly_r50_8x8x1_256e_kinetics400")
    assert "Did you mean slowonly_r50_8x8x1_256e_kinetics400_rgb, " in str(caught.value)
    assert "`vidfeat models` lists all." in str(caught.value)


def test_a_part_of_a_name_is_completed() -> None:
    with pytest.raises(UsageError, match="Did you mean mvit-base-p244_32x3x1_kinetics400-rgb"):
        find_model("mvit-")


def test_an_optical_flow_model_is_refused_with_its_rgb_twin() -> None:
    with pytest.raises(UsageError, match=r"RGB video; found an optical-flow model\. Did you mean tsn_r50_320p_1x1x3_1"):
        find_model("tsn_r50_320p_1x1x3_110e_kinetics400_flow")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tsn_r18_64x1x1_100e_kinetics400_audio_feature", "an audio model"),
        ("stgcn_80e_ntu60_xsub_keypoint", "a skeleton model"),
        ("slowfast_acrn_kinetics_pretrained_r50_8x8x1_cosine_10e_ava22_rgb", "a spatio-temporal detection model"),
        ("bmn_400x100_2x8_9e_activitynet_feature", "a temporal localisation model"),
    ],
)
def test_models_for_other_inputs_are_named_as_what_they_are(name: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"found {kind}"):
        find_model(name)


@pytest.mark.parametrize("name", ["", "@", "tsm_r50_1x1x8_50e_kinetics400_rgb@00000000", "x" * 100_000, "a\nb"])
def test_any_other_text_is_a_short_usage_error(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_model(name)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("slowonly_r50_8x8x1_256e_kinetics400_rgb", True),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb@68d582b4", True),
        ("config.py", False),
        ("CONFIG.PY", False),
        ("configs/slowonly", False),
        ("configs\\slowonly", False),
        ("recipe.yaml", False),
    ],
)
def test_names_are_told_from_paths_by_their_spelling(model: str, expected: bool) -> None:
    assert is_name(model) is expected


def test_no_released_name_looks_like_a_path() -> None:
    assert all(is_name(entry.name) for entry in released())


# --- the table that people see ----------------------------------------------------------------------------------------


def test_the_table_of_a_family_and_data_set() -> None:
    assert render(table(family="c3d")) == (
        "                                                            features GFLOP/video   /view  accuracy %\n"
        "c3d, MMAction2 0.x, UCF101\n"
        "  c3d_sports1m_16x1x1_45e_ucf101_rgb                            4096       385.5    38.5        83.3\n"
        "c3d, MMAction2 1.x, UCF101\n"
        "  c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb           4096       385.5    38.5        83.1"
    )
    rows = table(family="TSN", dataset="kinetics700")
    assert [row.name for row in rows] == ["tsn_r50_video_1x1x8_100e_kinetics700_rgb"]
    assert rows[0].feature_size == 2048
    assert table(family="c3d", dataset="Jester") == []


def test_what_was_not_published_is_a_dash() -> None:
    line = next(text for text in render(table("uniformerv2")).splitlines() if "large-p14-res224_clip-pre" in text)
    assert line.split()[::4] == ["uniformerv2-large-p14-res224_clip-pre_u8_kinetics710-rgb", "-"]
    assert render(table(dataset="mmit")).endswith("61.1 mAP")


def test_the_whole_table() -> None:
    rows = table()
    assert [row.name for row in rows] == [model.name for model in released()]
    lines = render(rows).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert {row.name for row in rows} <= {word for line in lines for word in line.split()}
    assert json.loads(json.dumps(to_json(rows)))[0]["feature_size"] == 4096


def test_words_are_searched_in_name_family_and_data_set() -> None:
    found = {row.name for row in table(words=["SlowOnly", "gym99"])}
    assert found == {row.name for row in table("slowonly", "GYM99")} != set()
    assert table(words=["kinetics400", "mobilenet-v2"])
    with pytest.raises(UsageError, match="slow nowhere: expected words in the name, family or data set of a model"):
        table(words=["slow", "nowhere"])


def test_a_view_is_what_mmaction2_counts() -> None:
    listed = {row.name: row for row in table()}
    clips = listed["c2d_r101-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb"]  # MMAction2: 63G, 10 clips x 3 crop
    assert (clips.views, round(clips.gflop_per_view)) == (30, 62)
    segments = listed["tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb"]  # 32.88G of 224x224, 8 x 10 crop
    assert (segments.views, round(segments.gflop_per_view)) == (10, 33)


def test_sizes_are_those_of_the_recipes() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_zoo_sizes.py"))
    listed = {row.name: row for row in table()}
    counted = set()
    for model in released():
        row = listed[model.name]
        try:
            recipe = model.recipe()
        except ConfigError:  # timm or torchvision is not installed; the table knows the size all the same
            assert row.feature_size
            continue
        assert row.feature_size == recipe.feature_size
        if model.family not in counted and recipe.model.dims == 2:  # a few, since networks take a while to build
            counted.add(model.family)
            sizes = script["sizes"](recipe)
            assert (row.views, row.gflop_per_video) == (sizes["views"], float(sizes["gflop"]))
    assert len(counted) > 4


def test_counted_multiply_adds_are_those_published_of_a_view() -> None:
    """Of 3D networks, for which MMAction2 published those of one clip, without non-local products."""
    published = {model.name: model.gflop for model in released() if model.family in ("i3d", "slowonly", "r2plus1d")}
    rows = [
        row for row in table() if published.get(row.name) and not re.search("(?<![a-z])nl(?![a-z])|nonlocal", row.name)
    ]
    assert len(rows) >= 50
    for row in rows:
        assert row.gflop_per_view == pytest.approx(published[row.name], rel=0.03)


@pytest.mark.parametrize(
    ("filters", "known"), [({"family": "slowonyl"}, "slowfast, slowonly, swin"), ({"dataset": "k400"}, "Kinetics-400")]
)
def test_an_unknown_filter_lists_what_there_is(filters: dict[str, str], known: str) -> None:
    with pytest.raises(UsageError, match=known):
        table(**filters)


# --- the table's source -----------------------------------------------------------------------------------------------


@needs_reference
def test_the_committed_table_is_what_the_script_makes(tmp_path: Path) -> None:
    made = tmp_path / "released.csv"
    script = [sys.executable, str(ROOT / "scripts" / "make_zoo_table.py")]
    subprocess.run([*script, str(REFERENCE / "zoo.json"), str(made)], check=True, capture_output=True)
    committed = ROOT / "src" / "vidfeat" / "mmaction" / "zoo" / "released.csv"
    assert made.read_bytes() == committed.read_bytes()


@needs_reference
def test_published_numbers_arrive_unchanged() -> None:
    by_checkpoint: dict[tuple[str, str], list[ZooEntry]] = {}
    for entry in released():
        by_checkpoint.setdefault((entry.line, entry.checkpoint), []).append(entry)
    models = json.loads((REFERENCE / "zoo.json").read_text(encoding="utf-8"))
    compared = 0
    for model in models:
        entries = by_checkpoint.get((model["line"], model["weights"]), [])
        entries = [entry for entry in entries if entry.name.partition("@")[0] == model["name"]]
        if not entries or model["architecture"] == "MobileNetV2" or not model["metrics"]:
            continue
        compared += 1
        assert entries[0].top1 == model["metrics"].get("Top 1 Accuracy")
        assert entries[0].mean_ap == model["metrics"].get("mAP")
        if isinstance(model["flops"], int):
            assert entries[0].gflop == pytest.approx(model["flops"] / 1e9, abs=0.05)
    assert compared > 260
