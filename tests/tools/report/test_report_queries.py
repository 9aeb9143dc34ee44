import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from vidfeat.errors import UsageError
from vidfeat.tools.report.queries import MOST, read_queries

WORDS = ["a person opens a door", "<b>två</b> / 人"]
VECTORS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def test_all_forms(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", words=np.array(WORDS), vectors=VECTORS.astype(np.float64))
    np.savez(tmp_path / "b.npz", **dict(zip(["a", "b"], VECTORS, strict=True)))
    (tmp_path / "c.json").write_text(json.dumps({"words": WORDS, "vectors": VECTORS.tolist()}))
    (tmp_path / "d.JSON").write_text(json.dumps(dict(zip(WORDS, VECTORS.tolist(), strict=True))))
    for name, words in (("a.npz", WORDS), ("b.npz", ["a", "b"]), ("c.json", WORDS), ("d.JSON", WORDS)):
        queries = read_queries(tmp_path / name)
        assert queries.words == tuple(words)
        np.testing.assert_array_equal(queries.vectors, VECTORS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "ends in .npz or .json"),
        ("x.json", None, "No such file"),
        ("x.json", b"[1, 2]", "no object"),
        ("x.json", b"{", "expected words, and a vector"),
        ("x.json", b"\xff", "expected words, and a vector"),
        ("x.json", b"{}", "0 words"),
        ("x.json", b'{"a": [1, 2], "b": [1]}', "expected words, and a vector"),
        ("x.json", b'{"a": 1}', "1 words and vectors of shape [1]"),
        ("x.json", b'{"a": ["b"]}', "expected words, and a vector"),
        ("x.json", b'{"a": [1e300]}', "not finite"),
        ("x.json", b'{"words": ["a"], "vectors": [[1], [2]]}', "1 words and vectors of shape [2, 1]"),
        ("x.json", b'{"words": 1, "vectors": [[1], [2]]}', "expected words, and a vector"),
        ("x.json", json.dumps({str(number): [1] for number in range(MOST + 1)}).encode(), "at most 1000"),
        ("x.json", b"[" * 100_000, "expected words, and a vector"),
        ("x.npz", b"no archive", "expected words, and a vector"),
        ("x.npz", pickle.dumps([1]), "expected words, and a vector"),
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
