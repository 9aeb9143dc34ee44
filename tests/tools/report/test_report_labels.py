from pathlib import Path

import pytest

from vidfeat.errors import UsageError
from vidfeat.tools.report.labels import UNKNOWN, folders, match, read_labels


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/data/a/1.mp4", "/data/b/2.mp4"], ["a", "b"]),
        (["a/x/1.mp4", "a/2.mp4"], ["x", UNKNOWN]),
        (["1.mp4", "2.mp4"], [UNKNOWN, UNKNOWN]),
        (["ab/1.mp4", "ac/d/2.mp4"], ["ab", "ac/d"]),
        ([], []),
    ],
)
def test_folders_without_what_all_have_in_common(names: list[str], expected: list[str]) -> None:
    assert list(folders(names).values) == expected


def test_lines_with_a_label_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa/one clip.mp4 3\r\nb/two.mp4\tjump\n\nalone.mp4\n".encode())
    labels = read_labels(path)
    columns, matched = match(labels, ["b/two.mp4", "a/one clip.mp4", "alone.mp4"])
    assert [(column.name, column.values) for column in columns] == [("label", ("jump", "3", UNKNOWN))]
    assert matched == 2


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".TSV", "\t")])
def test_tables_have_a_column_each(tmp_path: Path, suffix: str, delimiter: str) -> None:
    path = tmp_path / f"labels{suffix}"
    rows = [["video", "motion", "look"], ["a.mp4", "slide", "red"], ["b.mp4", "bounce"], ["c.mp4", "", "blue", "more"]]
    path.write_text("\n".join(delimiter.join(row) for row in rows))
    columns, matched = match(read_labels(path), ["a.mp4", "b.mp4", "c.mp4", "d.mp4"])
    assert {column.name: column.values for column in columns} == {
        "motion": ("slide", "bounce", UNKNOWN, UNKNOWN),
        "look": ("red", UNKNOWN, "blue", UNKNOWN),
    }
    assert matched == 3


def test_names_match_without_suffix_and_by_their_last_part_where_that_is_unique(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("/data/a/1.mp4 x\n/data/b/1.mp4 y\n/data/a/2.mp4 z\nq/3.mp4 w\n")
    (column,), matched = match(read_labels(path), ["a/1.mp4", "2.mp4", "2", "q/3"])
    assert (column.values, matched) == ((UNKNOWN, "z", "z", "w"), 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "no label"),
        ("x.txt", b"only.mp4\n", "no label"),
        ("x.csv", b"name,label\n", "no label"),
        ("x.csv", b"name\na.mp4\n", "no label"),
        ("missing.txt", None, "No such file"),
    ],
)
def test_files_without_labels_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_labels(tmp_path / name)
