import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from video.video_files import write_video
from vidfeat.errors import UsageError
from vidfeat.video import probe
from vidfeat.video.source import CONTAINERS
from vidfeat.videos import LONGEST_NAME, VIDEO_SUFFIXES, VideoRef, expand, list_digest, read_list


def names(folder, data, root=None):
    file = folder / "list.txt"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [ref.key for ref in read_list(file, root)]


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


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("a.mp4", None),
        ("a.mp4 3", "3"),
        ("b.mp4\t-1", "-1"),
        ("b c.AVI\t300  5 -1", "300 5 -1"),
        ("take 1 2", "2"),
        ("a.mp4 3.5", None),
        ("17", None),
    ],
)
def test_labels(tmp_path, line, label):
    (tmp_path / "list.txt").write_text(f"{line}\n")
    (ref,) = read_list(tmp_path / "list.txt", tmp_path)
    assert ref.label == label
    assert ref.path == tmp_path / ref.key


def test_videos_know_their_place(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "list.txt").write_text("# x\nb/c.mp4 1\na.mp4\n")
    assert read_list(tmp_path / "list.txt", tmp_path / "videos") == [
        VideoRef("b/c.mp4", f"{tmp_path}/videos/b/c.mp4", label="1"),
        VideoRef("a.mp4", f"{tmp_path}/videos/a.mp4"),
    ]
    assert read_list(tmp_path / "list.txt", None)[1] == VideoRef("a.mp4", "a.mp4")


@pytest.mark.parametrize(("root", "found"), [("absent", "no folder at"), ("list.txt", "a file at")])
def test_a_root_that_is_no_folder_is_one_mistake_and_not_one_per_video(tmp_path, root, found):
    (tmp_path / "list.txt").write_text("a.mp4\n")
    with pytest.raises(
        UsageError, match=f"expected the folder that the paths of the list are relative to; found {found}"
    ):
        read_list(tmp_path / "list.txt", tmp_path / root)


def test_labels_cost_no_more_than_reading_them(tmp_path):
    (tmp_path / "list.txt").write_text("a.mp4\n" + "1 " * 200_000 + "x\n")
    with pytest.raises(UsageError, match=r"list\.txt:2: expected a name of at most 4,096 bytes.*found 400,001 bytes"):
        read_list(tmp_path / "list.txt", None)
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
        assert [ref.key for ref in read_list(Path("list.txt"), root)] == ["a.mp4", "b.mp4"]


paths = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), blacklist_characters="/#\ufeff"), min_size=1
).filter(lambda text: text not in (".", ".."))


