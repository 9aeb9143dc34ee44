"""The files of folders: times inside, and files that other programs wrote or that are hostile."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sink_rows import features, write

from vidfeat.formats import Unreadable, open_sink
from vidfeat.formats.video_file import CSV, NPZ


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("boom",))


@given(hnp.arrays(np.float32, st.integers(1, 9), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_csv_tells_all_numbers_apart(values: np.ndarray) -> None:
    file = io.BytesIO()
    CSV.write(file, features("a", values))
    as_float64 = np.array(file.getvalue().split(b"\n")[1].split(b","), np.float64)
    assert as_float64.astype(np.float32).tobytes() == values.tobytes()


def test_csv_to_the_byte() -> None:
    written = io.BytesIO()
    CSV.write(written, features("a", [[0.1, -0.0], [1e-20, 3.4028235e38]], times=True))
    assert written.getvalue() == (
        b"row,start_seconds,end_seconds,0,1\n0,0.0,1.5,0.100000001,-0\n"
        b"1,0.3333333333333333,1.8333333333333333,9.99999968e-21,3.40282347e+38\n"
    )
    written = io.BytesIO()
    CSV.write(written, features("a", [0.5, 1]))
    assert written.getvalue() == b"0,1\n0.5,1\n"
    written = io.BytesIO()
    CSV.write(written, features("a", [[[1, 2], [3, 4]]]))
    assert written.getvalue() == b"row,0/0,0/1,1/0,1/1\n0,1,2,3,4\n"


@pytest.mark.parametrize("file", [NPZ, CSV], ids=lambda file: file.name)
def test_times_are_in_the_file(tmp_path: Path, file: Any) -> None:
    path = tmp_path / "a"
    row = features("a", np.ones((3, 2, 4)), times=True)
    with path.open("wb") as target:
        file.write(target, row)
    values, (start, end) = file.read(path)
    assert np.shape(values) == (3, 2, 4)
    assert start.tobytes() == row.start_seconds.tobytes()
    assert end.tobytes() == row.end_seconds.tobytes()


def test_npz_as_numpy_reads_it(tmp_path: Path) -> None:
    for times, names in ((True, ["features", "start_seconds", "end_seconds"]), (False, ["features"])):
        with (tmp_path / "a.npz").open("wb") as target:
            NPZ.write(target, features("a", [[1, 2]], times=times))
        with np.load(tmp_path / "a.npz") as file:
            assert file.files == names


def test_other_tensors_are_unreadable_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = write(open_sink(tmp_path / "{key}.pt"), [("good", [1.0, 2.0])])
    values = {
        "code": Boom(),
        "dict": {"features": torch.ones(2)},
        "list": [1.0],
        "expanded": torch.ones(1).expand(1_000_000_000),
        "sparse": torch.ones(2, 2).to_sparse(),
    }
    for name, value in values.items():
        torch.save(value, tmp_path / f"{name}.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as archive, zipfile.ZipFile(tmp_path / "packed.pt", "w", 8) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    torch.save(torch.arange(6.0).reshape(2, 3).T, tmp_path / "transposed.pt")
    names = [*values, "packed"]
    assert all(isinstance(row, Unreadable) for row in sink.read(names))
    *_, transposed = sink.read([*names, "transposed"])
    assert transposed.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert "boom" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0,1\n",
        "0,1\n1,2\n3,4\n",
        "row,0\n0,a\n",
        "row,0,1\n0,1\n",
        "0,2\n1,2\n",
        "row\n0\n",
        "0/0,1/1\n1,2\n",
        "0,99999999999\n1,2\n",
        "row,9/9/9/999999999\n0,1\n",
        "name,0\na,1\n",
        "0,1\n1,2\n\n",
    ],
)
def test_other_tables_are_unreadable_alone(tmp_path: Path, text: str) -> None:
    sink = write(open_sink(tmp_path / "{key}.csv"), [("good", [1.0, 2.0])])
    (tmp_path / "other.csv").write_text(text)
    other, good = sink.read(["other", "good"])
    assert isinstance(other, Unreadable)
    assert list(good) == [1, 2]


def test_a_named_array_is_what_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", feats=np.ones(2))
    np.savez(tmp_path / "b.npz", features=np.ones(2))
    np.savez_compressed(tmp_path / "c.npz", features=np.ones(2))
    first, second, third = open_sink(tmp_path / "{key}.npz").read("abc")
    assert second.tolist() == [1, 1]
    assert (first.reason, third.reason[:25]) == ("cannot be read: no array 'features'", "cannot be read: an entry ")
