"""A proxy before an S3 server that fails by a schedule, as real stores do now and then."""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

ALWAYS = 1 << 30
STALL_SECONDS = 2
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


@dataclass
class Fault:
    """What happens to the next requests of some kind.

    Attributes:
        does: `refuse`: answers 503 SlowDown. `cut`: sends the head and half of the body of an answer. `stall`: sends
            them, and then nothing for `STALL_SECONDS`. `half`: reads half of the body of a request, and closes.
            `lose`: has the server do what is asked, and closes without an answer. `hide`: leaves the keys that match
            `keys` out of a listing.
        method: of the requests.
        path: a regular expression that is found in their paths, with their queries.
        times: how many requests.
        keys: see `hide`.
    """

    does: Literal["refuse", "cut", "stall", "half", "lose", "hide"]
    method: str = "GET"
    path: str = ""
    times: int = 1
    keys: str = ""


class FaultyS3:
    """The proxy.

    Attributes:
        url: where it listens.
        faults: the schedule. The first one that fits a request is applied to it.
        requests: method and path of each request so far.
        sent: bytes of the bodies of all answers to GET so far.
    """

    def __init__(self, server: str) -> None:
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        self.server, self.url = urlsplit(server).netloc, ""
        self._lock = threading.Lock()

    def count(self, method: str, path: str) -> int:
        """How many requests there were whose path matches."""
        return sum(one == method and re.search(path, where) is not None for one, where in self.requests)

    @property
    def left(self) -> int:
        """How many faults have not happened yet."""
        return sum(fault.times for fault in self.faults)

    def take(self, method: str, path: str) -> Fault | None:
        """Note a request; the fault that is due."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultyS3

    def handle_any(self) -> None:
        fault = self.proxy.take(self.command, self.path)
        size = int(self.headers.get("Content-Length") or 0)
        does = None if fault is None else fault.does
        if does == "half":
            self.rfile.read(size // 2)
            self._hang_up()
            return
        assert self.headers.get("Transfer-Encoding") is None
        body = self.rfile.read(size)
        if does == "refuse":
            self._answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN)
            return
        server = http.client.HTTPConnection(self.proxy.server)
        with contextlib.closing(server):
            server.request(self.command, self.path, body, dict(self.headers.items()))
            answer = server.getresponse()
            content = answer.read()
        if does == "lose":
            self._hang_up()
            return
        if self.command == "GET":
            self.proxy.sent += len(content)
        if fault is not None and does == "hide":
            content = _hidden(content, fault.keys)
        headers = [(name, text) for name, text in answer.getheaders() if name.lower() not in _HOP]
        if self.command == "HEAD":
            headers.append(("Content-Length", answer.getheader("Content-Length") or "0"))
        self._answer(answer.status, headers, content, does)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, does: str | None = None) -> None:
        self.send_response_only(status)
        for name, text in headers:
            self.send_header(name, text)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        elif status == 503:
            content = b""
            self.send_header("Content-Length", "0")
        self.end_headers()
        if does in ("cut", "stall"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            time.sleep(STALL_SECONDS if does == "stall" else 0)
            self._hang_up()
            return
        with contextlib.suppress(OSError):  # the client may have given up
            self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing."""


_HOP = ("content-length", "transfer-encoding", "connection", "server", "date")


def _hidden(listing: bytes, keys: str) -> bytes:
    """A listing without the keys that match."""
    entry = re.compile(rb"<Contents>.*?<Key>(.*?)</Key>.*?</Contents>", re.DOTALL)
    return entry.sub(lambda found: b"" if re.search(keys, found[1].decode()) else found[0], listing)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nothing: clients hang up, too."""


@contextlib.contextmanager
def faulty_s3(server: str) -> Iterator[FaultyS3]:
    """A proxy before the server with this URL."""
    proxy = FaultyS3(server)
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy})) as listening:
        proxy.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield proxy
        listening.shutdown()
        thread.join()