@given(
    st.lists(st.lists(paths, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=8, unique=True),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", " 0", "\t17", "  -3"]),
    st.sampled_from(["", "\ufeff", "# comment\n\n"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_path_survives_any_kind_of_line(tmp_path, given_paths, ending, label, start):
    paths_in = [f"v/{path}.mp4" for path in given_paths]
    text = start + ending.join(path + label for path in paths_in) + ending
    assert names(tmp_path, text.encode()) == paths_in


def test_scanning_a_folder(tmp_path):
    for file in ("b/2.mp4", "b/10.MKV", "a.webm", "c.txt", ".hidden.mp4", ".git/d.mp4", "b/.x.mp4"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    (tmp_path / "dir.mp4").mkdir()
    assert list(expand(tmp_path)) == [
        VideoRef("a.webm", f"{tmp_path}/a.webm"),
        VideoRef("b/10.MKV", f"{tmp_path}/b/10.MKV"),
        VideoRef("b/2.mp4", f"{tmp_path}/b/2.mp4"),
    ]


def test_scanning_files_and_folders(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.mp4").write_text("")
    (tmp_path / "odd.bin").write_text("")
    found = expand([tmp_path / "odd.bin", tmp_path / "one"])
    assert [ref.key for ref in found] == ["odd.bin", "a.mp4"]


def test_what_cannot_be_scanned(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no such file or folder"):
        expand([tmp_path / "missing.mp4"])
    with pytest.raises(UsageError, match="a folder with at least one video; found no file with a suffix such as"):
        expand([tmp_path / "empty"])
    with pytest.raises(UsageError, match=r"'a.mp4' also at .*one/a.mp4"):
        expand([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(UsageError, match="at least one video or folder"):
        expand([])


def test_the_digest_is_of_the_keys_in_order():
    keys = ["a b.mp4", "caf\udce9.mp4"]
    assert list_digest(keys) == hashlib.sha256(b"a b.mp4\0caf\xe9.mp4\0").hexdigest()
    assert list_digest(iter(keys)) != list_digest(keys[::-1])
    assert list_digest([]) == hashlib.sha256(b"").hexdigest()


# --- names and lines that are too long ---


def test_a_name_has_as_many_bytes_as_a_path_may_have(tmp_path):
    longest = "é" * (LONGEST_NAME // 2 - 2) + ".mp4"
    assert names(tmp_path, f"{longest}\n{longest[1:]} 1\n", tmp_path) == [longest, longest[1:]]
    with pytest.raises(UsageError) as caught:
        names(tmp_path, f"a.mp4\n\n{longest}4 7\n")
    assert caught.value.where == f"{tmp_path / 'list.txt'}:3"
    assert caught.value.expected == "a name of at most 4,096 bytes, as a file can have"
    assert caught.value.found == f"4,097 bytes, '{'é' * 98}…{'é' * 93}.mp44'"
    assert len(str(caught.value)) < 500


def test_a_line_without_an_end_is_not_read_to_it(tmp_path):
    with (tmp_path / "list.txt").open("wb") as file:
        file.write(b"a.mp4\n" + b"x" * (2 << 20))
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match=r"list\.txt:2: expected one path a line; found at least 1,048,576 bytes"):
        read_list(tmp_path / "list.txt", None)


# --- pipes ---


def test_a_list_from_a_pipe(tmp_path):
    code = (
        "import sys; from pathlib import Path; from vidfeat.videos import expand, read_list\n"
        "refs = expand(sys.argv[1], sys.argv[2])\n"
        "print(*[(ref.key, ref.uri, ref.label) for ref in refs], sep='\\n')"
    )
    out = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" <(printf "%s\\n" "b 1.mp4 3" a.mp4) "$2"', sys.executable, code, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert (out.stdout, out.stderr) == (
        f"('b 1.mp4', '{tmp_path}/b 1.mp4', '3')\n('a.mp4', '{tmp_path}/a.mp4', None)\n",
        "",
    )


def test_a_long_list_from_a_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=(tmp_path / "pipe").write_text, args=("".join(f"{number}.mp4\n" for number in range(50_000)),)
    )
    writer.start()
    found = read_list(tmp_path / "pipe", None)
    writer.join()
    assert [ref.key for ref in found] == [f"{number}.mp4" for number in range(50_000)]


# --- expand ---


@pytest.fixture
def videos(tmp_path):
    for file in ("a.mp4", "b/1.mp4", "b/c/2.MKV", "b/notes.md", "d[1].mp4", ".hidden/x.mp4", "b/.y.mp4", "odd.bin"):
        (tmp_path / "videos" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / file).write_text("")
    (tmp_path / "videos" / "e").symlink_to("b")
    (tmp_path / "list.txt").write_text("b/1.mp4 7\nabsent.mp4\n")
    return tmp_path / "videos"


def keys_of(videos, given, root=None):
    found = expand(given, root)
    assert type(found) is tuple
    return [ref.key for ref in found]


def test_what_a_job_may_be_about(videos, tmp_path):
    assert expand(str(videos)) == expand(videos) == expand([videos])
    assert keys_of(videos, videos) == ["a.mp4", "b/1.mp4", "b/c/2.MKV", "d[1].mp4", "e/1.mp4", "e/c/2.MKV"]
    assert expand(tmp_path / "list.txt", videos) == tuple(read_list(tmp_path / "list.txt", videos))
    assert expand(str(tmp_path / "list.txt"), str(videos)) == expand([tmp_path / "list.txt"], videos)
    assert expand(videos / "odd.bin") == (VideoRef("odd.bin", str(videos / "odd.bin")),)
    ref = VideoRef("x", "somewhere.mp4", segment=(1.0, 2.5), label="walk")
    assert expand(ref) == expand([ref]) == (ref,)
    mixed = [ref, videos / "a.mp4", str(videos / "b"), tmp_path / "list.txt"]
    assert keys_of(videos, mixed, videos) == ["x", "a.mp4", "1.mp4", "c/2.MKV", "b/1.mp4", "absent.mp4"]
    assert expand(iter(mixed), videos) == expand(mixed, videos)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("*", ["a.mp4", "d[1].mp4"]),
        ("*.mp4", ["a.mp4", "d[1].mp4"]),
        ("?.mp4", ["a.mp4"]),
        ("[a-c].mp4", ["a.mp4"]),
        ("*/*.mp4", ["b/1.mp4", "e/1.mp4"]),
        ("b/*.mp4", ["1.mp4"]),
        ("**/*.MKV", ["b/c/2.MKV"]),
        ("**", ["a.mp4", "b/1.mp4", "b/c/2.MKV", "d[1].mp4"]),
        ("b/**/*", ["1.mp4", "c/2.MKV"]),
        ("d[1].mp4", ["d[1].mp4"]),  # a file that is there
        ("d[[]1].mp4", ["d[1].mp4"]),
    ],
)
def test_patterns(videos, monkeypatch, pattern, keys):
    assert keys_of(videos, videos / pattern) == keys
    assert keys_of(videos, str(videos / pattern)) == keys
    monkeypatch.chdir(videos)
    found = expand(pattern)
    assert [ref.key for ref in found] == keys
    assert all(ref.path.is_file() for ref in found)


@pytest.mark.parametrize("pattern", ["*.avi", "nowhere/*", "b/*.md", "*/", "**/"])
def test_a_pattern_has_to_match(videos, pattern):
    with pytest.raises(UsageError, match="a pattern that matches at least one video; found no file with"):
        expand(videos / pattern / "*.avi")


def test_what_cannot_be_expanded(videos, tmp_path):
    for videos_given, root, message in [
        ([], None, "videos: expected at least one video or folder; found none"),
        ("", None, "videos: expected a path; found an empty one"),
        ([videos / "a.mp4", ""], None, "videos: expected a path; found an empty one"),
        (videos / "absent.mp4", None, "expected a video or a folder of videos; found no such file or folder"),
        (videos / "absent.txt", None, "expected a readable list of videos; found No such file"),
        (videos / ("x" * 5000), None, "expected a video or a folder of videos; found no such file or folder"),
        (videos, videos, "video_root: expected a list of videos to go with it; found none"),
        (tmp_path / "list.txt", tmp_path / "absent", "video_root: expected the folder that.*no folder at '.*absent'"),
        ("ftp://host/a.mp4", None, "videos: expected a path, or a URI of s3, gs, az, http, https, file; found"),
        (VideoRef("", "a.mp4"), None, "a.mp4: expected a name of at most 4,096 bytes, as a file can have; found ''"),
        (VideoRef("a\0", "a.mp4"), None, r"as a file can have; found 'a\\x00'"),
        (VideoRef("\ud800", "a.mp4"), None, r"as a file can have; found '\\ud800'"),
        (VideoRef("x" * 4097, "a.mp4"), None, "as a file can have; found 4,097 bytes, 'xxx"),
    ]:
        with pytest.raises(UsageError, match=message):
            expand(videos_given, root)


def test_two_videos_of_one_key_are_refused_and_both_are_named(videos, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.mp4").write_text("")
    for first, second in [
        (videos, tmp_path / "more"),
        (videos / "a.mp4", tmp_path / "more" / "*.mp4"),
        (VideoRef("a.mp4", str(videos / "a.mp4")), tmp_path / "more" / "a.mp4"),
    ]:
        with pytest.raises(UsageError) as caught:
            expand([first, second])
        assert caught.value.where == str(tmp_path / "more" / "a.mp4")
        assert caught.value.found == f"'a.mp4' also at {videos / 'a.mp4'}"
    with pytest.raises(UsageError, match=r"'a.mp4' also at a\.mp4"):
        expand([VideoRef("a.mp4", "a.mp4")] * 2)


# --- labels, tables, standard input ---


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a.mp4,walk", "a.mp4", "walk"),
        ("b c.MKV\tride a  bike", "b c.MKV", "ride a bike"),
        ("a, b.mp4, walk", "a, b.mp4", "walk"),
        ("a.mp4,3", "a.mp4", "3"),
        ("a.mp4,b.mp4,walk", "a.mp4", "b.mp4,walk"),
        ("a,walk", "a,walk", None),
        ("a.mp4,", "a.mp4,", None),
    ],
)
def test_a_label_after_a_comma_or_a_tab(tmp_path, line, path, label):
    (tmp_path / "list.txt").write_text(f"{line}\n")
    (ref,) = read_list(tmp_path / "list.txt", tmp_path)
    assert (ref.key, ref.label) == (path, label)


def test_a_comma_that_belongs_to_the_name_stays(tmp_path):
    (tmp_path / "a.mp4,b.mp4").write_text("")
    assert names(tmp_path, "a.mp4,b.mp4\n", tmp_path) == ["a.mp4,b.mp4"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.csv", 'video,label\na.mp4,walk\n"b, c.mp4",\n'),
        ("list.csv", 'id,Label,Path\r\n1,walk,a.mp4\r\n2,,"b, c.mp4"\r\n'),
        ("list.tsv", "path\tlabel\na.mp4\twalk\nb, c.mp4\t\n"),
        ("list.txt", "# a table\npath\tlabel\na.mp4\twalk\nb, c.mp4\t\n"),
        ("list.csv", "a.mp4,walk\nb, c.mp4\n"),
    ],
)
def test_tables(tmp_path, name, data):
    (tmp_path / name).write_text(data)
    assert expand(tmp_path / name, tmp_path) == (
        VideoRef("a.mp4", f"{tmp_path}/a.mp4", label="walk"),
        VideoRef("b, c.mp4", f"{tmp_path}/b, c.mp4"),
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("clip,label\na,b\n", r"list\.csv:1: expected a column called video or path; found 'clip', 'label'"),
        (
            "path,label\na.mp4,b,c\n",
            r"list\.csv:2: expected at most 2 cells, as in the first line; found 3\. Put cells",
        ),
        ("path,label\na.mp4,b\n,c\n", r"list\.csv:3: expected a name of at most 4,096 bytes"),
        ("path\n", "expected at least one path"),
        ("path\nhttps://host/a.mp4\n", r"list\.csv:2: expected a path, as the list and its root are local"),
    ],
)
def test_tables_that_are_none(tmp_path, data, message):
    (tmp_path / "list.csv").write_text(data)
    with pytest.raises(UsageError, match=message):
        read_list(tmp_path / "list.csv", None)


def write_parquet(path, columns, **options):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table(columns), path, **options)


@pytest.mark.parametrize(
    "columns",
    [
        {"video": ["a.mp4", "b, c.mp4"], "label": ["walk", None]},
        {"id": [[1], [2]], "Label": ["walk", ""], "Path": ["a.mp4", "b, c.mp4"]},
    ],
)
def test_tables_in_parquet(tmp_path, columns):
    write_parquet(tmp_path / "list.parquet", columns)
    assert expand(tmp_path / "list.parquet", tmp_path) == (
        VideoRef("a.mp4", f"{tmp_path}/a.mp4", label="walk"),
        VideoRef("b, c.mp4", f"{tmp_path}/b, c.mp4"),
    )


def test_parquet_is_read_over_several_row_groups(tmp_path):
    count = 40_000
    columns = {"path": [f"{number}.mp4" for number in range(count)], "label": list(range(count))}
    write_parquet(tmp_path / "list.parquet", columns, row_group_size=7_000)
    found = read_list(tmp_path / "list.parquet", None)
    assert [(ref.key, ref.label) for ref in found] == [(f"{number}.mp4", str(number)) for number in range(count)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"clip": ["a"]}, r"list\.parquet: expected a column of strings called video or path; found 'clip' \(string\)"),
        ({"path": [1]}, "a column of strings called video or path; found 'path' \\(int64\\)"),
        ({"path": [["a.mp4"]]}, "expected a column of strings"),
        ({"path": ["a.mp4"], "label": [1.5]}, "labels that are strings or whole numbers; found double"),
        ({"path": ["a.mp4", None]}, r"list\.parquet:2: expected a name of at most 4,096 bytes"),
        ({"path": ["a.mp4", "a.mp4"]}, r"list\.parquet:2: expected every video once"),
        ({"path": ["a.mp4", "../b.mp4"]}, r"list\.parquet:2: expected a path inside `video_root`"),
        ({"path": ["s3://bucket/a.mp4"]}, r"list\.parquet:1: expected a path, as the list and its root are local"),
    ],
)
def test_tables_in_parquet_that_are_none(tmp_path, columns, message):
    write_parquet(tmp_path / "list.parquet", columns)
    with pytest.raises(UsageError, match=message):
        read_list(tmp_path / "list.parquet", tmp_path)


