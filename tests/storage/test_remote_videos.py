"""Videos and lists in object storage, on a real S3 server and a real HTTP server."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vidfeat
from video.video_files import write_video
from vidfeat import Job, UsageError, VideoError, VideoRef, run, storage, stream
from vidfeat.cli.main import main
from vidfeat.video import decode, probe, remote, source
from vidfeat.video.packets import plan_feed
from vidfeat.videos import expand


@pytest.fixture
def by_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as large, and blocks are small."""
    monkeypatch.setattr(remote, "STAGED_BYTES", 0)
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1 << 12)


def put(store: Any, path: Path, name: str = "") -> str:
    uri = f"s3://videos/{name or path.name}"
    store.pipe_file(uri, path.read_bytes())
    return uri


def assert_equal_videos(uri: str, path: Path, wanted: list[int]) -> None:
    there, here = probe(uri), probe(path)
    for field in dataclasses.fields(here):
        if field.name not in ("path", "modified_ns", "packets"):
            assert getattr(there, field.name) == getattr(here, field.name), field.name
    frames = list(decode(uri, wanted, there))
    for remote_frame, local_frame in zip(frames, decode(path, wanted, here), strict=True):
        assert (remote_frame.index, remote_frame.pts_seconds) == (local_frame.index, local_frame.pts_seconds)
        assert np.array_equal(remote_frame.pixels, local_frame.pixels)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_small_objects_give_the_same_as_files(s3: Any, tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, frames=20, options={"g": "6"})
    assert_equal_videos(put(s3, path), path, [1, 8, 19])


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.mov"])
def test_objects_read_by_range_give_the_same_as_files(s3: Any, by_range: None, tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, frames=60, options={"g": "6", "bf": "2"})
    assert_equal_videos(put(s3, path), path, [1, 30, 59])


@pytest.mark.parametrize(
    ("options", "container_options"),
    [
        ({"g": "6", "x264-params": "open-gop=1:bframes=2"}, {}),
        ({"g": "6", "x264-params": "intra-refresh=1"}, {}),
        ({"g": "6"}, {"movflags": "frag_keyframe+empty_moov"}),
    ],
    ids=["open groups of pictures", "no random access points", "fragments"],
)
def test_an_index_is_not_trusted_further_than_it_reaches(
    s3: Any, by_range: None, tmp_path: Path, options: dict[str, str], container_options: dict[str, str]
) -> None:
    path = write_video(tmp_path / "c.mp4", frames=40, options=options, container_options=container_options)
    assert_equal_videos(put(s3, path), path, [3, 20, 38])


