"""The HDF5 file: times, keys that are folders of others, links to elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from sink_rows import features, same, write

from vidfeat.errors import OutputError, UsageError
from vidfeat.formats import Unreadable, open_sink


@pytest.mark.parametrize("rows", [3, 20_000])
def test_times_lie_beside_the_rows(tmp_path: Path, rows: int) -> None:
    sink = open_sink(tmp_path / "a.h5")
    row = features("a/b.mp4", np.ones((rows, 2)), times=True)
    sink.finalize([("a/b.mp4", row), ("c.mp4", features("c.mp4", [1.0]))])
    with h5py.File(sink.out) as file:
        dataset = file["a/b.mp4"]
        assert (dataset.dtype, dataset.chunks, dataset.shape) == (np.dtype("<f4"), None, (rows, 2))
        for name, expected in (("start_seconds", row.start_seconds), ("end_seconds", row.end_seconds)):
            assert dataset.attrs[name].dtype == np.float64
            np.testing.assert_array_equal(dataset.attrs[name], expected)
        assert dict(file["c.mp4"].attrs) == {}


def test_keys_that_hdf5_takes_for_one_or_for_folders_are_refused(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a.h5")
    for keys in (["a", "b", "a/b"], ["a/b/c", "a"], ["/a", "a/b"]):
        with pytest.raises(UsageError, match="expected names of which none is the folder of another; found the video"):
            sink.check_keys(keys)
    for other in ("/a/b", "a//b", "./a/./b"):
        with pytest.raises(UsageError, match=r"video 2: .* and 'a/b', which are the same there"):
            sink.check_keys(["a/b", other])
    for key in ("", ".", "/"):
        with pytest.raises(UsageError, match=r"video 1: expected a unique name that HDF5 can hold; found '[./]?'"):
            sink.check_keys([key])


def test_absolute_paths_and_dots(tmp_path: Path) -> None:
    keys = ["/data/a.mp4", "../b.mp4", "../c/d.mp4"]
    sink = write(open_sink(tmp_path / "a.h5"), [(key, [index]) for index, key in enumerate(keys)])
    same(sink.read(keys), [np.array([index]) for index in range(3)])
    assert list(sink.orphans(keys, present=3)) == []
    assert list(sink.orphans(keys[:1], present=1)) == ["../b.mp4", "../c/d.mp4"]
    with h5py.File(sink.out) as file:
        assert [file[key][:].tolist() for key in keys] == [[0], [1], [2]]


def test_nothing_outside_of_the_file_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    write(open_sink(secret), [("a", [1.0])])
    sink = write(open_sink(tmp_path / "a.h5"), [("good", [1.0]), ("group/a", [1.0])])
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(16))
    layout = h5py.VirtualLayout((1,), "<f4")
    layout[:] = h5py.VirtualSource(secret, "a", (1,))
    with h5py.File(sink.out, "a") as file:
        file["link"] = h5py.ExternalLink(secret, "a")
        file["folder"] = h5py.ExternalLink(secret, "/")
        file["soft"] = h5py.SoftLink("good")
        file.create_dataset("raw", (4,), "<f4", external=[(str(raw), 0, 16)])
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("packed", data=np.zeros(1 << 20, np.float32), compression="gzip")
        file.create_dataset("unwritten", (1 << 40,), "<f4")
        file.create_dataset("text", data="text")
    names = ["link", "folder/a", "soft", "raw", "virtual", "packed", "unwritten", "text"]
    assert [name for name, row in zip(names, sink.read(names), strict=True) if not isinstance(row, Unreadable)] == []
    same(sink.read(["good", "group", "group/a", "absent", "absent/a"]), [np.ones(1), None, np.ones(1), None, None])


def test_without_h5py_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for use in (sink.prepare, sink.keys, lambda: sink.read([]), lambda: sink.finalize([])):
        with pytest.raises(UsageError, match=r"the package h5py.*Install it with: pip install 'h5py>="):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_open_elsewhere_is_replaced(tmp_path: Path) -> None:
    sink = write(open_sink(tmp_path / "a.h5"), [("a", [1.0])])
    with h5py.File(sink.out) as file:
        write(sink, [("a", [2.0])])
        assert file["a"][:] == [1.0]
    same(sink.read(["a"]), [np.array([2.0])])
    with pytest.raises(OutputError, match="no such file"):
        open_sink(tmp_path / "b.h5").read(["a"])
