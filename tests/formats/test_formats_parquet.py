"""The Parquet file: its columns, several rows per video, and files that are not as it writes them."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink_rows import features, read_elsewhere, same, write

import vidfeat
from vidfeat.errors import OutputError, UsageError
from vidfeat.formats import Unreadable, open_sink
from vidfeat.formats import parquet as module
from vidfeat.preprocessing.windows import Windows
from vidfeat.recipe import ResizeShortEdge


@given(
    axes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    rows=st.lists(st.integers(0, 20), max_size=8),
    group=st.integers(1, 200),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_values_are_exact_wherever_row_groups_end(
    tmp_path_factory: pytest.TempPathFactory, axes: list[int], rows: list[int], group: int
) -> None:
    random = np.random.default_rng(len(rows))
    made: list[tuple[str, Any]] = []
    for number, count in enumerate(rows):
        # Without a row axis only where there is one axis: elsewhere, the first axis is that of the rows.
        shape = axes if count == 0 and len(axes) == 1 else [max(1, count), *axes]
        made.append((f"{number}", None if count == 7 else random.standard_normal(shape).astype(np.float32)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GROUP_BYTES", group)
        sink = write(open_sink(tmp_path_factory.mktemp("out") / "a.parquet"), made)
    keys, values = [key for key, _ in made], [value for _, value in made]
    same(sink.read(keys), values)
    same(sink.read(["absent", *keys[::-1]]), [None, *values[::-1]])
    assert list(sink.keys()) == [key for key, value in made if value is not None]


def test_its_columns(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a.parquet")
    rows = [features("a.mp4", np.arange(6).reshape(3, 2), times=True), features("b.mp4", [7.0, 8.0])]
    sink.finalize([(row.key, row) for row in rows])
    table = pq.read_table(sink.out)
    assert table.schema.types == [pa.string(), pa.int32(), pa.float64(), pa.float64(), pa.list_(pa.float32(), 2)]
    assert table.to_pylist() == [
        {"key": "a.mp4", "row": 0, "start_seconds": 0.0, "end_seconds": 1.5, "values": [0, 1]},
        {"key": "a.mp4", "row": 1, "start_seconds": 1 / 3, "end_seconds": 1 / 3 + 1.5, "values": [2, 3]},
        {"key": "a.mp4", "row": 2, "start_seconds": 2 / 3, "end_seconds": 2 / 3 + 1.5, "values": [4, 5]},
        {"key": "b.mp4", "row": None, "start_seconds": None, "end_seconds": None, "values": [7, 8]},
    ]
    (first, second) = sink.read_times(["a.mp4", "b.mp4"])
    assert first is not None
    assert [seconds.tobytes() for seconds in first] == [rows[0].start_seconds.tobytes(), rows[0].end_seconds.tobytes()]
    assert second is None


def test_other_programs_read_kept_axes(tmp_path: Path) -> None:
    values = [np.random.default_rng(n).standard_normal((n, 2, 3)).astype(np.float32) for n in (1, 4)]
    sink = write(open_sink(tmp_path / "a.parquet"), [("a", values[0]), ("b", values[1])])
    same(read_elsewhere(sink, ["a", "b"], tmp_path / "into"), values)


def test_rows_of_other_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"expected rows of one shape, .* \[2\]; found \[3\] of 'b'.*vidfeat convert"):
        write(open_sink(tmp_path / "a.parquet"), [("a", [1.0, 2.0]), ("b", [1.0, 2.0, 3.0])])
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="video 2: expected a name that is Unicode text"):
        open_sink(tmp_path / "a.parquet").check_keys(["a", "caf\udce9.mp4"])


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(tmp_path / "a.parquet")
    for library in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, library, None)
    for use in (sink.prepare, sink.keys, lambda: sink.read([]), lambda: sink.finalize([])):
        with pytest.raises(UsageError, match=r"the package pyarrow.*Install it with: pip install"):
            use()
    assert list(tmp_path.iterdir()) == []


def table_of(**columns: Any) -> pa.Table:
    plain = {
        "key": ["a", "a", "b"],
        "row": [0, 1, None],
        "start_seconds": [0.0, 1, None],
        "end_seconds": [1.0, 2, None],
    }
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 2)
    return pa.table({**plain, "values": values, **columns})


def test_tables_of_other_programs(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a.parquet")
    pq.write_table(table_of(label=["x", "y", "z"]), sink.out, compression="none", use_dictionary=False)
    same(sink.read(["b", "a"]), [np.array([4, 5]), np.array([[0, 1], [2, 3]])])
    for columns in (
        {"row": [1, 0, None]},
        {"row": [None, None, None]},
        {"values": pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 2, pa.float32()), 2).take([0, None, None])},
    ):
        pq.write_table(table_of(**columns), sink.out, compression="none", use_dictionary=False)
        assert isinstance(next(sink.read(["a"])), Unreadable)
    bomb = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(3_000_000, np.float32)), 1_000_000)
    for columns, options in (
        ({"values": bomb}, {"compression": "zstd"}),
        ({"values": bomb}, {"compression": "none", "use_dictionary": ["values.list.element"]}),
        ({"values": pa.array([[1.0], [1.0], [2.0]])}, {}),
        ({"values": ["x", "y", "z"]}, {}),
        ({"key": ["a", "b", "a"]}, {"compression": "none", "use_dictionary": False}),
        ({"key": [None, None, "a"]}, {"compression": "none", "use_dictionary": False}),
        ({"key": [1, 2, 3]}, {"compression": "none", "use_dictionary": False}),
    ):
        pq.write_table(table_of(**columns), sink.out, **options)
        with pytest.raises(OutputError, match="expected an output that can be read"):
            sink.read(["a"])
    pq.write_table(pa.table({"x": [1]}), sink.out)
    with pytest.raises(OutputError, match="expected an output that can be read"):
        sink.keys()


def test_a_long_key_is_in_memory_once(tmp_path: Path) -> None:
    count, size = 3000, 1 << 20
    keys = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * size])
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(count, np.float32)), 1)
    seconds = pa.array([None] * count, pa.float64())
    columns = {"key": keys, "row": list(range(count)), "start_seconds": seconds, "end_seconds": seconds}
    options = {"compression": "none", "use_dictionary": ["key"]}
    pq.write_table(pa.table({**columns, "values": values}), tmp_path / "a.parquet", **options)
    assert (tmp_path / "a.parquet").stat().st_size < 10 * size
    before = pa.default_memory_pool().max_memory()
    (found,) = open_sink(tmp_path / "a.parquet").read(["x" * size])
    assert found.shape == (count, 1)
    assert pa.default_memory_pool().max_memory() < max(before, 100 * size)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_damage_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    sink = write(open_sink(tmp_path_factory.mktemp("out") / "a.parquet"), [("a", [1.0, 2.0]), ("b", [[3.0, 4.0]])])
    raw = bytearray(sink.out.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    sink.out.write_bytes(raw[: data.draw(st.integers(len(raw) - 9, len(raw)))])
    with contextlib.suppress(OutputError):
        for row in sink.read(["a", "b"]):
            assert row is None or isinstance(row, Unreadable | np.ndarray)


def test_axes_that_depend_on_the_video_are_refused_before_the_run(repository: Path, tmp_path: Path) -> None:
    config = str(repository / "examples" / "tiny_slowonly.py")
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    made: Any = vidfeat.encoder(config, checkpoint=checkpoint)

    def job(axis: str, out: str, grid: Windows, **changes: Any) -> vidfeat.Job:
        encoder = dataclasses.replace(made, recipe=dataclasses.replace(made.recipe, **changes))
        pooling = vidfeat.Pooling(**{axis: "keep"})
        return vidfeat.Job(videos="a.mp4", encoders=encoder, grid=grid, pooling=pooling, out=tmp_path / out)

    frames, seconds = Windows(stride=8, window=16), Windows(stride="1s", window="1s")
    whole = (ResizeShortEdge(64),)  # as wide as the video
    with pytest.raises(UsageError, match=r"pooling.space: expected avg or max.* the size of the video"):
        job("space", "f.parquet", frames, transforms=whole)
    job("space", "f.npz", frames, transforms=whole)
    job("space", "f.parquet", frames)  # which crops
    job("time", "f.parquet", seconds)  # of clips, which have 8 frames
    single = dataclasses.replace(made.preprocess, sampling=seconds)
    assert not single.clips_of_one_length
    assert dataclasses.replace(single, sampling=frames).clips_of_one_length
    assert dataclasses.replace(single, sampling=dataclasses.replace(seconds, fps=25)).clips_of_one_length
    assert not list(tmp_path.iterdir())
