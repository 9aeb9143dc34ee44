"""The npz file: keys that `numpy.load` takes for others, and entries that are not arrays."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sink_rows import same, write

from vidfeat.errors import UsageError
from vidfeat.formats import Unreadable, open_sink


def test_names_that_numpy_would_confuse_are_refused(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a.npz")
    for keys in (["a", "b", "a.npy"], ["b", "a.npy", "a"]):
        with pytest.raises(UsageError, match=r"video [23]: .*numpy\.load.*found 'a\.npy' and 'a'"):
            sink.check_keys(keys)
    with pytest.raises(UsageError, match=r"video 2: .*at most 65535 bytes"):
        sink.check_keys(["a", "ж" * 40_000])
    write(sink, [("a.npy", [1.0]), ("/b", [2.0]), ("../c", [3.0]), ("d/", [4.0])])
    with np.load(sink.out) as file:
        assert [file[key].tolist() for key in ("a.npy", "/b", "../c", "d/")] == [[1], [2], [3], [4]]


def test_the_file_to_the_byte(tmp_path: Path) -> None:
    sink = write(open_sink(tmp_path / "a.npz"), [("é", [1.0])])
    data = sink.out.read_bytes()
    assert data.startswith(b"PK\x03\x04\x2d\x00\x00\x08\x00\x00\x00\x00\x21\x00")
    with zipfile.ZipFile(sink.out) as archive:
        (info,) = archive.infolist()
    assert (info.filename, info.compress_type, info.date_time) == ("é.npy", zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
    assert data[30 + 6 :].startswith(b"\x01\x00\x10\x00" + (132).to_bytes(8, "little") * 2)  # sizes, as ZIP64


def test_other_entries_are_unreadable_alone(tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    array = io.BytesIO()
    np.save(array, np.ones(4, np.float32))
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object))
    huge = array.getvalue().replace(b"(4,), }      ", b"(4000000,), }")
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("good.npy", array.getvalue())
        archive.writestr("packed.npy", array.getvalue(), zipfile.ZIP_DEFLATED)
        archive.writestr("text.npy", "text")
        archive.writestr("objects.npy", objects.getvalue())
        archive.writestr("huge.npy", huge)
        archive.writestr("damaged.npy", array.getvalue()[:-4] + b"\x01\x02\x03\x04")
        archive.writestr("other.txt", "text")
    data = out.read_bytes()
    assert data.count(b"\x01\x02\x03\x04PK") == 1
    out.write_bytes(data.replace(b"\x01\x02\x03\x04PK", b"\x01\x02\x03\x05PK"))
    sink = open_sink(out)
    names = ["packed", "text", "objects", "huge", "damaged"]
    for row in sink.read(names):
        assert isinstance(row, Unreadable)
    same(sink.read(["good", "other.txt", "absent"]), [np.ones(4), None, None])
    (reason,) = sink.read(["huge"])
    assert reason.reason == "cannot be read: 16 bytes of numbers instead of 16000000"
    assert sorted(sink.keys()) == sorted([*names, "good", "other.txt"])
