import io
import json
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from store_worker import HEADER, commit, entries_of, features_of, identity_of

from vidfeat.errors import OutputError, UsageError
from vidfeat.store import Entry, RunStore, open_format, verify
from vidfeat.store.manifest import manifest_path
from vidfeat.store.streams import as_json, as_yaml, pickled, unpickled

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
arrays = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=5), elements=finite)
rows = st.lists(st.none() | arrays, max_size=5)


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if other is None:
            assert one is None
        else:
            array = np.asarray(one, np.float32)
            assert array.shape == other.shape
            assert array.tobytes() == other.tobytes()


@given(rows)
def test_the_pickle_is_that_of_a_list(expected):
    data = b"".join(pickled(expected))
    for found in (pickle.loads(data), unpickled(io.BytesIO(data))):
        assert type(found) is list
        same(found, expected)
        for array in found:
            assert array is None or (type(array) is np.ndarray and array.dtype == np.dtype("float32"))
            assert array is None or (array.flags.writeable and array.flags.c_contiguous)


def test_the_pickle_has_protocol_2_and_works_in_batches():
    expected = [np.array([index], np.float32) for index in range(2500)]
    data = b"".join(pickled(expected))
    out = io.StringIO()
    pickletools.dis(data, out)
    text = out.getvalue()
    assert text.endswith("highest protocol among opcodes = 2\n")
    assert text.count(": e") == 3
    assert text.count("APPENDS") == 3
    same(pickle.loads(data), expected)
    assert pickle.loads(b"".join(pickled([]))) == []


def test_a_pickle_to_the_byte():
    assert b"".join(pickled([np.array([1.0], np.float32), None])).hex() == (
        "8002636e756d70792e636f72652e6d756c746961727261790a5f7265636f6e7374727563740a710030636e756d70790a6e6461727261790a"
        "710130635f636f646563730a656e636f64650a7102305806000000"
    ) + (
        "6c6174696e317103306802580100000062680386527104"
        "30636e756d70790a64747970650a580200000066348988875228"
        "4a0300000058010000003c4e4e4e4affffffff4affffffff4a00000000746271053"
        "05d28"
        "680068014a000000008568048752284a01000000284a0100000074680589680258050000000000c2803f68038652746"
        "24e652e"
    )


def test_the_pickle_loads_in_a_fresh_python_without_a_warning(tmp_path):
    file = tmp_path / "feats.pkl"
    file.write_bytes(b"".join(pickled([np.arange(3, dtype=np.float32), None])))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')))"
    process = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "[array([0., 1., 2.], dtype=float32), None]\n"


@given(rows)
def test_json_is_exact(expected):
    data = b"".join(as_json(expected))
    same(json.loads(data), expected)
    assert data == (json.dumps([None if row is None else row.tolist() for row in expected]) + "\n").encode()


@given(rows)
def test_yaml_is_exact(expected):
    data = b"".join(as_yaml(expected))
    found = yaml.safe_load(data)
    same(found, expected)
    assert all(type(x) is float for row in found if row is not None for x in np.asarray(row, object).flat)


def test_text_to_the_byte():
    three = [np.array([1, 1e-5, 1.5e-7, -1e20], np.float32), None, np.array([[0.5], [-0.0]], np.float32)]
    assert b"".join(as_json(three)) == (
        b"[[1.0, 9.999999747378752e-06, 1.500000053056283e-07, -1.0000000200408773e+20], null, [[0.5], [-0.0]]]\n"
    )
    assert b"".join(as_yaml([np.array([2.0**-20, 2.0**60 * 0 + 1e16], np.float32), None])) == (
        b"- [9.5367431640625e-07, 1.0000000272564224e+16]\n- null\n"
    )
    assert b"".join(as_yaml([np.array([2.0**100], np.float32)])) == b"- [1.2676506002282294e+30]\n"
    assert b"".join(as_json([])) == b"[]\n"
    assert b"".join(as_yaml([])) == b"[]\n"


