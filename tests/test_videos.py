import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidfeat.errors import UsageError
from vidfeat.store import Entry, list_digest, read_list, scan


def names(folder, data, root=None):
    file = folder / "list.txt"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [entry.name for entry in read_list(file, root)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a.mp4\nb/c.mp4\n", ["a.mp4", "b/c.mp4"]),
        ("a.mp4", ["a.mp4"]),
        ("my clip.mp4\n", ["my clip.mp4"]),
        ("a.mp4 3\nb.mp4\t-1\nc d.mp4   12\n", ["a.mp4", "b.mp4", "c d.mp4"]),
        ("a.mp4 1 2\nb c.AVI\t300  5 -1\n", ["a.mp4", "b c.AVI"]),
        ("take 1 2\n", ["take 1"]),
        ("1 2.mp4 3\n", ["1 2.mp4"]),
        ("a.mp4 3.5\n", ["a.mp4 3.5"]),
        ("a.mp4 x3\n", ["a.mp4 x3"]),
        ("17\n", ["17"]),
        ("\n  \n# notes\na.mp4\n   # more\n./#1.mp4\n", ["a.mp4", "#1.mp4"]),
        (b"\xef\xbb\xbfa.mp4\r\nb.mp4 0\r\n", ["a.mp4", "b.mp4"]),
        ("  a.mp4  \n", ["a.mp4"]),
        ("./a.mp4\nb//c.mp4\n", ["a.mp4", "b/c.mp4"]),
        ("жук 蟲.mp4\n", ["жук 蟲.mp4"]),
        (b"caf\xe9.mp4 1\n", ["caf\udce9.mp4"]),
        ("../up.mp4\n/abs/olute.mp4\n", ["../up.mp4", "/abs/olute.mp4"]),
    ],
)
def test_lines(tmp_path, data, expected):
    assert names(tmp_path, data) == expected


def test_entries_know_their_place(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "list.txt").write_text("# x\nb/c.mp4 1\na.mp4\n")
    assert read_list(tmp_path / "list.txt", tmp_path / "videos") == [
        Entry(0, "b/c.mp4", tmp_path / "videos/b/c.mp4"),
        Entry(1, "a.mp4", tmp_path / "videos/a.mp4"),
    ]
    assert read_list(tmp_path / "list.txt", None)[1] == Entry(1, "a.mp4", Path("a.mp4"))


def test_a_list_is_no_video(tmp_path):
    (tmp_path / "list.TXT").write_text("a.mp4\n")
    with pytest.raises(UsageError, match=r"expected a video or a folder; found a list\. Give it with --video-list"):
        scan([tmp_path / "list.TXT"])


@pytest.mark.parametrize(("root", "found"), [("absent", "no such folder"), ("list.txt", "a file")])
def test_a_root_that_is_no_folder_is_one_mistake_and_not_one_per_video(tmp_path, root, found):
    (tmp_path / "list.txt").write_text("a.mp4\n")
    with pytest.raises(UsageError, match=f"expected the folder that the list's paths start from; found {found}"):
        read_list(tmp_path / "list.txt", tmp_path / root)


def test_labels_cost_no_more_than_reading_them(tmp_path):
    (tmp_path / "list.txt").write_text("1 " * 200_000 + "x\n")
    assert len(read_list(tmp_path / "list.txt", None)) == 1
    (tmp_path / "list.txt").write_text("a.mp4" + " 1" * 200_000 + "\n")
    assert names(tmp_path, "a.mp4" + " 1" * 200_000) == ["a.mp4"]


def test_a_number_that_belongs_to_the_name_stays(tmp_path):
    for file in ("take 1", "take 2", "take", "clip.mp4"):
        (tmp_path / file).write_text("")
    assert names(tmp_path, "clip.mp4 2\n", tmp_path) == ["clip.mp4"]
    assert names(tmp_path, "take 1\n", tmp_path) == ["take"]  # both exist: a label
    (tmp_path / "take").unlink()
    assert names(tmp_path, "take 1\ntake 2\ntake 3\n", tmp_path) == ["take 1", "take 2", "take"]
    assert names(tmp_path, "take 1 7\n", tmp_path) == ["take 1"]


def test_an_absolute_path_inside_the_root_is_named_relative_to_it(tmp_path):
    root = tmp_path / "videos"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    assert names(tmp_path, f"{root}/a/b.mp4\n", root) == ["a/b.mp4"]
    assert names(tmp_path, f"{root}/a/b.mp4\n", tmp_path / "link") == ["a/b.mp4"]
    assert names(tmp_path, "x/../a.mp4\n", root) == ["a.mp4"]


def test_a_relative_root_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text(f"a.mp4\n{tmp_path}/b.mp4\n")
    for root in (Path(), Path("../") / tmp_path.name):
        assert [entry.name for entry in read_list(Path("list.txt"), root)] == ["a.mp4", "b.mp4"]


paths = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), blacklist_characters="/#\ufeff"), min_size=1
).filter(lambda text: text not in (".", ".."))


@given(
    st.lists(st.lists(paths, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=8, unique=True),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", " 0", "\t17", "  -3"]),
    st.sampled_from(["", "\ufeff", "# comment\n\n"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_path_survives_any_kind_of_line(tmp_path, given_paths, ending, label, start):
    paths_in = [f"v/{path}.mp4" for path in given_paths]
    text = start + ending.join(path + label for path in paths_in) + ending
    assert names(tmp_path, text.encode()) == paths_in


def test_scanning_a_folder(tmp_path):
    for file in ("b/2.mp4", "b/10.MKV", "a.webm", "c.txt", ".hidden.mp4", ".git/d.mp4", "b/.x.mp4"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    (tmp_path / "dir.mp4").mkdir()
    assert scan([tmp_path]) == [
        Entry(0, "a.webm", tmp_path / "a.webm"),
        Entry(1, "b/10.MKV", tmp_path / "b/10.MKV"),
        Entry(2, "b/2.mp4", tmp_path / "b/2.mp4"),
    ]


def test_scanning_files_and_folders(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.mp4").write_text("")
    (tmp_path / "odd.bin").write_text("")
    found = scan([tmp_path / "odd.bin", tmp_path / "one"])
    assert [entry.name for entry in found] == ["odd.bin", "a.mp4"]


def test_what_cannot_be_scanned(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no such file or folder"):
        scan([tmp_path / "missing.mp4"])
    with pytest.raises(UsageError, match=r"at least one of \.3gp \.avi.*no such file"):
        scan([tmp_path / "empty"])
    with pytest.raises(UsageError, match=r"'a.mp4' also at .*one/a.mp4"):
        scan([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(UsageError, match="at least one video or folder"):
        scan([])


def test_the_digest_is_of_the_names_in_order():
    entries = [Entry(0, "a b.mp4", Path("x")), Entry(1, "caf\udce9.mp4", Path("y"))]
    assert list_digest(entries) == hashlib.sha256(b"a b.mp4\0caf\xe9.mp4\0").hexdigest()
    assert list_digest(entries) != list_digest(entries[::-1])
    assert list_digest([]) == hashlib.sha256(b"").hexdigest()
