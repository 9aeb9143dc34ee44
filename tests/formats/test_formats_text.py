"""JSON and YAML: exact numbers, and no expansion of what is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sink_rows import same, write

from vidfeat.errors import OutputError
from vidfeat.formats import open_sink

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
arrays = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=5), elements=finite)
rows = st.lists(st.none() | arrays, max_size=5)


def text_of(out: Path, values: list[np.ndarray | None]) -> bytes:
    write(open_sink(out), [(f"{index}", row) for index, row in enumerate(values)])
    return out.read_bytes()


@given(rows)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_is_that_of_a_list(tmp_path: Path, expected: list[np.ndarray | None]) -> None:
    data = text_of(tmp_path / "feats.json", expected)
    same(json.loads(data), expected)
    assert data == (json.dumps([None if row is None else row.tolist() for row in expected]) + "\n").encode()


@given(rows)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_yaml_is_that_of_pyyaml(tmp_path: Path, expected: list[np.ndarray | None]) -> None:
    data = text_of(tmp_path / "feats.yaml", expected)
    found = yaml.safe_load(data)
    same(found, expected)
    assert all(type(x) is float for row in found if row is not None for x in np.asarray(row, object).flat)
    if expected:
        lines = [None if row is None else row.tolist() for row in expected]
        by_pyyaml = b"".join(
            b"- " + yaml.safe_dump(line, default_flow_style=True, width=1 << 30).encode().removesuffix(b"...\n")
            for line in lines
        )
        assert data == by_pyyaml


def test_text_to_the_byte(tmp_path: Path) -> None:
    three = [np.array([1, 1e-5, 1.5e-7, -1e20], np.float32), None, np.array([[0.5], [-0.0]], np.float32)]
    assert text_of(tmp_path / "a.json", three) == (
        b"[[1.0, 9.999999747378752e-06, 1.500000053056283e-07, -1.0000000200408773e+20], null, [[0.5], [-0.0]]]\n"
    )
    assert text_of(tmp_path / "a.yaml", [np.array([2.0**-20, 2.0**60 * 0 + 1e16], np.float32), None]) == (
        b"- [9.5367431640625e-07, 1.0000000272564224e+16]\n- null\n"
    )
    assert text_of(tmp_path / "a.yaml", [np.array([2.0**100], np.float32)]) == b"- [1.2676506002282294e+30]\n"
    assert text_of(tmp_path / "a.json", []) == b"[]\n"
    assert text_of(tmp_path / "a.yaml", []) == b"[]\n"


def test_numbers_without_a_point_get_one(tmp_path: Path) -> None:
    """No float32 is spelt so today: rows of float64 stand for what another Python may spell."""
    from vidfeat.formats.yaml_list import YamlSink

    with (tmp_path / "a.yaml").open("x+b") as file:
        YamlSink(tmp_path / "a.yaml").dump(iter([np.array([1e-5, 1e22, -2e-07, 12.5e-9, 1.5])]), file)
    assert (tmp_path / "a.yaml").read_text() == "- [1.0e-05, 1.0e+22, -2.0e-07, 1.25e-08, 1.5]\n"


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.json", "{}", "expected a list with a row per video; found dict"),
        ("a.json", "[" * 100_000, "RecursionError"),
        ("a.json", "[1", "JSONDecodeError"),
        ("a.yaml", "1", "expected a list with a row per video; found int"),
        ("a.yaml", "a: 1", "not part of a list of numbers"),
        ("a.yaml", "- !!python/object/apply:print ['boom']\n", "not part of a list of numbers"),
        ("a.yaml", "- &a [1.0, 1.0]\n- [*a, *a]\n", "not part of a list of numbers"),
    ],
)
def test_other_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, found: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(OutputError, match=found):
        open_sink(tmp_path / name).read([])
    assert "boom" not in capsys.readouterr().out
