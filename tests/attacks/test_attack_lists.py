"""Lists, names and outputs made by somebody who wishes us ill."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from store.store_worker import SESSION, begin
from vidfeat.errors import OutputError, UsageError, VideoError
from vidfeat.features import VideoFailure, VideoFeatures
from vidfeat.formats import open_sink
from vidfeat.store import verify
from vidfeat.videos import VideoRef, expand, read_list


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "videos"
    (root / "inside").mkdir(parents=True)
    (root / "ok.mp4").write_text("")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.mp4").write_text("secret")
    (tmp_path / "videos2").mkdir()
    return root


def listed(root, *lines):
    file = root.parent / "list.txt"
    file.write_bytes(b"\n".join(os.fsencode(line) for line in lines))
    return read_list(file, root)


@pytest.mark.parametrize(
    "line",
    [
        "../secret/s.mp4",
        "inside/../../secret/s.mp4",
        "../videos2/a.mp4",
        "inside/../../../../../../../../etc/passwd",
        "/etc/passwd",
        "..",
        "nowhere/../../secret/s.mp4",
        "../secret/s.mp4 1",
        "",
    ],
)
def test_a_line_that_leaves_the_root_is_refused(root, line):
    line = line or str(root.parent / "secret" / "s.mp4")
    with pytest.raises(UsageError, match=r"list\.txt:2: expected a path inside `video_root`"):
        listed(root, "ok.mp4", line)


@pytest.mark.parametrize("line", [".", "./", "inside/.."])
def test_the_root_is_no_video(root, line):
    with pytest.raises(UsageError, match="found the root itself"):
        listed(root, line)


def test_a_link_that_leaves_the_root_is_refused(root):
    (root / "file.mp4").symlink_to("../secret/s.mp4")
    (root / "folder").symlink_to(root.parent / "secret")
    (root / "chain.mp4").symlink_to("file.mp4")
    (root / "dangling.mp4").symlink_to("../secret/not yet.mp4")
    for line in ("file.mp4", "folder/s.mp4", "chain.mp4", "folder/new/x.mp4", "dangling.mp4", "folder/../ok.mp4"):
        with pytest.raises(UsageError, match="inside `video_root`"):
            listed(root, line)


def test_links_inside_the_root_are_fine(root):
    (root / "link.mp4").symlink_to("ok.mp4")
    (root / "here").symlink_to("inside")
    assert [ref.key for ref in listed(root, "link.mp4", "here/a.mp4")] == ["link.mp4", "here/a.mp4"]


def test_a_loop_of_links_fails_alone_and_later(root):
    (root / "loop").symlink_to("loop")
    assert [ref.key for ref in listed(root, "loop", "loop/a.mp4 1", "ok.mp4")] == ["loop", "loop/a.mp4", "ok.mp4"]


def test_names_too_long_for_the_system_fail_alone_and_later(root):
    long = "x" * 4000 + ".mp4"
    assert [ref.key for ref in listed(root, long, long + "b 1")] == [long, long + "b"]
    for line in ("x" * 5000 + ".mp4", "x/" * 100_000, "é" * 2048 + " 1 2"):
        with pytest.raises(UsageError, match=r"list\.txt:2: expected a name of at most 4,096 bytes"):
            listed(root, "ok.mp4", line)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a.mp4\nb\0.mp4\n", 2),
        (b"\x7fELF\x02\x01\x01\0\0\0", 1),
        ("a.mp4\nb.mp4\n".encode("utf-16"), 1),
        (b"".join(b"%d.mp4\n" % n for n in range(20_000)) + b"\0", 20_001),
    ],
)
def test_binary_lists_are_refused_with_the_line(tmp_path, data, line):
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(UsageError, match=rf"list\.txt:{line}: .*zero byte"):
        read_list(tmp_path / "list.txt", None)


@pytest.mark.parametrize("data", [b"", b"\n\n \n", b"# only\n", b"\xef\xbb\xbf"])
def test_empty_lists_are_refused(tmp_path, data):
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(UsageError, match="at least one path"):
        read_list(tmp_path / "list.txt", None)


def test_lists_that_cannot_be_read_are_refused(tmp_path):
    for file, found in ((tmp_path / "none.txt", "No such file"), (tmp_path, "directory")):
        with pytest.raises(UsageError, match=f"expected a readable list of videos; found .*{found}"):
            read_list(file, None)


@pytest.mark.parametrize("again", ["a/b.mp4", "./a/b.mp4", "a//b.mp4 3", "a/x/../b.mp4"])
def test_a_repeated_video_is_refused_with_both_lines(root, again):
    for base in (root, None):
        (root.parent / "list.txt").write_text(f"a/b.mp4\n\nc.mp4\n{again}\n")
        with pytest.raises(UsageError, match=r"list\.txt:4: .* already on line 1"):
            read_list(root.parent / "list.txt", base)


def test_many_repeated_videos_are_named_and_counted(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{number % 10}.mp4\n" for number in range(30)))
    with pytest.raises(UsageError) as caught:
        read_list(tmp_path / "list.txt", None)
    assert caught.value.where == f"{tmp_path / 'list.txt'}:11"
    assert caught.value.found.startswith("'0.mp4' on line 11, which is already on line 1; '1.mp4' on line 12, ")
    assert caught.value.found.endswith("'4.mp4' on line 15, which is already on line 5; and 15 more")


def test_scanning_ends_on_loops_of_links(root):
    (root / "inside" / "loop.mp4").symlink_to("loop.mp4")
    (root / "inside" / "up").symlink_to("..")
    with pytest.raises(UsageError, match="expected links to folders without a cycle"):
        expand([root])
    (root / "inside" / "up").unlink()
    assert [ref.key for ref in expand([root])] == ["inside/loop.mp4", "ok.mp4"]


# --- outputs ---


def videos_of(*keys):
    return [VideoRef(key, "x") for key in keys]


def features_of(key, value=0.0):
    return VideoFeatures(key, "test", np.full(1, value, np.float32))


def finish(out, *keys):
    with begin(out, videos_of(*keys)) as store:
        store.commit([features_of(key) for key in keys], SESSION)
        store.finalize()


@pytest.mark.parametrize("name", ["../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "..", "", ".", "a\0.mp4", "//x/y.mp4"])
def test_a_name_never_leads_out_of_the_output_folder(tmp_path, name):
    with pytest.raises(UsageError, match=r"a relative path without '..'"):
        begin(tmp_path / "feats", videos_of("ok.mp4", name))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=r"a relative path without '..'"):
        open_sink(tmp_path / "feats").write([features_of(name)])


def test_a_link_in_the_output_folder_is_not_followed(tmp_path):
    out, elsewhere = tmp_path / "feats", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "link").symlink_to(elsewhere)
    (out / "file.npy").symlink_to(elsewhere / "file.npy")
    (elsewhere / "file.npy").write_text("precious")
    with begin(out, videos_of("link/a.mp4", "link/new/b.mp4", "file.mp4")) as store:
        for key in ("link/a.mp4", "link/new/b.mp4"):
            with pytest.raises(OutputError, match="a symbolic link to"):
                store.commit([features_of(key)], SESSION)
        store.commit([features_of("file.mp4")], SESSION)
    assert (elsewhere / "file.npy").read_text() == "precious"
    assert not (out / "file.npy").is_symlink()
    assert [path.name for path in elsewhere.iterdir()] == ["file.npy"]


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path):
    out = tmp_path / "feats"
    with begin(out, videos_of("a.mp4")) as store:
        seen = []

        def spy(event, args):
            if watching and event == "open" and str(args[0]).startswith(str(out)):
                seen.append(Path(args[0]))

        watching = True
        sys.addaudithook(spy)
        store.commit([features_of("a.mp4")], SESSION)
        watching = False
    (temporary,) = (path for path in seen if path.suffix == ".tmp")
    (tmp_path / "precious").write_text("precious")
    temporary.symlink_to(tmp_path / "precious")
    open_sink(out).write([features_of("a.mp4", 1.0)])
    assert (tmp_path / "precious").read_text() == "precious"
    assert np.load(out / "a.npy") == [1.0]
    assert not temporary.is_symlink()


class Boom:
    def __reduce__(self):
        return (print, ("boom",))


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps([Boom()]),
        pickle.dumps([np.array([Boom()], dtype=object)]),
        b"cos\nsystem\n(S'echo boom'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"",
        b"\x80\x02",
        b"\x80\x02]q\x00(K\x01",
    ],
)
def test_verify_runs_no_code_from_a_pickle(tmp_path, capsys, data):
    out = tmp_path / "feats.pkl"
    finish(out, "a.mp4")
    out.write_bytes(data)
    (found,) = verify(out)
    assert "expected an output that can be read" in found
    assert "boom" not in capsys.readouterr().out


def test_verify_runs_no_code_from_npy_or_yaml(tmp_path, capsys):
    for name in ("feats", "feats.yaml"):
        finish(tmp_path / name, "a.mp4")
    np.save(tmp_path / "feats" / "a.npy", np.array([Boom()], dtype=object), allow_pickle=True)
    (tmp_path / "feats.yaml").write_text("- !!python/object/apply:print ['boom']\n")
    for name in ("feats", "feats.yaml"):
        (found,) = verify(tmp_path / name)
        assert "be read" in found
    assert "boom" not in capsys.readouterr().out


def test_rows_of_the_wrong_kind_are_problems_and_not_crashes(tmp_path):
    out = tmp_path / "feats.json"
    finish(out, "a.mp4")
    for text, problem in [
        ('["x"]', "not an array of numbers"),
        ("[[[1], 2]]", "not an array of numbers"),
        ('[{"a": 1}]', "not an array of numbers"),
        ("[[1e300]]", "infinite"),
        ("[[NaN]]", "infinite or NaN"),
        ("[7]", "has shape [], not [1]"),
    ]:
        out.write_text(text)
        (found,) = verify(out)
        assert problem in found
    out.write_text("{}")
    assert "expected a list with a row per video; found dict" in verify(out)[0]
    out.write_text("[" * 100_000)
    assert "expected an output that can be read" in verify(out)[0]


def test_a_message_in_any_encoding_is_kept_and_shown(tmp_path):
    out = tmp_path / "feats.pkl"
    keys = ("\u202egnp.mp4", "\udcff\n\x1b[2J.mp4")
    with begin(out, videos_of(*keys)) as store:
        for key in keys:
            error = VideoError(key, stage="open", kind="corrupt", expected="a\nb", found="\udcfe\0")
            store.commit([VideoFailure(key, "test", error)], SESSION)
        store.finalize()
    lines = (tmp_path / "feats.pkl.manifest.jsonl").read_bytes().split(b"\n")
    assert len(lines) == 4
    assert all(32 <= byte < 127 for line in lines for byte in line)
    assert verify(out) == ["none of the 2 videos has features"]


def test_junk_for_a_database_is_refused_and_no_crash(tmp_path):
    out = tmp_path / "feats.pkl"
    with begin(out, videos_of("a.mp4", "b.mp4")) as store:
        store.commit([features_of("a.mp4")], SESSION)
    (database,) = (tmp_path / "feats.pkl.vidfeat").glob("rank-*.sqlite")
    good = database.read_bytes()
    for junk in (b"SQLite format 3\0" * 500, os.urandom(3000), good[:5000], good[:100] + os.urandom(len(good) - 100)):
        database.write_bytes(junk)
        with pytest.raises(OutputError) as caught:
            begin(out, videos_of("a.mp4", "b.mp4"))
        assert str(database) in str(caught.value)
    database.write_bytes(good)
    with begin(out, videos_of("a.mp4", "b.mp4")) as store:
        assert [video.key for video in store.pending()] == ["b.mp4"]
