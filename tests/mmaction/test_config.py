"""What mmcv 1.7 makes of a config file, without running it.

On all public classic configs (260 of MMAction2 0.x, 248 of 1.x) the loader was compared with the original one; these
tests hold each rule by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.errors import ConfigError
from vidfeat.mmaction.config import MAX_FILE_BYTES, apply_overrides, parse_override, read_config


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    return read_config(path, overrides).data


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def evaluated(folder: Path, expression: str, before: str = "") -> Any:
    return load_config(write(folder, "config.py", f"{before}\nvalue = {expression}\n"))["value"]


# --- the language -----------------------------------------------------------------------------------------------------


def test_merge_keys_of_yaml(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 1}]}\nd: '1:30'\n"
    assert load_config(write(tmp_path, "config.yaml", text)) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2, "z": 1},
        "d": "1:30",
    }


def test_a_config_as_published(tmp_path: Path) -> None:
    config = load_config(
        write(
            tmp_path,
            "tsn.py",
            '''"""A docstring."""
model = dict(type='Recognizer2D', backbone=dict(type='ResNet', depth=50), cls_head=dict(std=0.01))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], to_bgr=False)
test_pipeline = [
    dict(type='SampleFrames', clip_len=1, num_clips=25, test_mode=True),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='Normalize', **img_norm_cfg),
]
data_root = 'data/kinetics400'
ann_file = f'{data_root}/val_{len(test_pipeline):03d}.txt'
gpu_ids = range(0, 1)
class_prob = {i: 1 + int(i >= 2) for i in range(4)}
__hidden = 1
_kept = None
''',
        )
    )
    assert config == {
        "model": {
            "type": "Recognizer2D",
            "backbone": {"type": "ResNet", "depth": 50},
            "cls_head": {"std": 0.01},
        },
        "img_norm_cfg": {"mean": [123.675, 116.28, 103.53], "to_bgr": False},
        "test_pipeline": [
            {"type": "SampleFrames", "clip_len": 1, "num_clips": 25, "test_mode": True},
            {"type": "Resize", "scale": (-1, 256)},
            {"type": "Normalize", "mean": [123.675, 116.28, 103.53], "to_bgr": False},
        ],
        "data_root": "data/kinetics400",
        "ann_file": "data/kinetics400/val_003.txt",
        "gpu_ids": range(0, 1),
        "class_prob": {0: 1, 1: 1, 2: 2, 3: 2},
        "_kept": None,
    }


EXPRESSIONS = [
    "1 + 2 * 3 - 4 / 8",
    "-7 // 2, -7 % 3, 2 ** 10, 2 ** -1, +3, ~5",
    "[1, 2] + [3], (1,) * 3, 3 * 'ab', 'a' 'b' + 'c'",
    "'%s/%05.2f %%' % ('x', 1.5), '%(a)d' % dict(a=1)",
    'f\'{1 + 1}|{3.14159:.3f}|{7:>4}|{"a"!r:5}|{"é"!a}|{2:{1 + 2}d}|{{}}\'',
    "True and [] or 'x', not 1, None is None, None is not None",
    "1 < 2 < 3, 1 < 2 > 3, 1 == 1.0 != 2, 1 in [1, 2], 'z' not in 'abc'",
    "'a' if 1 > 2 else 'b'",
    "[*range(3), *'ab'], (*[1], 2), {1, *[2, 3]}, {'a': 1, **{'b': 2}, 'a': 3}",
    "dict(a=1, **dict(b=2)), dict([('a', 1)], b=2), dict({'a': 1})",
    "list((1, 2)), tuple([1, 2]), set([1, 1]), len('abc'), int('7'), float('1e-3'), str(1), bool(0)",
    "max(1, 5, 2), min([4, 2, 3]), max(x * x for x in range(-3, 3))",
    "[(i, j) for i in range(4) if i % 2 if i for j in range(i)]",
    "{c: ord_ for ord_, c in [(1, 'a'), (2, 'b')]}, {i % 3 for i in range(9)}",
    "tuple(x + 1 for x in (1, 2)), list(i for i in range(3) if i)",
    "[10, 20, 30, 40][1:3], 'abcdef'[::-2], [1, 2][-1], {'a': {'b': 5}}['a']['b'], (1, 2, 3)[:-1]",
    "{'a': 1}.copy(), [1, 2].copy(), {'a': 1} | {'b': 2}",
    "1_000, 0x1F, 1e-5, '\\d', r'\\d', float('inf')",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_have_pythons_value(tmp_path: Path, expression: str) -> None:
    expected = eval(expression.replace("'\\d'", "'\\\\d'", 1))  # the same without a warning about the escape
    found = evaluated(tmp_path, expression)
    assert found == expected
    assert repr(found) == repr(expected)  # 1, 1.0 and True differ, and so does the order of keys


number = st.integers(-999, 999) | st.floats(-1e6, 1e6)
plain = st.recursive(
    st.none() | st.booleans() | number | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcdef", min_size=1, max_size=4), inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=12,
)


@given(value=plain)
def test_literals_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    source = repr(value).replace("{{", "{ {").replace("}}", "} }")
    assert repr(evaluated(tmp_path_factory.mktemp("literal"), source)) == repr(eval(source))


@given(a=number, b=number, operator=st.sampled_from(["+", "-", "*", "/", "//", "%", "<", ">=", "=="]))
def test_arithmetic_is_pythons(tmp_path_factory: pytest.TempPathFactory, a: float, b: float, operator: str) -> None:
    folder = tmp_path_factory.mktemp("arithmetic")
    source = f"({a}) {operator} ({b})"
    try:
        expected = eval(source)
    except ZeroDivisionError:
        with pytest.raises(ConfigError, match=r"zero|modulo"):
            evaluated(folder, source)
    else:
        assert repr(evaluated(folder, source)) == repr(expected)


STATEMENTS = [
    ("a, (b, c) = 1, [2, 3]", {"a": 1, "b": 2, "c": 3}),
    ("a = b = [1]; b += [2]", {"a": [1, 2], "b": [1, 2]}),
    ("a = [1]; b = a; a = a + [2]", {"a": [1, 2], "b": [1]}),
    ("a = 'x'; b = a; a += 'y'", {"a": "xy", "b": "x"}),
    ("a = dict(x=1); b = a; a |= dict(y=2)", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}}),
    ("a = {1, 2}; b = a; a -= {1}", {"a": {2}, "b": {2}}),
    ("a = dict(x=[1, 2]); a['x'][1] += 5; a['z'] = 0", {"a": {"x": [1, 7], "z": 0}}),
    ("a = dict(x=1); b = a.copy(); b['x'] = 2", {"a": {"x": 1}, "b": {"x": 2}}),
    ("a: int = 1\nb: 'nonsense[' = 2\nc: int\npass", {"a": 1, "b": 2}),
    ("a = 1; b = 2\ndel a", {"b": 2}),
    ("x = 5; y = [x for x in range(2)]", {"x": 5, "y": [0, 1]}),
    ("n = 3\ny = [i * n for i in range(n)]", {"n": 3, "y": [0, 3, 6]}),
    ("'text'\n...\n1", {}),
    ("", {}),
    ("\r\na = 1\r\nb = [\r\n2]\r\n", {"a": 1, "b": [2]}),
    ("\ufeffa = 'ü'", {"a": "ü"}),
]


@pytest.mark.parametrize(("source", "expected"), STATEMENTS)
def test_statements(tmp_path: Path, source: str, expected: dict[str, Any]) -> None:
    path = tmp_path / "config.py"
    path.write_bytes(source.encode())
    assert load_config(path) == expected


REFUSED = [
    ("import os; a = os.getcwd()", "an import"),
    ("from os import getcwd; a = getcwd()", "an import"),
    ("from mmaction.models import build; a = build()", "a call"),
    ("import os; a = 1", "an import"),
    ("import mmaction.models; a = mmaction.models()", "a call"),
    ("from mmaction.models import *", "`import *` outside"),
    ("with open('x') as file: pass", "`with`"),
    ("def f(): pass", "a function"),
    ("class A: pass", "a class"),
    ("async def f(): pass", "AsyncFunctionDef"),
    ("a = lambda: 1", "a lambda"),
    ("for i in [1]: a = i", "a `for` loop"),
    ("while True: pass", "a `while` loop"),
    ("if True: a = 1", "an `if` statement"),
    ("try: a = 1\nexcept Exception: pass", "`try`"),
    ("a = (b := 1)", "`:=`"),
    ("a = (i for i in [1])", "a generator outside a call"),
    ("a = [i async for i in [1]]", "async"),
    ("print('x')", "a call"),
    ("a = open('x')", "a call"),
    ("a = eval('1')", "a call"),
    ("a = __import__('os')", "a call"),
    ("a = 'x'.upper()", "a call"),
    ("a = 'x'.copy()", "a call"),
    ("a = dict(x=1).x", "an attribute"),
    ("a = ().__class__", "an attribute"),
    ("a = dict(); a.b = 1", "an attribute"),
    ("a = dict(); del a['b']", "Subscript"),
    ("a, *b = 1, 2", "Starred"),
    ("dict = 5; a = dict(b=1)", "a call"),
    ("a = dict", "the function `dict`"),
    ("a = b", "`b`"),
    ("a = __file__", "`__file__`"),
    ("a = 1 @ 2", "BinOp"),
    ("a = 1 << 2", "BinOp"),
    ("a = b'x'", "a bytes"),
    ("a = 1j", "a complex"),
    ("a = (-1) ** 0.5", "a complex"),
    ("a = ...", "a ellipsis"),
    ("assert True", "Assert"),
    ("global a", "Global"),
]


@pytest.mark.parametrize(("source", "what"), REFUSED)
def test_all_else_is_refused_by_name_and_line(tmp_path: Path, source: str, what: str) -> None:
    path = write(tmp_path, "config.py", f"first = 1\n\n{source}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.where.startswith(f"{path}:3")
    assert what in caught.value.found


FAILING = [
    ("a = 1 / 0", "division by zero"),
    ("a = [1][5]", "out of range"),
    ("a = {}['k']", "'k'"),
    ("a = 1 + 'x'", "unsupported operand"),
    ("a = {[]: 1}", "unhashable"),
    ("a = int('x')", "invalid literal"),
    ("a, b = 1, 2, 3", "longer"),
    ("a, b = 1", "not iterable"),
    ("del a", "'a'"),
    ("a = f'{[]:5}'", "unsupported format"),
    ("a = dict(x=1, x=2)", "`['x']` again"),
    ("a = dict(**[1])", "`[1]`"),
    ("a = '%d' % 'x'", "%d format"),
    ("a = range(1.5)", "float"),
    ("a = range(3, 9, 0)", "zero"),
    ("a = 10.0 ** 400", "range"),
]


@pytest.mark.parametrize(("source", "what"), FAILING)
def test_what_fails_in_python_fails_here_with_the_line(tmp_path: Path, source: str, what: str) -> None:
    path = write(tmp_path, "config.py", f"first = 1\n{source}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.where == f"{path}:2"
    assert what in caught.value.found


def test_a_config_of_the_largest_size_is_read(tmp_path: Path) -> None:
    classes = [f"class {i}" for i in range(9000)]
    text = f"a = dict(b=dict(c=dict(classes={classes!r})))"
    assert 0.9 * MAX_FILE_BYTES < len(text) < MAX_FILE_BYTES
    assert load_config(write(tmp_path, "config.py", text)) == {"a": {"b": {"c": {"classes": classes}}}}


def test_a_syntax_error_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "config.py", "a = 1\nb = = 2\n")
    with pytest.raises(ConfigError, match="invalid syntax") as caught:
        load_config(path)
    assert caught.value.where == f"{path}:2"


# --- bases ------------------------------------------------------------------------------------------------------------


def test_child_is_merged_over_its_bases(tmp_path: Path) -> None:
    write(tmp_path, "base/model.py", "model = dict(type='A', backbone=dict(type='ResNet', depth=50), head=dict(n=1))")
    write(tmp_path, "base/runtime.py", "_base_ = 'deeper.py'\nlog = dict(interval=20)\nworkflow = [1]")
    write(tmp_path, "base/deeper.py", "level = 'INFO'\nlog = dict(hooks=['text'], interval=1)")
    child = write(
        tmp_path,
        "tsn/child.py",
        "_base_ = ['../base/model.py', '../base/runtime.py']\n"
        "model = dict(backbone=dict(depth=101), head=dict(_delete_=True, m=dict(_delete_=True, k=2)), neck=None)\n"
        "workflow = dict(a=1)\n"
        "new = dict(_delete_=True, b=dict(_delete_=False, c=1))\n".replace("workflow = dict(a=1)", "workflow = [2]"),
    )
    config = load_config(child)
    assert config == {
        "model": {
            "type": "A",
            "backbone": {"type": "ResNet", "depth": 101},
            "head": {"m": {"k": 2}},
            "neck": None,
        },
        "level": "INFO",
        "log": {"hooks": ["text"], "interval": 20},
        "workflow": [2],
        "new": {"b": {"c": 1}},
    }
    assert list(config) == ["model", "level", "log", "workflow", "new"]


def test_base_references(tmp_path: Path) -> None:
    write(tmp_path, "base.py", "a = dict(b=dict(c=[1, 2]), n=3)\npipeline = [dict(type='X')]")
    child = write(
        tmp_path,
        "child.py",
        "_base_ = './base.py'\n"
        "x = {{ _base_.a.b }}\n"
        "y = [*{{_base_.pipeline}}, {{ _base_.a.n }} + 1]\n"
        "z = _base_.a.b.c[1] + _base_['a']['n']\n",
    )
    config = load_config(child)
    assert config["x"] == {"c": [1, 2]}
    assert config["y"] == [{"type": "X"}, 4]
    assert config["z"] == 5
    assert "_base_" not in config


def test_a_missing_base_reference(tmp_path: Path) -> None:
    write(tmp_path, "base.py", "a = dict(b=1)")
    for reference in ("_base_.c", "_base_.a.c", "{{ _base_.a.b.c }}"):
        child = write(tmp_path, "child.py", f"_base_ = 'base.py'\nx = {reference}\n")
        with pytest.raises(ConfigError, match="a key that the bases define") as caught:
            load_config(child)
        assert caught.value.where == f"{child}:2"


def test_file_variables_are_filled_in(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "my config.py",
        "a = '{{ fileDirname }}/x'\nb = '{{fileBasename}}'\nc = '{{  fileBasenameNoExtension }}'\n"
        "d = '{{fileExtname}}'\ne = '{{ other }}'",
    )
    assert load_config(path) == {
        "a": f"{tmp_path}/x",
        "b": "my config.py",
        "c": "my config",
        "d": ".py",
        "e": "{{ other }}",
    }


def test_a_child_does_not_see_names_of_its_base(tmp_path: Path) -> None:
    write(tmp_path, "base.py", "a = 1")
    child = write(tmp_path, "child.py", "_base_ = 'base.py'\nb = a\n")
    with pytest.raises(ConfigError, match=r"`_base_\.name`"):
        load_config(child)


def test_bases_that_share_a_key(tmp_path: Path) -> None:
    write(tmp_path, "one.py", "a = 1\nmodel = 2")
    write(tmp_path, "two.py", "b = 1\nmodel = 2")
    child = write(tmp_path, "child.py", "_base_ = ['one.py', 'two.py']")
    with pytest.raises(ConfigError, match=r"model again in `two\.py`"):
        load_config(child)


def test_a_dict_over_something_else(tmp_path: Path) -> None:
    write(tmp_path, "base.py", "model = dict(head=[1])")
    child = write(tmp_path, "child.py", "_base_ = 'base.py'\nmodel = dict(head=dict(n=1))")
    with pytest.raises(ConfigError, match=r"`model\.head`.*of type list.*_delete_=True"):
        load_config(child)
    write(tmp_path, "child.py", "_base_ = 'base.py'\nmodel = dict(head=dict(_delete_=True, n=1))")
    assert load_config(child) == {"model": {"head": {"n": 1}}}


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_json_and_yaml(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, "base.py", "model = dict(type='A', depth=50)\nn = [1, 2]")
    path = write(
        tmp_path,
        f"config{suffix}",
        '{"_base_": "base.py", "model": {"depth": 18}, "m": {{ _base_.n }}, "name": "{{fileBasename}}"}',
    )
    assert load_config(path) == {
        "model": {"type": "A", "depth": 18},
        "n": [1, 2],
        "m": [1, 2],
        "name": f"config{suffix}",
    }


def test_yaml_is_a_base_of_python(tmp_path: Path) -> None:
    write(tmp_path, "base.yml", "model:\n  type: A\n  depth: 50\n")
    assert load_config(write(tmp_path, "c.py", "_base_ = 'base.yml'\nmodel = dict(depth=18)")) == {
        "model": {"type": "A", "depth": 18}
    }


# --- overrides --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", 1),
        ("a=-1.5e3", -1500.0),
        ("a=true", True),
        ("a=FALSE", False),
        ("a=None", None),
        ("a=none", "none"),
        ("a=text", "text"),
        ("a='quoted text'", "quoted text"),
        ('a="(1,2)"', (1, 2)),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=1,2,x", [1, 2, "x"]),
        ("a=1,", [1]),
        ("a=[]", []),
        ("a=()", ()),
        ("a=[1, 2.0, true]", [1, 2.0, True]),
        ("a=(1)", (1,)),
        ("a=[(a,b),(c,d)]", [("a", "b"), ("c", "d")]),
        ("a=(1,2),(3,4)", [(1, 2), (3, 4)]),
        ("a=[[1],[2,[3]]]", [[1], [2, [3]]]),
        ("a=f(1", "f(1"),
        ("a=f(1,2)", "f(1,2)"),
        ("a=,1", ["", 1]),
        ("a='x','y'", ["x", "y"]),
        ("a=data/[x].txt", "data/[x].txt"),
    ],
)
def test_override_values_are_typed_as_mmcv_types_them(text: str, expected: Any) -> None:
    key, value = parse_override(text)
    assert key == "a"
    assert repr(value) == repr(expected)


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".a=1", "a.=1", "", "a=[1,2", "a=(1,2]", "a=1,2)", "a=[1]],2"])
def test_malformed_overrides(text: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        parse_override(text)


@given(text=st.text("a.=,()[]'\" 1eE-+nNtrue", max_size=30))
def test_overrides_never_fail_otherwise(text: str) -> None:
    try:
        key, _ = parse_override(text)
    except ConfigError:
        return
    assert all(key.split("."))


def test_overrides_are_merged(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "c.py",
        "model = dict(a=1, b=dict(c=2))\npipeline = [dict(type='X', n=1), dict(type='Y')]\nscales = [1, 2]",
    )
    overrides = {
        "model.b.c": 3,
        "model.b.d.e": "new",
        "pipeline.0.n": 25,
        "pipeline.1": {"_delete_": True, "type": "Z"},
        "scales.1": 7,
        "model.a": {"k": 1, "_delete_": True},
        "top": [1],
    }
    before = load_config(path)
    after = load_config(path, overrides)
    assert after == {
        "model": {"a": {"k": 1}, "b": {"c": 3, "d": {"e": "new"}}},
        "pipeline": [{"type": "X", "n": 25}, {"type": "Z"}],
        "scales": [1, 7],
        "top": [1],
    }
    assert apply_overrides(before, overrides) == after
    assert before == load_config(path)  # neither the config nor the overrides were touched
    assert overrides["pipeline.1"] == {"_delete_": True, "type": "Z"}


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        ({"pipeline.2.n": 1}, r"`pipeline\.2`"),
        ({"pipeline.-1.n": 1}, r"`pipeline\.-1`"),
        ({"pipeline.x": 1}, r"`pipeline\.x`"),
        ({"pipeline.²": 1}, r"`pipeline\.²`"),
        ({"empty.0": 1}, r"`empty\.0`"),
        ({"depth.x": 1}, "`depth`"),
        ({"neck.x": 1}, "`neck`"),
        ({"pair.0": 1}, "`pair`"),
        ({"new": 1, "new.x": 2}, r"`new\.x`"),
    ],
)
def test_overrides_that_lead_nowhere(overrides: dict[str, Any], where: str) -> None:
    config = {"pipeline": [{"n": 1}, {"n": 2}], "depth": 50, "neck": None, "pair": (1, 2), "empty": []}
    with pytest.raises(ConfigError, match=where):
        apply_overrides(config, overrides)