def test_few_frames_of_a_long_video_cost_few_bytes(
    faulty: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module, name, size in (
        (remote, "STAGED_BYTES", 0),
        (remote, "BLOCK_BYTES", 1 << 12),
        (remote, "GAP_BYTES", 1 << 9),
        (remote, "LARGEST_PIECE_BYTES", 1 << 14),
        (source, "_BUFFER_BYTES", 1 << 10),
    ):  # a file of 2 GB with groups of pictures of 14 MB, and all sizes divided by 512
        monkeypatch.setattr(module, name, size)
    path = write_video(tmp_path / "long.mp4", frames=2500, options={"g": "10", "crf": "5", "bf": "0"}, audio=True)
    content = path.read_bytes()
    assert content.index(b"mdat") < content.index(b"moov")
    uri, size = put(storage._filesystem("s3"), path), len(content)
    wanted = np.linspace(0, 2499, 25).astype(int)
    info = probe(uri)
    probed = faulty.sent
    index = size - content.rindex(b"moov")
    assert probed < index + 4 * (1 << 12)  # the start, the index, and the rest of their blocks
    before = len(faulty.requests)
    frames = list(decode(uri, wanted, info))
    assert info.packets is not None
    places = plan_feed(info.packets, wanted).places
    assert places is not None
    needed = int((places[:, 1] - places[:, 0]).sum())
    assert faulty.sent - probed < 1.02 * needed + index + 4 * (1 << 12)
    assert faulty.sent < size / 10
    # A piece for each frame, or two.
    assert len(faulty.requests) - before < 3 * len(wanted)
    for frame, expected in zip(frames, decode(path, wanted), strict=True):
        assert (frame.index, frame.pts_seconds) == (expected.index, expected.pts_seconds)
        assert np.array_equal(frame.pixels, expected.pixels)


def test_features_equal_those_of_files(s3: Any, repository: Path, tmp_path: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    encoder = vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        write_video(folder / f"{number}.mp4", frames=20 + number)
        put(s3, folder / f"{number}.mp4", f"job/{number}.mp4")
    s3.pipe_file("s3://videos/job/list.txt", b"0.mp4\n1.mp4 7\nmissing.mp4\n")
    job = Job(videos="s3://videos/job/list.txt", encoders=encoder, out=tmp_path / "out.npz", decode_processes=1)
    summary = run(job, quiet=True)
    assert (summary.computed, summary.failed) == (2, 1)
    local = Job(videos=folder, encoders=encoder, decode_processes=1)
    expected = {outcome.key: outcome for outcome in stream(local)}
    with vidfeat.load(tmp_path / "out.npz") as found:
        assert list(found) == ["0.mp4", "1.mp4"]
        for key in found:
            assert np.array_equal(found[key].values, expected[key].values)
        assert found.failures["missing.mp4"].error.kind == "missing"
    # A replaced object is noticed, once the listing of its folder is.
    put(s3, write_video(tmp_path / "other.mp4", frames=33), "job/0.mp4")
    storage._filesystem("s3").invalidate_cache()
    summary = run(job, quiet=True)
    assert (summary.computed, summary.kept) == (1, 1)


def test_folders_and_patterns(s3: Any) -> None:
    for name in ("x/b.mp4", "x/a.mkv", "x/deep/c.webm", "x/notes.md", "x/.hidden/d.mp4"):
        s3.pipe_file(f"s3://videos/{name}", b"0")
    assert [ref.key for ref in expand("s3://videos/x/")] == ["a.mkv", "b.mp4", "deep/c.webm"]
    assert [ref.uri for ref in expand("s3://videos/x/*.mp4")] == ["s3://videos/x/b.mp4"]
    assert expand("s3://videos/x/notes.md") == (VideoRef("notes.md", "s3://videos/x/notes.md"),)
    with pytest.raises(UsageError, match="at least one that ends in"):
        expand("s3://videos/nothing/")


@pytest.mark.parametrize(
    "line",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../secret.mp4",
        "a/../../b.mp4",
        "%2e%2e/b.mp4",
        "s3://other/a.mp4",
        "s3://videos/jobs/a.mp4",
        "http://169.254.169.254/latest/meta-data/",
        "..\\a.mp4",
    ],
)
def test_a_list_cannot_leave_its_root(s3: Any, line: str) -> None:
    s3.pipe_file("s3://videos/job/list.txt", f"a.mp4\n{line}\n".encode())
    with pytest.raises(UsageError, match=r"list\.txt:2: expected a path below"):
        expand("s3://videos/job/list.txt")


def test_lines_below_the_root_are_named_relative_to_it(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("s3://videos/job/a/b.mp4 3\nc.mp4\n")
    refs = expand(tmp_path / "list.txt", "s3://videos/job")
    assert refs == (
        VideoRef("a/b.mp4", "s3://videos/job/a/b.mp4", label="3"),
        VideoRef("c.mp4", "s3://videos/job/c.mp4"),
    )
    with pytest.raises(UsageError, match="a path, as the list and its root are local"):
        expand(tmp_path / "list.txt")


def test_what_cannot_be_reached_is_named(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoError, match="no file of that name") as missing:
        probe("s3://videos/nothing.mp4")
    assert missing.value.kind == "missing"
    with pytest.raises(VideoError) as bucket:
        probe("s3://no-such-bucket/a.mp4")
    assert bucket.value.kind in ("missing", "io")
    with pytest.raises(UsageError, match="a path, or a URI of s3, gs"):
        expand("ftp://host/a.mp4")
    with pytest.raises(UsageError, match=r"pip install .*gcsfs"):
        expand("gs://bucket/a.mp4")


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/redirect.mp4":
            self.send_response(302)
            self.send_header("Location", "/a.mp4")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def http(tmp_path: Path) -> Iterator[str]:
    write_video(tmp_path / "a.mp4", frames=10)
    handler: Any = functools.partial(_Handler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_videos_over_http(http: str, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    assert expand(f"{http}/a.mp4?token=1") == (VideoRef("a.mp4", f"{http}/a.mp4?token=1"),)
    assert_equal_videos(f"{http}/a.mp4", tmp_path / "a.mp4", [2, 9])
    with pytest.raises(VideoError) as redirected:
        probe(f"{http}/redirect.mp4")
    assert redirected.value.kind in ("io", "empty", "missing")
    with pytest.raises(VideoError, match="no file of that name"):
        probe(f"{http}/nothing.mp4")


class _Hostile(_Handler):
    """Sends more than it says, in three ways, and claims sizes that no database can hold."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        sizes = {"/larger.mp4": "100", "/bomb.mp4": "100", "/claim.mp4": str(2**63)}
        if self.path in sizes:
            self.send_header("Content-Length", sizes[self.path])
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        zeros = bytes(1 << 20)
        if self.path == "/bomb.mp4":
            body = gzip.compress(zeros * 4, 1)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif self.path == "/claim.mp4":
            self.send_header("Content-Length", str(2**63))
            self.end_headers()
        else:  # until the connection closes
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(10_000):
                    self.wfile.write(zeros)


@pytest.fixture
def hostile() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("name", ["larger.mp4", "endless.mp4", "bomb.mp4"])
def test_a_server_cannot_send_more_than_a_limit(hostile: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "STAGED_BYTES", 1 << 20)
    monkeypatch.setattr(remote, "UNSIZED_BYTES", 1 << 20)
    with pytest.raises(VideoError, match="more than 1048576 bytes"):
        probe(f"{hostile}/{name}")


def test_a_size_beyond_64_bits_fails_one_video(hostile: str, http: str, tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("aiohttp")
    checkpoint = next((repository / "examples").glob("*.safetensors"))
    command = ["extract", str(repository / "examples" / "tiny_slowonly.py"), f"{hostile}/claim.mp4", f"{http}/a.mp4"]
    command += ["-q", "--checkpoint", str(checkpoint), "-o", str(tmp_path / "out.pkl"), "--device", "cpu"]
    assert main(command) == 3
    assert len(vidfeat.load(tmp_path / "out.pkl").failures) == 1


def test_a_list_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")

    class Dripping(_Handler):
        def send_head(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"a.mp4\n")
                    time.sleep(0.05)

    monkeypatch.setattr(storage, "EXCHANGE_SECONDS", 0.5)
    monkeypatch.setattr(storage, "ATTEMPTS", 1)
    storage._filesystem.cache_clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UsageError, match=r"list\.txt"):
            expand(f"http://127.0.0.1:{server.server_address[1]}/list.txt")
        server.shutdown()
    storage._filesystem.cache_clear()


def test_a_busy_server_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(storage, "_FIRST_WAIT_SECONDS", 0.01)
    write_video(tmp_path / "a.mp4", frames=10)
    answers = iter([503] * 4)

    class Busy(_Handler):
        def send_head(self) -> Any:
            if (code := next(answers, 200)) == 200:
                return super().send_head()
            return self.send_error(code)

    handler: Any = functools.partial(Busy, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert probe(f"http://127.0.0.1:{server.server_address[1]}/a.mp4").frames == 10
        server.shutdown()


def test_the_command_line_from_and_to_a_store(s3: Any, repository: Path, tmp_path: Path) -> None:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    for number in range(2):
        put(s3, write_video(tmp_path / f"{number}.mp4", frames=20 + number), f"cli/{number}.mp4")
    (tmp_path / "list.txt").write_text("0.mp4\n1.mp4\n")
    model = [str(repository / "examples" / "tiny_slowonly.py"), "--checkpoint", str(checkpoint), "-q"]
    videos = ["--video-list", str(tmp_path / "list.txt"), "--video-root", "s3://videos/cli"]
    assert main(["extract", *model, *videos, "-o", "s3://videos/cli-out/"]) == 0
    assert main(["verify", "s3://videos/cli-out/"]) == 0
    assert main(["compact", "s3://videos/cli-out/"]) == 0
    assert main(["convert", "s3://videos/cli-out/", str(tmp_path / "a.npz"), "-q"]) == 0
    assert main(["extract", *model, "s3://videos/cli/", "-o", str(tmp_path / "b.npz")]) == 0
    with vidfeat.load(tmp_path / "a.npz") as a, vidfeat.load(tmp_path / "b.npz") as b:
        assert set(a) == set(b) == {"0.mp4", "1.mp4"}
        for key in a:
            assert np.array_equal(a[key].values, b[key].values)
