"""Downloads from real servers on this machine: good ones, and every way in which one goes wrong."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path

import pytest

from vidfeat.checkpoint.download import _Redirects, _RefusedError, download
from vidfeat.errors import CheckpointError

BODY = bytes(range(256)) * 1200  # 300 KiB
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Each path is one way to answer."""

    requests: list[str]

    def __init__(self, requests: list[str], *args: object) -> None:
        self.requests = requests
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.requests.append(self.path)
        name = self.path.strip("/").split("/")[0]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a client that gave up, as it should
            getattr(self, f"answer_{name}")()

    def head(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def answer_good(self) -> None:
        self.head(Content_Length=str(len(BODY)), Content_Type="application/octet-stream")
        self.wfile.write(BODY)

    def answer_unsized(self) -> None:
        self.head()
        self.wfile.write(BODY)

    def answer_chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.head(Transfer_Encoding="chunked", Connection="close")
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
        self.close_connection = True

    def answer_cut_chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.head(Transfer_Encoding="chunked", Connection="close")
        self.wfile.write(b"%x\r\n%s" % (len(BODY), BODY[:1000]))
        self.close_connection = True

    def answer_short(self) -> None:
        self.head(Content_Length=str(len(BODY) + 1))
        self.wfile.write(BODY)

    def answer_missing(self) -> None:
        self.send_error(404)

    def answer_nothing(self) -> None:
        self.head(204)

    def answer_part(self) -> None:
        self.head(206, Content_Length="10", Content_Range=f"bytes 0-9/{len(BODY)}")
        self.wfile.write(BODY[:10])

    def answer_moved_on(self) -> None:
        """A redirect with a body that does not end before the client closes the connection."""
        self.head(302, Location="/good/x.pth")
        while True:
            self.wfile.write(b"x" * 1000)
            time.sleep(0.05)

    def answer_moved(self) -> None:
        self.head(302, Location="/good/x.pth", Content_Length="0")

    def answer_circle(self) -> None:
        self.head(302, Location="/circle/x.pth", Content_Length="0")

    def answer_local(self) -> None:
        self.head(302, Location="file:///etc/passwd", Content_Length="0")

    def answer_page(self) -> None:
        self.head(Content_Type="text/html; charset=utf-8")
        self.wfile.write(b"<html>Please log in</html>")

    def answer_silent(self) -> None:
        time.sleep(1.2)

    def answer_drip(self) -> None:
        self.head(Content_Length=str(len(BODY)))
        for _ in range(60):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def answer_slow(self) -> None:
        self.head(Content_Length=str(len(BODY)))
        for start in range(0, len(BODY), len(BODY) // 8):
            self.wfile.write(BODY[start : start + len(BODY) // 8])
            time.sleep(0.1)


@pytest.fixture
def requests() -> list[str]:
    return []


@pytest.fixture
def server(requests: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("VIDFEAT_"):
            monkeypatch.delenv(name)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, requests)) as httpd:
        httpd.daemon_threads = True
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("way", ["good", "unsized", "chunked", "moved", "moved_on", "slow"])
def test_whole_files_arrive(server: str, tmp_path: Path, way: str) -> None:
    target = tmp_path / "cache" / "x.pth"
    assert download(f"{server}/{way}/x.pth", target, sha256_prefix=SHA256[:8], progress=False) == SHA256
    assert target.read_bytes() == BODY
    assert left_in(target.parent) == ["x.pth"]


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ("short", f"only {len(BODY)}: the connection was cut"),
        ("cut_chunked", "IncompleteRead"),
        ("missing", "HTTP 404 Not Found"),
        ("nothing", "HTTP 204 No Content"),
        ("part", "HTTP 206 Partial Content"),
        ("circle", "HTTP 302"),
        ("local", "file:///etc/passwd"),
        ("page", "a web page"),
        ("silent", "timed out"),
        ("drip", "stalled"),
    ],
)
def test_a_bad_download_says_why_and_leaves_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, found: str
) -> None:
    monkeypatch.setenv("VIDFEAT_DOWNLOAD_TIMEOUT", "0.5")
    url = f"{server}/{way}/x.pth"
    started = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        download(url, tmp_path / "x.pth", progress=False)
    assert time.monotonic() - started < 5
    assert caught.value.where == url
    assert found in caught.value.found
    assert "copy the file to" in caught.value.hint
    assert str(tmp_path) in caught.value.hint
    assert "x.pth" in caught.value.hint
    assert left_in(tmp_path) == []


