import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from vidfeat.errors import UsageError
from vidfeat.tools.report.queries import MOST, read_queries

WORDS = ["a person opens a door", "<b>två</b> / 人"]
VECTORS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def test_both_forms(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", words=np.array(WORDS), vectors=VECTORS.astype(np.float64))
    (tmp_path / "b.JSON").write_text(json.dumps({"words": WORDS, "vectors": VECTORS.tolist()}))
    for name in ("a.npz", "b.JSON"):
        queries = read_queries(tmp_path / name)
        assert queries.words == tuple(WORDS)
        np.testing.assert_array_equal(queries.vectors, VECTORS)


def json_of(words: object, vectors: object) -> bytes:
    return json.dumps({"words": words, "vectors": vectors}).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "no '.txt'"),
        ("x.json", None, "No such file"),
        ("x.json", b"[1, 2]", "list indices"),
        ("x.json", b"{", "Expecting property name"),
        ("x.json", b"\xff", "can't decode"),
        ("x.json", b"{}", "no 'words'"),
        ("x.json", b'{"words": []}', "no 'vectors'"),
        ("x.json", json_of([], []), "0 words"),
        ("x.json", json_of(["a", "b"], [[1, 2], [1]]), "inhomogeneous"),
        ("x.json", json_of(["a"], [1]), "1 words and vectors of shape [1]"),
        ("x.json", json_of(["a"], ["b"]), "could not convert"),
        ("x.json", json_of(["a"], [[1e300]]), "not finite"),
        ("x.json", json_of(["a"], [[1], [2]]), "1 words and vectors of shape [2, 1]"),
        ("x.json", json_of(1, [[1], [2]]), "not iterable"),
        ("x.json", json_of(["a"] * (MOST + 1), [[1]] * (MOST + 1)), "a page takes 1000"),
        ("x.json", b"[" * 100_000, "recursion"),
        ("x.npz", b"no archive", "pickled"),
        ("x.npz", pickle.dumps([1]), "pickled"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as raised:
        read_queries(tmp_path / name)
    assert message in str(raised.value)


def test_no_code_is_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", words=np.array([{}], dtype=object), vectors=VECTORS)
    with pytest.raises(UsageError, match="allow_pickle"):
        read_queries(tmp_path / "x.npz")