def test_damaged_parquet_and_a_missing_package_are_named(tmp_path, monkeypatch):
    write_parquet(tmp_path / "list.parquet", {"path": ["a.mp4"] * 100})
    content = (tmp_path / "list.parquet").read_bytes()
    for damaged in (b"", b"a.mp4\n", content[: len(content) // 2]):
        (tmp_path / "list.parquet").write_bytes(damaged)
        with pytest.raises(UsageError, match=r"list\.parquet: expected a readable list of videos in Parquet"):
            read_list(tmp_path / "list.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match=r"the package pyarrow for lists in Parquet; found none\. Install it with"):
        read_list(tmp_path / "list.parquet", None)


# --- links, and files that are no videos ---


def test_linked_folders_are_followed_where_they_lead_inside(tmp_path):
    for folder in ("root/in", "disk"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.mp4").write_text("")
    root = tmp_path / "root"
    (root / "again").symlink_to("in")
    assert keys_of(root, root) == ["again/a.mp4", "in/a.mp4"]
    (root / "out").symlink_to(tmp_path / "disk")
    with pytest.raises(UsageError, match=r"root/out: expected links to folders inside .*`follow_links=True`"):
        expand(root)
    assert [ref.key for ref in expand(root, follow_links=True)] == ["again/a.mp4", "in/a.mp4", "out/a.mp4"]


@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize("target", [".", "..", "../..", "../../disk"])
def test_links_that_lead_back_are_refused(tmp_path, target, follow_links):
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "in" / "a.mp4").write_text("")
    (tmp_path / "root" / "in" / "link").symlink_to(target)
    with pytest.raises(UsageError, match=r"links to folders (without a cycle|inside)") as caught:
        expand([tmp_path / "root"], follow_links=follow_links)
    assert follow_links is False or "without a cycle" in str(caught.value)


def test_a_root_of_links_to_other_disks(tmp_path):
    (tmp_path / "disk" / "more").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    (tmp_path / "disk" / "more" / "b.mp4").write_text("")
    (tmp_path / "root" / "a.mp4").symlink_to("../disk/a.mp4")
    (tmp_path / "root" / "more").symlink_to("../disk/more")
    listed = tmp_path / "list.txt"
    listed.write_text("a.mp4\nmore/b.mp4\n")
    with pytest.raises(UsageError, match=r"list\.txt:1: .*Give `follow_links=True`"):
        read_list(listed, tmp_path / "root")
    assert [ref.key for ref in read_list(listed, tmp_path / "root", follow_links=True)] == ["a.mp4", "more/b.mp4"]
    for line in ("../disk/a.mp4", "more/../a.mp4", "/disk/a.mp4"):  # no link: it leads out by itself
        listed.write_text(f"{line}\n")
        with pytest.raises(UsageError, match="expected a path inside `video_root`") as caught:
            read_list(listed, tmp_path / "root", follow_links=True)
        assert "follow_links" not in str(caught.value)


def test_files_that_are_no_videos_are_counted(tmp_path):
    for file in ("a.mp4", "b.m4a", "in/c.m4a", "in/d.JSON", "README", ".hidden"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    lines = []
    expand(tmp_path, note=lines.append)
    (line,) = lines
    start, _, kinds = line.rpartition(": ")
    assert start == f"4 files skipped in {tmp_path}"
    assert sorted(kinds.split(", ")) == ["1 .json", "1 without a suffix", "2 .m4a"]


# --- suffixes ---

OTHER_CONTENTS = {"avif", "heic", "heif", "isma", "m4a", "m4b", "mka", "mks", "mpo", "psp", "wma", "ism"}
"""Suffixes of still images, sound, subtitles and descriptions, in containers that can hold videos as well."""


def test_every_container_that_decodes_is_found_in_a_folder():
    audio = {"aac", "flac", "mp3", "wav"}
    suffixes = {
        f".{suffix}"
        for name in av.formats_available
        for container in [av.ContainerFormat(name)]
        if container.is_input and set(container.name.split(",")) & (set(CONTAINERS.split(",")) - audio)
        for suffix in container.extensions - OTHER_CONTENTS
    }
    assert len(suffixes) > 30
    assert suffixes <= VIDEO_SUFFIXES


@pytest.mark.parametrize("suffix", sorted({".avi", ".asf", ".f4v", ".gif", ".m2ts", ".mxf", ".nut", ".y4m", ".3g2"}))
def test_videos_in_other_containers_are_found_and_decode(tmp_path, suffix):
    codec, pix_fmt = {
        ".gif": ("gif", "rgb8"),
        ".y4m": ("rawvideo", "yuv420p"),
        ".mxf": ("mpeg2video", "yuv420p"),
        ".f4v": ("libx264", "yuv420p"),
    }.get(suffix, ("mpeg4", "yuv420p"))
    codec = "wrapped_avframe" if suffix == ".y4m" else codec
    write_video(tmp_path / f"a{suffix}", codec, frames=5, pix_fmt=pix_fmt)
    (ref,) = expand(tmp_path)
    assert probe(ref.path).frames == 5
