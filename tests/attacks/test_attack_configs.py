"""Configs that try to run code, to hang, to eat the memory or to crash the reader: each must end in a ConfigError."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidfeat.errors import ConfigError
from vidfeat.mmaction import compile_file
from vidfeat.mmaction.config import MAX_FILE_BYTES, apply_overrides, parse_override, read_config
from vidfeat.models import build

PATIENCE_SECONDS = 20  # far above what the budget allows, far below a hang


def refusal(path: Path) -> ConfigError:
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert time.monotonic() - start < PATIENCE_SECONDS
    assert len(str(caught.value)) < 2_000
    return caught.value


def refused_source(folder: Path, source: str) -> ConfigError:
    path = folder / "config.py"
    path.write_text(source, encoding="utf-8")
    return refusal(path)


EXPENSIVE = {
    "power": "a = 2 ** 10 ** 10",
    "power of a negative": "a = (-7) ** 10 ** 8",
    "power in steps": "a = 9 ** 20\nb = a * a * a * a",
    "text times": "a = 'a' * 10 ** 10",
    "text times, turned": "a = 10 ** 10 * 'a'",
    "list times": "a = [0] * 10 ** 9",
    "list times in place": "a = [0]\na *= 10 ** 9",
    "list times in steps": "a = [0] * 10000\nb = [a] * 10000",
    "range": "a = list(range(10 ** 12))",
    "range unrolled": "a = [*range(10 ** 18)]",
    "range searched": "a = 0.5 in range(10 ** 12)",
    "range counted": "a = len(range(10 ** 30))",
    "largest of a range": "a = max(range(10 ** 12))",
    "nested comprehension": "a = [0 for i in range(99999) for j in range(99999) for k in range(99999)]",
    "comprehension that keeps nothing": "a = [0 for i in range(99999) for j in range(99999) if j < 0]",
    "comprehension of comprehensions": "a = [[[k for k in range(999)] for j in range(999)] for i in range(999)]",
    "doubling a text": "a = 'xxxxxxxx'\n" + "a = a + a\n" * 60,
    "doubling a text in place": "a = 'xxxxxxxx'\n" + "a += a\n" * 60,
    "doubling a list": "a = [0]\n" + "a += a\n" * 60,
    "doubling by f-string": "a = 'xxxxxxxx'\n" + "a = f'{a}{a}'\n" * 60,
    "doubling by reference": "a = []\n" + "a = [a, a]\n" * 60,
    "doubling dicts by reference": "a = {}\n" + "a = dict(l=a, r=a)\n" * 60,
    "doubling behind an older name": "a = [0]\nb = [a] * 1000\n" + "a += a\n" * 10 + "c = f'{b}'",
    "list inside itself": "a = [1]\nb = [a]\na += b\n",
    "dict inside itself": "a = dict()\na['a'] = a\n",
    "deep value": "a = []\n" + "a = [a]\n" * 5000,
    "wide f-string": "a = f'{1:1000000000}'",
    "precise f-string": "a = f'{1.5:.1000000000f}'",
    "computed width": "w = 10 ** 9\na = f'{1:{w}}'",
    "wide percent": "a = '%1000000000d' % 1",
    "precise percent": "a = '%.1000000000f' % 1",
    "percent with a width argument": "a = '%*d' % (10 ** 9, 1)",
    "percent behind a key": "a = '%(k)01000000000d' % dict(k=1)",
    "percent behind a nested key": "a = '%(a(b)c)1000000000d' % {'a(b)c': 1}",
    "large literal": "a = 0x" + "f" * 100_000,
    "large decimal literal": "a = " + "9" * 100_000,
    "large int from text": "a = int('9' * 4000)",
    "colliding keys": "a = {i * (2 ** 61 - 1): 0 for i in range(99999)}",
}


CONTAINS_ITSELF = ["a = [1]\na[0] = a", "a = dict()\na['a'] = a", "_base_ = 'base.py'\n_base_['a'] = _base_"]


@pytest.mark.parametrize("source", CONTAINS_ITSELF)
def test_a_value_that_contains_itself_in_the_last_statement(tmp_path: Path, source: str) -> None:
    (tmp_path / "base.py").write_text("a = 1")
    assert "nested" in refused_source(tmp_path, source).expected


@pytest.mark.parametrize("source", EXPENSIVE.values(), ids=EXPENSIVE.keys())
def test_expensive_values_are_refused(tmp_path: Path, source: str) -> None:
    assert refused_source(tmp_path, source).where.startswith(str(tmp_path / "config.py"))


DEEP = {
    "parentheses": "a = " + "(" * 10_000 + ")" * 10_000,
    "lists": "a = " + "[" * 150 + "]" * 150,
    "calls": "a = " + "dict(a=" * 150 + ")" * 150,
    "signs": "a = " + "-" * 50_000 + "1",
    "negations": "a = " + "not " * 20_000 + "1",
    "sums": "a = 0" + "+0" * 20_000,
    "subscripts": "a = [0]" + "[0]" * 20_000,
    "attributes": "_base_ = []\na = _base_" + ".a" * 20_000,
    "conditions": "a = " + "1 if 1 else " * 9_000 + "1",
    "powers": "a = " + "1**" * 20_000 + "1",
    "blocks": "".join(" " * i + "if 1:\n" for i in range(99)) + " " * 99 + "a = 1",
    "targets": "(" * 150 + "a" + ",)" * 150 + " = 1",
}


@pytest.mark.parametrize("source", DEEP.values(), ids=DEEP.keys())
def test_deep_nesting(tmp_path: Path, source: str) -> None:
    refused_source(tmp_path, source)


ESCAPES = [
    "a = ().__class__.__bases__[0].__subclasses__()",
    "a = f'{().__class__}'",
    "a = '{0.__class__}'.format(1)",
    "a = getattr(1, '__class__')",
    "a = dict.__init__",
    "a = __builtins__",
    "a = _base_.__class__",
    "_base_ = []\na = _base_.__class__",
    "_base_ = []\na = _base_.copy.__self__",
    "a = str.format('{0.__class__}', 1)",
    "a = [x for x in (dict,)]",
    "a = max([1], key=print)",
    "a: print('x') = print('x')",
    "exec('a = 1')",
    "@print\ndef f(): pass",
    "a = (lambda: 1)()",
    "a = [1][0]()",
    "a = dict.copy()",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_leads_out_of_the_subset(tmp_path: Path, source: str) -> None:
    assert refused_source(tmp_path, source).where.startswith(f"{tmp_path / 'config.py'}:")


def test_nothing_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    sources = [
        f"a = open({str(marker)!r}, 'w')",
        f"import os; os.mkdir({str(marker)!r})",
        f"_base_ = [open({str(marker)!r}, 'w')]",
        f"a = f'{{open({str(marker)!r}, chr(119))}}'",
        f"a: open({str(marker)!r}, 'w') = 1\nb = c",
        f"__import__('os').mkdir({str(marker)!r})",
    ]
    for source in sources:
        refused_source(tmp_path, source)
    (tmp_path / "config.yaml").write_text(f"a: !!python/object/apply:os.mkdir [{str(marker)!r}]")
    refusal(tmp_path / "config.yaml")
    assert not marker.exists()


# --- files ------------------------------------------------------------------------------------------------------------


BYTES = {
    "NUL": (b"a = 1\0", "NUL"),
    "not UTF-8": (b"a = '\xff\xfe'", "0xff at offset 5"),
    "UTF-16": ("a = 1".encode("utf-16"), "UTF-8|0xff"),
    "too large": (b"# " + b"x" * MAX_FILE_BYTES, "larger"),
    "unclosed": (b"a = (1,\n", "never closed"),
    "bad indentation": (b"a = 1\n  b = 2", "unexpected indent"),
    "a checkpoint": (b"PK\x03\x04\x00\x00\x08\x08", "NUL"),
}


@pytest.mark.parametrize(("content", "message"), BYTES.values(), ids=BYTES.keys())
def test_files_that_are_no_configs(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.py"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    for name in ("missing.py", "folder.py", "config.txt", "config", "a\0b.py", "x" * 1000 + ".py", "\ud800.py"):
        refusal(tmp_path / name)
    refusal(Path("~nosuchuser/config.py"))


def test_a_pipe_is_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    refusal(tmp_path / "pipe.py")
    refused_source(tmp_path, "_base_ = 'pipe.py'")


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop.py").symlink_to("loop.py")
    refusal(tmp_path / "loop.py")
    refused_source(tmp_path, "_base_ = 'loop.py'")


@pytest.mark.parametrize(
    "base",
    [
        "'missing.py'",
        "'folder'",
        "'folder.py'",
        "'/nowhere/at/all.py'",
        "'config.py'",
        "'../nowhere/config.py'",
        "['./folder/../config.py']",
        "''",
        "'.'",
        "'a\\0b.py'",
        "'\\ud800.py'",
        "'x' * 9000",
        "'/dev/zero'",
        "'mmaction::_base_/default_runtime.py'",
        "'https://example.org/config.py'",
        "1",
        "None",
        "[1]",
        "['ok.py', ['ok.py']]",
        "dict(a='ok.py')",
    ],
)
def test_bases_that_are_no_configs(tmp_path: Path, base: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "ok.py").write_text("a = 1")
    assert refused_source(tmp_path, f"b = 1\n_base_ = {base}").where == f"{tmp_path / 'config.py'}:2"


def test_an_absolute_base_is_read_as_in_mmcv(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("a = 1")
    (tmp_path / "config.py").write_text(f"_base_ = {str(tmp_path / 'base.py')!r}")
    assert read_config(tmp_path / "config.py").data == {"a": 1}


def test_a_cycle_of_bases(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("_base_ = 'b.json'")
    (tmp_path / "b.json").write_text('{"_base_": ["c.yaml"]}')
    (tmp_path / "c.yaml").write_text("_base_: ./a.py")
    assert "cycle through `'./a.py'`" in refusal(tmp_path / "a.py").found


def test_bases_that_multiply(tmp_path: Path) -> None:
    for level in range(30):
        for side in "ab":
            (tmp_path / f"{side}{level}.py").write_text(f"_base_ = ['a{level + 1}.py', 'b{level + 1}.py']")
    for side in "ab":
        (tmp_path / f"{side}30.py").write_text("")
    refusal(tmp_path / "a0.py")


def test_a_long_chain_of_bases(tmp_path: Path) -> None:
    for level in range(1000):
        (tmp_path / f"{level}.py").write_text(f"_base_ = '{level + 1}.py'")
    refusal(tmp_path / "0.py")


DATA = {
    "laughs.yaml": "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)),
    "itself.yaml": "a: &a [*a]",
    "unhashable.yaml": "? [a]\n: 1",
    "date.yaml": "a: 2020-01-01",
    "deep.yaml": "a: " + "[" * 3_000,
    "wide.yaml": "[" * 2_000 + "]" * 2_000,
    "syntax.yaml": "a: [1\nb: {",
    "list.yaml": "- 1",
    "empty.yaml": "",
    "two.yaml": "a: 1\n---\nb: 2",
    "bad date.yaml": "a: 2020-99-99",
    "int.yaml": "a: " + "9" * 100_000,
    "sexagesimal.yaml": "a: " + "1" + ":59" * 20_000,
    "merge.yaml": "a: &a {x: 1}\n<<: 1",
    "merges.yaml": "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60)),
    "merge keys.yaml": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, <<: *a{i - 1}}}\n" for i in range(1, 60)),
    "wide merges.yaml": "a: &a {" + ",".join(f"k{i}: 1" for i in range(900)) + "}\nb: {<<: [" + "*a," * 9_000 + "]}",
    "sexagesimal float.yaml": "a: 1" + ":1" * 400 + ".5",
    "tagged sexagesimal.yaml": 'a: !!float "1' + ":1" * 400 + '"',
    "aliases in line.yaml": "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 4_000)),
    "control.yaml": "a: \x07",
    "deep.json": '{"a": ' + "[" * 60_000,
    "syntax.json": '{"a": 1,}',
    "int.json": '{"a": ' + "9" * 100_000 + "}",
    "list.json": "[1]",
    "empty.json": "",
    "reference.json": '{"a": {{ _base_.x }}}',
    "base.json": '{"_base_": {"a": 1}}',
}


@pytest.mark.parametrize(("name", "text"), DATA.items(), ids=DATA.keys())
def test_hostile_json_and_yaml(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    refusal(tmp_path / name)


def test_a_yaml_base_of_a_python_config_has_the_same_limits(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(DATA["merges.yaml"])
    assert refused_source(tmp_path, "_base_ = 'base.yaml'").where == str(tmp_path / "base.yaml")


def test_hostile_overrides() -> None:
    for text in ("a=" + "(" * 20_000 + ")" * 20_000, "a=" + "(" * 5_000 + "," + ")" * 5_000):
        with pytest.raises(ConfigError):
            parse_override(text)
    with pytest.raises(ConfigError):
        apply_overrides({}, {".".join("a" * 50_000): 1})
    with pytest.raises(ConfigError):
        apply_overrides({"a": [1]}, {"a." + "9" * 10_000: 1})


# --- fuzz -------------------------------------------------------------------------------------------------------------

SNIPPETS = [
    "_base_ = ['base.py']\n",
    "model = dict(type='Recognizer2D', backbone=dict(type='ResNet', depth=50, norm_eval=False), neck=None)\n",
    "img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_bgr=False)\n",
    "pipeline = [dict(type='Normalize', **img_norm_cfg), dict(type='Resize', scale=(-1, 256))]\n",
    "ann = f'data/{split:>4}_{1 + 2!r}.txt' % (1, 'x')\n",
    "prob = {i: 1 + int(i >= 60) for i in range(120) if not i % 2}\n",
    "a, (b, c) = 1, [2, 3]; b += [c] * 2; d = a[1:2] if a else {*b}\n",
    "x = {{ _base_.model.backbone }}\ny = '{{ fileDirname }}'\n",
    "del a\nb: int = 2 ** -3 // 4 < 5 <= 6 and not 7\n",
]
TOKENS = sorted(
    {*"()[]{}:,.=+-*/%<>|~'\"\\\n\t #0123456789abij_", "**", "{{", "}}", "for ", " in ", " if ", "dict(", "=="}
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = "".join(draw(st.lists(st.sampled_from(SNIPPETS), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 6)))
        text = text[:start] + "".join(draw(st.lists(st.sampled_from(TOKENS), max_size=4))) + text[stop:]
    return text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(text=mutated() | st.text(max_size=60), suffix=st.sampled_from([".py", ".py", ".py", ".json", ".yaml"]))
def test_whatever_the_file_holds_the_answer_is_a_dict_or_a_config_error(tmp_path: Path, text: str, suffix: str) -> None:
    (tmp_path / "base.py").write_text("model = dict(backbone=dict(depth=18))\nimg_norm_cfg = dict(mean=[1])")
    path = tmp_path / f"fuzzed{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        assert isinstance(read_config(path).data, dict)


# --- sizes of networks and pipelines ----------------------------------------------------------------------------------


def config_of(backbone: str, sampling: str = "clip_len=8", mean: str = "[0, 0, 0]", std: str = "[1, 1, 1]") -> str:
    steps = f"dict(type='SampleFrames', {sampling}, test_mode=True), dict(type='CenterCrop', crop_size=8)"
    normalize = f"dict(type='Normalize', mean={mean}, std={std}), dict(type='FormatShape', input_format='NCTHW')"
    return (
        f"model = dict(type='Recognizer3D', backbone=dict({backbone}))\n"
        f"data = dict(test=dict(type='VideoDataset', pipeline=[{steps}, {normalize}]))"
    )


SLOW_ONLY = "type='ResNet3dSlowOnly', depth=18, lateral=False"
VIT = "type='VisionTransformer', num_frames=16, patch_size="
UNIFORMER = "type='UniFormer', depth=[3, 4, 8, 3], embed_dim=[64, 128, 320, 512], head_dim=64"
COSTLY = {
    "frames of a clip": config_of(SLOW_ONLY, "clip_len=10**9"),
    "frames of a clip, fewer": config_of(SLOW_ONLY, "clip_len=50000"),
    "clips": config_of(SLOW_ONLY, "clip_len=8, num_clips=10**9"),
    "clips, fewer": config_of(SLOW_ONLY, "clip_len=8, num_clips=50000"),
    "an interval that is no float": config_of(SLOW_ONLY, "clip_len=8, frame_interval=10**19"),
    "a mean that is not finite": config_of(SLOW_ONLY, mean="[0, 0, 1e999]"),
    "a mean that is no number": config_of(SLOW_ONLY, mean="[0, 0, 1e999 - 1e999]"),
    "a deviation of 0": config_of(SLOW_ONLY, std="[1, 1, 0]"),
    "a deviation of nearly 0": config_of(SLOW_ONLY, std="[1, 1, 1e-30]"),
    "channels": config_of(f"{SLOW_ONLY}, base_channels=10**6"),
    "channels beyond 64 bits": config_of(f"{SLOW_ONLY}, base_channels=10**18"),
    "layers": config_of(UNIFORMER.replace("3]", "50000]", 1)),
    "patches": config_of(f"{VIT}1"),
    "half a channel": config_of(f"{SLOW_ONLY}, base_channels=0.5"),
}


@pytest.mark.parametrize("source", COSTLY.values(), ids=COSTLY.keys())
def test_networks_and_pipelines_of_absurd_size(tmp_path: Path, source: str) -> None:
    """They are refused before they take memory or time, and no normalisation makes pixels infinite."""
    path = tmp_path / "config.py"
    path.write_text(source)
    start = time.monotonic()
    with pytest.raises(ConfigError):
        build(compile_file(path).model)
    assert time.monotonic() - start < PATIENCE_SECONDS


def test_the_configs_above_are_otherwise_good(tmp_path: Path) -> None:
    for backbone in (SLOW_ONLY, UNIFORMER, f"{VIT}16"):
        path = tmp_path / "config.py"
        path.write_text(config_of(backbone))
        build(compile_file(path).model)


NECK = """
model = dict(type='Recognizer2D', backbone=dict(type='ResNetTSM', depth=50, out_indices=(2, 3)),
    neck=dict(type='TPN', in_channels=(1024, 2048), out_channels=1024,
        spatial_modulation_cfg=dict(in_channels=(1024, 2048), out_channels=2048),
        temporal_modulation_cfg=dict(downsample_scales=(8, 8)), upsample_cfg=dict(scale_factor=(1, 1, 1)),
        downsample_cfg=dict(downsample_scale=(1, 1, 1)),
        level_fusion_cfg=dict(in_channels=(1024, 1024), mid_channels=(1024, 1024), out_channels=2048,
            downsample_scales=((1, 1, 1), (1, 1, 1)))))
data = dict(test=dict(type='VideoDataset', pipeline=[
    dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True), dict(type='CenterCrop', crop_size=8),
    dict(type='Normalize', mean=[0, 0, 0], std=[1, 1, 1]), dict(type='FormatShape', input_format='NCHW')]))
"""


@pytest.mark.parametrize("value", ["None", "0", "-1.5", "'x' * 9000", "[]", "[0, 0]", "[None, None]", "{}", "True"])
def test_values_of_other_types(tmp_path: Path, value: str) -> None:
    path = tmp_path / "config.py"
    fusion = "['neck']['level_fusion_cfg']"
    options = [f"{fusion}['{name}']" for name in ("mid_channels", "out_channels", "downsample_scales")]
    options += ["['neck']['temporal_modulation_cfg']['downsample_scales']", "['neck']['out_channels']"]
    for option in [*options, "['backbone']['depth']", "['type']"]:
        path.write_text(f"{NECK}model{option} = {value}")
        with pytest.raises(ConfigError) as caught:
            build(compile_file(path).model)
        assert len(str(caught.value)) < 2_000
    path.write_text(NECK)
    build(compile_file(path).model)