@pytest.mark.parametrize(
    ("out", "name"),
    [
        ("a.pkl", "pkl"),
        ("a.PICKLE", "pkl"),
        ("a.json", "json"),
        ("a.yaml", "yaml"),
        ("b/a.yml", "yaml"),
        ("a", "npy"),
        ("a.v2/", "npy"),
        ("there.pkl", "npy"),
        (".", "npy"),
    ],
)
def test_the_path_tells_the_format(tmp_path, monkeypatch, out, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pkl").mkdir()
    assert open_format(out).name == name
    assert manifest_path(open_format(out).out).name.endswith(".manifest.jsonl")


def test_other_suffixes_are_refused_with_what_there_is(tmp_path):
    with pytest.raises(UsageError, match=r"one of \.pkl, \.pickle, \.json, \.yaml, \.yml .* found '\.h5'.*slash"):
        open_format(tmp_path / "a.h5")


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(UsageError, match="output: expected a path; found an empty one"):
        open_format("")


def named(*names):
    return [Entry(index, name, Path(name)) for index, name in enumerate(names)]


def test_names_of_files_in_a_folder(tmp_path):
    folder = open_format(tmp_path / "feats")
    for name, expected in [
        ("clip.mp4", "clip.npy"),
        ("a/b c.AVI", "a/b c.npy"),
        ("v1.5", "v1.5.npy"),
        ("a.b.mkv", "a.b.npy"),
        (".mp4", ".mp4.npy"),
        ("clip.npy", "clip.npy.npy"),
    ]:
        folder.check_names(named(name))
        assert folder.path_of(name) == tmp_path / "feats" / expected


def test_names_that_collide_are_refused_upfront(tmp_path):
    folder = open_format(tmp_path / "feats")
    with pytest.raises(UsageError, match=r"entry 3: .*'a.avi' and 'a.mp4', both 'a.npy'"):
        folder.check_names(named("a.mp4", "b.mp4", "a.avi"))
    with pytest.raises(UsageError, match=r"'a.npy/b.mp4'.*the output of 'a.mp4'"):
        folder.check_names(named("a.mp4", "a.npy/b.mp4"))
    open_format(tmp_path / "feats.pkl").check_names(named("a.mp4", "a.avi", "../b.mp4"))


def test_npy_to_the_byte(tmp_path):
    folder = open_format(tmp_path / "feats")
    assert folder.keep(("a/clip.mp4", np.array([1, 2], np.float32))) == [b""]
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    expected = header + b" " * (127 - len(header)) + b"\n" + bytes.fromhex("0000803f00000040")
    assert (tmp_path / "feats/a/clip.npy").read_bytes() == expected


# --- verify ---


@pytest.fixture(params=["feats.pkl", "feats.json", "feats.yaml", "feats"])
def finished(tmp_path, request):
    out = tmp_path / request.param
    entries = entries_of(3)
    with RunStore.open(out, identity_of(entries), entries) as store:
        for entry in entries:
            commit(store, entry, fails=entry.index == 1)
        store.finish(HEADER)
    assert verify(out) == []
    return out


def replace_rows(out, new):
    encode = {".pkl": pickled, ".json": as_json, ".yaml": as_yaml}
    if out.suffix:
        out.write_bytes(b"".join(encode[out.suffix](new)))
        return
    for index, row in enumerate(new[:3]):
        path = out / f"folder {index}/clip {index}.npy"
        path.unlink(missing_ok=True)
        if row is not None:
            path.parent.mkdir(exist_ok=True)
            np.save(path, row)


def test_verify_names_what_is_wrong(finished):
    good = [features_of(0), None, features_of(2)]
    nan = features_of(0).copy()
    nan[3] = np.nan
    for new, problem in [
        ([features_of(2), None, features_of(2)], "'folder 0/clip 0.mp4' (index 0): has other values than"),
        ([good[0][:-1], None, good[2]], "'folder 0/clip 0.mp4' (index 0): has shape [63], not [64]"),
        ([good[0], None, None], "'folder 2/clip 2.mp4' (index 2): has no features, though"),
        ([good[0], good[0], good[2]], "'folder 1/clip 1.mp4' (index 1): has features, though"),
    ]:
        replace_rows(finished, new)
        (found,) = verify(finished)
        assert found.startswith(problem)
    if finished.suffix in ("", ".pkl"):
        replace_rows(finished, [nan, None, good[2]])
        assert verify(finished) == ["'folder 0/clip 0.mp4' (index 0): has values that are infinite or no number"]
    if finished.suffix:
        replace_rows(finished, good[:2])
        assert verify(finished) == ["the output ends before 'folder 2/clip 2.mp4' (index 2)"]
        replace_rows(finished, [*good, None])
        assert verify(finished) == ["the output has 1 row(s) after the last video"]
        finished.write_bytes(finished.read_bytes()[:-20])
        (found,) = verify(finished)
        assert "expected an output that can be read" in found


def test_verify_names_what_is_wrong_with_the_manifest(finished):
    manifest = manifest_path(finished)
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:3]))
    names = "the names in the manifest are not those of the list that its list_digest was taken of"
    assert verify(finished) == ["the manifest announces 3 videos and lists 2", names]
    manifest.write_text("".join([lines[0], lines[2], lines[1], lines[3]]))
    assert verify(finished) == [*(f"line {n} of the manifest is not about entry {n - 2}" for n in (2, 3)), names]
    manifest.write_text("".join(lines) + "{")
    with pytest.raises(OutputError, match="expected a vidfeat manifest"):
        verify(finished)
    manifest.unlink()
    with pytest.raises(OutputError, match="no such file"):
        verify(finished)
