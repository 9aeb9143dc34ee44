"""The folder: names of its files, and what is not followed, not taken, and not read."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sink_rows import features, same, write

from vidfeat.errors import OutputError, UsageError, WriteError
from vidfeat.formats import FolderSink, Unreadable, open_sink


def folder(tmp_path: Path) -> FolderSink:
    sink = open_sink(tmp_path / "feats")
    assert isinstance(sink, FolderSink)
    return sink


def test_npy_to_the_byte(tmp_path: Path) -> None:
    assert folder(tmp_path).write([features("a/clip.mp4", [1, 2])]) == {}
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    expected = header + b" " * (127 - len(header)) + b"\n" + bytes.fromhex("0000803f00000040")
    assert (tmp_path / "feats/a/clip.npy").read_bytes() == expected


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_of_files(tmp_path: Path) -> None:
    sink = folder(tmp_path)
    for key, expected in [
        ("clip.mp4", "clip.npy"),
        ("a/b c.AVI", "a/b c.npy"),
        ("v1.5", "v1.5.npy"),
        ("a.b.mkv", "a.b.npy"),
        (".mp4", ".mp4.npy"),
        ("clip.npy", "clip.npy.npy"),
    ]:
        sink.check_keys([key])
        assert sink.path_of(key) == tmp_path / "feats" / expected


def test_keys_of_a_folder_can_be_read(tmp_path: Path) -> None:
    keys = ["clip.mp4", "a/b c.AVI", "v1.5", ".mp4", "clip.npy", "x.mp4.mp4"]
    sink = write(folder(tmp_path), [(key, [index]) for index, key in enumerate(keys)])
    found = list(sink.keys())
    assert sorted(found) == sorted(["clip", "a/b c", "v1.5", ".mp4", "clip.npy", "x.mp4.mp4"])
    assert sorted(float(row[0]) for row in sink.read(found)) == list(range(6))
    assert list(sink.orphans(keys, present=6)) == []
    assert list(sink.orphans(keys[2:], present=4)) == ["a/b c.npy", "clip.npy"]
    with pytest.raises(OutputError, match="expected a folder that can be read; found No such file"):
        list(folder(tmp_path / "elsewhere").keys())


def test_videos_that_differ_by_their_suffix_keep_it(tmp_path: Path) -> None:
    keys = ["old.wmv", "old.flv", "new.mp4", "b/old.MP4", "b/old", "old/x.mkv"]
    sink = write(folder(tmp_path), [(key, [number]) for number, key in enumerate(keys)])
    names = ["old.wmv", "old.flv", "new", "b/old.MP4", "b/old", "old/x"]
    assert [sink.path_of(key) for key in keys] == [sink.out / f"{name}.npy" for name in names]
    same(sink.read(keys), [np.array([number]) for number in range(6)])
    assert list(sink.orphans(keys, 6)) == []
    assert folder(tmp_path).for_keys(keys[1:]).path_of("old.flv") == sink.out / "old.npy"


def test_names_that_collide_are_refused_upfront(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"video 3: .*'a.avi.mp4' and 'a.avi', which would both be 'a.avi.npy'"):
        folder(tmp_path).check_keys(["a.mp4", "a.avi", "a.avi.mp4"])
    with pytest.raises(UsageError, match=r"'a.npy/b.mp4'.*the output of 'a.mp4'"):
        folder(tmp_path).check_keys(["a.mp4", "a.npy/b.mp4"])
    open_sink(tmp_path / "feats.pkl").check_keys(["a.mp4", "a.avi", "../b.mp4"])


@pytest.mark.parametrize("key", ["../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "..", "", ".", "a\0.mp4", "//x/y.mp4"])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    sink = folder(tmp_path)
    for use in (
        lambda: sink.check_keys(["ok.mp4", key]),
        lambda: sink.write([features(key, [1])]),
        lambda: sink.delete(key),
        lambda: sink.holds(key),
    ):
        with pytest.raises(UsageError, match=r"a relative path without '..'"):
            use()
    (row,) = sink.read([key])
    assert isinstance(row, Unreadable)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "key", ["x" * 252 + ".mp4", "x" * 256 + "/a.mp4", "/".join(["x" * 200] * 21), "ж" * 127 + ".mp4"]
)
def test_a_name_that_the_system_cannot_take_fails_alone(tmp_path: Path, key: str) -> None:
    sink = folder(tmp_path)
    sink.check_keys(["a.mp4", key, "b.mp4"])
    failed = sink.write([features("a.mp4", [1]), features(key, [2]), features("b/c.mp4", [3])])
    assert list(failed) == [key]
    error = failed[key]
    assert (error.where, error.stage, error.kind) == (key, "write", "io")
    assert error.expected == "a name that the file system accepts"
    assert os.strerror(errno.ENAMETOOLONG) in error.found
    same(sink.read(["a.mp4", key, "b/c.mp4"]), [np.array([1]), None, np.array([3])])
    assert not sink.holds(key)
    sink.delete(key)
    assert sorted(sink.keys()) == ["a", "b/c"]
    assert not [name for name in os.listdir(sink.out) if name.startswith(".")]  # noqa: PTH208


def test_a_file_in_the_place_of_a_folder_is_an_error_of_the_output(tmp_path: Path) -> None:
    sink = folder(tmp_path)
    sink.write([features("a.mp4", [1])])
    with pytest.raises(WriteError, match="expected a folder to write to, or to create"):
        sink.write([features("a.npy/b.mp4", [1])])
    sink.delete("a.npy/b.mp4")
    assert sink.holds("a.mp4")
    sink.delete("a.mp4")
    sink.delete("a.mp4")
    assert not sink.holds("a.mp4")


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "feats", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "link").symlink_to(elsewhere)
    (out / "file.npy").symlink_to(elsewhere / "file.npy")
    (elsewhere / "file.npy").write_text("precious")
    (elsewhere / "a.npy").write_text("precious")
    sink = folder(tmp_path)
    for key in ("link/a.mp4", "link/new/b.mp4"):
        with pytest.raises(OutputError, match="a symbolic link to"):
            sink.write([features(key, [0])])
        with pytest.raises(OutputError, match="a symbolic link to"):
            sink.delete(key)
    assert sink.write([features("file.mp4", [0])]) == {}
    assert (elsewhere / "file.npy").read_text() == (elsewhere / "a.npy").read_text() == "precious"
    assert not (out / "file.npy").is_symlink()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["a.npy", "file.npy"]


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    seen: list[Path] = []
    watching = True

    def spy(event: str, args: tuple[Any, ...]) -> None:
        if watching and event == "open" and str(args[0]).startswith(str(tmp_path)):
            seen.append(Path(args[0]))

    sys.addaudithook(spy)
    sink = folder(tmp_path)
    sink.write([features("a.mp4", [0])])
    watching = False
    (temporary,) = (path for path in seen if path.suffix == ".tmp")
    (tmp_path / "precious").write_text("precious")
    temporary.symlink_to(tmp_path / "precious")
    sink.write([features("a.mp4", [1])])
    assert (tmp_path / "precious").read_text() == "precious"
    assert np.load(tmp_path / "feats" / "a.npy") == [1.0]
    assert not temporary.is_symlink()


# --- files that are no arrays -----------------------------------------------------------------------------------------


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("boom",))


def test_other_files_are_unreadable_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = write(folder(tmp_path), [("good", [1])])
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }"
    files = {
        "objects": None,
        "text": b"not an array",
        "pickle": pickle.dumps([Boom()]),
        "huge": header + b" " * (127 - len(header)) + b"\n" + bytes(8),
        "cut": (sink.out / "good.npy").read_bytes()[:-1],
        "longer": (sink.out / "good.npy").read_bytes() + b"\0",
        "empty": b"",
    }
    np.save(sink.out / "objects.npy", np.array([Boom()], dtype=object), allow_pickle=True)
    np.save(sink.out / "columns.npy", np.asfortranarray(np.ones((2, 3), np.float32)))
    for name, data in files.items():
        if data is not None:
            (sink.out / f"{name}.npy").write_bytes(data)
    (sink.out / "folder.npy").mkdir()
    names = [*files, "folder", "good", "columns"]
    found = dict(zip(names, sink.read(names), strict=True))
    same([found.pop("folder"), found.pop("good")], [None, np.array([1])])
    assert np.array_equal(found.pop("columns"), np.ones((2, 3)))  # of another program
    assert {name for name, row in found.items() if isinstance(row, Unreadable)} == set(files)
    assert found["huge"].reason == "cannot be read: 8 bytes of numbers instead of 399999999996"
    assert "boom" not in capsys.readouterr().out