# --- servers that send something all the time, and never the file -----------------------------------------------------

PIECES = 60
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE_CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
END = b"0\r\n\r\n"

# What comes first, what comes piece by piece over three seconds, and what then completes an ordinary answer.
DRIPS = {
    "a header": (OK + b"X-Y: ", b"z", b"\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)),
    "the status line": (b"HTTP/1.1 200 ", b"O", b"\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)),
    "headers": (OK, b"X-Y: z\r\n", b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)),
    "100 Continue": (
        b"",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    ),
    "a chunk's size": (CHUNKED, b"0", WHOLE_CHUNK + END),
    "a chunk's extension": (CHUNKED + b"%x;" % len(BODY), b"x", b"\r\n" + BODY + b"\r\n" + END),
    "trailers": (CHUNKED + WHOLE_CHUNK + b"0\r\n", b"X-Y: z\r\n", b"\r\n"),
}


@pytest.mark.parametrize("name", DRIPS)
def test_the_time_limit_holds_whatever_the_server_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first, piece, last = DRIPS[name]
    monkeypatch.setenv("no_proxy", "*")

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(first)
            for _ in range(PIECES):
                connection.sendall(piece)
                time.sleep(0.05)
            connection.sendall(last)

    def get(timeout: str) -> str:
        monkeypatch.setenv("VIDFEAT_DOWNLOAD_TIMEOUT", timeout)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            try:
                return download(f"http://127.0.0.1:{listener.getsockname()[1]}/x", tmp_path / "x", progress=False)
            finally:
                thread.join()

    with pytest.raises(CheckpointError, match=r"timed out|stalled"):
        get("0.5")
    assert left_in(tmp_path) == []
    assert get("20") == SHA256  # the answer itself is valid


def test_a_wrong_hash_keeps_what_was_there(server: str, tmp_path: Path) -> None:
    target = tmp_path / "x.pth"
    target.write_bytes(b"older")
    with pytest.raises(CheckpointError, match="begins with 00000000.*found " + SHA256[:8]):
        download(f"{server}/good/x.pth", target, sha256_prefix="00000000", progress=False)
    assert target.read_bytes() == b"older"
    assert left_in(tmp_path) == ["x.pth"]


@pytest.mark.parametrize("way", ["good", "unsized"])
def test_the_size_limit_holds_with_and_without_a_length(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("VIDFEAT_MAX_DOWNLOAD", str(len(BODY) - 1))
    with pytest.raises(CheckpointError, match=f"at most {len(BODY) - 1} bytes .VIDFEAT_MAX_DOWNLOAD"):
        download(f"{server}/{way}/x.pth", tmp_path / "x.pth", progress=False)
    assert left_in(tmp_path) == []
    monkeypatch.setenv("VIDFEAT_MAX_DOWNLOAD", str(len(BODY)))
    assert download(f"{server}/{way}/x.pth", tmp_path / "x.pth", progress=False) == SHA256


@pytest.mark.parametrize("value", ["", "many", "0", "-1", "nan", "inf"])
def test_the_limit_in_the_environment_is_checked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("VIDFEAT_MAX_DOWNLOAD", value)
    if value == "":
        assert download(f"{server}/good/x.pth", tmp_path / "x.pth", progress=False) == SHA256
        return
    with pytest.raises(CheckpointError, match=rf"\$VIDFEAT_MAX_DOWNLOAD: expected a number above 0; found '{value}'"):
        download(f"{server}/good/x.pth", tmp_path / "x.pth", progress=False)


def test_no_server_at_all(server: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x.pth"
        with pytest.raises(CheckpointError, match="found Connection refused"):
            download(url, tmp_path / "x.pth", progress=False)


def test_a_folder_that_cannot_be_made(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="file"):
        download(f"{server}/good/x.pth", tmp_path / "file" / "x.pth", progress=False)


@pytest.mark.parametrize(
    ("old", "new", "followed"),
    [
        ("http://a/x", "http://b/x", True),
        ("http://a/x", "https://b/x", True),
        ("https://a/x", "https://b/x", True),
        ("https://a/x", "http://b/x", False),
        ("https://a/x", "HTTP://b/x", False),
        ("http://a/x", "ftp://b/x", False),
    ],
)
def test_redirects_never_leave_encryption(old: str, new: str, followed: bool) -> None:
    arguments = (urllib.request.Request(old), None, 302, "Found", HTTPMessage(), new)
    if followed:
        answer = _Redirects().redirect_request(*arguments)  # type: ignore[arg-type]
        assert answer is not None
        assert answer.full_url == new
    else:
        with pytest.raises(_RefusedError):
            _Redirects().redirect_request(*arguments)  # type: ignore[arg-type]


def test_the_progress_bar_is_on_standard_error(server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    download(f"{server}/good/x.pth", tmp_path / "quiet.pth", progress=False)
    assert capfd.readouterr() == ("", "")
    download(f"{server}/good/x.pth", tmp_path / "loud.pth")
    out, err = capfd.readouterr()
    assert out == ""
    assert "loud.pth: 100%" in err


def start(url: str, target: Path) -> subprocess.Popen[str]:
    code = (
        "import sys; from pathlib import Path; from vidfeat.checkpoint.download import download; "
        "print(download(sys.argv[1], Path(sys.argv[2]), progress=False))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, url, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_that_download_the_same_file_at_once(server: str, requests: list[str], tmp_path: Path) -> None:
    target = tmp_path / "x.pth"
    processes = [start(f"{server}/slow/x.pth", target) for _ in range(3)]
    assert [process.communicate(timeout=30) for process in processes] == [(SHA256 + "\n", "")] * 3
    assert target.read_bytes() == BODY
    assert left_in(tmp_path) == ["x.pth"]
    assert len(requests) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_never_lands(server: str, tmp_path: Path, number: signal.Signals) -> None:
    process = start(f"{server}/drip/x.pth", tmp_path / "x.pth")
    deadline = time.monotonic() + 20
    while not left_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert not (tmp_path / "x.pth").exists()
    if number is signal.SIGINT:
        assert left_in(tmp_path) == []
    else:
        assert len(left_in(tmp_path)) == 1
    download(f"{server}/good/x.pth", tmp_path / "x.pth", progress=False)
    assert left_in(tmp_path) == ["x.pth"]


def test_the_temporary_file_of_another_download_is_not_removed(server: str, tmp_path: Path) -> None:
    process = start(f"{server}/slow/x.pth", tmp_path / "x.pth")
    deadline = time.monotonic() + 20
    # Before it is locked, the other download may remove it, and this one makes another.
    while not any(map(is_locked, tmp_path.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    (part,) = left_in(tmp_path)
    (tmp_path / "y.pth.0.part").write_bytes(b"of another file")
    download(f"{server}/good/x.pth", tmp_path / "x.pth", progress=False)
    assert part in left_in(tmp_path) or process.poll() is not None
    assert process.communicate(timeout=30) == (SHA256 + "\n", "")
    assert left_in(tmp_path) == ["x.pth", "y.pth.0.part"]


def test_the_file_gets_the_permissions_of_the_umask(server: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    download(f"{server}/good/x.pth", tmp_path / "x.pth", progress=False)
    assert (tmp_path / "x.pth").stat().st_mode == (tmp_path / "plain").stat().st_mode
